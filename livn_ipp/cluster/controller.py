"""The pure state machine that decides who does what: events in, instructions out.

It owns the queue, the config log, each worker's set of installed pipelines, retries and
cancellation. There is no socket, thread or clock in here; `dispatcher` drives it.

Calls and setters take effect in the order in which they were submitted: a setter waits
until every earlier call has been handed out, every worker then applies it behind its
running calls, and later calls wait until all have acknowledged it.
"""

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.events import (
    AskWorker,
    CallsSubmitted,
    CancelCalls,
    Event,
    Instruction,
    Reject,
    ReplyArrived,
    Request,
    Resolve,
    Send,
    SetterSubmitted,
    Settle,
    ShutDown,
    Started,
    StopCall,
    WorkerGone,
    WorkerJoined,
)
from livn_ipp.cluster.pace import Pace
from livn_ipp.cluster.wire import Frames
from livn_ipp.errors import (
    CallCancelled,
    CallError,
    ClusterLost,
    ConfigError,
    LivnError,
    RankFailure,
    ResultNotSerializable,
    WorkerLost,
    call_error,
)

__all__ = ["Controller"]

MAX_RETRIES: Final = 3
PIPELINE_BYTES: Final = 256 << 20
"""Installed pipelines that one worker may keep."""

_PARCEL_BYTES: Final = 32 << 20


@dataclass(slots=True)
class _Call:
    request: Request
    version: int | None = None
    """Of the config log; known once the call was first handed out."""
    attempts: list[str] = field(default_factory=list)
    alone_in: tuple[int, int] | None = None
    """The worker and parcel that hold this call and no other."""
    ended: bool = False


@dataclass(slots=True)
class _Setter:
    ticket: int
    method: str
    arguments: Frames
    sent: bool = False
    waiting: set[int] = field(default_factory=set)
    failures: dict[int, wire.Failed] = field(default_factory=dict)
    error: LivnError | None = None


@dataclass(slots=True)
class _Epoch:
    """Calls that share a config version, and the setter that ends it."""

    queue: list[tuple[int, int, _Call]] = field(default_factory=list)
    pinned: dict[int, list[tuple[int, int, _Call]]] = field(default_factory=dict)
    setter: _Setter | None = None


@dataclass(slots=True)
class _Parcel:
    number: int
    items: tuple[wire.Item, ...]
    """The items that will be answered, in order."""
    seconds: float


@dataclass(slots=True)
class _Worker:
    version: int = 0
    parcels: deque[_Parcel] = field(default_factory=deque)
    pipelines: OrderedDict[str, int] = field(default_factory=OrderedDict)


