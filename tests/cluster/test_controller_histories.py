"""The controller against simulated workers, in whatever order hypothesis finds."""

from collections import deque
from dataclasses import dataclass, field

from controlled import NOTHING, refusal, request
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import events as c
from livn_ipp.cluster.control.controller import Controller
from livn_ipp.errors import (
    CallCancelled,
    CallTimeout,
    SessionLost,
)


@dataclass
class SimulatedWorker:
    """What a worker does with its parcels, without doing it."""

    inbox: deque[tuple[int, tuple[wire.Item, ...]]] = field(default_factory=deque)
    applied: list[str] = field(default_factory=list)
    installed: set[str] = field(default_factory=set)
    session: int | None = None
    steps: int = 0
    chain: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """The state of the session: its steps, each with the configuration it saw."""
    draining: bool = False
    lags: bool = False
    """It failed to apply a setter, alone or while it replayed the log."""


class Fleet(RuleBasedStateMachine):
    """Random interleavings of everything that can happen to a controller."""

    def __init__(self) -> None:
        super().__init__()
        self.controller = Controller(max_retries=2, pipeline_bytes=100)
        self.workers: dict[int, SimulatedWorker] = {}
        self.next_worker = 0
        self.next_number = 1
        self.setters: dict[int, tuple[int, str]] = {}
        self.settled: dict[int, object] = {}
        self.submitted: dict[int, int] = {}
        self.ends: dict[int, c.Resolve | c.Reject] = {}
        self.starts: dict[int, int] = {}
        self.cancelled: set[int] = set()
        self.expected: set[int] = set()
        self.sessions: dict[int, list[int]] = {}
        """Steps submitted to each open session, by the session's number."""
        self.openings: set[int] = set()
        self.steps: dict[int, tuple[int, str]] = {}
        """Session and fate of each step of a session that recovers, by its trial."""
        self.simulations: dict[int, int] = {}
        self.recovering: set[int] = set()
        self.chains: dict[int, tuple[tuple[int, tuple[str, ...]], ...]] = {}
        """The last state that each session told."""
        self.bytes = {name: wire.dumps("x" * 40 + name) for name in "abc"}

    def post(self, event: c.Event) -> None:
        replaced = []
        for instruction in self.controller.handle(event):
            match instruction:
                case c.Send():
                    self.workers[instruction.worker].inbox.append(
                        (instruction.parcel, instruction.items)
                    )
                case c.Replace():
                    del self.workers[instruction.worker]
                    self.expected.add(instruction.worker)
                    replaced.append(instruction.worker)
                case c.Release():
                    worker = self.workers.pop(instruction.worker)
                    assert worker.lags or not worker.inbox, "a worker left with work"
                    assert worker.lags or worker.draining
                case c.StopCall():
                    assert instruction.call in self.cancelled
                case c.Resolve() | c.Reject():
                    assert instruction.call not in self.ends, "a call ended twice"
                    self.ends[instruction.call] = instruction
                    if instruction.call in self.steps:
                        self.check_state(instruction)
                case c.Settle():
                    assert instruction.ticket not in self.settled
                    self.settled[instruction.ticket] = instruction.error
                    if instruction.ticket in self.openings and not instruction.error:
                        self.sessions[instruction.ticket] = []
                case c.Started():
                    assert instruction.call not in self.ends
                    self.starts[instruction.call] = instruction.attempt
                    assert instruction.attempt <= 3, "a call was tried too often"
        for index in replaced:
            self.post(c.WorkerGone(index, "replaced", replaced=True))

    def number(self) -> int:
        self.next_number += 1
        return self.next_number

    @initialize()
    def two_workers(self) -> None:
        self.join()
        self.join()

    @rule()
    @precondition(lambda self: len(self.workers) < 4)
    def join(self) -> None:
        index, self.next_worker = self.next_worker, self.next_worker + 1
        self.workers[index] = SimulatedWorker()
        self.post(c.WorkerJoined(index))

    @rule(data=st.data(), replaced=st.booleans())
    @precondition(lambda self: self.workers)
    def lose(self, data: st.DataObject, replaced: bool) -> None:
        index = data.draw(st.sampled_from(sorted(self.workers)))
        late = [parcel for parcel, _ in self.workers.pop(index).inbox]
        if replaced:
            self.expected.add(index)
        self.post(c.WorkerGone(index, "killed", replaced))
        for parcel in late:  # answers that were on their way
            self.post(c.ReplyArrived(index, wire.Reply(parcel)))

    @rule(data=st.data())
    @precondition(lambda self: self.expected)
    def come_back(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.expected)))
        self.expected.discard(index)
        self.workers[index] = SimulatedWorker()
        self.post(c.WorkerJoined(index))

    @rule(data=st.data())
    @precondition(lambda self: self.expected)
    def stay_away(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.expected)))
        self.expected.discard(index)
        self.post(c.WorkerAbandoned(index, "no more cores"))

    @rule()
    @precondition(lambda self: len(self.workers) + len(self.expected) < 4)
    def expect(self) -> None:
        index, self.next_worker = self.next_worker, self.next_worker + 1
        self.expected.add(index)
        self.post(c.WorkerExpected(index))

    @rule(data=st.data(), overdue=st.booleans())
    @precondition(lambda self: any(w.inbox for w in self.workers.values()))
    def hang(self, data: st.DataObject, overdue: bool) -> None:
        busy = sorted(index for index, w in self.workers.items() if w.inbox)
        index = data.draw(st.sampled_from(busy))
        calls = [i.id for i in self.workers[index].inbox[0][1] if type(i) is wire.Call]
        call = calls[0] if overdue and len(calls) == 1 and calls[0] > 0 else None
        open_before = call is not None and call not in self.ends
        self.post(c.WorkerStuck(index, "no sign of life", call))
        assert index in self.expected
        if open_before:
            end = self.ends[call]
            assert isinstance(end, c.Reject)
            assert isinstance(end.error, (CallTimeout, SessionLost))

    @rule(data=st.data())
    @precondition(lambda self: len(self.workers) > 1)
    def drain(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.workers)))
        self.workers[index].draining = True
        self.post(c.DrainWorkers((index,)))

    @rule(worker=st.none() | st.integers(0, 3), recover=st.booleans())
    def open_session(self, worker: int | None, recover: bool) -> None:
        number = self.number()
        self.openings.add(number)
        if recover:
            self.recovering.add(number)
        content = self.bytes["a"]
        self.post(c.OpenSession(number, worker, "a", content, recover))

    @rule(data=st.data())
    @precondition(lambda self: self.sessions)
    def step(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        steps = self.sessions[session]
        call = request(
            self.number(),
            "a",
            session=session,
            step=len(steps),
            simulation=self.simulations.get(session, 0),
        )
        self.submitted[call.id] = len(self.setters)
        self.steps[call.trial] = session, ""
        steps.append(call.id)
        self.post(c.CallsSubmitted((call,), self.bytes["a"]))

    @rule(data=st.data())
    @precondition(lambda self: self.sessions)
    def begin_anew(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        if all(step in self.ends for step in self.sessions[session]):
            self.sessions[session] = []
            self.chains.pop(session, None)
            self.simulations[session] = self.simulations.get(session, 0) + 1

    def check_state(self, end: c.Resolve | c.Reject) -> None:
        session, _ = self.steps[end.call]
        if isinstance(end, c.Resolve):
            chain, before = wire.loads(end.result), self.chains.get(session, ())
            assert chain[: len(before)] == before, "it went on with another state"
            assert chain[-1][0] == end.call
            trials = [trial for trial, _ in chain]
            assert len(trials) == len(set(trials)), "a step went into the state twice"
            assert trials == sorted(trials)
            assert all(self.steps[trial][1] for trial in trials), "half a step counts"
            self.chains[session] = chain

    @rule(data=st.data())
    @precondition(lambda self: self.sessions)
    def close_session(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        steps = self.sessions.pop(session)
        self.post(c.CloseSession(session))
        assert all(step in self.ends for step in steps)

    @rule(
        count=st.integers(1, 5),
        pipeline=st.sampled_from("abc"),
        priority=st.integers(0, 1),
        pin=st.none() | st.integers(0, 3),
    )
    def submit(self, count: int, pipeline: str, priority: int, pin: int | None) -> None:
        requests = tuple(
            request(self.number(), pipeline, priority=priority, worker=pin)
            for _ in range(count)
        )
        for r in requests:
            self.submitted[r.id] = len(self.setters)
        self.post(c.CallsSubmitted(requests, self.bytes[pipeline]))

    @rule(name=st.sampled_from(["good", "refused", "breaks", "breaks on even workers"]))
    def set(self, name: str) -> None:
        ticket = self.number()
        self.setters[ticket] = (len(self.setters), f"{name} {ticket}")
        self.post(c.SetterSubmitted(ticket, f"{name} {ticket}", NOTHING))

    @rule()
    def ask(self) -> None:
        self.post(c.AskWorker(self.number(), "weight_names", NOTHING))

    @rule(data=st.data())
    @precondition(lambda self: self.submitted)
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.submitted)))
        open_before = number not in self.ends
        self.cancelled.add(number)
        self.post(c.CancelCalls((number,)))
        if open_before:
            end = self.ends[number]
            assert isinstance(end, c.Reject)
            assert isinstance(end.error, CallCancelled)

    @rule(data=st.data())
    @precondition(lambda self: any(w.inbox for w in self.workers.values()))
    def work(self, data: st.DataObject) -> None:
        busy = [index for index, w in self.workers.items() if w.inbox]
        self.serve(
            data.draw(st.sampled_from(sorted(busy))),
            data.draw(
                st.sampled_from(
                    ["done", "done", "failed", "stopped", "late", "missing"]
                )
            ),
            data.draw(st.sampled_from([1e-5, 0.01, 1.0])),
        )

    def serve(self, index: int, fate: str = "done", seconds: float = 0.01) -> None:
        worker = self.workers[index]
        void = self.controller._workers[index].parcels[0].void
        parcel, items = worker.inbox.popleft()
        answers: list[object] = []
        for item in items:
            match item:
                case wire.Install():
                    worker.installed.add(item.pipeline)
                case wire.Forget():
                    worker.installed.discard(item.pipeline)
                case wire.Apply():
                    answers.append(self.apply(index, worker, item.entry))
                case wire.Rebuild():
                    worker.applied = [entry.method for entry in item.entries]
                    worker.session, worker.chain = None, ()
                    answers.append(wire.Answer())
                case wire.Ask():
                    answers.append(wire.Answer(NOTHING))
                case wire.Call():
                    answers.append(self.call(worker, item, fate, seconds, void=void))
                    if fate == "stopped":
                        worker.steps -= 1
        self.post(c.ReplyArrived(index, wire.Reply(parcel, tuple(answers))))  # type: ignore[arg-type]

    def apply(self, index: int, worker: SimulatedWorker, entry: wire.Entry) -> object:
        if entry.method.startswith("refused"):
            worker.lags = True
            return wire.Failed((refusal(),), clean=True)
        worker.applied.append(entry.method)
        if entry.method.startswith("breaks on even"):
            worker.lags = index % 2 == 0
            return wire.Failed((refusal(),)) if worker.lags else wire.Answer()
        if entry.method.startswith("breaks"):
            return wire.Failed((refusal("ValueError", "builtins"),))
        return wire.Answer()

    def call(
        self,
        worker: SimulatedWorker,
        item: wire.Call,
        fate: str,
        seconds: float,
        *,
        void: bool,
    ) -> object:
        if item.id < 0:
            held = self.controller._sessions.get(item.session)
            void = held is None or item.id not in held.again
        if item.session is None:
            worker.session = None
        elif item.step == 0:
            worker.session, worker.steps, worker.chain = item.session, 0, ()
        elif item.session in self.sessions and item.id not in self.ends and not void:
            assert worker.session == item.session, "a session went on elsewhere"
            if item.session not in self.recovering:  # a step may have been undone
                assert worker.steps == item.step, "a step was left out"
        worker.steps += 1
        if fate == "missing" and item.session is None:
            worker.installed.discard(item.pipeline)
        if item.pipeline not in worker.installed:
            return wire.Missing(item.pipeline)
        if item.session is not None and not void:
            if fate in {"done", "failed", "missing"}:
                first = "failed" if fate == "failed" else "done"
                fate = self.steps[item.trial][1] or first
                self.steps[item.trial] = item.session, fate
            worker.chain += ((item.trial, tuple(worker.applied)),)
        if item.id < 0 or void:
            return self.outcome(worker, item, fate, seconds)
        earlier = [
            (ticket, name)
            for ticket, (position, name) in self.setters.items()
            if position < self.submitted[item.id]
        ]
        assert all(ticket in self.settled for ticket, _ in earlier)
        expected = [name for ticket, name in earlier if self.settled[ticket] is None]
        assert worker.applied == expected, "a call saw another configuration"
        return self.outcome(worker, item, fate, seconds)

    @staticmethod
    def outcome(
        worker: SimulatedWorker, item: wire.Call, fate: str, seconds: float
    ) -> object:
        if fate == "failed":
            return wire.Failed((refusal("ValueError", "builtins"),))
        if fate == "stopped":
            return wire.StoppedCall()
        if fate == "late":
            return wire.TimedOut(1.0)
        result = NOTHING if item.session is None else wire.dumps(worker.chain)
        return wire.Done(result, seconds)

    @invariant()
    def never_more_than_two_ahead(self) -> None:
        for worker in self.workers.values():
            calls = [
                p for p in worker.inbox if any(isinstance(i, wire.Call) for i in p[1])
            ]
            assert len(calls) <= 2

    @invariant()
    def who_is_there_is_known(self) -> None:
        assert set(self.controller.workers) == set(self.workers)
        assert set(self.controller.expected) == self.expected

    @invariant()
    def what_waits_can_go_on(self) -> None:
        if not self.workers and not self.expected:
            assert self.controller.unfinished == 0

    def teardown(self) -> None:
        for _ in range(10_000):
            for session in list(self.sessions):
                del self.sessions[session]
                self.post(c.CloseSession(session))
            for index in sorted(self.expected):
                self.expected.discard(index)
                self.workers[index] = SimulatedWorker()
                self.post(c.WorkerJoined(index))
            busy = [index for index, w in self.workers.items() if w.inbox]
            if busy:
                self.serve(busy[0])
            elif not self.sessions and not self.expected:
                break
        assert set(self.ends) == set(self.submitted), "a call never ended"
        assert set(self.setters) <= set(self.settled), "a setter never ended"
        held = self.controller
        assert held.unfinished == 0
        assert not held._contents
        assert not held._questions
        assert not held._sessions
        assert self.openings <= set(self.settled), (
            "a session was neither given nor refused"
        )
        good = [
            name
            for ticket, (_, name) in self.setters.items()
            if self.settled[ticket] is None
        ]
        assert [entry.method for entry in held._log] == good


