#!/bin/sh
#$ -N {name}
#$ -j y
#$ -o {log}
#$ -S /bin/sh
#$ -V
#$ -r n
#$ {resources}
#$ -q {queue}
#$ -l h_rt={time_limit}
#$ -P {account}
#$ {directive}
cd {directory}
{setup}
exec {command}
