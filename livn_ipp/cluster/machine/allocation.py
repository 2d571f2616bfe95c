"""The machines of the batch job that this process is in, as the job's variables tell.

>>> told = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]",
...         "SLURM_JOB_CPUS_PER_NODE": "4(x2)"}
>>> allocation(told)
{'n1': 4, 'n2': 4}
"""

import itertools
import re
import socket
from collections.abc import Mapping

__all__ = ["allocation", "elsewhere", "hostnames", "place", "this_host"]

_GROUP = re.compile(r"([^,\[]*)(?:\[([^\]]*)\])?")
_COUNT = re.compile(r"(\d+)(?:\(x(\d+)\))?")


def allocation(environ: Mapping[str, str]) -> dict[str, int]:
    """Tell the machines of the Slurm job that this process is in.

    Parameters
    ----------
    environ
        Environment variables.

    Returns
    -------
    dict
        Cores by machine, in Slurm's order; empty outside of a job.
    """
    if "SLURM_JOB_ID" not in environ:
        return {}
    hosts = hostnames(environ.get("SLURM_JOB_NODELIST", ""))
    counts = [
        int(cores)
        for cores, times in _COUNT.findall(environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
        for _ in range(int(times or 1))
    ]
    if len(hosts) != len(counts):
        return {}  # not Slurm's own words
    return dict(zip(hosts, counts, strict=True))


def hostnames(nodelist: str) -> list[str]:
    """Write out a list of machines as Slurm abbreviates it.

    Parameters
    ----------
    nodelist
        Names with ranges of numbers in brackets.

    Returns
    -------
    list of str
        All names.

    Examples
    --------
    >>> hostnames("login,n[08-10,12],r[1-2]c[1-2]")
    ['login', 'n08', 'n09', 'n10', 'n12', 'r1c1', 'r1c2', 'r2c1', 'r2c2']
    """
    names = []
    for item in re.split(r",(?![^\[]*\])", nodelist):
        parts = [
            [prefix + number for number in _numbers(ranges)] if ranges else [prefix]
            for prefix, ranges in _GROUP.findall(item)
        ]
        names += ["".join(each) for each in itertools.product(*parts)]
    return [name for name in names if name]


def _numbers(ranges: str) -> list[str]:
    numbers = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        numbers += [
            str(number).zfill(len(first))
            for number in range(int(first), int(last or first) + 1)
        ]
    return numbers


def this_host() -> str:
    """Tell the name of this machine as batch systems write it."""
    return socket.gethostname().partition(".")[0]


def elsewhere(machines: Mapping[str, int]) -> dict[str, int]:
    """Leave this machine out.

    Parameters
    ----------
    machines
        Cores by machine.

    Returns
    -------
    dict
        The other machines.
    """
    here = this_host()
    return {name: n for name, n in machines.items() if name.partition(".")[0] != here}


def place(size: int, free: Mapping[str, int]) -> dict[str, int]:
    """Choose the machines of a world: as few as can be, and free ones.

    Parameters
    ----------
    size
        Ranks.
    free
        Cores that are free, by machine; negative where there are more ranks than cores.

    Returns
    -------
    dict
        Ranks by machine.

    Examples
    --------
    >>> place(2, {"n1": 1, "n2": 4})
    {'n2': 2}
    >>> place(6, {"n1": 4, "n2": 4})
    {'n1': 4, 'n2': 2}
    >>> place(3, {"n1": 0, "n2": 1})
    {'n2': 2, 'n1': 1}
    """
    fitting = [name for name, cores in free.items() if cores >= size]
    if fitting:
        return {min(fitting, key=lambda name: free[name]): size}
    left = dict(free)
    placed: dict[str, int] = {}
    for _ in range(size):
        busy = [name for name in placed if left[name] > 0]
        name = busy[0] if busy else max(left, key=lambda each: left[each])
        left[name] -= 1
        placed[name] = placed.get(name, 0) + 1
    return placed
