#!/bin/sh
#PBS -N {name}
#PBS -j oe
#PBS -o /dev/null
#PBS -S /bin/sh
#PBS -V
#PBS -r n
#PBS {resources}
#PBS -q {queue}
#PBS -l walltime={time_limit}
#PBS -A {account}
#PBS {directive}
exec >>{log} 2>&1
cd {directory}
{setup}
exec {command}
