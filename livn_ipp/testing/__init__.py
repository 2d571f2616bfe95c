"""Chaos for your own pipelines: environments that fail on request, ranks that die.

A search that runs overnight meets exceptions, hung ranks and dead machines. With these
tools a test can cause them on purpose, on a cluster of the machine at hand.

Examples
--------
>>> from livn_ipp.env.distributed import DistributedEnv
>>> from livn_ipp.testing import Fault, FaultyEnv, Raise, WorkerKiller
>>> with DistributedEnv("EI1", backend=FaultyEnv, transport="local") as env:
...     try:
...         env(100, inputs=[None, Fault(Raise(ValueError, "no such electrode"))])
...     except ValueError as error:
...         print(str(error).splitlines()[0])
ValueError: no such electrode

Kill a random rank every five seconds on average while a pipeline runs:

>>> env = DistributedEnv("EI1", num_workers=2, subworld_size=2)
>>> with env, WorkerKiller(env, mean_seconds=5, seed=1):  # doctest: +SKIP
...     responses = env(decoding, inputs=range(200))
"""

from livn_ipp.testing.actions import (
    Abort,
    Allocate,
    Compute,
    Deadlock,
    Die,
    Huge,
    Kill,
    Leave,
    Raise,
    Segfault,
    Sleep,
    Unpicklable,
)
from livn_ipp.testing.faults import Fault, FaultyEnv, FaultyInput, with_faults
from livn_ipp.testing.killer import Killed, WorkerKiller, kill_rank
from livn_ipp.testing.light import LightEnv

__all__ = [
    "Abort",
    "Allocate",
    "Compute",
    "Deadlock",
    "Die",
    "Fault",
    "FaultyEnv",
    "FaultyInput",
    "Huge",
    "Kill",
    "Killed",
    "Leave",
    "LightEnv",
    "Raise",
    "Segfault",
    "Sleep",
    "Unpicklable",
    "WorkerKiller",
    "kill_rank",
    "with_faults",
]
