"""The pure state machine that decides who does what: events in, instructions out.

It owns the queue, the config log, each worker's set of installed pipelines, retries and
cancellation. There is no socket, thread or clock in here; `dispatcher` drives it.

Calls and setters take effect in the order in which they were submitted: a setter waits
until every earlier call has been handed out, every worker then applies it behind its
running calls, and later calls wait until all have acknowledged it.
"""

import heapq
from collections import deque

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import outcomes
from livn_ipp.cluster.control.events import (
    AskWorker,
    CallsSubmitted,
    CancelCalls,
    CloseSession,
    DrainWorkers,
    Event,
    Instruction,
    OpenSession,
    Release,
    Replace,
    ReplyArrived,
    Resolve,
    SetterSubmitted,
    Settle,
    ShutDown,
    StopCall,
    ViewsOpened,
    WorkerAbandoned,
    WorkerExpected,
    WorkerGone,
    WorkerJoined,
    WorkerStuck,
)
from livn_ipp.cluster.control.records import Call, Epoch, Parcel, Setter
from livn_ipp.cluster.control.records import Worker as Held
from livn_ipp.cluster.control.sessions import Sessions
from livn_ipp.errors import (
    CallCancelled,
    CallError,
    ClusterLost,
    ConfigError,
    LivnError,
)

__all__ = ["Controller"]


