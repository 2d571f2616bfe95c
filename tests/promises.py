"""What every transport promises, told as functions of a live DistributedEnv.

The same functions run in process, over ipyparallel and under mpirun. The backend is a
small one of our own, so that what is tested is the cluster and not the simulation.
"""

import asyncio
import contextlib
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import (
    CallCancelled,
    CallError,
    CallTimeout,
    ConfigError,
    ResultNotSerializable,
    SessionLost,
)
from livn_ipp.types import Decoding, Encoding


class Tally:
    """An environment that remembers what was done to it."""

    multirank = True

    def __init__(self, system, model=None, io=None, seed=123, comm=None):
        self.subworld, self.comm = comm, comm.comm
        self.weights = {}
        self.trial = None

    def init(self):
        return self

    def close(self):
        pass

    def clear(self, reseed=True, *, trial=None):
        self.trial = trial
        return self

    def record_spikes(self, population=None):
        if population == "nobody":
            raise ConfigError("no population 'nobody'")

    def set_weights(self, weights):
        self.weights |= weights  # not undone by what follows: a careless backend
        if weights.get("fails on rank") == self.comm.rank:
            raise OSError(5, "the disk is full")
        time.sleep(weights.get("takes", 0))

    @property
    def weight_names(self):
        return sorted(self.weights)

    def __call__(self, decoding, inputs=None, encoding=None, **options):
        if encoding is not None:
            inputs = encoding(self, decoding.duration, inputs)
        return decoding((inputs, options), self)


class Echo(Decoding):
    """Answer with the input, on the leader."""

    duration: int = 1

    def __call__(self, run, env=None):
        return run[0] if env.comm.rank == 0 else None


class Double(Encoding):
    factor: float = 2.0

    def __call__(self, env, t_end, inputs):
        return inputs * self.factor


def trials(run, env):
    return env.trial, env.comm.allreduce(1)


def test_responses_come_in_order_with_their_trials(env):
    size = env.subworld_size
    assert env(trials, inputs=[5, 6, 7]) == [(0, size), (1, size), (2, size)]
    assert env(trials, inputs=[8]) == [(3, size)]
    env.clear()
    assert env(trials, inputs=[5]) == [(0, size)]
    assert env(trials, inputs=[5, 6], trial=40) == [(40, size), (41, size)]
    assert env(Echo(), inputs=[10, 20], encoding=Double()) == [20.0, 40.0]


def test_input_that_is_no_list_is_one_call(env):
    assert env(Echo(), inputs=3) == [3]
    (array,) = env(Echo(), inputs=np.arange(3))
    assert array.tolist() == [0, 1, 2]
    assert env(Echo()) == [None]


def test_large_arrays_arrive_whole_and_writable(env):
    sent = np.arange(300_000.0)
    future = env.submit(Echo(), {"a": sent, "b": [sent[:3]]})
    sent[0] = -1  # the call took a snapshot
    got = future.result(30)
    assert got["a"][0] == 0
    assert got["a"][-1] == 299_999
    got["a"][0] = 5
    assert got["b"][0].tolist() == [0, 1, 2]


def test_an_exception_on_one_rank_keeps_its_type_and_the_worker(env):
    last = env.subworld_size - 1

    def fails(run, env):
        if env.comm.rank == last:
            raise KeyError("electrode 99")
        return env.comm.allgather(env.comm.rank)

    with pytest.raises(KeyError, match="electrode 99") as caught:
        env(fails, inputs=[1, 2, 3])
    error = caught.value
    assert isinstance(error, CallError)
    assert [failure.rank for failure in error.failures] == [last]
    assert "in fails" in error.tracebacks
    assert f"rank {last}" in str(error)
    assert env(Echo(), inputs=[1, 2]) == [1, 2]


def test_every_rank_s_traceback_comes_back(env):
    def fails(run, env):
        raise ValueError(f"on {env.comm.rank}")

    with pytest.raises(ValueError, match="on 0") as caught:
        env(fails)
    ranks = list(range(env.subworld_size))
    assert [failure.rank for failure in caught.value.failures] == ranks


def test_an_encoding_may_fail_on_one_rank(env):
    def encoding(env, t_end, inputs):
        if env.comm.rank == 0:
            raise ValueError("no such electrode")

    with pytest.raises(ValueError, match="no such electrode"):
        env(Echo(), encoding=encoding)
    assert env(Echo(), inputs=[1]) == [1]


