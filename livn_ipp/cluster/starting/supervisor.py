"""Keeps every slot of a cluster filled: ends lost worlds and starts others, on threads.

All that blocks is done here, so that neither calls nor other worlds ever wait for a
world that ends or starts. What to do is decided by `fleet`.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from livn_ipp.cluster.control.fleet import Abandon, End, Fleet, Order, Retire, Start
from livn_ipp.errors import ClusterLost, LivnError, VersionMismatch

__all__ = ["Crew", "Supervisor"]

_TICK: Final = 0.2  # s, between looks at the processes of worlds
_LOOK_AT_CONTROLLER: Final = 1.0  # s
_NOTE: Final = 0.1  # s, for a launcher to note which rank ended first
_CAUSE: Final = 2.0  # s, for it to tell, once the other ranks were killed
_CLOSE: Final = 8.0  # s
_MISSES: Final = 3
"""Looks in a row at a controller elsewhere that have to fail."""


class Crew(Protocol):
    """Makes workers of worlds; told what becomes of them, from several threads."""

    def take_in(self, world: str, slots: Sequence[int]) -> None:
        """Make the ranks of a world the workers of these slots; blocks, and raises."""

    def joined(self, world: str, slots: Sequence[int]) -> None:
        """Hear that the workers of these slots are in use from now on."""

    def lost(
        self, world: str, slots: Sequence[int], reason: str, *, replaced: bool
    ) -> None:
        """Hear that a world ended and whether another is on its way."""

    def strike(self, world: str, *, hung: bool) -> set[int]:
        """Kill the ranks of a world that still seem to live; return which these are.

        Hung ones write down their stacks first.
        """

    def abandoned(self, slots: Sequence[int], reason: str) -> None:
        """Hear that nobody will fill these slots."""

    def collapsed(self, reason: str) -> None:
        """Hear that the cluster is gone, and every worker with it."""

    def answers(self) -> bool:
        """Tell whether the controller answers questions."""


class Supervisor:
    """Watches the worlds of a cluster and replaces those that are lost.

    Parameters
    ----------
    cluster
        A running :class:`livn_ipp.cluster.launch.Cluster`. Worlds that it did not
        start are not replaced.
    crew
        Who uses the worlds.
    """

    def __init__(self, cluster: Any, crew: Crew) -> None:
        self._cluster = cluster
        self._crew = crew
        self._fleet = Fleet()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._turns: dict[int, threading.Lock] = {}
        self._starting: set[str] = set()
        self._guests: set[str] = set()
        self._stillborn: set[str] = set()

    @property
    def worlds(self) -> dict[str, tuple[int, ...]]:
        """The worlds in use, and the slots that each fills."""
        with self._lock:
            return self._fleet.worlds

    @property
    def slots(self) -> dict[int, str]:
        """The world that fills each slot; empty for those that one is on its way to."""
        with self._lock:
            filled = {s: w for w, slots in self._fleet.worlds.items() for s in slots}
            return filled | dict.fromkeys(self._fleet.expected, "")

    def settle(self, world: str, slots: Sequence[int]) -> None:
        """Take in a world whose workers are ready."""
        with self._lock:
            self._fleet.settle(world, slots, time.monotonic())

    def watch(self) -> None:
        """Begin to look after the worlds."""
        self._spawn("livn_ipp supervisor", self._watch)

    def lost(self, world: str, reason: str = "", *, hung: bool = False) -> None:
        """Give a world up; returns at once, may be called again and from any thread.

        Parameters
        ----------
        world
            Its name.
        reason
            What was noticed; why it happened is found out.
        hung
            Whether it still runs and is to leave its ranks' stacks in its log.
        """
        with self._lock:
            if self._closing.is_set():
                return
            if world in self._starting:
                self._stillborn.add(world)
                return
            slots = self._fleet.worlds.get(world)
            if slots is None:
                return
            if self._cluster.starts_worlds and world not in self._guests:
                orders = self._fleet.lost(world, time.monotonic())
            else:
                orders = []
                self._fleet.remove(slots)
        self._spawn(
            f"livn_ipp replaces {world}",
            lambda: self._recover(world, slots, reason, hung, orders),
        )

    def add(self, workers: int) -> tuple[int, ...]:
        """Start one more world; returns the slots of its workers at once."""
        with self._lock:
            orders = self._fleet.add(workers, time.monotonic())
        self._spawn("livn_ipp starts a world", lambda: self._begin(orders))
        return tuple(slot for o in orders if isinstance(o, Start) for slot in o.slots)

    def welcome(
        self, world: str, workers: int, *, guest: bool = True
    ) -> tuple[int, ...]:
        """Use a world that was not ordered; returns at once.

        Parameters
        ----------
        world
            Its name; it is complete.
        workers
            How many slots it fills.
        guest
            Whether it came from elsewhere: if it is lost, that is for good.

        Returns
        -------
        tuple of int
            The slots of its workers.
        """
        with self._lock:
            if guest:
                self._guests.add(world)
            self._starting.add(world)
            orders = self._fleet.add(workers, time.monotonic())
        order = next(order for order in orders if isinstance(order, Start))
        self._spawn("livn_ipp takes a world in", lambda: self._admit(order, world))
        return order.slots

    def stand_down(self) -> None:
        """Leave the worlds to another process."""
        self._closing.set()

    def remove(self, slots: Sequence[int]) -> None:
        """Let workers go; a world ends with its last one. Returns at once."""
        with self._lock:
            orders = self._fleet.remove(slots)
        if self._cluster.starts_worlds:
            self._spawn("livn_ipp ends a world", lambda: self._carry_out(orders))

    def close(self) -> None:
        """Stop watching, and end worlds that are just being started; idempotent."""
        with self._lock:
            self._closing.set()
            starting = tuple(self._starting)
        for world in starting:
            self._end(world)
        deadline = time.monotonic() + _CLOSE
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    # On the supervisor's own threads

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _watch(self) -> None:
        looked, missed = time.monotonic(), 0
        while not self._closing.wait(_TICK):
            for world in self.worlds:
                if self._cluster.exit_code(world) is not None:
                    self.lost(world)
            if time.monotonic() - looked < _LOOK_AT_CONTROLLER:
                continue
            looked = time.monotonic()
            missed = 0 if self._cluster.alive else missed + 1
            if missed >= (1 if self._cluster.owned else _MISSES):
                self._collapse("its controller ended, or it was stopped")
            elif not self._crew.answers():
                self._collapse("its controller does not answer")

    def _collapse(self, reason: str) -> None:
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        self._crew.collapsed(reason)
        if self._cluster.owned:
            self._cluster.stop()

    def _recover(
        self,
        world: str,
        slots: tuple[int, ...],
        reason: str,
        hung: bool,
        orders: list[Order],
    ) -> None:
        with self._turn(slots, orders):
            if hung:
                self._crew.strike(world, hung=True)
            else:
                reason = self._cause(world) or reason
            if self._cluster.owned and not self._cluster.alive:
                return  # the watch tells it of all worlds at once
            self._crew.lost(world, slots, reason, replaced=bool(orders))
            self._carry_out(orders)

    def _begin(self, orders: Sequence[Order]) -> None:
        with self._turn((), orders):
            self._carry_out(orders)

    def _turn(self, slots: Sequence[int], orders: Sequence[Order]) -> threading.Lock:
        # So that what is told of a slot comes in order: it joined, then it was lost.
        starts = [order.slots[0] for order in orders if isinstance(order, Start)]
        with self._lock:
            return self._turns.setdefault((*starts, *slots)[0], threading.Lock())

    def _cause(self, world: str) -> str:
        if not self._cluster.starts_worlds:
            return ""
        if not (why := self._told_cause(world, _NOTE, set())):
            # The launcher tells once all are gone, and would ask the others politely.
            struck = self._crew.strike(world, hung=False)
            why = self._told_cause(world, _CAUSE, struck)
        return why

    def _told_cause(self, world: str, patience: float, struck: set[int]) -> str:
        deadline = time.monotonic() + patience
        while True:
            ended = self._cluster.exit_code(world) is not None
            why = str(self._cluster.why_ended(world, struck))
            if why or ended or time.monotonic() > deadline or self._closing.wait(0.02):
                return why

    def _carry_out(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case End(world):
                    self._crew.strike(world, hung=False)
                    self._end(world)
                case Start():
                    self._start(order)
                case Abandon(slots, reason):
                    self._crew.abandoned(slots, reason)
                case Retire():
                    pass  # whoever asked for it knows

    def _start(self, order: Start) -> None:
        if self._closing.wait(max(0.0, order.at - time.monotonic())):
            return
        world = ""
        try:
            world = self._cluster.launch_world()
            with self._lock:
                self._starting.add(world)
            self._refuse_if_closing()
            self._cluster.await_world(world)
            self._crew.take_in(world, order.slots)
            orders = self._ready(order.berth, world)
        except Exception as error:
            self._end(world)
            if self._closing.is_set():
                return
            why = str(error) if isinstance(error, LivnError) else repr(error)
            final = isinstance(error, VersionMismatch)
            with self._lock:
                self._starting.discard(world)
                orders = self._fleet.failed(
                    order.berth, why, time.monotonic(), final=final
                )
        else:
            if not orders:
                self._crew.joined(world, self.worlds.get(world, ()))
        self._carry_out(orders)

    def _admit(self, order: Start, world: str) -> None:
        with self._turn((), [order]):
            self._take_in_guest(order, world)

    def _take_in_guest(self, order: Start, world: str) -> None:
        try:
            self._crew.take_in(world, order.slots)
            orders = self._ready(order.berth, world)
        except Exception as error:
            why = str(error) if isinstance(error, LivnError) else repr(error)
            with self._lock:
                self._starting.discard(world)
                orders = self._fleet.failed(
                    order.berth, why, time.monotonic(), final=True
                )
            self._cluster.refuse_world(world, why)
        else:
            if not orders:
                self._crew.joined(world, self.worlds.get(world, ()))
        self._carry_out(orders)

    def _ready(self, berth: int, world: str) -> list[Order]:
        with self._lock:
            self._refuse_if_closing()
            self._starting.discard(world)
            if world in self._stillborn:
                self._stillborn.discard(world)
                raise ClusterLost(f"world {world} ended as soon as it had started")
            return self._fleet.ready(berth, world, time.monotonic())

    def _refuse_if_closing(self) -> None:
        if self._closing.is_set():
            raise ClusterLost("the environment is being closed")

    def _end(self, world: str) -> None:
        with contextlib.suppress(LivnError):  # it is gone already
            self._cluster.stop_world(world, force=True)
