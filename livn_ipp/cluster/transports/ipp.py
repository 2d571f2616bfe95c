"""The transport over ipyparallel engines: targeted messages with our own bytes."""

import contextlib
import faulthandler
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ipyparallel.engine.datapub import publish_data
from ipyparallel.serialize import deserialize_object

from livn_ipp.cluster import topology, wire, worker
from livn_ipp.cluster.causes import log_descriptor
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.cluster.memory import memory_error
from livn_ipp.cluster.shared import Inbox, offer
from livn_ipp.cluster.supervisor import Supervisor
from livn_ipp.cluster.transports.seats import (
    HubQuestion,
    Seat,
    Seating,
    differing,
    registered,
)
from livn_ipp.errors import ClusterLost, WorkerMemoryError

__all__ = ["IppTransport"]

_PATIENCE = 10.0  # s, for engines to leave what they do
_DUMP = 0.2  # s, for hung ranks to write down their stacks


class IppTransport:
    """Reaches workers as groups of ipyparallel engines.

    Every rank of a worker is sent each parcel, and each sends a reply; the leader's
    carries the answers.

    Parameters
    ----------
    cluster
        The engines, as a :class:`livn_ipp.cluster.launch.Cluster`.
    subworld_size
        Ranks per worker.
    timeout
        Seconds that building the environments may take.
    """

    name = "ipp"

    def __init__(
        self, cluster: Any, subworld_size: int, timeout: float = 300.0
    ) -> None:
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
        self._question: HubQuestion | None = None
        self._inbox: Inbox | None = None
        self.bytes_sent = 0

    @property
    def places(self) -> tuple[topology.WorkerPlace, ...]:
        """Where each worker runs."""
        return tuple(seat.place for _, seat in sorted(self._seats.items()))

    def start(self, factory: Any, listener: Listener) -> tuple[int, ...]:
        """Partition the worlds and build an environment on every rank."""
        self._listener = listener
        ranks = self._cluster.ranks()
        places = topology.workers(ranks, self._subworld_size)
        self._client = self._cluster.connect()
        self._question = HubQuestion(self._client)
        self._client._registration_callbacks.append(self._registered)  # noqa: SLF001 - the
        # only way to hear of an engine's end; wait_for_engines uses it too.
        self._inbox = Inbox()
        self._seating = Seating(
            self._client,
            _BOOT,
            factory,
            self._subworld_size,
            listener.limits,
            self._timeout,
            self._closing,
        )
        try:
            seats = self._seating.seat(ranks, places)
        except ClusterLost as error:
            for world in dict.fromkeys(place.world for place in places):
                if (excess := self._excess(world)) is not None:
                    raise excess from error
            raise
        for seat in seats:
            self._seats[seat.place.index] = seat
        for world in dict.fromkeys(place.world for place in places):
            self._supervisor.settle(
                world, [place.index for place in places if place.world == world]
            )
        self._supervisor.watch()
        return tuple(self._seats)

    def send(self, worker: int, parcel: int, items: tuple[wire.Item, ...]) -> None:
        """Send a parcel to every rank of a worker."""
        seat = self._seats.get(worker)
        if seat is None:  # lost; the listener hears of it in a moment
            return
        frames = wire.pack((parcel, items, self._inbox.path if self._inbox else ""))
        leader, others = seat.leader, seat.others
        try:
            if not all(registered(self._client, rank) for rank in seat.ranks):
                raise LookupError("it has left the cluster")
            answer = leader.apply_async(_SERVE, *frames)
            self.bytes_sent += wire.size(frames) * (1 + len(others))
            for view in others:
                view.apply_async(_SERVE, *frames)
        except (LookupError, OSError) as error:  # an engine that is known to be gone
            self._lose(seat, f"an engine is gone ({error!r})")
            return
        answer._children[0].iopub_callbacks.append(  # noqa: SLF001 - as stream_output does
            lambda message: self._published(seat, message)
        )
        answer.add_done_callback(lambda done: self._answered(seat, done))
        self._forget_history(leader, *others)

    def help(self, _done: Callable[[], bool], _timeout: float | None) -> None:
        """Return at once: replies are read on a thread of their own."""

    def stop_call(self, worker: int, _call: int) -> None:
        """Raise the leader's stop flag; the ranks vote on it at the next chunk end."""
        if seat := self._seats.get(worker):
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

    def close(self) -> None:
        """Give the environments back where engines live on, and disconnect."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._supervisor.close()
        if self._inbox is not None:
            self._inbox.close()
        client, self._client = self._client, None
        if client is None:
            return
        if not self._cluster.owned:
            with contextlib.suppress(Exception):
                self._clear_engines(client)
        client.close()

    # What the supervisor asks for and tells, on its own threads

    def take_in(self, world: str, slots: Sequence[int]) -> None:
        """Build environments on the ranks of a world."""
        assert self._seating is not None
        ranks = [rank for rank in self._cluster.ranks() if rank.world == world]
        places = topology.workers(ranks, self._subworld_size)
        taken = [replace(p, index=slot) for p, slot in zip(places, slots, strict=True)]
        seats = self._seating.seat(ranks, taken)
        self._ready[world] = {seat.place.index: seat for seat in seats}

    def joined(self, world: str, slots: Sequence[int]) -> None:
        """Use a world's workers from now on."""
        seats = self._ready.pop(world)
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
        for slot in slots:
            seat = self._seats.get(slot)
            if seat is not None and seat.place.world == world:
                del self._seats[slot]
            error = excess if excess is not None and excess.worker == slot else None
            self._told().lost(slot, reason, replaced=replaced, error=error)

    def abandoned(self, slots: Sequence[int], reason: str) -> None:
        """Tell that nobody will fill these slots."""
        for slot in slots:
            self._told().abandoned(slot, reason)

    def collapsed(self, reason: str) -> None:
        """Forget every worker."""
        reason = f"cluster {self._cluster.cluster_id} is gone: {reason}"
        for slot in list(self._seats):
            del self._seats[slot]
            self._told().lost(slot, reason)

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
        return self._question is None or self._question.answered()

    # Inside

    def _told(self) -> Listener:
        assert self._listener is not None
        return self._listener

    def _signal(self, number: int, rank: topology.Rank) -> bool:
        """Send a signal; False if the rank is known to be gone."""
        with contextlib.suppress(Exception):
            if registered(self._client, rank):
                self._client.send_signal(number, targets=[rank.engine], block=False)
                return True
        return False

    def _clear_engines(self, client: Any) -> None:
        """Close the environments of engines that live on, whatever they are doing."""
        leaders = [place.engines[0] for place in self.places]
        engines = [engine for place in self.places for engine in place.engines]
        closed = client[engines].apply_async(_CLOSE)
        deadline = time.monotonic() + _PATIENCE
        while not closed.ready() and time.monotonic() < deadline:
            # One stop for each call that was sent ahead.
            client.send_signal(signal.SIGUSR1, targets=leaders, block=False)
            closed.wait(0.2)

    def _excess(
        self, world: str, slots: Sequence[int] = ()
    ) -> WorkerMemoryError | None:
        """Tell whether a world ended because a rank used too much memory."""
        for words in self._cluster.last_words(world):
            if words["kind"] == "memory":
                seats = [self._seats[slot] for slot in slots if slot in self._seats]
                whose = [
                    seat.place.index
                    for seat in seats
                    if words["rank"] in [rank.rank for rank in seat.ranks]
                ]
                return memory_error(words, whose[0] if whose else None)
        return None

    def _answered(self, seat: Seat, answer: Any) -> None:
        assert self._inbox is not None
        try:
            frames = self._inbox.take(answer.get(timeout=0))
        except Exception as error:
            self._lose(seat, str(error).splitlines()[0] if str(error) else repr(error))
            return
        if seat is self._seats.get(seat.place.index):
            self._told().replied(seat.place.index, wire.unpack(frames))

    def _published(self, seat: Seat, message: dict[str, Any]) -> None:
        index = seat.place.index
        if message["header"][
            "msg_type"
        ] != "data_message" or seat is not self._seats.get(index):
            return
        data, _ = deserialize_object(message["buffers"])
        if "livn_ipp" in data:
            self._told().progressed(index, wire.unpack(data["livn_ipp"]))

    def _registered(self, event: dict[str, Any]) -> None:
        if event.get("event") != "unregister" or self._seating is None:
            return
        if rank := self._seating.known.get(str(event.get("uuid"))):
            reason = f"rank {rank.rank} on {rank.host} ended or does not answer"
            self._supervisor.lost(rank.world, reason)

    def _lose(self, seat: Seat, reason: str) -> None:
        if not self._closing.is_set():
            self._supervisor.lost(seat.place.world, reason)

    def _forget(self, seat: Seat) -> None:
        self._seats.pop(seat.place.index, None)

    def _forget_history(self, *views: Any) -> None:
        if len(self._client.history) > 1000:
            self._client.history.clear()
            for view in views:
                view.history.clear()


