#!/bin/sh
#BSUB -J {name}
#BSUB -o {log}
#BSUB -rn
#BSUB {resources}
#BSUB -q {queue}
#BSUB -W {time_limit}
#BSUB -P {account}
#BSUB {directive}
exec >>{log} 2>&1
cd {directory}
{setup}
exec {command}