class Recovering(Fleet):
    """The same, with a session that recovers at most times, and more steps."""

    @initialize()
    def a_session(self) -> None:
        self.begin()

    def begin(self) -> None:
        number = self.number()
        self.openings.add(number)
        self.recovering.add(number)
        content = self.bytes["a"]
        self.post(c.OpenSession(number, None, "a", content, recover=True))

    def step_of(self, session: int) -> None:
        self.step(_Given(session))

    @rule(count=st.integers(1, 3), served=st.booleans())
    def go_on(self, count: int, served: bool) -> None:
        if not self.sessions:
            self.begin()
        for _ in range(count):
            for session in self.sessions:
                self.step_of(session)
            for index in list(self.workers) if served else ():
                if index in self.workers and self.workers[index].inbox:
                    self.serve(index)

    @rule(fate=st.sampled_from(["late", "stopped", "lost"]), behind=st.booleans())
    def interrupt(self, fate: str, behind: bool) -> None:
        for session in list(self.sessions):
            self.step_of(session)
            if behind:
                self.step_of(session)
            index = self.controller.session_worker(session)
            if index in self.workers and fate == "lost":
                self.lose(_Given(index), replaced=True)
            elif index in self.workers and self.workers[index].inbox:
                self.serve(index, fate)

    @rule()
    def set_between(self) -> None:
        self.set("good")


class _Given:
    """Draws what is wanted."""

    def __init__(self, value: object) -> None:
        self.value = value

    def draw(self, _: object) -> object:
        return self.value


Fleet.TestCase.settings = Recovering.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestFleet = Fleet.TestCase
TestRecovering = Recovering.TestCase
