"""A cluster that grows and shrinks, with or without calls running on it."""

import logging
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from livn_ipp.cluster import topology
from livn_ipp.cluster.reaching.probe import refuse, software
from livn_ipp.cluster.reaching.reachable import Reachable
from livn_ipp.cluster.starting.shape import check_count
from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError

__all__ = ["Elastic"]

_log = logging.getLogger("livn_ipp")


class Elastic(Reachable):
    """Workers by number: more, fewer, again."""

    def scale(self, num_workers: int, *, drain: bool = True) -> None:
        """Start or let go as many workers as it takes to have this many.

        Parameters
        ----------
        num_workers
            How many there are to be, counting those that are on their way.
        drain
            Whether workers that leave finish what they run.

        Raises
        ------
        ConfigError
            If the workers do not fill worlds, or this process cannot start any.
        """
        check_count("num_workers", num_workers)
        difference = num_workers - len(self._slots())
        if difference > 0:
            self.add_workers(difference)
        elif difference < 0:
            self.remove_workers(-difference, drain=drain)

    def add_workers(self, num_workers: int = 1) -> None:
        """Start further workers; they get calls as soon as they are ready.

        With an environment, returns at once; see :meth:`wait_for_workers`.

        Parameters
        ----------
        num_workers
            How many; whole worlds.
        """
        check_count("num_workers", num_workers)
        self._check_may_start()
        user = self._user()
        own = self.world_size // self.subworld_size
        size = own if user is None else user.workers_per_world
        if num_workers % size:
            raise ConfigError(
                f"cannot add {num_workers} workers: {size} share a world "
                f"(workers_per_world={size}), so add a multiple of {size}"
            )
        if user is not None:
            user.grow(num_workers // size)
            return
        for _ in range(num_workers // size):
            self.start_world()

    def remove_workers(
        self, workers: int | Sequence[int], *, drain: bool = True
    ) -> None:
        """Let workers go; the worlds that they fill end.

        Parameters
        ----------
        workers
            How many, the latest first; or the indices of those.
        drain
            Whether they finish what they run; they get nothing more in any case.
            Otherwise they end now, and what they ran is run again elsewhere. With an
            environment, returns at once in both cases.

        Raises
        ------
        ConfigError
            If there are no such workers, if others share a world with them, or if none
            would be left.
        """
        slots = self._slots()
        leaving = self._chosen(workers, slots)
        if len(leaving) == len(slots):
            raise ConfigError(
                f"cannot remove all {len(slots)} workers; stop() ends the cluster"
            )
        by_world: dict[str, set[int]] = defaultdict(set)
        for slot, world in slots.items():
            by_world[world].add(slot)
        for world in {slots[slot] for slot in leaving}:
            if world and not by_world[world] <= set(leaving):
                raise ConfigError(
                    f"workers {sorted(by_world[world])} share world {world} and leave "
                    f"together; remove all of them or none"
                )
        user = self._user()
        if user is not None:
            user.shrink(leaving, drain=drain)
            return
        for world in {slots[slot] for slot in leaving}:
            self.stop_world(world)

    def restart_worker(self, worker: int) -> None:
        """End a worker's world by force and start another in its place.

        Calls that it ran are run again. With an environment, returns at once.

        Parameters
        ----------
        worker
            Its index.
        """
        self._check_may_start()
        slots = self._slots()
        (chosen,) = self._chosen([worker], slots)
        user = self._user()
        if user is not None:
            user.replace(chosen, "it was restarted on request")
            return
        self.stop_world(slots[chosen], force=True)
        self.start_world()

    def wait_for_workers(self, num_workers: int, timeout: float = 120.0) -> None:
        """Wait until so many workers are ready.

        Parameters
        ----------
        num_workers
            How many.
        timeout
            Seconds to wait.

        Raises
        ------
        PreflightError
            If fewer came in time; says how many, and shows the end of the logs.
        """
        check_count("num_workers", num_workers)
        deadline = time.monotonic() + timeout
        while (ready := self._ready()) < num_workers:
            if time.monotonic() > deadline:
                raise PreflightError(
                    f"Only {ready} of {num_workers} workers came within {timeout:g} s. "
                    f"{self.log_tail()}"
                )
            time.sleep(0.1)

    # Worlds that come by themselves

    def strangers(self) -> dict[str, list[Rank]]:
        """Tell the worlds that have registered and are not in use, by name."""
        found: dict[str, list[Rank]] = defaultdict(list)
        for rank in self._connected().ranks():
            if rank.world not in {*self._members, *self._ended_worlds, *self.launching}:
                found[rank.world].append(rank)
        return dict(found)

    def admit(self, world: str, ranks: Sequence[Rank]) -> None:
        """Use a world that came by itself.

        Raises
        ------
        VersionMismatch
            If it runs other software.
        ConfigError
            If its ranks do not fill workers.
        """
        topology.check_versions(ranks, software())
        topology.workers(ranks, self.subworld_size)
        self._members |= topology.worlds(ranks)
        for user in list(self.users):
            user.welcome(world, self._members[world])

    def refuse_world(self, world: str, reason: str) -> None:
        """Never use a world; one that joined by itself is told why, and ends."""
        self._ended_worlds.add(world)
        try:
            ranks = [r for r in self._connected().ranks() if r.world == world]
        except ClusterLost:
            return
        where = ", ".join(sorted({rank.host for rank in ranks}))
        _log.warning("world %s of %s is not used: %s", world, where, reason)
        refuse(self.client, [rank.engine for rank in ranks], reason)

    # Inside

    def _user(self) -> Any:
        return next(iter(self.users), None)

    def _slots(self) -> dict[int, str]:
        """Tell the worlds of all workers by index; empty of those on their way."""
        user = self._user()
        if user is not None:
            slots: dict[int, str] = user.slots
            return slots
        return {place.index: place.world for place in self.workers}

    def _ready(self) -> int:
        user = self._user()
        return self._count() if user is None else len(user.places)

    def _count(self) -> int:
        """Count the workers, also those on their way to an environment."""
        user = self._user()
        if user is not None:
            return len(user.slots)
        return len(self.ranks()) // self.subworld_size

    def _chosen(self, workers: int | Sequence[int], slots: dict[int, str]) -> list[int]:
        if isinstance(workers, int):
            check_count("workers", workers)
            if workers > len(slots):
                raise ConfigError(
                    f"cannot remove {workers} workers; there are {len(slots)}"
                )
            return sorted(slots)[-workers:]
        chosen = list(dict.fromkeys(workers))
        if unknown := [each for each in chosen if each not in slots]:
            raise ConfigError(f"no worker {unknown[0]}; there are {sorted(slots)}")
        return chosen

    def _check_may_start(self) -> None:
        if not self.starts_worlds:
            raise ConfigError(
                f"{self!r} was started by others, so this process cannot start workers "
                f"for it. Where they are to run: livn-ipp worker --connect FILE"
            )

    @property
    @abstractmethod
    def world_size(self) -> int:
        """Ranks of each world that it starts."""

    @property
    @abstractmethod
    def starts_worlds(self) -> bool:
        """Whether it can start further worlds."""

    @abstractmethod
    def start_world(self) -> str:
        """Start one more world and wait for its ranks."""

    @abstractmethod
    def stop_world(self, name: str, *, force: bool = False) -> None:
        """End one world."""

    @abstractmethod
    def log_tail(self, world: str | None = None, lines: int = 30) -> str:
        """Read the end of the logs."""