class TwoArguments(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


def test_strange_exceptions_come_back(env):
    def two_arguments(run, env):
        raise TwoArguments(1, 2)

    def unpicklable(run, env):
        error = ValueError("held")
        error.lock = threading.Lock()
        raise error

    def silent(run, env):
        class Silent(Exception):
            def __str__(self):
                raise RuntimeError

        raise Silent

    def unicode(run, env):
        b"\xff".decode()

    for decoding, name in (
        (two_arguments, "TwoArguments"),
        (unpicklable, "ValueError"),
        (silent, "Silent"),
        (unicode, "UnicodeDecodeError"),
    ):
        with pytest.raises(CallError) as caught:
            env(decoding)
        assert name in str(caught.value)
        assert env(Echo(), inputs=[1]) == [1]


def test_leaving_a_call_does_not_leave_the_worker(env):
    def leave(run, env):
        sys.exit(3)

    def interrupt(run, env):
        raise KeyboardInterrupt

    for decoding, name in ((leave, "SystemExit: 3"), (interrupt, "KeyboardInterrupt")):
        with pytest.raises(CallError, match=name):
            env(decoding)
        assert env(Echo(), inputs=[1]) == [1]


def test_results_that_cannot_travel_are_named(env):
    with pytest.raises(ResultNotSerializable, match="generator"):
        env(lambda run, env: (x for x in "abc"))
    with pytest.raises(ResultNotSerializable, match="lock"):
        env(lambda run, env: {"held": threading.Lock()})
    assert env(Echo(), inputs=[1]) == [1]


def test_inputs_that_cannot_travel_are_refused_here(env):
    with pytest.raises(TypeError, match="lock"):
        env(Echo(), inputs=[threading.Lock()])
    with pytest.raises(TypeError, match="lock"):
        env.submit(Echo(), 1, encoding=threading.Lock())
    assert env(Echo(), inputs=[1]) == [1]


def test_the_lowest_rank_with_a_value_answers(env):
    last = env.subworld_size - 1

    def from_the_last(run, env):
        return np.full(100_000, 7.0) if env.comm.rank == last else None

    (array,) = env(from_the_last)
    assert array.sum() == 700_000
    assert env(lambda run, env: None) == [None]
    assert env(lambda run, env: env.comm.rank) == [0]


def test_local_classes_and_lambdas_travel(env):
    offset = 100

    class Local(Decoding):
        gain: float = 1.0

        def __call__(self, run, env=None):
            return run[0] * self.gain + offset

    assert env(Local(duration=1, gain=3.0), inputs=[1, 2]) == [103.0, 106.0]
    assert env(lambda run, env: run[0] + offset, inputs=[1]) == [101]


class Count(Decoding):
    """A decoding that changes itself, and keeps state for its controller."""

    duration: int = 1
    seen: list = []
    state: dict = {}

    def __call__(self, run, env=None):
        self.seen.append(1)
        return len(self.seen), self.state.get("gain")


def test_a_call_leaves_no_trace_in_the_next(env):
    count = Count()
    assert env(count, inputs=[None] * 4) == [(1, None)] * 4
    count.state["gain"] = 3
    assert env(count) == [(1, 3)]
    count.state["gain"] = 4
    assert env(count) == [(1, 4)]


def test_setters_reach_every_rank_of_every_worker(env):
    workers = range(len(env._dispatcher.workers))
    env.set_weights({"a": 1})

    def held(run, env):
        return env.comm.allgather(sorted(env.weights))

    for worker in workers:
        ranks = env.submit(held, worker=worker).result(30)
        assert ranks == [["a"]] * env.subworld_size
    assert env.weight_names == ["a"]


def test_a_setter_that_fails_leaves_no_worker_different(env):
    workers = range(len(env._dispatcher.workers))
    last = env.subworld_size - 1
    env.set_weights({"a": 1})
    with pytest.raises(OSError, match="the disk is full"):
        env.set_weights({"b": 2, "fails on rank": last})
    with pytest.raises(ConfigError, match="nobody"):
        env.record_spikes("nobody")

    def held(run, env):
        return env.comm.allgather(sorted(env.weights))

    for worker in workers:
        ranks = env.submit(held, worker=worker).result(30)
        assert ranks == [["a"]] * env.subworld_size


def test_setters_wait_for_busy_workers_and_later_calls_for_setters(env):
    workers = range(len(env._dispatcher.workers))

    def nap(run, env):
        time.sleep(run[0])
        return env.weights.get("version")

    env.set_weights({"version": 0})
    for version in range(1, 4):
        before = env.submit(nap, 0.3, worker=0)
        env.set_weights({"version": version})
        after = [env.submit(nap, 0.0, worker=worker) for worker in workers]
        assert before.result(30) == version - 1
        assert [future.result(30) for future in after] == [version] * len(workers)


def test_futures_behave_as_in_concurrent_futures(env):
    future = env.submit(Echo(), 5)
    assert future.result(30) == 5
    assert future.done()
    assert not future.cancel()
    assert future.worker in range(len(env._dispatcher.workers))
    assert future.attempts == 1
    called = threading.Event()
    future.add_done_callback(lambda done: called.set())
    assert called.wait(5)

    def nap(run, env):
        time.sleep(run[0])
        return run[0]

    slow = env.submit(nap, 0.5)
    with pytest.raises(CallTimeout, match="has not ended"):
        slow.result(0.01)
    assert slow.result(30) == 0.5

    async def both():
        return await asyncio.gather(env.submit(Echo(), 1), env.submit(Echo(), 2))

    assert asyncio.run(both()) == [1, 2]
    naps = [env.submit(nap, 0.05 * i) for i in range(4)]
    assert {f.result() for f in env.as_completed(naps, timeout=30)} == {
        0.05 * i for i in range(4)
    }
    assert list(env.map(Echo(), range(5))) == list(range(5))


def test_numbers_for_calls_as_in_livn(env):
    first = env.submit_call(Echo(), inputs=42)
    second = env.submit_call(Echo(), inputs=43)
    assert isinstance(first, int)
    assert env.receive_response(second) == [43]
    assert env.receive_response() == [42]
    with pytest.raises(ConfigError, match="no call is waiting"):
        env.receive_response()
    with pytest.raises(ConfigError, match="no response is waiting under 99"):
        env.probe_response(99)
    number = env.submit_call(lambda run, env: time.sleep(0.2) or "late")
    deadline = time.monotonic() + 30
    while (response := env.probe_response(number)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert response == "late"


def until_stopped(run, env):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.01)
        env.subworld.report(time.monotonic())
        env.subworld.agree()
    return "never stopped"


def test_cancel_stops_what_runs_and_drops_what_waits(env):
    workers = len(env._dispatcher.workers)
    env(Echo(), inputs=[0] * workers)
    running = [env.submit(until_stopped, worker=w) for w in range(workers)]
    waiting = env.submit(Echo(), 1)
    deadline = time.monotonic() + 30
    while not all(future.progress for future in running):
        assert time.monotonic() < deadline, "no progress was reported"
        time.sleep(0.01)
    assert waiting.cancel()
    for future in running:
        assert future.cancel()
        with pytest.raises(CallCancelled):
            future.result(5)
    began = time.monotonic()
    assert env(Echo(), inputs=[7] * workers) == [7] * workers
    assert time.monotonic() - began < 20


def test_an_interrupt_while_waiting_cancels_the_call(env):
    # A shell ignores interrupts in what it starts in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, _interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            env(until_stopped, inputs=[1])
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()
    assert env(Echo(), inputs=[1]) == [1]


def test_a_call_stops_when_its_time_is_over(env):
    late = env.submit(until_stopped, timeout=0.5, worker=env._dispatcher.workers[0])
    with pytest.raises(CallTimeout, match=r"longer than its 0\.5 s") as caught:
        late.result(20)
    assert caught.value.worker == env._dispatcher.workers[0]
    assert caught.value.time > 0
    assert late.attempts == 1
    assert env.submit(Echo(), 3, worker=caught.value.worker).result(20) == 3
    with pytest.raises(ConfigError, match="timeout must be a positive number"):
        env(Echo(), timeout=-1)


def test_a_session_goes_on_where_the_last_step_ended(env):
    count = Count()
    with env.session(count, trial=7) as session:
        worker = session.worker
        assert [session.step()[0] for _ in range(3)] == [1, 2, 3]
        ahead = [session.submit() for _ in range(4)]
        assert [future.result(20)[0] for future in ahead] == [4, 5, 6, 7]
        assert {future.worker for future in ahead} == {worker}
        if len(env._dispatcher.workers) > 1:
            others = env(trials, inputs=[None] * 4)
            assert len(others) == 4
            assert session.step()[0] == 8
        else:
            with pytest.raises(ConfigError, match="hold sessions"):
                env(Echo())
    with pytest.raises(ConfigError, match="closed"):
        session.step()
    with env.session(count, worker=worker) as session:
        assert session.step()[0] == 1
    assert env(Echo(), inputs=[1, 2]) == [1, 2]


def test_sessions_take_a_step_together(env):
    count = Count()
    with contextlib.ExitStack() as stack:
        sessions = [
            stack.enter_context(env.session(count, trial=n))
            for n in range(len(env._dispatcher.workers))
        ]
        first, *others = sessions
        for step in range(1, 4):
            futures = first.submit_with(others, [None] * len(sessions))
            assert [future.result(20)[0] for future in futures] == [step] * len(
                sessions
            )
            assert [future.worker for future in futures] == [s.worker for s in sessions]
        assert [session.step()[0] for session in sessions] == [4] * len(sessions)
        assert {session.steps for session in sessions} == {4}
        with pytest.raises(ConfigError, match="different sessions"):
            first.submit_with([first], [None] * 2)
        if others:
            others[0].close()
            with pytest.raises(ConfigError, match="closed"):
                first.submit_with(others, [None] * len(sessions))
        assert first.step()[0] == 5


def test_an_error_in_a_step_leaves_the_session(env):
    def odd(run, env):
        if run[0] % 2:
            raise ValueError(run[0])
        return env.trial

    with env.session(odd, trial=5) as session:
        assert session.step(0) == 5
        with pytest.raises(ValueError, match="3"):
            session.step(3)
        assert session.step(2) == 5


class Sum(Decoding):
    """Add up the inputs; tell what the environment was like."""

    duration: int = 1
    total: int = 0

    def __call__(self, run, env=None):
        self.total += run[0]
        if run[0] < 0:
            raise ValueError(run[0])
        return self.total, env.trial, [n for n in env.weight_names if "steps:" in n]


def test_a_session_is_restored_from_its_inputs(env):
    with env.session(Sum(), trial=9) as session:
        assert session.step(1)[:2] == (1, 9)
        env.set_weights({"steps: between": 1})
        with pytest.raises(ValueError, match="-5"):
            session.step(-5)
        assert session.step(2)[0] == -2
        assert session.history == (1, -5, 2)
        snapshot = pickle.loads(pickle.dumps(session.snapshot()))
        after = session.step(7)
    env.set_weights({"steps: behind": 1})
    with env.session(snapshot=snapshot) as session:
        total, trial, names = session.step(7)
        assert (total, trial) == after[:2]
        assert names == sorted([*after[2], "steps: behind"])
        assert session.history == (1, -5, 2, 7)
        session.restart(trial=3)
        assert session.step(10)[:2] == (10, 3)
        assert session.history == (10,)


def test_steps_that_cannot_be_repeated_are_not_restored(env):
    with env.session(lambda run, env: time.time_ns()) as session:
        session.step()
        snapshot = session.snapshot()
    with (
        env.session(snapshot=snapshot) as session,
        pytest.raises(SessionLost, match="gave another answer"),
    ):
        session.step()


def test_a_step_that_ran_out_of_time_is_undone(env):
    def summed(run, env):
        if run[0] == "for ever":
            until_stopped(run, env)
        return run[0], env.trial

    with env.session(summed, trial=4, recover="replay", timeout=3.0) as session:
        first = session.step(1)
        late, behind = session.submit("for ever"), session.submit(2)
        with pytest.raises(CallTimeout):
            late.result(60)
        assert behind.result(60) == (2, 4)
        assert first == (1, 4)
        assert session.history == (1, 2)
    with env.session(Sum(), recover="replay", timeout=60) as session:
        assert session.step(1)[0] == 1
    with pytest.raises(ConfigError, match="record=True"):
        env.session(Sum(), recover="replay", record=False)
    with pytest.raises(ConfigError, match="recover must be"):
        env.session(Sum(), recover="always")


def _interrupt_main():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_many_calls_at_once(env):
    assert env(Echo(), inputs=list(range(3000))) == list(range(3000))
    with contextlib.suppress(ZeroDivisionError):
        env(lambda run, env: 1 / run[0], inputs=list(range(10, -3000, -1)))
    assert env._dispatcher.unfinished == 0
    assert env(Echo(), inputs=[1]) == [1]


def test_wrong_use_is_told(env):
    with pytest.raises(ConfigError, match="there is no worker 99"):
        env.submit(Echo(), worker=99).result(5)
    assert "EI1" in repr(env)


PROMISES = [
    value for name, value in dict(globals()).items() if name.startswith("test_")
]


def environment(**options):
    """Return an environment that all promises but the first few may share."""
    return DistributedEnv("EI1", backend=Tally, **options)
