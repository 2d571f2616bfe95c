"""The controller's state, and how calls are handed out to workers.

Who may run what, and in which order: by priority, then as submitted; pinned calls on
their worker; a session's steps where its state is; parcels sized by `pace`.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import outcomes
from livn_ipp.cluster.control.events import (
    AskWorker,
    Instruction,
    OpenSession,
    Reject,
    Request,
    Send,
    Started,
)
from livn_ipp.cluster.control.pace import Pace
from livn_ipp.cluster.control.records import Call, Epoch, Parcel, Pin, Queue, Session
from livn_ipp.cluster.control.records import Worker as Held
from livn_ipp.cluster.wire import Frames
from livn_ipp.errors import LivnError, SessionLost

__all__ = ["MAX_RETRIES", "PIPELINE_BYTES", "Board"]

MAX_RETRIES: Final = 3
PIPELINE_BYTES: Final = 256 << 20
"""Installed pipelines that one worker may keep."""

_UNANSWERED: Final = (wire.Install, wire.Forget, wire.Telemetry)
_PARCEL_BYTES: Final = 32 << 20
_STEPS: Final = 32
"""Steps of a session in one parcel, when they are run again."""


class Board:
    """Calls in queues, workers with parcels, and the config log.

    Parameters
    ----------
    max_retries
        How many times a call is run again after its worker was lost.
    pipeline_bytes
        Installed pipelines that one worker may keep.
    log, first_parcel
        Where a former controller of the same workers left off.
    """

    def __init__(
        self,
        max_retries: int = MAX_RETRIES,
        pipeline_bytes: int = PIPELINE_BYTES,
        *,
        log: Sequence[wire.Entry] = (),
        first_parcel: int = 0,
    ) -> None:
        self._max_retries = max_retries
        self._pipeline_bytes = pipeline_bytes
        self._workers: dict[int, Held] = {}
        self._expected: set[int] = set()
        """Workers that were lost and whose replacement is on its way."""
        self._laggards: set[int] = set()
        """Workers whose last incarnation could not take the configuration."""
        self._views = False
        self._log: list[wire.Entry] = list(log)
        self._epochs: deque[Epoch] = deque([Epoch()])
        self._retries: dict[Pin, Queue] = {}
        self._calls: dict[int, Call] = {}
        self._contents: dict[str, tuple[Frames, int]] = {}
        self._pace = Pace()
        self._questions: dict[int, AskWorker] = {}
        self._sessions: dict[int, Session] = {}
        self._lost_sessions: dict[int, SessionLost] = {}
        self._unasked: list[AskWorker] = []
        self._openings: deque[OpenSession] = deque()
        self._numbers = itertools.count(first_parcel)
        self._repeated = itertools.count(-1, -1)
        """Ids of calls that nobody waits for."""
        self._out: list[Instruction] = []
        self._last_loss = ""

    # Handing calls out

    def _dispatch(self, epoch: Epoch) -> None:
        if epoch.setter is not None and epoch.setter.sent:
            return
        progress = True
        while progress and self._queued(epoch):
            progress = False
            for index in self._idle_first():
                if self._hand_out(index, epoch):
                    progress = True

    def _queued(self, epoch: Epoch) -> bool:
        return (
            bool(epoch.queue)
            or any(epoch.pinned.values())
            or any(self._retries.values())
            or any(session.ahead for session in self._sessions.values())
        )

    def _idle_first(self) -> list[int]:
        queues = (self._retries.get(None), self._epochs[0].queue)
        head = next((queue[0][2] for queue in queues if queue), None)
        digest = None if head is None else head.request.pipeline
        return sorted(
            self._workers,
            key=lambda i: (
                len(self._workers[i].parcels),
                digest not in self._workers[i].pipelines,
                i,
            ),
        )

    def _hand_out(self, index: int, epoch: Epoch) -> bool:
        worker = self._workers[index]
        ahead = len(worker.parcels)
        if ahead >= 2 or (
            ahead and not self._pace.may_send_behind(worker.parcels[-1].seconds)
        ):
            return False
        session = self._sessions.get(worker.session or 0)
        if session is not None and session.ahead:
            self._send_steps(index, session)
            return True
        for queue in self._queues_for(index, worker, epoch):
            if batch := self._take(queue, ahead):
                self._send_calls(index, batch)
                return True
        return False

    def _queues_for(self, index: int, worker: Held, epoch: Epoch) -> Iterator[Queue]:
        """Yield the queues that a worker may take from, the most urgent first."""
        pins: list[Pin]
        if worker.session is not None:
            pins = [("session", worker.session)]
        elif worker.draining:
            return
        else:
            pins = [None, ("worker", index)]
        yield from (self._retries[pin] for pin in pins if self._retries.get(pin))
        yield from (epoch.pinned[pin] for pin in pins if epoch.pinned.get(pin))
        if worker.session is None:
            yield epoch.queue

    def _take(self, queue: Queue, ahead: int) -> list[Call]:
        """Take the next parcel's calls off a queue."""
        batch: list[Call] = []
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
                # What was lost with a worker, or goes on from step to step, is alone.
                if not call.attempts and call.request.session is None:
                    limit = self._pace.batch(digest, len(queue), len(self._workers))
            elif (
                digest != batch[0].request.pipeline
                or volume > _PARCEL_BYTES
                or call.attempts
            ):
                break
            heapq.heappop(queue)
            batch.append(call)
            volume += wire.size(call.request.inputs)
        return batch

    def _send_calls(self, index: int, batch: list[Call]) -> None:
        worker, digest = self._workers[index], batch[0].request.pipeline
        items: list[wire.Item] = []
        for call in batch:
            if call.version is None:
                call.version = len(self._log)
            if call.version != worker.version:
                items.extend(self._catch_up(index, call.version))
            if call is batch[0]:
                items.extend(self._install(index, digest))
            request = call.request
            step = 0 if request.session is None else self._step_number(request)
            items.append(
                wire.Call(
                    request.id,
                    digest,
                    request.trial,
                    request.inputs,
                    request.state,
                    request.options,
                    request.limit,
                    request.session,
                    step,
                    request.stream,
                )
            )
        parcel = self._send(index, items, self._pace.expected(digest, len(batch)))
        worker.parcels[-1].simulation = batch[0].request.simulation
        for call in batch:
            call.held_in = (index, parcel)
            self._out.append(Started(call.request.id, index, len(call.attempts) + 1))

    def _step_number(self, request: Request) -> int:
        """Return a step's number for its worker, which begins anew at 0."""
        session = self._sessions.get(request.session or 0)
        if session is None:
            return 0
        begins = session.simulation != request.simulation
        session.simulation = request.simulation
        return 0 if begins else max(1, request.step)

    def _send_steps(self, index: int, session: Session) -> None:
        """Run the steps of a session again that its state came from."""
        worker, digest = self._workers[index], session.pipeline
        assert digest is not None
        items = list(self._install(index, digest))
        count = volume = 0
        while session.ahead and count < _STEPS and volume < _PARCEL_BYTES:
            step = session.ahead.popleft()
            if step.version != worker.version:
                items.extend(self._catch_up(index, step.version))
            call = wire.Call(
                next(self._repeated),
                digest,
                step.trial,
                step.inputs,
                step.state,
                step.options,
                step.limit,
                worker.session,
                step.number,
            )
            session.again[call.id] = step
            items.append(call)
            count += 1
            volume += wire.size(step.inputs)
        self._send(index, items, self._pace.expected(digest, count))

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
        answered = tuple(i for i in items if not isinstance(i, _UNANSWERED))
        worker = self._workers[index]
        worker.parcels.append(Parcel(number, answered, seconds, worker.version))
        self._out.append(Send(index, number, tuple(items)))
        return number

    def _may_come(self, worker: int) -> bool:
        held = self._workers.get(worker)
        return worker in self._expected or (held is not None and not held.draining)

    # Taking calls back

    def _run_again(self, call: Call, worker: int) -> None:
        pin = call.pin
        if pin is not None and pin[0] == "worker" and not self._may_come(pin[1]):
            self._reject(call, outcomes.lost(call, worker))
        else:
            heapq.heappush(self._retries.setdefault(pin, []), call.rank)

    def _unqueue(self, pin: Pin) -> list[Call]:
        """Take the calls that only one may run off their queues."""
        queues = [epoch.pinned.pop(pin, []) for epoch in self._epochs]
        return [c for _, _, c in itertools.chain(*queues, self._retries.pop(pin, []))]

    # Ending calls

    def _reject(self, call: Call, error: LivnError) -> None:
        self._end(call)
        self._out.append(Reject(call.request.id, error))

    def _end(self, call: Call) -> None:
        call.ended = True
        del self._calls[call.request.id]
        self._disuse(call.request.pipeline)

    def _use(self, pipeline: str, content: Frames) -> None:
        """Keep a pipeline's content until it is of no use any more."""
        content, uses = self._contents.get(pipeline, (content, 0))
        self._contents[pipeline] = (content, uses + 1)

    def _disuse(self, pipeline: str) -> None:
        content, uses = self._contents.pop(pipeline)
        if uses > 1:
            self._contents[pipeline] = (content, uses - 1)
