#!/bin/sh
#SBATCH --job-name={name}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH {resources}
#SBATCH --partition={queue}
#SBATCH --time={time_limit}
#SBATCH --account={account}
#SBATCH {directive}
cd {directory}
{setup}
exec {command}