class Controller(Sessions):
    """Decides which worker does what.

    Parameters
    ----------
    max_retries
        How many times a call is run again after its worker was lost.
    pipeline_bytes
        Installed pipelines that one worker may keep.
    log, first_parcel
        Where a former controller of the same workers left off.

    Examples
    --------
    >>> from livn_ipp.cluster.control.events import Request
    >>> controller = Controller()
    >>> controller.handle(WorkerJoined(0))
    []
    >>> request = Request(1, "p", trial=0, inputs=wire.dumps(10))
    >>> event = CallsSubmitted((request,), wire.dumps(None))
    >>> [type(instruction).__name__ for instruction in controller.handle(event)]
    ['Send', 'Started']
    """

    @property
    def workers(self) -> tuple[int, ...]:
        """The live workers."""
        return tuple(self._workers)

    @property
    def expected(self) -> tuple[int, ...]:
        """Workers that were lost and are being replaced."""
        return tuple(self._expected)

    @property
    def log(self) -> tuple[wire.Entry, ...]:
        """The config log."""
        return tuple(self._log)

    @property
    def waiting(self) -> int:
        """Number of calls that no worker holds."""
        held = sum(len(p.calls) for w in self._workers.values() for p in w.parcels)
        return max(0, len(self._calls) - held)

    @property
    def unfinished(self) -> int:
        """Number of calls that have not ended."""
        return len(self._calls)

    def handle(self, event: Event) -> list[Instruction]:
        """Take one event into account.

        Returns
        -------
        list of Instruction
            What to do now, in order.
        """
        match event:
            case ReplyArrived():
                self._receive(event.worker, event.reply)
            case CallsSubmitted():
                self._submit(event)
            case SetterSubmitted():
                setter = Setter(event.ticket, event.method, event.arguments)
                self._epochs[-1].setter = setter
                self._epochs.append(Epoch())
            case AskWorker():
                self._ask(event)
            case CancelCalls():
                for call in event.calls:
                    self._cancel(call)
            case OpenSession():
                self._openings.append(event)
            case CloseSession():
                self._close_session(event.session)
            case WorkerJoined():
                self._expected.discard(event.worker)
                self._workers[event.worker] = Held(event.version)
                # Not with its first call: a cell on its ranks may come before that.
                if behind := list(self._catch_up(event.worker, len(self._log))):
                    self._send(event.worker, behind)
                if self._views:
                    self._send(event.worker, [wire.Telemetry(spikes=True)])
            case ViewsOpened():
                self._views = event.spikes
                for index in self._workers:
                    self._send(index, [wire.Telemetry(event.spikes)])
            case WorkerExpected():
                self._expected.add(event.worker)
            case WorkerGone():
                self._take_loss(event)
            case WorkerAbandoned():
                self._last_loss = f"worker {event.worker}: {event.reason}"
                self._expected.discard(event.worker)
                self._drop_pinned(event.worker, f"no replacement: {event.reason}")
            case WorkerStuck():
                self._replace_stuck(event)
            case DrainWorkers():
                for index in event.workers:
                    if index in self._workers:
                        self._workers[index].draining = True
                        self._drop_pinned(index)
            case ShutDown():
                self._workers.clear()
                self._expected.clear()
                self._last_loss = event.reason
        self._advance()
        out, self._out = self._out, []
        return out

    # Taking events in

    def _submit(self, event: CallsSubmitted) -> None:
        reserved = self._workers and not self._expected and not self._unreserved()
        for request in event.requests:
            call = Call(request)
            self._calls[request.id] = call
            self._use(request.pipeline, event.content)
            error = self._unable(call, all_reserved=bool(reserved))
            if error is None:
                heapq.heappush(self._epochs[-1].add(call), call.rank)
            else:
                self._reject(call, error)

    def _unable(self, call: Call, *, all_reserved: bool) -> LivnError | None:
        """Tell why nobody can run a call, if that is so."""
        session, worker = call.request.session, call.request.worker
        if session is not None:
            if session in self._sessions:
                return None
            return self._lost_sessions.get(session) or ConfigError(
                f"session {session} is closed; open another"
            )
        if worker is not None:
            if self._may_come(worker):
                return None
            return ConfigError(
                f"there is no worker {worker}; live workers are {list(self._workers)}"
            )
        if all_reserved:
            return ConfigError(
                f"all {len(self._workers)} workers hold sessions, so nobody can run "
                "the call; close a session first, or add workers"
            )
        return None

    def _ask(self, event: AskWorker) -> None:
        self._questions[event.ticket] = event
        if not self._workers:
            self._unasked.append(event)  # until somebody comes, or nobody is expected
            return
        worker = min(self._workers, key=lambda w: len(self._workers[w].parcels))
        if event.worker in self._workers:
            worker = event.worker
        question = wire.Ask(event.ticket, event.name, event.arguments, event.all_ranks)
        self._send(worker, [question])

    def _cancel(self, number: int) -> None:
        call = self._calls.get(number)
        if call is None:
            return
        self._reject(call, CallCancelled(f"call {number} was cancelled"))
        if call.held_in is None:
            return
        index, parcel = call.held_in
        worker = self._workers.get(index)
        # A stop ends the whole parcel, so it waits until nobody wants any of it. What
        # goes on for long in spite of that is stopped by the watch.
        if (
            worker
            and worker.holds(parcel)
            and not any(other in self._calls for other in worker.parcels[0].calls)
        ):
            self._out.append(StopCall(index, number))

    # Losing workers

    def _take_loss(self, event: WorkerGone) -> None:
        known = event.worker in self._workers or event.worker in self._expected
        if known and event.replaced:
            self._expected.add(event.worker)
        else:
            self._expected.discard(event.worker)
        self._lose(event.worker, event.reason, event.error)

    def _lose(self, index: int, reason: str, error: CallError | None = None) -> None:
        worker = self._workers.pop(index, None)
        self._last_loss = f"worker {index}: {reason}"
        if worker is not None:
            if worker.session is not None:
                self._interrupt(worker.session, reason, seated=False)
            for position, parcel in enumerate(worker.parcels):
                self._return(index, parcel, reason, error, ran=position == 0)
            setter = self._epochs[0].setter
            if setter is not None:
                setter.waiting.discard(index)
                setter.failures.pop(index, None)
        if index not in self._expected:
            self._drop_pinned(index)

    def _return(
        self,
        index: int,
        parcel: Parcel,
        reason: str,
        error: CallError | None,
        *,
        ran: bool,
    ) -> None:
        """Take back what a lost worker was sent."""
        alone = len(parcel.calls) == 1
        for item in parcel.items:
            if isinstance(item, wire.Ask):
                self._ask(self._questions.pop(item.id))
            if not isinstance(item, wire.Call) or item.id not in self._calls:
                continue
            call = self._calls[item.id]
            if ran:
                call.attempts += (f"worker {index}: {reason}",)
            if ran and alone and error is not None:
                self._reject(call, error)
            elif len(call.attempts) > self._retries_of(call):
                self._lose_for_good(call, index)
            else:
                self._run_again(call, index)

    def _lose_for_good(self, call: Call, index: int) -> None:
        session = call.request.session
        if session is None:
            self._reject(call, outcomes.lost(call, index))
        else:
            self._lose_session(session, "; ".join(call.attempts))

    def _retries_of(self, call: Call) -> int:
        own = call.request.retries
        return self._max_retries if own is None else own

    def _drop_pinned(self, index: int, why: str = "") -> None:
        """End the calls that only a worker may run that takes no more."""
        for call in self._unqueue(("worker", index)):
            if not call.ended:
                self._reject(call, outcomes.lost(call, index, why))

    def _replace_stuck(self, event: WorkerStuck) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:
            return
        call = None if event.overdue is None else self._calls.get(event.overdue)
        if call is not None:
            aftermath = "it did not stop, so the worker is replaced"
            limit = call.request.limit
            error = outcomes.timed_out(call.request.id, event.worker, limit, aftermath)
            self._reject(call, error)
        self._replace(event.worker, event.reason)

    def _replace(self, index: int, reason: str) -> None:
        self._expected.add(index)
        self._lose(index, reason)
        self._out.append(Replace(index, reason))

    def _replace_laggard(self, index: int, reason: str) -> None:
        """Replace a worker that cannot take the configuration; give up the second."""
        if index not in self._laggards:
            self._laggards.add(index)
            self._replace(index, reason)
        else:
            self._laggards.discard(index)
            self._lose(index, reason)
            self._out.append(Release(index))

    # Answers

    def _receive(self, index: int, reply: wire.Reply) -> None:
        worker = self._workers.get(index)
        if worker is None or not worker.holds(reply.parcel):
            # A late answer of a worker that was given up; unless one before it is
            # missing, which nobody should wait for.
            if worker is not None and worker.awaits(reply.parcel):
                self._replace(index, "its answers came out of turn")
            return
        parcel = worker.parcels.popleft()
        for item, answer in zip(parcel.items, reply.answers, strict=True):
            # A worker that could not follow the log is of no use, nor is what it did
            # after that.
            useless = self._workers.get(index) is not worker
            match item:
                case wire.Call():
                    outcome = wire.StoppedCall() if useless else answer
                    if isinstance(outcome, wire.Missing):
                        worker.pipelines.pop(outcome.pipeline, None)
                    if item.id < 0:
                        self._end_repeated(item, outcome)
                    elif not parcel.void:
                        self._end_call(index, item, outcome, parcel)
                case wire.Apply() | wire.Rebuild():
                    if not useless:
                        self._end_setter(index, item, answer)
                case wire.Ask():
                    self._end_question(index, item, answer)

    def _end_call(
        self,
        index: int,
        item: wire.Call,
        answer: object,
        parcel: Parcel,
    ) -> None:
        if isinstance(answer, wire.Done):
            self._pace.learn(item.pipeline, answer.seconds)
        if item.session is not None:
            self._end_step(item, answer, parcel)
        call = self._calls.get(item.id)
        if call is None:  # cancelled meanwhile
            return
        match answer:
            case wire.Done():
                self._end(call)
                self._out.append(Resolve(item.id, answer.result))
            case wire.Failed():
                self._reject(call, outcomes.error_of(answer, index))
            case wire.TimedOut():
                error = outcomes.timed_out(
                    item.id, index, item.limit, "it was stopped; the worker is usable"
                )
                self._reject(call, error)
            case wire.StoppedCall() | wire.Missing():
                # Stopped in place of another call, or forgotten: it runs again.
                call.held_in = None
                self._run_again(call, index)

    def _end_setter(
        self, index: int, item: wire.Apply | wire.Rebuild, answer: object
    ) -> None:
        setter = self._epochs[0].setter
        if (
            setter is not None
            and index in setter.waiting
            and _belongs(item, setter, len(self._log))
        ):
            setter.waiting.discard(index)
            if isinstance(answer, wire.Failed) and setter.error is not None:
                self._replace_laggard(
                    index, "it could not be rebuilt after a setter failed"
                )
            elif isinstance(answer, wire.Failed):
                setter.failures[index] = answer
        elif isinstance(answer, wire.Failed):
            # It could not follow a log that the others followed.
            error = outcomes.error_of(answer, index)
            self._replace_laggard(index, f"replaying the config log failed: {error}")
        elif isinstance(item, wire.Rebuild) or item.entry.version == len(self._log):
            # Not before: who fails at a later entry each time is given up.
            self._laggards.discard(index)

    def _end_question(self, index: int, item: wire.Ask, answer: object) -> None:
        self._questions.pop(item.id, None)
        if isinstance(answer, wire.Answer):
            self._out.append(Settle(item.id, value=answer.value))
        elif isinstance(answer, wire.Failed):
            self._out.append(Settle(item.id, outcomes.error_of(answer, index)))

    # Moving on

    def _advance(self) -> None:
        if not self._workers:
            if not self._expected:
                self._give_up()
            return
        self._open_sessions()
        unasked, self._unasked = self._unasked, []
        for event in unasked:
            self._ask(event)
        while True:
            epoch = self._epochs[0]
            self._dispatch(epoch)
            if epoch.setter is None or epoch.queue or any(epoch.pinned.values()):
                break
            if self._catching_up():
                break
            if not self._settle(epoch.setter):
                break
            self._epochs.popleft()
        for index, worker in list(self._workers.items()):
            if worker.draining and not worker.parcels and worker.session is None:
                del self._workers[index]
                self._out.append(Release(index))
        if not self._workers and not self._expected:
            self._give_up()

    def _settle(self, setter: Setter) -> bool:
        """Move a setter one step on; True once it has ended."""
        entry = wire.Entry(len(self._log) + 1, setter.method, setter.arguments)
        if setter.error is None and not setter.waiting and not self._applied(entry):
            if setter.failures:
                return self._undo(setter)
            for index in [
                i for i, w in self._workers.items() if w.version < entry.version
            ]:
                setter.sent = True
                setter.waiting.add(index)
                self._send(
                    index, [*self._catch_up(index, len(self._log)), wire.Apply(entry)]
                )
                self._workers[index].version = entry.version
            return False
        if setter.waiting:
            return False
        if setter.error is None and setter.failures:
            return self._undo(setter)
        if setter.error is None:
            self._log.append(entry)
        self._out.append(Settle(setter.ticket, setter.error))
        return True

    def _applied(self, entry: wire.Entry) -> bool:
        return all(worker.version >= entry.version for worker in self._workers.values())

    def _undo(self, setter: Setter) -> bool:
        """Bring every worker back to what it was before a failed setter."""
        first = min(setter.failures)
        setter.error = outcomes.error_of(setter.failures[first], first)
        everywhere = set(setter.failures) == set(self._workers)
        untouched = everywhere and all(f.clean for f in setter.failures.values())
        for index, worker in self._workers.items():
            worker.version = len(self._log)
            if not untouched:
                setter.waiting.add(index)
                self._send(index, [wire.Rebuild(tuple(self._log))])
                if worker.session is not None:
                    reason = f"the setter {setter.method} failed, so it was rebuilt"
                    self._interrupt(worker.session, reason, seated=True)
        setter.failures.clear()
        if setter.waiting:
            return False
        self._out.append(Settle(setter.ticket, setter.error))
        return True

    def _give_up(self) -> None:
        error: ClusterLost = outcomes.nobody_left([self._last_loss])
        for number in list(self._sessions):
            self._lose_session(number, self._last_loss)
        for call in list(self._calls.values()):
            self._reject(call, error)
        self._retries.clear()
        tickets = [*self._questions, *(event.session for event in self._openings)]
        tickets += [e.setter.ticket for e in self._epochs if e.setter is not None]
        self._questions.clear()
        self._unasked.clear()
        self._openings.clear()
        self._out.extend(Settle(ticket, error) for ticket in tickets)
        self._epochs = deque([Epoch()])


def _belongs(item: wire.Apply | wire.Rebuild, setter: Setter, version: int) -> bool:
    """Tell a setter's own items from those that replay the log for a call."""
    if isinstance(item, wire.Rebuild):
        return setter.error is not None
    return setter.error is None and item.entry.version == version + 1
