"""Taking over what a former kernel left on its workers."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from livn_ipp.cluster import topology, wire
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.keeping.journal import Past
from livn_ipp.cluster.keeping.recovered import Recovered
from livn_ipp.cluster.keeping.results import Results
from livn_ipp.cluster.keeping.shared import Inbox
from livn_ipp.cluster.keeping.succession import Found
from livn_ipp.cluster.starting.supervisor import Supervisor
from livn_ipp.cluster.transports.engine import SUCCEED
from livn_ipp.cluster.transports.handover import Handover, agreed_version
from livn_ipp.cluster.transports.seats import Seat, Seating

__all__ = ["TakeOver"]

_ALONE: Final = 60.0  # s, for a leader to end what the other ranks have ended


class TakeOver(ABC):
    """The part of a transport that goes on where another kernel ended.

    Parameters
    ----------
    past
        What that kernel wrote down, if there was one.
    """

    _cluster: Any
    _supervisor: Supervisor
    _seating: Seating | None
    _inbox: Inbox | None
    _seats: dict[int, Seat]
    _subworld_size: int

    def __init__(self, past: Past | None) -> None:
        self._past = past
        self._handover: Handover | None = None
        self._recovered: Recovered | None = None
        self._awaited: dict[int, Seat] = {}
        self._surplus: dict[Seat, list[wire.Item]] = {}
        self._leaving = False

    @property
    def recovered(self) -> dict[int, CallFuture]:
        """Futures of the calls that a former kernel had handed out, by their ids."""
        return {} if self._recovered is None else dict(self._recovered.futures)

    def _take_over(self, past: Past, ranks: Sequence[topology.Rank]) -> None:
        """Ask each leader to obey; it answers once it has done all it was sent."""
        assert self._seating is not None
        results = Results(self._told().limits.result_memory)
        self._recovered = Recovered(past.sent.values(), self.stop_call, results)
        here = topology.worlds(ranks)
        for world, slots in list(past.worlds.items()):
            for slot in slots:
                self._told().expecting(slot)
            self._supervisor.settle(world, slots)
            if world not in here:
                self._supervisor.lost(world, "it ended while no kernel was there")
                continue
            places = topology.workers(here[world], self._subworld_size)
            taken = [replace(p, index=i) for p, i in zip(places, slots, strict=True)]
            for seat in self._seating.find(here[world], taken):
                self._awaited[seat.place.index] = seat
                self._ask_to_obey(seat)
        for world in here.keys() - past.worlds.keys():
            self._admit(world, here[world])
        self._supervisor.watch()

    def _ask_to_obey(self, seat: Seat) -> None:
        assert self._handover is not None
        assert self._inbox is not None
        answers = [
            view.apply_async(SUCCEED, self._handover.epoch, self._inbox.path)
            for view in (seat.leader, *seat.others)
        ]
        answers[0].add_done_callback(lambda done: self._obeys(seat, done))
        # A kernel that was killed while it sent a parcel may have reached the leader
        # only, which waits for the others then: they answer, and it does not.
        for answer in answers[1:]:
            answer.add_done_callback(lambda _: self._expect_to_obey(seat))

    def _expect_to_obey(self, seat: Seat) -> None:
        def give_up() -> None:
            if self._awaited.get(seat.place.index) is seat:
                why = "its leader waits for what the former kernel did not send"
                self._supervisor.lost(seat.place.world, why, hung=True)

        timer = threading.Timer(_ALONE, give_up)
        timer.daemon = True
        timer.start()

    def _obeys(self, seat: Seat, answer: Any) -> None:
        assert self._handover is not None
        assert self._inbox is not None
        slot = seat.place.index
        if self._awaited.get(slot) is not seat or self._recovered is None:
            return
        try:
            found: Found = wire.unpack(self._inbox.take(answer.get(timeout=0)))
        except Exception as error:
            self._lose(seat, f"it could not be taken over: {error}")
            return
        self._recovered.found(slot, found.replies.values())
        self._handover.recovered(slot)
        version = agreed_version(found, self._past.log if self._past else ())
        if version is None:
            self._lose(seat, "its former kernel ended while it was configured")
            return
        self._surplus[seat] = [wire.Forget(each) for each in found.pipelines]
        del self._awaited[slot]
        self._seats[slot] = seat
        self._told().joined(slot, version)

    def _superseded(self) -> None:
        """Leave the workers to another process, which has taken them over."""
        self._supervisor.stand_down()
        self._cluster.disown()
        self._leaving = True
        self._seats.clear()
        self._told().collapsed("another controller took over the workers")

    @abstractmethod
    def stop_call(self, worker: int, call: int) -> None:
        """Ask a worker to stop what it runs."""

    @abstractmethod
    def _admit(self, world: str, ranks: Sequence[topology.Rank]) -> None:
        """Use a world that nobody uses."""

    @abstractmethod
    def _lose(self, seat: Seat, reason: str) -> None:
        """Give a worker up."""

    @abstractmethod
    def _told(self) -> Listener:
        """Return who hears what happens."""
