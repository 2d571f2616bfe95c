"""Ranks that die: one on request, or random ones while a pipeline runs."""

import contextlib
import os
import platform
import random
import signal as signals
import threading
import time
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Self

from livn_ipp.cluster.topology import Rank, WorkerPlace
from livn_ipp.errors import ConfigError, LivnError

__all__ = ["Killed", "WorkerKiller", "kill_rank"]


@dataclass(frozen=True)
class Killed:
    """A rank that was killed.

    Attributes
    ----------
    time
        On the monotonic clock, in s.
    worker, rank
        Which one; `rank` counts inside the worker.
    host, pid
        The process that it was.
    """

    time: float
    worker: int
    rank: int
    host: str
    pid: int


def kill_rank(
    target: Any, worker: int, rank: int = 0, *, signal: int = signals.SIGKILL
) -> Killed:
    """Send a signal to one rank of a worker.

    Parameters
    ----------
    target
        A DistributedEnv on a cluster of engines, or the
        :class:`livn_ipp.cluster.launch.Cluster`.
    worker
        Index of the worker.
    rank
        Rank inside the worker.
    signal
        Number of the signal.

    Returns
    -------
    Killed
        Which process it was, and when.

    Raises
    ------
    ConfigError
        If there is no such rank at present.

    Examples
    --------
    >>> with DistributedEnv("EI1", num_workers=2) as env:  # doctest: +SKIP
    ...     future = env.submit(10_000)
    ...     kill_rank(env, worker=0)
    ...     future.result()
    """
    ranks = _ranks(target).get(worker, ())
    if not 0 <= rank < len(ranks):
        raise ConfigError(f"there is no rank {rank} of worker {worker} at present")
    place = ranks[rank]
    now = time.monotonic()
    if place.host == platform.node():
        with contextlib.suppress(ProcessLookupError):
            os.kill(place.pid, signal)
    else:
        cluster = _cluster(target)
        cluster.client.send_signal(signal, targets=[place.engine], block=False)
    return Killed(now, worker, rank, place.host, place.pid)


class WorkerKiller:
    """Kills random ranks of random workers as long as its ``with`` block lasts.

    Each worker is killed as a Poisson process of its own; a kill that falls into the
    time in which a worker is replaced has no effect. The same seed kills the same ranks
    at the same times.

    Parameters
    ----------
    target
        A DistributedEnv on a cluster of engines, initialised when the block begins, or
        the :class:`livn_ipp.cluster.launch.Cluster`.
    mean_seconds
        Mean time between kills of one worker.
    seed
        Seed of all randomness.
    signal
        Number of the signal.
    ranks
        Ranks of a worker that may be hit, or ``"any"``.

    Attributes
    ----------
    kills : list of Killed
        What was done, in order.

    Examples
    --------
    >>> with DistributedEnv("EI1", num_workers=2) as env:  # doctest: +SKIP
    ...     calm = env(decoding, inputs=inputs, trial=0)
    ...     with WorkerKiller(env, mean_seconds=5, seed=1) as killer:
    ...         assert env(decoding, inputs=inputs, trial=0) == calm
    ...     print(len(killer.kills), "ranks were killed")
    """

    def __init__(
        self,
        target: Any,
        mean_seconds: float,
        seed: int = 0,
        *,
        signal: int = signals.SIGKILL,
        ranks: Container[int] | str = "any",
    ) -> None:
        if mean_seconds <= 0:
            raise ConfigError(f"mean_seconds must be positive, not {mean_seconds!r}")
        if isinstance(ranks, str) and ranks != "any":
            raise ConfigError(f"ranks must be 'any' or a list of ranks, not {ranks!r}")
        self.kills: list[Killed] = []
        self._target = target
        self._mean = mean_seconds
        self._seed = seed
        self._signal = signal
        self._ranks = ranks
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._kill, args=(worker,), name="worker-killer")
            for worker in sorted(_ranks(self._target))
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _kill(self, worker: int) -> None:
        choice = random.Random(f"{self._seed}:{worker}")
        due = time.monotonic()
        while True:
            due += choice.expovariate(1 / self._mean)
            which = choice.random()
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            # Between two incarnations of the worker there is nobody to kill.
            with contextlib.suppress(LivnError, OSError):
                self._kill_one(worker, which)

    def _kill_one(self, worker: int, which: float) -> None:
        ranks = range(len(_ranks(self._target).get(worker, ())))
        exposed = [r for r in ranks if self._ranks == "any" or r in self._ranks]
        if exposed:
            rank = exposed[int(which * len(exposed))]
            self.kills.append(
                kill_rank(self._target, worker, rank, signal=self._signal)
            )


def _cluster(target: Any) -> Any:
    """Return the cluster behind an environment, or the cluster that was given."""
    if not hasattr(target, "submit"):
        return target
    if target.cluster is None:
        raise ConfigError(
            f"{target!r} has no cluster of engines whose ranks could be killed; "
            "initialise it first, with num_workers= or cluster="
        )
    return target.cluster


def _ranks(target: Any) -> dict[int, tuple[Rank, ...]]:
    """Return the ranks of each worker that is there at present."""
    cluster = _cluster(target)
    places = cluster.workers if target is cluster else _seated(target)
    return {place.index: _members(cluster, place) for place in places}


def _seated(env: Any) -> tuple[WorkerPlace, ...]:
    places: tuple[WorkerPlace, ...] = env._live().transport.places  # noqa: SLF001
    return places


def _members(cluster: Any, place: WorkerPlace) -> tuple[Rank, ...]:
    # What is known without asking engines, which may be busy.
    known = cluster.members(place.world) or cluster.ranks()
    by_engine = {rank.engine: rank for rank in known if rank.world == place.world}
    return tuple(by_engine[engine] for engine in place.engines if engine in by_engine)
