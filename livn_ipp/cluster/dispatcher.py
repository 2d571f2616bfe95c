"""Drives the controller over a transport: here decisions become actions.

Events come from user threads and from the transport's own thread. Each takes the lock,
lets the controller decide, sends, and resolves futures after the lock is given back, so
that a future's callback may submit again.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import events
from livn_ipp.cluster.control.controller import Controller
from livn_ipp.cluster.control.watch import Watch
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.keeping.results import Results
from livn_ipp.cluster.limits import Limits
from livn_ipp.cluster.machine.interrupts import InterruptsDeferred
from livn_ipp.cluster.observation import Observation
from livn_ipp.errors import CallError, CallTimeout, ClusterLost, LivnError
from livn_ipp.types import Observer

__all__ = ["CallSpec", "Dispatcher", "Listener", "Transport"]

_TICK: Final = 0.25
"""Seconds between looks at who is overdue."""
_ASLEEP: Final = 3.0
"""Seconds between looks that only a process that did not run lets pass."""


class Listener(Protocol):
    """What a transport tells its dispatcher, from any thread.

    Attributes
    ----------
    limits : Limits
        Those on memory are for the workers to keep.
    """

    limits: Limits

    def replied(self, worker: int, reply: wire.Reply) -> None:
        """Hear that a worker's leader answered a parcel."""

    def expecting(self, worker: int) -> None:
        """Hear that a worker is being started."""

    def joined(self, worker: int, version: int = 0) -> None:
        """Hear that a worker is ready, and how much of the config log it has."""

    def lost(
        self,
        worker: int,
        reason: str,
        *,
        replaced: bool = False,
        error: CallError | None = None,
    ) -> None:
        """Hear that a worker's processes ended.

        `replaced` tells that another is on its way under the same index, `error` what
        the call that ran must end with instead of being run again.
        """

    def abandoned(self, worker: int, reason: str) -> None:
        """Hear that a worker that was expected will not come."""

    def drain(self, *workers: int) -> None:
        """Hear that workers are to end what they run, and then to be released."""

    def collapsed(self, reason: str) -> None:
        """Hear that no worker can be reached any more, and none will come."""

    def progressed(self, worker: int, progress: wire.Progress) -> None:
        """Hear how far a running call has come."""


class Transport(Protocol):
    """Carries parcels to workers and replies back."""

    name: str

    def start(self, factory: Any, listener: Listener) -> Sequence[int]:
        """Boot every worker and return their indices; raise if one cannot."""

    def send(self, worker: int, parcel: int, items: tuple[wire.Item, ...], /) -> None:
        """Send a parcel to every rank of a worker; never blocks."""

    def help(self, future: "Future[Any]", timeout: float | None, /) -> None:
        """Use the thread of a caller who waits, if that speeds replies up."""

    def where(self, worker: int, /) -> tuple[str, tuple[int, ...]]:
        """Tell the host of a worker and its ranks' process ids, as far as known."""

    def stop_call(self, worker: int, call: int, /) -> None:
        """Ask a worker to stop what it runs, at its next chunk end."""

    def replace(self, worker: int, reason: str, /) -> None:
        """End a worker by force and bring another; returns at once.

        What becomes of it is told to the listener. Where nothing can be started, the
        listener hears of a loss that is not made good.
        """

    def release(self, worker: int, /) -> None:
        """Let a worker go that has nothing more to do; returns at once."""

    def engage(self, worker: int, /) -> None:
        """Get ready for a session's steps on a worker; never blocks."""

    def disengage(self, worker: int, /) -> None:
        """Take in that the session on a worker is over; never blocks."""

    def close(self) -> None:
        """Let the workers go; idempotent."""


class CallSpec(NamedTuple):
    """What distinguishes one call of a pipeline from the next."""

    trial: int
    inputs: wire.Frames
    state: wire.Frames | None = None
    options: wire.Frames | None = None
    priority: int = 0
    worker: int | None = None
    retries: int | None = None
    limit: float | None = None
    session: int | None = None
    step: int = 0
    stream: bool = False
    simulation: int = 0


