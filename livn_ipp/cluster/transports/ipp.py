"""The transport over ipyparallel engines: targeted messages with our own bytes."""

import contextlib
import platform
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any

from ipyparallel.serialize import deserialize_object

from livn_ipp.cluster import topology, wire
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.cluster.keeping.journal import Past
from livn_ipp.cluster.keeping.shared import Inbox
from livn_ipp.cluster.keeping.succession import Refused, Turn
from livn_ipp.cluster.machine.departure import failure_error
from livn_ipp.cluster.machine.memory import memory_error
from livn_ipp.cluster.machine.preflight import warn_of_memory
from livn_ipp.cluster.starting.supervisor import Supervisor
from livn_ipp.cluster.transports.engaged import Engaged
from livn_ipp.cluster.transports.engine import BOOT, CLOSE, SERVE
from livn_ipp.cluster.transports.growth import ComingAndGoing
from livn_ipp.cluster.transports.handover import (
    Handover,
    check_alone,
)
from livn_ipp.cluster.transports.hub import Hub
from livn_ipp.cluster.transports.seats import (
    Seat,
    Seating,
    ignore_late_replies,
    registered,
)
from livn_ipp.cluster.transports.takeover import TakeOver
from livn_ipp.errors import CallError, ClusterLost, LivnError

__all__ = ["IppTransport"]

_SILENCE = 15.0  # s, of a controller on this machine
_OUTAGE = 60.0  # s, of one that may be elsewhere
_DUMP = 0.2  # s, for hung ranks to write down their stacks


