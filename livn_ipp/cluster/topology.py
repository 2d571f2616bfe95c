"""Which engine is which rank of which world, and which ranks make a worker.

Engine ids say nothing about ranks: the hub gives them out by order of arrival. All
that counts here is what each engine says about itself.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from livn_ipp.errors import ConfigError, VersionMismatch

__all__ = [
    "Rank",
    "WorkerPlace",
    "check_versions",
    "differences",
    "workers",
    "worlds",
]

_SINGLETONS = (
    "Start them as one MPI job: `ipcluster start --engines=mpi -n {n}`; under Slurm, "
    "call mpiexec inside the batch script in place of srun"
)


@dataclass(frozen=True)
class Rank:
    """One engine, and its place in MPI.

    Attributes
    ----------
    engine
        The hub's id of the engine.
    world
        Name of the MPI job.
    rank, size
        Rank in, and size of, the job's ``COMM_WORLD``.
    host, pid
        Machine and process.
    versions
        Software by name, as :func:`livn_ipp.cluster.reaching.probe.software` tells it.
    uuid
        The engine's own name; ids are given again to later engines.
    """

    engine: int
    world: str
    rank: int
    size: int
    host: str
    pid: int
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    uuid: str = ""


@dataclass(frozen=True)
class WorkerPlace:
    """The ranks of one worker.

    Attributes
    ----------
    index
        Number of the worker.
    world
        Name of the MPI job that its ranks are in.
    engines
        Engine ids by rank; the first is the leader's.
    host
        The leader's machine.
    """

    index: int
    world: str
    engines: tuple[int, ...]
    host: str


def worlds(ranks: Iterable[Rank]) -> dict[str, tuple[Rank, ...]]:
    """Sort ranks into the MPI worlds that they are in.

    Parameters
    ----------
    ranks
        In any order.

    Returns
    -------
    dict
        Ranks of each world, ordered by rank; worlds in natural order of their names.

    Raises
    ------
    ConfigError
        If ranks of a world are missing or there twice.

    Examples
    --------
    >>> pair = [Rank(7, "w0", 0, 2, "node1", 41), Rank(5, "w0", 1, 2, "node1", 42)]
    >>> [rank.engine for rank in worlds(reversed(pair))["w0"]]
    [7, 5]
    """
    members: dict[str, list[Rank]] = defaultdict(list)
    for rank in ranks:
        members[rank.world].append(rank)
    names = sorted(members, key=lambda name: (len(name), name))
    return {name: _complete(name, members[name]) for name in names}


def _complete(name: str, members: list[Rank]) -> tuple[Rank, ...]:
    ordered = tuple(sorted(members, key=lambda rank: (rank.rank, rank.engine)))
    found = [rank.rank for rank in ordered]
    sizes = sorted({rank.size for rank in ordered})
    if len(ordered) > 1 and sizes == [1]:
        raise ConfigError(
            f"The {len(ordered)} engines of world {name} are not in one MPI world: "
            f"each is rank 0 of its own. This happens when mpiexec and mpi4py belong "
            f"to different MPI implementations; `livn-ipp check` names both"
        )
    if len(sizes) > 1:
        raise ConfigError(
            f"The ranks of world {name} disagree on its size: {_listed(sizes)}. "
            f"Restart the cluster"
        )
    twice = sorted({rank for rank in found if found.count(rank) > 1})
    if twice:
        engines = [rank.engine for rank in ordered if rank.rank in twice]
        raise ConfigError(
            f"World {name} has rank {_listed(twice)} more than once (engines "
            f"{_listed(engines)}). Restart the cluster"
        )
    if missing := sorted(set(range(sizes[0])) - set(found)):
        raise ConfigError(
            f"World {name} is incomplete: rank {_listed(missing)} of {sizes[0]} "
            f"has no engine. It ended or has not registered yet; wait, or restart "
            f"the cluster"
        )
    if surplus := sorted(set(found) - set(range(sizes[0]))):
        raise ConfigError(
            f"World {name} has rank {_listed(surplus)} but a size of {sizes[0]}. "
            f"Restart the cluster"
        )
    return ordered


def workers(ranks: Iterable[Rank], subworld_size: int) -> tuple[WorkerPlace, ...]:
    """Cut worlds into workers of consecutive ranks.

    Parameters
    ----------
    ranks
        In any order.
    subworld_size
        Ranks per worker.

    Returns
    -------
    tuple of WorkerPlace
        In order of worlds and ranks.

    Raises
    ------
    ConfigError
        If the ranks of a world do not fill whole workers; tells the sizes that would.

    Examples
    --------
    >>> ranks = [Rank(9 - i, "w0", i, 4, "node1", 40 + i) for i in range(4)]
    >>> [place.engines for place in workers(ranks, 2)]
    [(9, 8), (7, 6)]
    """
    if subworld_size < 1:
        raise ConfigError(f"subworld_size must be at least 1, got {subworld_size}")
    by_world = worlds(ranks)
    if not by_world:
        raise ConfigError("No engine is registered; start the cluster first")
    _check_fit(by_world, subworld_size)
    groups = [
        members[first : first + subworld_size]
        for members in by_world.values()
        for first in range(0, len(members), subworld_size)
    ]
    return tuple(
        WorkerPlace(
            index=index,
            world=group[0].world,
            engines=tuple(rank.engine for rank in group),
            host=group[0].host,
        )
        for index, group in enumerate(groups)
    )


def _check_fit(by_world: dict[str, tuple[Rank, ...]], subworld_size: int) -> None:
    sizes = [len(members) for members in by_world.values()]
    if all(size % subworld_size == 0 for size in sizes):
        return
    if len(sizes) > 1 and set(sizes) == {1}:
        raise ConfigError(
            f"subworld_size={subworld_size} needs ranks that share an MPI world, but "
            f"the {len(sizes)} engines are not in one MPI world: each is rank 0 of "
            f"its own. " + _SINGLETONS.format(n=len(sizes))
        )
    common = math.gcd(*sizes)
    fitting = [size for size in range(1, common + 1) if common % size == 0]
    found = ", ".join(f"{name}: {len(members)}" for name, members in by_world.items())
    raise ConfigError(
        f"subworld_size={subworld_size} does not divide the ranks of every world "
        f"({found}). With these ranks, subworld_size could be {_listed(fitting, 'or')}"
    )


def check_versions(
    ranks: Iterable[Rank], controller: Mapping[str, str] | None = None
) -> None:
    """Refuse ranks that do not run the same software.

    Parameters
    ----------
    ranks
        The ranks to compare.
    controller
        What the controller runs; what it does not have is compared between ranks only.

    Raises
    ------
    VersionMismatch
        Naming each item that differs, and where.
    """
    found = {
        f"rank {rank.rank} of world {rank.world} on {rank.host}": rank.versions
        for rank in ranks
    }
    known = {item: v for item, v in (controller or {}).items() if v}
    if differing := differences({"the controller": known, **found}):
        raise VersionMismatch(
            f"Ranks and controller run different software. {differing}. Start engines "
            f"and controller from one Python environment"
        )


def differences(versions: Mapping[str, Mapping[str, str]]) -> str:
    """Tell which items of software differ, and where.

    Parameters
    ----------
    versions
        By place: the version of each item, empty if it is missing there.

    Returns
    -------
    str
        Empty if nothing differs.

    Examples
    --------
    >>> differences({"here": {"neuron": "9.0"}, "there": {"neuron": ""}})
    'neuron: 9.0 on here; missing on there'
    """
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place, found in versions.items():
        for item, version in found.items():
            seen[item][version or "missing"].append(place)
    return ". ".join(
        f"{item}: " + "; ".join(f"{v} on {_some(p)}" for v, p in sorted(found.items()))
        for item, found in sorted(seen.items())
        if len(found) > 1
    )


def _some(places: list[str]) -> str:
    more = len(places) - 2
    return ", ".join(places[:2]) + (f" and {more} more" if more > 0 else "")


def _listed(values: Iterable[int], last: str = "and") -> str:
    texts = [str(value) for value in values]
    if len(texts) == 1:
        return texts[0]
    return ", ".join(texts[:-1]) + f" {last} {texts[-1]}"
