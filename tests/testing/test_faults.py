import itertools
import threading
import time

import numpy as np
import pytest

from livn_ipp.decoding import PopulationFiringRates
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.factory import NeuronFactory, factory_for
from livn_ipp.errors import CallCancelled, ConfigError, ResultNotSerializable
from livn_ipp.subworld import Subworld
from livn_ipp.testing import (
    Allocate,
    Compute,
    Deadlock,
    Fault,
    FaultyEnv,
    FaultyInput,
    Huge,
    Leave,
    LightEnv,
    Raise,
    Sleep,
    Unpicklable,
    with_faults,
)


def local(backend=FaultyEnv, **options):
    return DistributedEnv("EI1", backend=backend, transport="local", **options)


def times(run, env):
    return np.sort(run.spike_times)


# The light environment


class Ranks:
    """Says which share of the cells is this rank's; there is nobody to vote with."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size
        self.comm = None
        self.checkpoint = lambda time, course: None


def spikes(env, duration=1000, drive=None):
    run = env.clear(trial=3).run(duration, drive)
    return sorted(zip(run.spike_ids.tolist(), run.spike_times.tolist(), strict=True))


def test_spikes_do_not_depend_on_the_number_of_ranks():
    whole = spikes(LightEnv("EI1").record_spikes())
    parts = [
        spikes(LightEnv("EI1", comm=Ranks(rank, 3)).record_spikes())
        for rank in range(3)
    ]
    assert all(parts)
    assert sorted(itertools.chain.from_iterable(parts)) == whole


def test_spikes_follow_from_seed_trial_and_drive():
    env = LightEnv("EI1").init().record_spikes()
    first = env.clear(trial=1).run(2500)
    assert env.clear(trial=1).run(2500).digest() == first.digest()
    assert env.clear(trial=2).run(2500).digest() != first.digest()
    assert env.clear(trial=1).run(2500, np.ones(4)).digest() != first.digest()
    assert LightEnv("EI1", seed=5).record_spikes().run(2500).digest() != first.digest()


def test_rates_are_as_described():
    env = LightEnv("EI2").init().record_spikes()
    for drive, rate in ((None, 10), (1.0, 20), (100.0, 100)):
        run = env.clear(trial=0).run(10_000, drive)
        assert len(run.spike_ids) / 100 / 10 == pytest.approx(rate, rel=0.03)


def test_a_run_may_be_cut_in_any_way():
    env = LightEnv("EI1").init().record_spikes()
    whole = np.sort(env.run(2300).spike_times)
    env.clear()
    pieces = []
    for length in (999.5, 0.5, 1, 1299):
        run = env.run(length)
        assert run.t1 == env.t
        pieces.append(run.spike_times + run.t0)
    np.testing.assert_allclose(np.sort(np.concatenate(pieces)), whole, atol=1e-6)


def test_chunks_take_their_time_vote_and_report():
    env = LightEnv("EI1")
    reached = []
    env.subworld.checkpoint = lambda time, course: reached.append(time)
    began = time.monotonic()
    env(lambda run, env: None, pace=0.01)
    env.run(25, pace=0.001)
    assert time.monotonic() - began > 0.12
    assert reached == [10, 20, 30, 35]


def test_spikes_are_told_as_they_come():
    env = LightEnv("EI1").record_spikes()
    told = []
    env.subworld.checkpoint = lambda time, course: told.append(course.news())
    env.run(40)
    run = env.run(1000)
    told = [times for ids, times in told[4:]]
    assert [len(times) > 0 for times in told].count(True) > 10
    np.testing.assert_array_equal(np.sort(np.concatenate(told)), run.spike_times)


def test_decodings_of_livn_ipp_find_what_they_need():
    with local() as env:
        env.record_spikes()
        (rates,) = env(PopulationFiringRates(duration=2000))
        assert rates["rates_hz"].keys() == {"EXC", "INH"}
        assert all(rate > 0 for rate in rates["rates_hz"].values())


# What goes wrong


def test_faults_of_an_input_go_wrong_in_its_call_only():
    with local() as env:
        env.record_spikes()
        calm = env(times, inputs=[1.0, 2.0, 3.0])
        bad = [
            FaultyInput(1.0, Fault(Sleep(0.05))),
            Fault(Raise(KeyError, "channel 3")),
            FaultyInput(3.0, Fault(Compute(0.05)), Fault(Allocate(1 << 20, 0.01))),
        ]
        env.clear()
        first, failed, last = (env.submit(times, each) for each in bad)
        np.testing.assert_array_equal(first.result(5), calm[0])
        np.testing.assert_array_equal(last.result(5), calm[2])
        with pytest.raises(KeyError, match="channel 3"):
            failed.result(5)


def test_a_fault_waits_for_its_time():
    reached = []

    def note(env):
        reached.append(env.t)

    plan = with_faults(LightEnv, Fault(note, at=35), Fault(note), Fault(note, at=1000))
    with local(plan) as env:
        env(lambda run, env: None)  # 10 ms
        env(100)
    assert reached == [0.0, 0.0, 40.0]


def test_a_fault_may_be_meant_for_some_trials():
    plan = with_faults(LightEnv, Fault(Raise(OSError, "gone"), trials=range(1, 9, 2)))
    with local(plan) as env:
        calls = [env.submit(10, trial=trial) for trial in range(4)]
        failed = [isinstance(call.exception(5), OSError) for call in calls]
    assert failed == [False, True, False, True]


def test_attempts_are_counted_by_trial_in_files(tmp_path):
    fault = Fault(Raise(OSError, "gone"), attempts=[1, 3], counter=tmp_path)
    for expected in (True, False, True, False):
        with local(with_faults(LightEnv, fault)) as env:
            for trial in (0, 7):
                call = env.submit(10, trial=trial)
                assert isinstance(call.exception(5), OSError) is expected


def test_a_fault_is_meant_for_ranks():
    def happened(ranks):
        env = with_faults(factory_for(LightEnv, "EI1", None, None, 1))
        spoiled = env.build(Subworld())
        spoiled.clear(trial=0)
        fault = Fault(lambda env: "happened", ranks=ranks)
        return spoiled(lambda run, env: "calm", fault)

    assert [happened(ranks) for ranks in (None, [0], (1, 0), [1], ())] == [
        *["happened"] * 3,
        *["calm"] * 2,
    ]


def test_a_setter_and_the_start_may_fail(tmp_path):
    full = Fault(Raise(OSError, 28, "no space left"), during="set_noise")
    with local(with_faults(LightEnv, full)) as env:
        env.set_weights({"a": 1})
        with pytest.raises(OSError, match="no space left"):
            env.set_noise({"g_e0": 1})
        held = env(lambda run, env: (env.weights, env.noise))
        assert held == [({"a": 1}, {})]
    start = Fault(
        Raise(OSError, "no network"), during="init", attempts=[1], counter=tmp_path
    )
    with pytest.raises(OSError, match="no network"):
        local(with_faults(LightEnv, start)).init()
    local(with_faults(LightEnv, start)).init().shutdown()


def test_responses_are_replaced():
    with local() as env:
        with pytest.raises(ResultNotSerializable, match="lock"):
            env(10, inputs=[Fault(Unpicklable())])
        (array,) = env(10, inputs=[Fault(Huge(300_000))])
        assert array.nbytes == array.sum() == 300_000
        assert env(10, inputs=[Fault(lambda env: env.trial)]) == [2]
        assert env(lambda run, env: "calm") == ["calm"]


def test_what_leaves_python_is_an_error_of_the_call():
    with local() as env:
        with pytest.raises(Exception, match="SystemExit: 3"):
            env(10, inputs=[Fault(Leave(3))])
        with pytest.raises(ConfigError, match="subworld_size=2"):
            env(10, inputs=[Fault(Deadlock())])


@pytest.mark.parametrize("action", [Sleep(votes=True), Compute(votes=True)])
def test_endless_actions_that_vote_can_be_stopped(action):
    with local() as env:
        call = env.submit(10, Fault(action))
        waiter = threading.Timer(0.3, call.cancel)
        waiter.start()
        with pytest.raises(CallCancelled):
            call.result(10)
        waiter.join()
        assert env(lambda run, env: 5) == [5]


def test_sleep_that_keeps_the_interpreter_stops_other_threads():
    ticks = []
    ended = threading.Event()

    def tick():
        while not ended.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        began = time.monotonic()
        Sleep(0.5, hold_gil=True)(None)
        during = [t for t in ticks if began + 0.1 < t < began + 0.45]
        assert time.monotonic() - began >= 0.5
        assert during == []
    finally:
        ended.set()
        thread.join()


def test_neuron_and_livn_can_be_spoiled_too():
    plan = with_faults("neuron", Fault(Sleep(0)))
    factory = factory_for(plan, "EI1", None, None, 7)
    assert isinstance(factory.inside, NeuronFactory)
    assert factory.inside.seed == 7
    assert factory.multirank
    assert factory.name == "neuron with faults"
    assert factory.select(3, "first", None).inside.system.num_cells == 3


@pytest.mark.neuron
def test_a_simulation_under_a_plan_is_what_it_was():
    from livn_ipp.env import Env

    expected = Env("EI1").init().record_spikes().run(100).digest()
    stopped = Fault(Raise(TimeoutError, "at"), at=30, trials=[1])
    with local(with_faults("neuron", Fault(Sleep(0.01), at=20), stopped)) as env:
        env.record_spikes()
        calls = [env.submit(100, trial=trial) for trial in (0, 1, 0)]
        runs = [calls[0].result(30).digest(), calls[2].result(30).digest()]
        assert isinstance(calls[1].exception(30), TimeoutError)
    assert runs == [expected] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": 5}, "an action that can be called"),
        ({"action": Sleep(1), "attempts": [1]}, "needs counter="),
        ({"action": Sleep(1), "counter": "/nonexistent"}, "no directory"),
    ],
)
def test_faults_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Fault(**options)


def test_a_plan_used_as_a_class_says_where_it_belongs():
    with pytest.raises(ConfigError, match="backend="):
        with_faults(LightEnv)("EI1")
