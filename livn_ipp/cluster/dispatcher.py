"""Drives the controller over a transport: here decisions become actions.

Events come from user threads and from the transport's own thread. Each takes the lock,
lets the controller decide, sends, and resolves futures after the lock is given back, so
that a future's callback may submit again.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from livn_ipp.cluster import events, wire
from livn_ipp.cluster.controller import Controller
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.errors import ClusterLost, LivnError

__all__ = ["CallSpec", "Dispatcher", "Listener", "Transport"]


class Listener(Protocol):
    """What a transport tells its dispatcher, from any thread."""

    def replied(self, worker: int, reply: wire.Reply) -> None:
        """Hear that a worker's leader answered a parcel."""

    def lost(self, worker: int, reason: str) -> None:
        """Hear that a worker's processes ended."""

    def progressed(self, worker: int, call: int, time: float) -> None:
        """Hear that a running call reached a biological time (ms)."""


class Transport(Protocol):
    """Carries parcels to workers and replies back."""

    name: str

    def start(self, factory: Any, listener: Listener) -> Sequence[int]:
        """Boot every worker and return their indices; raise if one cannot."""

    def send(self, worker: int, parcel: int, items: tuple[wire.Item, ...], /) -> None:
        """Send a parcel to every rank of a worker; never blocks."""

    def help(self, done: Callable[[], bool], timeout: float | None, /) -> None:
        """Use the thread of a caller who waits, if that speeds replies up."""

    def stop_call(self, worker: int, call: int, /) -> None:
        """Ask a worker to stop what it runs, at its next chunk end."""

    def close(self) -> None:
        """Let the workers go; idempotent."""


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What distinguishes one call of a pipeline from the next."""

    trial: int
    inputs: wire.Frames
    state: wire.Frames | None = None
    options: wire.Frames | None = None
    priority: int = 0
    worker: int | None = None


class Dispatcher:
    """Runs calls and setters on the workers behind a transport.

    Parameters
    ----------
    transport
        How to reach the workers.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._controller = Controller()
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._calls: dict[int, CallFuture] = {}
        self._tickets: dict[int, CallFuture] = {}
        self._events: deque[events.Event] = deque()
        self._handling = False
        self._closed = False

    @property
    def workers(self) -> tuple[int, ...]:
        """Indices of the live workers."""
        return self._controller.workers

    @property
    def unfinished(self) -> int:
        """Number of calls that have not ended."""
        return self._controller.unfinished

    def start(self, factory: Any) -> None:
        """Boot the workers."""
        for worker in self.transport.start(factory, self):
            self._post(events.WorkerJoined(worker))

    def submit(
        self, pipeline: str, content: wire.Frames, calls: Sequence[CallSpec]
    ) -> list[CallFuture]:
        """Submit calls of one pipeline.

        Parameters
        ----------
        pipeline, content
            Digest and pickle of the pair (decoding, encoding).
        calls
            What distinguishes the calls.

        Returns
        -------
        list of CallFuture
            One future for each call, in order.
        """
        futures = [
            CallFuture(next(self._numbers), self.cancel, self.transport.help)
            for _ in calls
        ]
        requests = tuple(
            events.Request(
                future.id,
                pipeline,
                call.trial,
                call.inputs,
                call.state,
                call.options,
                call.priority,
                call.worker,
            )
            for future, call in zip(futures, calls, strict=True)
        )
        with self._lock:
            self._check_open()
            self._calls.update((future.id, future) for future in futures)
        self._post(events.CallsSubmitted(requests, content))
        return futures

    def configure(self, method: str, arguments: wire.Frames) -> CallFuture:
        """Append a setter to the config log; the future ends when all ranks have it."""
        return self._ticket(lambda n: events.SetterSubmitted(n, method, arguments))

    def ask(
        self, name: str, arguments: wire.Frames, *, all_ranks: bool = False
    ) -> CallFuture:
        """Read an attribute of one worker's environment, or call its method."""
        return self._ticket(lambda n: events.AskWorker(n, name, arguments, all_ranks))

    def cancel(self, *calls: int) -> None:
        """Give calls up."""
        self._post(events.CancelCalls(calls))

    def cancel_all(self) -> None:
        """Give every unfinished call up."""
        with self._lock:
            unfinished = tuple(self._calls)
        self.cancel(*unfinished)

    def close(self) -> None:
        """End all calls with an error and let the workers go; idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._post(events.ShutDown())
        self.transport.close()

    # The transport's side

    def replied(self, worker: int, reply: wire.Reply) -> None:
        """Take a worker's answers in."""
        self._post(events.ReplyArrived(worker, reply))

    def lost(self, worker: int, reason: str) -> None:
        """Take the loss of a worker in."""
        self._post(events.WorkerGone(worker, reason))

    def progressed(self, worker: int, call: int, time: float) -> None:
        """Take a running call's progress in."""
        future = self._calls.get(call)
        if future is not None and future.worker == worker:
            future.progress = time

    # Inside

    def _ticket(self, event: Any) -> CallFuture:
        ticket = CallFuture(next(self._numbers), lambda _: None, self.transport.help)
        with self._lock:
            self._check_open()
            self._tickets[ticket.id] = ticket
        self._post(event(ticket.id))
        return ticket

    def _check_open(self) -> None:
        if self._closed:
            raise ClusterLost(
                "this environment was shut down; build a new DistributedEnv"
            )

    def _post(self, event: events.Event) -> None:
        ends: list[_End] = []
        with self._lock:
            self._events.append(event)
            if self._handling:
                # An answer came while its parcel was being sent, in this very thread.
                # What was decided before must be sent before: the caller goes on.
                return
            self._handling = True
            try:
                while self._events:
                    for instruction in self._controller.handle(self._events.popleft()):
                        self._perform(instruction, ends)
            finally:
                self._handling = False
        for future, frames, error in ends:
            if error is not None:
                future.set_exception(error)
            elif frames is not None:
                future.deliver(frames)
            else:
                future.set_result(None)

    def _perform(
        self,
        instruction: events.Instruction,
        ends: "list[_End]",
    ) -> None:
        match instruction:
            case events.Send():
                self.transport.send(
                    instruction.worker, instruction.parcel, instruction.items
                )
            case events.Started():
                future = self._calls[instruction.call]
                future.worker, future.attempts = instruction.worker, instruction.attempt
            case events.Resolve():
                ends.append(
                    (self._calls.pop(instruction.call), instruction.result, None)
                )
            case events.Reject():
                ends.append(
                    (self._calls.pop(instruction.call), None, instruction.error)
                )
            case events.Settle():
                ticket = self._tickets.pop(instruction.ticket)
                ends.append((ticket, instruction.value, instruction.error))
            case events.StopCall():
                self.transport.stop_call(instruction.worker, instruction.call)


_End = tuple[CallFuture, wire.Frames | None, LivnError | None]
"""A future, and the result or error that it ends with."""
