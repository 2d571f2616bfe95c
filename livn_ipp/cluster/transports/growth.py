"""Worlds that come and go while a transport uses them."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from livn_ipp.cluster import topology
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.cluster.starting.supervisor import Supervisor
from livn_ipp.cluster.transports.seats import Seat

__all__ = ["ComingAndGoing"]


class ComingAndGoing(ABC):
    """The part of a transport that takes worlds in and lets them go."""

    _cluster: Any
    _supervisor: Supervisor
    _seats: dict[int, Seat]
    _subworld_size: int

    def __init__(self) -> None:
        self._welcomed: set[str] = set()
        self._arriving = threading.Lock()

    def _open(self) -> None:
        """Use worlds that come from now on, and those that came meanwhile."""
        self._cluster.users.add(self)
        for world, ranks in self._cluster.worlds.items():
            self.welcome(world, ranks)

    def welcome(self, world: str, ranks: Sequence[topology.Rank]) -> None:
        """Use a world that came by itself; does nothing if it is known."""
        with self._arriving:
            if world in self._welcomed:
                return
            self._welcomed.add(world)
        self._admit(world, ranks)

    def _admit(self, world: str, ranks: Sequence[topology.Rank]) -> None:
        workers = len(topology.workers(ranks, self._subworld_size))
        guest = not self._cluster.started(world)
        for slot in self._supervisor.welcome(world, workers, guest=guest):
            self._told().expecting(slot)

    @property
    def workers_per_world(self) -> int:
        """Workers of each world that is started."""
        return int(self._cluster.world_size // self._subworld_size)

    @property
    def slots(self) -> dict[int, str]:
        """The worlds of all workers by index; empty of those on their way."""
        return self._supervisor.slots

    def shrink(self, slots: Sequence[int], *, drain: bool) -> None:
        """Let workers go, at once or when they have finished what they run."""
        if drain:
            # Those that are on their way have nothing to finish. Idle ones leave as
            # they are told to, so this must be known before.
            coming = [slot for slot in slots if slot not in self._seats]
            self._told().drain(*slots)
            slots = coming
        for slot in slots:
            if seat := self._seats.get(slot):
                self._forget(seat)
        self._supervisor.remove(slots)
        for slot in slots:
            self._told().lost(slot, "it was removed on request")

    def grow(self, worlds: int) -> None:
        """Start further worlds; their workers join when they are ready."""
        for _ in range(worlds):
            for slot in self._supervisor.add(self.workers_per_world):
                self._told().expecting(slot)

    @abstractmethod
    def _forget(self, seat: Seat) -> None:
        """Use a worker no more."""

    @abstractmethod
    def _told(self) -> Listener:
        """Return who hears what happens."""