class IppTransport(ComingAndGoing, TakeOver, Engaged):
    """Reaches workers as groups of ipyparallel engines.

    Every rank of a worker is sent each parcel, and each sends a reply; the leader's
    carries the answers. The steps of a session go over a channel of their own.

    Parameters
    ----------
    cluster
        The engines, as a :class:`livn_ipp.cluster.launch.Cluster`.
    subworld_size
        Ranks per worker.
    timeout
        Seconds that building the environments may take.
    past
        What a former kernel wrote down: its workers are taken over as they are.
    takeover
        Whether another process that controls the workers is to lose them.
    """

    name = "ipp"

    def __init__(
        self,
        cluster: Any,
        subworld_size: int,
        timeout: float = 300.0,
        *,
        past: Past | None = None,
        takeover: bool = False,
    ) -> None:
        TakeOver.__init__(self, past)
        ComingAndGoing.__init__(self)
        Engaged.__init__(self)
        self._cluster = cluster
        self._timeout = timeout
        self._subworld_size = subworld_size
        self._client: Any = None
        self._listener: Listener | None = None
        self._seating: Seating | None = None
        self._supervisor = Supervisor(cluster, self)
        self._seats: dict[int, Seat] = {}
        self._ready: dict[str, dict[int, Seat]] = {}
        self._closing = threading.Event()
        self._hub: Hub | None = None
        self._inbox: Inbox | None = None
        self._takeover = takeover
        self._signals: set[Future[Any]] = set()
        """Those on their way."""
        self.bytes_sent = 0

    @property
    def places(self) -> tuple[topology.WorkerPlace, ...]:
        """Where each worker runs."""
        return tuple(seat.place for _, seat in sorted(self._seats.items()))

    @property
    def ranks(self) -> dict[int, tuple[topology.Rank, ...]]:
        """The ranks of each worker by index; the first is the leader."""
        return {index: seat.ranks for index, seat in sorted(self._seats.items())}

    def start(self, factory: Any, listener: Listener) -> tuple[int, ...]:
        """Partition the worlds and build an environment on every rank, or find it."""
        self._listener = listener
        ranks = self._cluster.ranks()
        places = topology.workers(ranks, self._subworld_size)
        if self._cluster.outlives:
            check_alone(self._cluster.journal, self._past, takeover=self._takeover)
            new = Past(self._subworld_size, wire.dumps(factory))
            self._handover = Handover(self._cluster.journal, self._past or new)
        self._client = self._cluster.connect()
        ignore_late_replies(self._client)
        self._hub = Hub(self._client, _SILENCE if self._cluster.owned else _OUTAGE)
        self._client._registration_callbacks.append(self._registered)  # noqa: SLF001 - the
        # only way to hear of an engine's end; wait_for_engines uses it too.
        if (limit := listener.limits.memory_limit) is not None:
            here = platform.node()
            warn_of_memory(limit, sum(rank.host == here for rank in ranks))
        self._inbox = Inbox()
        self._seating = Seating(
            self._client,
            BOOT,
            factory,
            self._subworld_size,
            listener.limits,
            self._timeout,
            self._closing,
            None if self._handover is None else self._handover.epoch,
        )
        self._welcomed |= {place.world for place in places}
        if self._past is not None:
            self._take_over(self._past, ranks)
            self._open()
            return ()
        try:
            seats = self._seating.seat(ranks, places)
        except ClusterLost as error:
            for world in dict.fromkeys(place.world for place in places):
                if (excess := self._excess(world)) is not None:
                    raise excess from error
            raise
        for seat in seats:
            self._seats[seat.place.index] = seat
            listener.joined(seat.place.index)
        for world in dict.fromkeys(place.world for place in places):
            slots = [place.index for place in places if place.world == world]
            self._supervisor.settle(world, slots)
            if self._handover is not None:
                members = [rank for rank in ranks if rank.world == world]
                self._handover.seated(world, slots, members)
        for seat in seats:  # who left a moment ago was not known to the supervisor
            if gone := self._absent(seat):
                self._lose(seat, gone)
        self._open()
        self._supervisor.watch()
        return ()  # told already: one that is lost by now must not join after that

    def send(self, worker: int, parcel: int, items: tuple[wire.Item, ...]) -> None:
        """Send a parcel to every rank of a worker."""
        seat = self._seats.get(worker)
        if seat is None:  # lost; the listener hears of it in a moment
            return
        items = (*self._surplus.pop(seat, ()), *items)
        turn = Turn(0, parcel, -1)
        if self._handover is not None:
            turn = self._handover.turn(seat, parcel, items)
        frames = wire.pack((turn, items, self._inbox.path if self._inbox else ""))
        leader, others = seat.leader, seat.others
        channel = self._channels.get(seat)
        slow = self._slow.setdefault(seat, set())
        try:
            # An answer over the channel must not overtake one that comes otherwise.
            if channel is not None and not slow and channel.send(parcel, frames):
                self.bytes_sent += wire.size(frames)
                return
            if not all(registered(self._client, rank) for rank in seat.ranks):
                raise LookupError("it has left the cluster")
            slow.add(parcel)
            answer = leader.apply_async(SERVE, *frames)
            self.bytes_sent += wire.size(frames) * (1 + len(others))
            for view in others:
                view.apply_async(SERVE, *frames)
        except (LookupError, OSError) as error:  # an engine that is known to be gone
            self._lose(seat, f"an engine is gone ({error!r})")
            return
        answer._children[0].iopub_callbacks.append(  # noqa: SLF001 - as stream_output does
            lambda message: self._published(seat, message)
        )
        answer.add_done_callback(lambda done: self._answered(seat, parcel, done))
        self._forget_history(leader, *others)

    def where(self, worker: int) -> tuple[str, tuple[int, ...]]:
        """Tell the host of a worker and its ranks' process ids."""
        seat = self._seats.get(worker)
        if seat is None:
            return "", ()
        return seat.place.host, tuple(rank.pid for rank in seat.ranks)

    def stop_call(self, worker: int, _call: int) -> None:
        """Raise the leader's stop flag; the ranks vote on it at the next chunk end."""
        if seat := self._seats.get(worker) or self._awaited.get(worker):
            self._signal(signal.SIGUSR1, seat.ranks[0])

    def replace(self, worker: int, reason: str) -> None:
        """End a worker's world by force and start another; returns at once."""
        seat = self._seats.get(worker)
        if seat is None:
            return
        if self._cluster.starts_worlds:
            self._supervisor.lost(seat.place.world, reason, hung=True)
        else:  # the user's engines, of which others may be well, are theirs to end
            self._forget(seat)
            self._told().lost(worker, reason)

    def release(self, worker: int) -> None:
        """Let a worker go that has nothing more to do."""
        if seat := self._seats.get(worker):
            self._forget(seat)
        self._supervisor.remove([worker])

    def configured(self, log: Sequence[wire.Entry]) -> None:
        """Take in that all workers have applied a config log."""
        if self._handover is not None:
            self._handover.configured(log)

    def leave(self) -> None:
        """Disconnect; another kernel finds all as it is, if engines live on."""
        self._leaving = True
        self.close()

    def close(self) -> None:
        """Give the environments back where engines live on, and disconnect."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._supervisor.close()
        self._drop_channels()
        self._hearing.close()
        if self._hub is not None:
            self._hub.close()
        self._cluster.users.discard(self)
        if self._handover is not None:
            self._handover.close(remove=not self._leaving)
        if self._recovered is not None:
            self._recovered.close("the environment was shut down")
        if self._inbox is not None:
            self._inbox.close()
        client, self._client = self._client, None
        if client is None:
            return
        busy: set[str] = set()
        if not self._cluster.ending and not self._leaving:
            with contextlib.suppress(Exception):
                busy = self._clear_engines(client)
        client.close()
        for world in busy if self._cluster.starts_worlds else ():
            with contextlib.suppress(LivnError):
                self._cluster.stop_world(world, force=True)
                self._cluster.start_world()

    # What the supervisor asks for and tells, on its own threads

    def take_in(self, world: str, slots: Sequence[int]) -> None:
        """Build environments on the ranks of a world."""
        assert self._seating is not None
        ranks = self._cluster.members(world) or [
            rank for rank in self._cluster.ranks() if rank.world == world
        ]
        places = topology.workers(ranks, self._subworld_size)
        taken = [replace(p, index=slot) for p, slot in zip(places, slots, strict=True)]
        seats = self._seating.seat(ranks, taken)
        self._ready[world] = {seat.place.index: seat for seat in seats}

    def joined(self, world: str, slots: Sequence[int]) -> None:
        """Use a world's workers from now on."""
        seats = self._ready.pop(world)
        if self._handover is not None:
            members = [rank for slot in seats.values() for rank in slot.ranks]
            self._handover.seated(world, slots, members)
        for slot in slots:
            self._seats[slot] = seats[slot]
            self._told().joined(slot)

    def lost(
        self, world: str, slots: Sequence[int], reason: str, *, replaced: bool
    ) -> None:
        """Forget a world's workers."""
        excess = self._excess(world, slots)
        if self._inbox is not None:
            self._inbox.discard(rank.pid for rank in self._cluster.members(world))
        if self._handover is not None:
            self._handover.seated(world, ())
        for slot in slots:
            self._awaited.pop(slot, None)
            if self._recovered is not None:
                self._recovered.gone(slot, reason)
            seat = self._seats.get(slot)
            if seat is not None and seat.place.world == world:
                self._forget(seat)
            error = excess if excess is not None and excess.worker == slot else None
            self._told().lost(slot, reason, replaced=replaced, error=error)

    def abandoned(self, slots: Sequence[int], reason: str) -> None:
        """Tell that nobody will fill these slots."""
        for slot in slots:
            self._told().abandoned(slot, reason)

    def collapsed(self, reason: str) -> None:
        """Forget every worker."""
        self._drop_channels()
        self._seats.clear()
        self._awaited.clear()
        if self._recovered is not None:
            self._recovered.close(reason)
        name = self._cluster.cluster_id or "(default)"
        self._told().collapsed(f"cluster {name} is gone: {reason}")

    def strike(self, world: str, *, hung: bool) -> set[int]:
        """Kill a world's ranks through their nannies, wherever they run."""
        ranks = self._cluster.members(world)
        if hung:
            for rank in ranks:
                self._signal(signal.SIGUSR2, rank)
            self._closing.wait(_DUMP)
        return {r.rank for r in ranks if self._signal(signal.SIGKILL, r)}

    def answers(self) -> bool:
        """Tell whether the hub answers questions."""
        return self._hub is None or self._hub.answers()

    # Inside

    def _told(self) -> Listener:
        assert self._listener is not None
        return self._listener

    def _signal(self, number: int, rank: topology.Rank) -> bool:
        """Send a signal; False if the rank is known to be gone."""
        with contextlib.suppress(Exception):
            if registered(self._client, rank):
                self._send(self._client, number, [rank.engine])
                return True
        return False

    def _send(self, client: Any, number: int, engines: Sequence[int]) -> None:
        sent = client.send_signal(number, targets=list(engines), block=False)
        self._signals.add(sent)
        sent.add_done_callback(self._signals.discard)

    def _clear_engines(self, client: Any) -> set[str]:
        """Close the environments of engines that live on, whatever they are doing.

        Returns
        -------
        set of str
            The worlds whose engines do not come free.
        """
        epoch = None if self._handover is None else self._handover.epoch
        closed = {
            place: client[list(place.engines)].apply_async(CLOSE, epoch)
            for place in self.places
        }
        deadline = time.monotonic() + self._told().limits.grace
        while busy := [p for p, answer in closed.items() if not answer.ready()]:
            if time.monotonic() > deadline:
                break
            # One stop for each parcel that was sent ahead.
            self._send(client, signal.SIGUSR1, [place.engines[0] for place in busy])
            closed[busy[0]].wait(0.1)
        # One that comes late would stop a call of who uses the engines next.
        wait(list(self._signals), self._told().limits.grace)
        return {place.world for place in busy}

    def _excess(self, world: str, slots: Sequence[int] = ()) -> CallError | None:
        """Tell whether a rank ended its world, as for using too much memory."""
        makers = {"memory": memory_error, "failed": failure_error}
        for words in self._cluster.last_words(world):
            if words["kind"] in makers:
                seats = [self._seats[slot] for slot in slots if slot in self._seats]
                whose = [
                    seat.place.index
                    for seat in seats
                    if words["rank"] in [rank.rank for rank in seat.ranks]
                ]
                return makers[words["kind"]](words, whose[0] if whose else None)
        return None

    def _answered(self, seat: Seat, parcel: int, answer: Any) -> None:
        assert self._inbox is not None
        try:
            frames = self._inbox.take(answer.get(timeout=0))
        except Exception as error:
            self._lose(seat, self._absent(seat) or repr(error))
            return
        try:
            self._received(seat, wire.unpack(frames))
        finally:
            self._slow.get(seat, set()).discard(parcel)

    def _received(self, seat: Seat, reply: Any) -> None:
        if seat is not self._seats.get(seat.place.index):
            return
        if isinstance(reply, Refused):
            self._superseded()
            return
        if self._handover is not None:
            self._handover.received(seat, reply.parcel)
        self._told().replied(seat.place.index, reply)

    def _published(self, seat: Seat, message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] != "data_message":
            return
        data, _ = deserialize_object(message["buffers"])
        if "livn_ipp" in data:
            self._progressed(seat, wire.unpack(data["livn_ipp"]))

    def _progressed(self, seat: Seat, progress: wire.Progress) -> None:
        if seat is self._seats.get(seat.place.index):
            self._told().progressed(seat.place.index, progress)

    def _registered(self, event: dict[str, Any]) -> None:
        if event.get("event") != "unregister" or self._seating is None:
            return
        if rank := self._seating.known.get(str(event.get("uuid"))):
            self._supervisor.lost(rank.world, _gone(rank))

    def _absent(self, seat: Seat) -> str:
        """Tell which rank has left the cluster, if one has."""
        return next(
            (_gone(r) for r in seat.ranks if not registered(self._client, r)), ""
        )

    def _lose(self, seat: Seat, reason: str) -> None:
        if not self._closing.is_set():
            self._supervisor.lost(seat.place.world, reason)

    def _forget(self, seat: Seat) -> None:
        self._seats.pop(seat.place.index, None)
        self._slow.pop(seat, None)
        self._drop_channel(seat)

    def _forget_history(self, *views: Any) -> None:
        for each in (self._client, *views):
            if each is not None:  # disconnected meanwhile
                each.history.clear()


def _gone(rank: topology.Rank) -> str:
    return f"rank {rank.rank} on {rank.host} ended or does not answer"