class _Serve:
    """Runs on an engine; pickled by name, which is short."""

    def __call__(self, *frames: Any) -> Any:
        parcel, items, inbox = wire.unpack(frames)
        held = worker.current()
        answers = held.serve(list(items))
        if held.subworld.rank != 0:
            return ()
        reply = wire.Reply(parcel, answers, held.telemetry.last_words())
        return offer(wire.pack(reply), inbox)


class _Boot:
    """Runs on an engine: builds its share of a worker and names it for ``%%px``."""

    def __call__(self, *frames: Any) -> Any:
        from IPython import get_ipython
        from mpi4py import MPI

        paths, subworld_size, content, fingerprint, limits = wire.unpack(frames)
        sys.path.extend(path for path in paths if path not in sys.path)
        # Written by a signal handler in C, whoever holds the interpreter.
        faulthandler.register(signal.SIGUSR2, file=log_descriptor(), all_threads=True)
        factory = wire.loads(content)
        differences = _compare(MPI, factory, fingerprint)
        if differences:
            return wire.pack(wire.dumps(([], differences)))
        failures = worker.boot(factory, MPI.COMM_WORLD, subworld_size, limits)
        if not failures:
            held = worker.current()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGUSR1, lambda *_: held.subworld.request_stop())
            if held.subworld.rank == 0:
                held.telemetry.publish = _publish
            names = {
                "env": held.env,
                "comm": held.subworld.comm,
                "world": MPI.COMM_WORLD,
            }
            get_ipython().user_ns.update(names | factory.namespace(held.env))
        return wire.pack(wire.dumps((failures, [])))


def _compare(mpi: Any, factory: Any, fingerprint: dict[str, str]) -> list[str]:
    """Compare what one rank of each host reads with the controller's; collective."""
    if not fingerprint:
        return []
    on_host = mpi.COMM_WORLD.Split_type(mpi.COMM_TYPE_SHARED)
    found: list[str] = []
    if on_host.rank == 0:
        try:
            theirs = factory.fingerprint()
        except Exception as error:
            problem = f"unreadable ({type(error).__name__}: {error})"
            theirs = dict.fromkeys(fingerprint, problem)
        found = differing(fingerprint, theirs, platform.node())
    on_host.Free()
    return [item for items in mpi.COMM_WORLD.allgather(found) for item in items]


def _publish(progress: wire.Progress) -> None:
    publish_data({"livn_ipp": [bytes(frame) for frame in wire.pack(progress)]})
    # The thread that sends it needs the interpreter, which a simulation holds.
    time.sleep(0.0005)


class _Close:
    """Runs on an engine that outlives its environment."""

    def __call__(self) -> None:
        worker.close()


_SERVE, _BOOT, _CLOSE = _Serve(), _Boot(), _Close()