class Dispatcher:
    """Runs calls and setters on the workers behind a transport.

    Parameters
    ----------
    transport
        How to reach the workers.
    limits
        Limits on time, memory and repetition.
    log, first_call, first_parcel
        Where a former controller of the same workers left off.
    """

    def __init__(
        self,
        transport: Transport,
        limits: Limits | None = None,
        *,
        log: Sequence[wire.Entry] = (),
        first_call: int = 1,
        first_parcel: int = 0,
    ) -> None:
        self.transport = transport
        self.limits = limits or Limits()
        self._controller = Controller(
            self.limits.max_retries, log=log, first_parcel=first_parcel
        )
        self._watch = Watch(self.limits)
        self._results = Results(self.limits.result_memory)
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._observation = Observation()
        self._resolving = threading.local()
        self._end_of_watch = threading.Event()
        self._slept = 0.0
        self._numbers = itertools.count(first_call)
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
    def expected(self) -> tuple[int, ...]:
        """Indices of the workers that are being started or replaced."""
        return self._controller.expected

    @property
    def unfinished(self) -> int:
        """Number of calls that have not ended."""
        return self._controller.unfinished

    @property
    def log(self) -> tuple[wire.Entry, ...]:
        """The config log."""
        return self._controller.log

    def start(self, factory: Any) -> None:
        """Boot the workers."""
        for worker in self.transport.start(factory, self):
            self._post(events.WorkerJoined(worker))
        threading.Thread(
            target=self._keep_watch, name="livn_ipp watch", daemon=True
        ).start()

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
        most = self.limits.max_in_flight
        if most is None or getattr(self._resolving, "here", False):
            # A callback of a future that waited here would wait for itself.
            return self._submit(pipeline, content, calls)
        futures: list[CallFuture] = []
        try:
            while len(futures) < len(calls):
                room = self._wait_for_room(most)
                part = calls[len(futures) : len(futures) + room]
                futures += self._submit(pipeline, content, part)
        except BaseException:
            self.cancel(*(future.id for future in futures))
            raise
        return futures

    def open_session(
        self,
        worker: int | None = None,
        *,
        pipeline: str | None = None,
        content: wire.Frames = (),
        recover: bool = False,
        history: Sequence[events.Step] = (),
    ) -> CallFuture:
        """Reserve a worker; the future has the session's number and gives the worker's.

        Parameters
        ----------
        worker
            The worker to reserve; None for the one with the least to do.
        pipeline, content
            Digest and pickle of the pair (decoding, encoding), for a session whose
            steps are recorded.
        recover
            Whether the recorded steps run again when the state is lost.
        history
            Steps that make the state to begin with.
        """
        return self._ticket(
            lambda number: events.OpenSession(
                number, worker, pipeline, content, recover, tuple(history)
            )
        )

    def session_worker(self, session: int) -> int | None:
        """Return the worker of a session that is neither closed nor lost."""
        return self._controller.session_worker(session)

    def session_history(self, session: int) -> tuple[events.Step, ...]:
        """Return the steps that made a session's state, if they are recorded."""
        with self._lock:
            return self._controller.session_history(session)

    def close_session(self, session: int) -> None:
        """Give a session's worker back; steps that have not ended are given up."""
        self._post(events.CloseSession(session))

    def session_loss(self, session: int) -> LivnError | None:
        """Return why a session is lost, if it is."""
        return self._controller.session_loss(session)

    def observe(self, observer: Observer) -> None:
        """Tell an observer of all that happens from now on, and who is there."""
        with self._lock:
            for worker in self.workers:
                self._observation.appeared(observer, worker, self.transport)
            for call in self._calls.values():
                if call.worker is not None and not call.done():
                    observer.started(call.id, call.worker, call.attempts)
            self._observation.observers += (observer,)
            self._post(events.ViewsOpened(spikes=True))

    def ignore(self, observer: Observer) -> None:
        """Tell an observer no more."""
        with self._lock:
            left = [o for o in self._observation.observers if o is not observer]
            self._observation.observers = tuple(left)
            if not left:
                self._post(events.ViewsOpened(spikes=False))

    def drain(self, *workers: int) -> None:
        """Let workers end what they run, and then go."""
        self._post(events.DrainWorkers(workers))

    def configure(self, method: str, arguments: wire.Frames) -> CallFuture:
        """Append a setter to the config log; the future ends when all ranks have it."""
        return self._ticket(lambda n: events.SetterSubmitted(n, method, arguments))

    def ask(
        self,
        name: str,
        arguments: wire.Frames,
        *,
        all_ranks: bool = False,
        worker: int | None = None,
    ) -> CallFuture:
        """Read an attribute of one worker's environment, or call its method."""
        return self._ticket(
            lambda n: events.AskWorker(n, name, arguments, all_ranks, worker)
        )

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
        self._end_of_watch.set()
        self._post(events.ShutDown())
        self.transport.close()

    # The transport's side

    def replied(self, worker: int, reply: wire.Reply) -> None:
        """Take a worker's answers in."""
        for progress in reply.progress:
            self.progressed(worker, progress)
        self._post(events.ReplyArrived(worker, reply))

    def expecting(self, worker: int) -> None:
        """Take in that a worker is being started."""
        self._post(events.WorkerExpected(worker))

    def joined(self, worker: int, version: int = 0) -> None:
        """Take in that a worker is ready."""
        self._post(events.WorkerJoined(worker, version))

    def lost(
        self,
        worker: int,
        reason: str,
        *,
        replaced: bool = False,
        error: CallError | None = None,
    ) -> None:
        """Take the loss of a worker in."""
        self._post(events.WorkerGone(worker, reason, replaced, error))

    def abandoned(self, worker: int, reason: str) -> None:
        """Take in that a worker will not come."""
        self._post(events.WorkerAbandoned(worker, reason))

    def collapsed(self, reason: str) -> None:
        """Take in that no worker can be reached any more, and none will come."""
        self._post(events.ShutDown(reason))

    def progressed(self, worker: int, progress: wire.Progress) -> None:
        """Take a running call's progress in."""
        with self._lock:
            self._watch.alive(worker, progress.call, self._now())
        future = self._calls.get(progress.call)
        if future is not None and future.worker == worker:
            future.take_progress(progress)
            self._observation.progressed(worker, progress)

    # Inside

    def _submit(
        self, pipeline: str, content: wire.Frames, calls: Sequence[CallSpec]
    ) -> list[CallFuture]:
        cancel, help_out = self.cancel, self.transport.help
        futures = [
            CallFuture(next(self._numbers), cancel, help_out, stream=call.stream)
            for call in calls
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
                call.retries,
                self.limits.task_timeout if call.limit is None else call.limit,
                call.session,
                call.step,
                call.stream,
                call.simulation,
            )
            for future, call in zip(futures, calls, strict=True)
        )
        try:
            with InterruptsDeferred():
                with self._lock:
                    self._check_open()
                    self._calls.update((future.id, future) for future in futures)
                self._post(events.CallsSubmitted(requests, content))
        except BaseException:  # nobody has their handles
            self.cancel(*(future.id for future in futures))
            raise
        return futures

    def _wait_for_room(self, most: int) -> int:
        """Wait until fewer than `most` calls are unfinished; return how many fewer."""
        with self._room:
            while len(self._calls) >= most:
                self._check_open()
                self._room.wait(1.0)
            return most - len(self._calls)

    def _now(self) -> float:
        return time.monotonic() - self._slept

    def _keep_watch(self) -> None:
        before = time.monotonic()
        while not self._end_of_watch.wait(_TICK):
            # A laptop that slept, or a process that was stopped, heard nothing
            # meanwhile: that is no silence of the workers.
            now = time.monotonic()
            with self._lock:
                if now - before > _ASLEEP:
                    self._slept += now - before
                found = self._watch.overdue(self._now())
                if self._observation:
                    self._count()
            before = now
            for each in found:
                if isinstance(each, events.WorkerStuck):
                    self._post(each)
                else:
                    self.transport.stop_call(each.worker, each.call)

    def _count(self) -> None:
        """Tell how many calls wait: now and then, and when none does any more."""
        waiting, log = self._controller.waiting, self._controller.log
        self._observation.counted(waiting, len(log))

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
        try:
            # Whatever was decided is carried out.
            with InterruptsDeferred():
                self._handle(event, ends)
        finally:
            if ends:
                self._resolve(ends)

    def _handle(self, event: events.Event, ends: "list[_End]") -> None:
        with self._lock:
            self._events.append(event)
            if self._handling:
                # An answer came while its parcel was being sent, in this very thread.
                # What was decided before must be sent before: the caller goes on.
                return
            self._handling = True
            try:
                while self._events:
                    each = self._events.popleft()
                    self._tell_watch(each)
                    for instruction in self._controller.handle(each):
                        self._perform(instruction, ends)
                        if self._observation:
                            self._observation.decided(instruction)
                    if self._observation:
                        self._observation.happened(each, self.transport)
                        if self._observation.waiting and not self._controller.waiting:
                            self._count()
            finally:
                self._handling = False
            if ends:
                self._room.notify_all()

    def _resolve(self, ends: "list[_End]") -> None:
        nested = getattr(self._resolving, "here", False)
        self._resolving.here = True
        place = 0
        try:
            for place, end in enumerate(ends):  # noqa: B007 - told if one raises
                self._end(*end)
        except BaseException:  # of a callback, or an interrupt: the others end as well
            self._resolve([end for end in ends[place:] if not end[0].done()])
            raise
        finally:
            self._resolving.here = nested

    def _end(
        self, future: CallFuture, frames: wire.Frames | None, error: LivnError | None
    ) -> None:
        if error is not None:
            future.set_exception(error)
        elif frames is None:
            future.set_result(None)
        else:
            try:
                kept = self._results.keep(frames)
            except Exception as problem:
                future.set_exception(problem)
            else:
                future.deliver(kept)

    def _tell_watch(self, event: events.Event) -> None:
        match event:
            case events.ReplyArrived():
                self._watch.replied(event.worker, event.reply.parcel, self._now())
            case events.WorkerGone():
                self._watch.gone(event.worker)
            case events.CancelCalls():
                now = self._now()
                for number in event.calls:
                    future = self._calls.get(number)
                    if future is not None and future.attempts:
                        self._watch.cancelled(number, now)

    def _perform(
        self,
        instruction: events.Instruction,
        ends: "list[_End]",
    ) -> None:
        match instruction:
            case events.Started():
                future = self._calls[instruction.call]
                future.worker, future.attempts = instruction.worker, instruction.attempt
            case events.Resolve():
                future = self._calls.pop(instruction.call)
                ends.append((future, instruction.result, None))
            case events.Send(worker, parcel, items):
                self._watch.sent(worker, parcel, items, self._now())
                self.transport.send(worker, parcel, items)
            case events.Reject(call, error):
                future = self._calls.pop(call)
                if isinstance(error, CallTimeout):
                    error.time, error.partial = future.progress, future.partial
                ends.append((future, None, error))
            case events.Settle():
                ticket = self._tickets.pop(instruction.ticket)
                ends.append((ticket, instruction.value, instruction.error))
            case events.StopCall(worker, call):
                self._watch.stopping(worker, self._now())
                self.transport.stop_call(worker, call)
            case events.Replace(worker, reason):
                self._watch.gone(worker)
                self.transport.replace(worker, reason)
            case events.Release(worker):
                self.transport.release(worker)
            case events.Engage(worker):
                self.transport.engage(worker)
            case events.Disengage(worker):
                self.transport.disengage(worker)


_End = tuple[CallFuture, wire.Frames | None, LivnError | None]
"""A future, and the result or error that it ends with."""