class Controller:
    """Decides which worker does what.

    Parameters
    ----------
    max_retries
        How many times a call is run again after its worker was lost.
    pipeline_bytes
        Installed pipelines that one worker may keep.

    Examples
    --------
    >>> controller = Controller()
    >>> controller.handle(WorkerJoined(0))
    []
    >>> request = Request(1, "p", trial=0, inputs=wire.dumps(10))
    >>> event = CallsSubmitted((request,), wire.dumps(None))
    >>> [type(instruction).__name__ for instruction in controller.handle(event)]
    ['Send', 'Started']
    """

    def __init__(
        self, max_retries: int = MAX_RETRIES, pipeline_bytes: int = PIPELINE_BYTES
    ) -> None:
        self._max_retries = max_retries
        self._pipeline_bytes = pipeline_bytes
        self._workers: dict[int, _Worker] = {}
        self._log: list[wire.Entry] = []
        self._epochs: deque[_Epoch] = deque([_Epoch()])
        self._retries: list[tuple[int, int, _Call]] = []
        self._calls: dict[int, _Call] = {}
        self._contents: dict[str, tuple[Frames, int]] = {}
        self._pace = Pace()
        self._questions: dict[int, AskWorker] = {}
        self._numbers = itertools.count()
        self._out: list[Instruction] = []
        self._last_loss = ""

    @property
    def workers(self) -> tuple[int, ...]:
        """The live workers."""
        return tuple(self._workers)

    @property
    def version(self) -> int:
        """Number of entries in the config log."""
        return len(self._log)

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
            case WorkerJoined():
                self._workers[event.worker] = _Worker()
            case WorkerGone():
                self._lose(event.worker, event.reason)
            case CallsSubmitted():
                self._submit(event)
            case SetterSubmitted():
                self._epochs[-1].setter = _Setter(
                    event.ticket, event.method, event.arguments
                )
                self._epochs.append(_Epoch())
            case AskWorker():
                self._ask(event)
            case ReplyArrived():
                self._receive(event.worker, event.reply)
            case CancelCalls():
                for call in event.calls:
                    self._cancel(call)
            case ShutDown():
                self._workers.clear()
                self._last_loss = "the environment was shut down"
        self._advance()
        out, self._out = self._out, []
        return out

    # Taking events in

    def _submit(self, event: CallsSubmitted) -> None:
        for request in event.requests:
            call = _Call(request)
            self._calls[request.id] = call
            content, uses = self._contents.get(request.pipeline, (event.content, 0))
            self._contents[request.pipeline] = (content, uses + 1)
            if request.worker is not None and request.worker not in self._workers:
                self._reject(
                    call,
                    ConfigError(
                        f"there is no worker {request.worker}; "
                        f"live workers are {list(self._workers)}"
                    ),
                )
                continue
            epoch, pin = self._epochs[-1], request.worker
            queue = epoch.queue if pin is None else epoch.pinned.setdefault(pin, [])
            heapq.heappush(queue, _queued(call))

    def _ask(self, event: AskWorker) -> None:
        if not self._workers:
            self._out.append(Settle(event.ticket, self._no_worker()))
            return
        self._questions[event.ticket] = event
        worker = min(self._workers, key=lambda w: len(self._workers[w].parcels))
        question = wire.Ask(event.ticket, event.name, event.arguments, event.all_ranks)
        self._send(worker, [question])

    def _cancel(self, number: int) -> None:
        call = self._calls.get(number)
        if call is None:
            return
        if call.alone_in is not None:
            index, parcel = call.alone_in
            worker = self._workers.get(index)
            if worker and worker.parcels and worker.parcels[0].number == parcel:
                self._out.append(StopCall(index, number))
        self._reject(call, CallCancelled(f"call {number} was cancelled"))

    def _lose(self, index: int, reason: str) -> None:
        worker = self._workers.pop(index, None)
        if worker is None:
            return
        self._last_loss = f"worker {index}: {reason}"
        for position, parcel in enumerate(worker.parcels):
            for item in parcel.items:
                if isinstance(item, wire.Call) and item.id in self._calls:
                    call = self._calls[item.id]
                    if position == 0:
                        call.attempts.append(f"worker {index}: {reason}")
                    self._run_again(call, index)
                elif isinstance(item, wire.Ask):
                    self._ask(self._questions.pop(item.id))
        for epoch in self._epochs:
            for _, _, call in epoch.pinned.pop(index, ()):
                self._run_again(call, index)
        setter = self._epochs[0].setter
        if setter is not None:
            setter.waiting.discard(index)
            setter.failures.pop(index, None)

    def _run_again(self, call: _Call, worker: int) -> None:
        if call.ended:
            return
        if call.request.worker is not None or len(call.attempts) > self._max_retries:
            history = "; ".join(call.attempts) or f"worker {worker} is gone"
            self._reject(
                call,
                WorkerLost(
                    f"call {call.request.id} was lost with its worker ({history}); "
                    "look at the worker's log with cluster.log_tail()",
                    worker=worker,
                ),
            )
        else:
            heapq.heappush(self._retries, _queued(call))

    def _receive(self, index: int, reply: wire.Reply) -> None:
        worker = self._workers.get(index)
        if (
            worker is None
            or not worker.parcels
            or worker.parcels[0].number != reply.parcel
        ):
            return  # a late answer of a worker that was given up
        parcel = worker.parcels.popleft()
        for item, answer in zip(parcel.items, reply.answers, strict=True):
            match item:
                case wire.Call():
                    self._end_call(index, worker, item, answer)
                case wire.Apply() | wire.Rebuild():
                    self._end_setter(index, item, answer)
                case wire.Ask():
                    self._end_question(index, item, answer)

    def _end_call(
        self, index: int, worker: _Worker, item: wire.Call, answer: object
    ) -> None:
        if isinstance(answer, wire.Done):
            self._pace.learn(item.pipeline, answer.seconds)
        if isinstance(answer, wire.Missing):
            worker.pipelines.pop(answer.pipeline, None)
        call = self._calls.get(item.id)
        if call is None:  # cancelled meanwhile
            return
        match answer:
            case wire.Done():
                self._end(call)
                self._out.append(Resolve(item.id, answer.result))
            case wire.Failed():
                self._reject(call, _error_of(answer, index))
            case wire.StoppedCall() | wire.Missing():
                # Stopped in place of another call, or forgotten: it runs again.
                heapq.heappush(self._retries, _queued(call))

    def _end_setter(
        self, index: int, item: wire.Apply | wire.Rebuild, answer: object
    ) -> None:
        setter = self._epochs[0].setter
        if (
            setter is not None
            and index in setter.waiting
            and _belongs(item, setter, self.version)
        ):
            setter.waiting.discard(index)
            if isinstance(answer, wire.Failed) and setter.error is not None:
                self._lose(index, "it could not be rebuilt after a setter failed")
            elif isinstance(answer, wire.Failed):
                setter.failures[index] = answer
        elif isinstance(answer, wire.Failed):
            # It could not follow a log that the others followed: it is of no use.
            self._lose(
                index, f"replaying the config log failed: {_error_of(answer, index)}"
            )

    def _end_question(self, index: int, item: wire.Ask, answer: object) -> None:
        self._questions.pop(item.id, None)
        if isinstance(answer, wire.Answer):
            self._out.append(Settle(item.id, value=answer.value))
        elif isinstance(answer, wire.Failed):
            self._out.append(Settle(item.id, _error_of(answer, index)))

    # Moving on

    def _advance(self) -> None:
        if not self._workers:
            self._give_up()
            return
        while True:
            epoch = self._epochs[0]
            self._dispatch(epoch)
            if epoch.setter is None or epoch.queue or any(epoch.pinned.values()):
                return
            if not self._settle(epoch.setter):
                return
            self._epochs.popleft()

    def _settle(self, setter: _Setter) -> bool:
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

    def _undo(self, setter: _Setter) -> bool:
        """Bring every worker back to what it was before a failed setter."""
        first = min(setter.failures)
        setter.error = _error_of(setter.failures[first], first)
        everywhere = set(setter.failures) == set(self._workers)
        untouched = everywhere and all(f.clean for f in setter.failures.values())
        for index, worker in self._workers.items():
            worker.version = len(self._log)
            if not untouched:
                setter.waiting.add(index)
                self._send(index, [wire.Rebuild(tuple(self._log))])
        setter.failures.clear()
        if setter.waiting:
            return False
        self._out.append(Settle(setter.ticket, setter.error))
        return True

    def _give_up(self) -> None:
        for call in list(self._calls.values()):
            self._reject(call, self._no_worker())
        self._retries.clear()
        for ticket in list(self._questions):
            del self._questions[ticket]
            self._out.append(Settle(ticket, self._no_worker()))
        for epoch in self._epochs:
            if epoch.setter is not None:
                self._out.append(Settle(epoch.setter.ticket, self._no_worker()))
        self._epochs = deque([_Epoch()])

    # Handing calls out

    def _dispatch(self, epoch: _Epoch) -> None:
        if epoch.setter is not None and epoch.setter.sent:
            return
        progress = True
        while progress:
            progress = False
            for index in self._idle_first():
                if self._hand_out(index, epoch):
                    progress = True

    def _idle_first(self) -> list[int]:
        head = next(
            (q[0][2] for q in (self._retries, self._epochs[0].queue) if q), None
        )
        digest = None if head is None else head.request.pipeline
        return sorted(
            self._workers,
            key=lambda i: (
                len(self._workers[i].parcels),
                digest not in self._workers[i].pipelines,
                i,
            ),
        )

    def _hand_out(self, index: int, epoch: _Epoch) -> bool:
        worker = self._workers[index]
        ahead = len(worker.parcels)
        if ahead >= 2 or (
            ahead and not self._pace.may_send_behind(worker.parcels[-1].seconds)
        ):
            return False
        for queue in (self._retries, epoch.pinned.get(index, []), epoch.queue):
            if batch := self._take(queue, ahead, alone=queue is self._retries):
                self._send_calls(index, batch)
                return True
        return False

    def _take(
        self, queue: list[tuple[int, int, _Call]], ahead: int, alone: bool
    ) -> list[_Call]:
        """Take the next parcel's calls off a queue."""
        batch: list[_Call] = []
        limit, volume = 1, 0
        while queue and len(batch) < limit:
            call = queue[0][2]
            if call.ended:
                heapq.heappop(queue)
                continue
            digest = call.request.pipeline
            if not batch:
                if ahead and not self._pace.may_send_behind(
                    self._pace.expected(digest, 1)
                ):
                    break
                if not alone:
                    limit = self._pace.batch(digest, len(queue), len(self._workers))
            elif digest != batch[0].request.pipeline or volume > _PARCEL_BYTES:
                break
            heapq.heappop(queue)
            batch.append(call)
            volume += wire.size(call.request.inputs)
        return batch

    def _send_calls(self, index: int, batch: list[_Call]) -> None:
        items: list[wire.Item] = []
        digest = batch[0].request.pipeline
        for call in batch:
            if call.version is None:
                call.version = len(self._log)
            items.extend(self._catch_up(index, call.version))
            items.extend(self._install(index, digest))
            request = call.request
            items.append(
                wire.Call(
                    request.id,
                    digest,
                    request.trial,
                    request.inputs,
                    request.state,
                    request.options,
                )
            )
        parcel = self._send(index, items, self._pace.expected(digest, len(batch)))
        batch[0].alone_in = (index, parcel) if len(batch) == 1 else None
        for call in batch:
            self._out.append(Started(call.request.id, index, len(call.attempts) + 1))

    def _catch_up(self, index: int, version: int) -> Iterator[wire.Item]:
        """Bring a worker to a version of the config log, forwards or backwards."""
        worker = self._workers[index]
        if worker.version > version:
            yield wire.Rebuild(tuple(self._log[:version]))
        else:
            yield from map(wire.Apply, self._log[worker.version : version])
        worker.version = version

    def _install(self, index: int, digest: str) -> Iterator[wire.Item]:
        installed = self._workers[index].pipelines
        if digest in installed:
            installed.move_to_end(digest)
            return
        content, _ = self._contents[digest]
        installed[digest] = wire.size(content)
        while sum(installed.values()) > self._pipeline_bytes and len(installed) > 1:
            yield wire.Forget(installed.popitem(last=False)[0])
        yield wire.Install(digest, content)

    def _send(self, index: int, items: list[wire.Item], seconds: float = 0.0) -> int:
        number = next(self._numbers)
        answered = tuple(
            i for i in items if not isinstance(i, (wire.Install, wire.Forget))
        )
        self._workers[index].parcels.append(_Parcel(number, answered, seconds))
        self._out.append(Send(index, number, tuple(items)))
        return number

    # Ending calls

    def _no_worker(self) -> ClusterLost:
        reason = f" ({self._last_loss})" if self._last_loss else ""
        return ClusterLost(f"no worker is left{reason}; start a new DistributedEnv")

    def _reject(self, call: _Call, error: LivnError) -> None:
        self._end(call)
        self._out.append(Reject(call.request.id, error))

    def _end(self, call: _Call) -> None:
        call.ended = True
        del self._calls[call.request.id]
        content, uses = self._contents.pop(call.request.pipeline)
        if uses > 1:
            self._contents[call.request.pipeline] = (content, uses - 1)


def _queued(call: _Call) -> tuple[int, int, _Call]:
    return (-call.request.priority, call.request.id, call)


def _belongs(item: wire.Apply | wire.Rebuild, setter: _Setter, version: int) -> bool:
    """Tell a setter's own items from those that replay the log for a call."""
    if isinstance(item, wire.Rebuild):
        return setter.error is not None
    return setter.error is None and item.entry.version == version + 1


def _error_of(answer: wire.Failed, worker: int) -> LivnError:
    if answer.unserializable:
        failure: RankFailure = answer.failures[0]
        return ResultNotSerializable(
            f"the call's result cannot be sent back: {failure.message}; "
            "return arrays, numbers, strings or objects that pickle",
            failures=answer.failures,
            worker=worker,
        )
    error: CallError = call_error(answer.failures, worker)
    return error
