"""livn as a backend: what its own Env would answer, through our facade."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ranks import MPI_SETTINGS, mpiexec

from livn_ipp import decoding as ours
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.factory import check_ranks, factory_for
from livn_ipp.env.livn import LivnEnv
from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.io import MEA
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import shipped
from livn_ipp.types import Decoding, Encoding


@pytest.fixture(scope="module")
def livn():
    return pytest.importorskip("livn", reason="the extra livn is not installed")


@pytest.fixture
def env(livn):
    with DistributedEnv("EI1", backend="livn", transport="local") as env:
        yield env.apply_model_defaults().record_spikes()


@pytest.fixture
def direct(livn):
    """livn's own Env, as a user of livn alone would have it."""
    from livn.env import Env

    env = Env(str(shipped("EI1"))).init()
    env.apply_model_defaults()
    env.record_spikes()
    yield env
    env.close()


def in_trial(env, trial):
    env.clear(reseed=False)
    env.reseed_noise(stream=trial)
    return env


def spikes(run):
    order = np.lexsort((run.spikes.ids, run.spikes.times))
    return run.spikes.ids[order].tolist(), run.spikes.times[order].tolist()


def test_a_trial_is_a_stream_of_livn_s_noise(env, direct):
    runs = env(200, inputs=[None] * 3)
    for trial, run in enumerate(runs):
        assert spikes(run) == spikes(in_trial(direct, trial).run(200))
    assert len({run.digest() for run in runs}) == 3
    assert min(len(run.spikes) for run in runs) > 3


def test_what_ran_before_leaves_no_trace(env):
    first = env.submit(200, trial=2).result(60)
    env(150, inputs=[None] * 3)
    assert env.submit(200, trial=2).result(60).digest() == first.digest()
    env.clear()
    assert env(200, inputs=[None] * 3)[2].digest() == first.digest()


def test_signals_are_livn_s(env, direct):
    env.record_voltage("EXC", dt=0.5).record_membrane_current()
    direct.record_voltage("EXC", dt=0.5)
    direct.record_membrane_current()
    run = env.submit(20, trial=4).result(60)
    theirs = in_trial(direct, 4).run(20)
    assert run.voltage.sections == tuple(theirs.voltage_sections)
    assert np.array_equal(run.voltage.ids, theirs.voltage_ids)
    assert np.array_equal(run.voltage.values, theirs.voltage)
    assert (run.voltage.dt, run.voltage.start, run.voltage.unit) == (0.5, 0.0, "mV")
    assert np.array_equal(run.current.values, theirs.current)
    assert (run.current.dt, run.current.unit) == (0.1, "uA")


def test_livn_s_encodings_and_decodings_work_as_in_livn(env, direct):
    from livn.decoding import ChannelRecording, MeanFiringRate, Pipe
    from livn.encoding import ElectrodeStimulus
    from livn.policy import MonophasicPulsePolicy

    pulse = MonophasicPulsePolicy(
        n_channels=16, channels=[5], amplitude=150.0, pulse_width=50.0
    )

    def levels(data, env):
        return float(data.voltage.max()), data.spikes.times.tolist()

    pipe = Pipe(duration=100, stages=[levels])
    env.record_voltage("EXC")
    direct.record_voltage("EXC")
    for decoding in (MeanFiringRate(duration=100), pipe):
        for call in ((decoding,), (decoding, pulse, ElectrodeStimulus())):
            assert env(*call, trial=1) == [in_trial(direct, 1)(*call)]
    (driven,), (rest,) = env(pipe, pulse, ElectrodeStimulus(), trial=1), env(pipe)
    assert driven[0] > rest[0] + 100
    recording = ChannelRecording(duration=50, voltages=False, membrane_currents=False)
    (answer,) = env(recording, trial=1)
    expected = in_trial(direct, 1)(recording)
    for mine, theirs in zip(answer[:2], expected[:2], strict=True):
        assert list(mine) == list(theirs)
        assert all(np.array_equal(mine[c], theirs[c]) for c in mine)


class Injection(Encoding):
    """A current (nA) into the soma of cell 0, for 20 ms from 10 ms on."""

    mine: bool = True
    section: str = "soma"

    def __call__(self, env, t_end, inputs):
        samples = np.zeros([30, 1])
        samples[10:] = inputs
        if self.mine:
            return Stimulus(samples, 1.0, [0], [self.section], "current")
        from livn.stimulus import Stimulus as Theirs

        return Theirs(samples, dt=1.0, gids=[0], sections=[0], input_mode="current")


class WhatItSees(Decoding):
    duration: int = 40

    def __call__(self, run, env=None):
        again = env.run(5)
        names = [type(thing).__module__ for thing in (run, env, again)]
        return names, env.comm.allreduce(1), len(env.active_gids()), run.digest()


def test_what_livn_s_decodings_record_is_not_in_our_runs(env):
    from livn.decoding import GatherAndMerge

    (theirs,) = env(GatherAndMerge(duration=20))
    assert {"voltage", "current"} <= set(theirs.channels)
    (mine,) = env(20)
    assert mine.spikes is not None
    assert not mine.channels
    (nothing,) = env.clear_recordings()(20)
    assert nothing.spikes is None


def test_our_encodings_and_decodings_work_on_livn(env):
    from livn.decoding import MeanFiringRate

    (theirs,) = env(MeanFiringRate(duration=200), trial=2)
    (mine,) = env(ours.MeanFiringRate(duration=200), trial=2)
    assert mine == pytest.approx(theirs)
    (recording,) = env(ours.ChannelRecording(duration=200), trial=2)
    assert sum(map(len, recording[0].values())) >= mine["total_spikes"] > 3
    answers = [
        env(WhatItSees(), inputs, Injection(), trial=0)[0] for inputs in (0, 100)
    ]
    for modules, ranks, cells, _ in answers:
        assert modules == ["livn_ipp.run", "livn_ipp.env.livn", "livn_ipp.run"]
        assert (ranks, cells) == (1, 10)
    (same,) = env(WhatItSees(), 100, Injection(mine=False), trial=0)
    assert answers[0][3] != answers[1][3] == same[3]
    (other,) = env(WhatItSees(), 100, Injection(section="dend"), trial=0)
    assert other[3] != same[3]
    with pytest.raises(ConfigError, match="no section 'axon'"):
        env(WhatItSees(), 100, Injection(section="axon"))


def test_settings_act_and_wrong_names_are_refused(env):
    before = env.submit(200, trial=0).result(60).digest()
    for wrong in (
        lambda: env.record_spikes("PYR"),
        lambda: env.record_voltage(["EXC", "PYR"]),
        lambda: env.set_weights({"EXC_EXC-dend-AMPA-wieght": 1.0}),
        lambda: env.set_noise({"EXC-std": 1.0}),
        lambda: env.set_noise({"PYR-std_e": 1.0}),
    ):
        with pytest.raises(ConfigError, match="livn knows no"):
            wrong()
    assert env.submit(200, trial=0).result(60).digest() == before
    assert "EXC_EXC-dend-AMPA-weight" in env.weight_names
    env.set_weights({"INH_EXC-dend-AMPA-weight": 0.0, "EXC-dend-AMPA-tau_decay": 4.0})
    env.set_noise({"std_i": 0.0, "INH-g_e0": 2.0})
    assert env.submit(200, trial=0).result(60).digest() != before


def test_a_selection_and_unconnected_cells(livn):
    env = DistributedEnv("EI1", backend="livn", transport="local").selection(5)
    with env.init():
        (cells,) = env(lambda_of("len(env.simulated_gids())"))
        assert cells == 5
        with pytest.raises(ConfigError, match="before init"):
            env.selection(3)
    with DistributedEnv({"EXC": 3}, backend="livn", transport="local") as env:
        assert env(lambda_of("len(env.simulated_gids())")) == [3]


def lambda_of(expression):
    class Expression(Decoding):
        duration: int = 1

        def __call__(self, run, env=None):
            return eval(expression, {"env": env, "run": run})

    return Expression()


def test_several_ranks_are_refused_before_anything_starts(livn):
    with pytest.raises(ConfigError, match="counted 3 times"):
        DistributedEnv("EI1", backend="livn", num_workers=2, subworld_size=3)


def test_a_class_says_itself_that_its_ranks_share_a_network():
    class Careless:
        pass

    class Dividing:
        multirank = True

    with pytest.raises(ConfigError, match="multirank = True"):
        DistributedEnv("EI1", backend=Careless, subworld_size=2)
    check_ranks(factory_for(Careless, "EI1", None, None, 1), 1)
    check_ranks(factory_for(Dividing, "EI1", None, None, 1), 2)
    check_ranks(factory_for("neuron", "EI1", None, None, 1), 2)
    with pytest.raises(ConfigError, match="counted 2 times"):
        factory_for(Careless, "EI1", None, None, 1).prepare(None, 2)


def test_what_livn_cannot_take_is_refused(livn):
    with pytest.raises(ConfigError, match="io is a MEA of livn_ipp"):
        LivnEnv("EI1", io=MEA([[0, 0.0, 0.0, 0.0]]))
    with pytest.raises(ConfigError, match="set LIVN_BACKEND=brian2"):
        LivnEnv("EI1", livn_backend="brian2")


def test_without_livn_the_way_out_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "livn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "livn", None)
    with pytest.raises(PreflightError, match=r"livn_ipp\[livn\]"):
        DistributedEnv("EI1", backend="livn")


@pytest.mark.cluster
@pytest.mark.parametrize("together", [1, "all"])
def test_workers_of_a_cluster_answer_as_livn_does(direct, together):
    from livn.decoding import MeanFiringRate

    decoding = MeanFiringRate(duration=100)
    with DistributedEnv(
        "EI1", backend="livn", num_workers=2, workers_per_world=together
    ) as cluster:
        cluster.apply_model_defaults().record_spikes()
        cluster.set_noise({"INH-g_e0": 1.2})
        futures = [
            cluster.submit(decoding, trial=trial, worker=worker)
            for trial in (0, 1)
            for worker in (0, 1)
        ]
        answers = cluster.gather(futures)
        with pytest.raises(ConfigError, match="counted 2 times"):
            cluster.repartition(2)
        with pytest.raises(ConfigError, match="livn knows no"):
            cluster.record_spikes("PYR")
    direct.set_noise({"INH-g_e0": 1.2})
    expected = [in_trial(direct, trial)(decoding) for trial in (0, 1)]
    assert answers == [expected[0], expected[0], expected[1], expected[1]]


UNDER_MPIRUN = """
from livn.decoding import MeanFiringRate
from livn_ipp.env.distributed import DistributedEnv

with DistributedEnv("EI1", backend="livn") as env:
    if env.is_root():
        env.apply_model_defaults().record_spikes()
        print("answer", env(MeanFiringRate(duration=100), [None, None]))
"""


@pytest.mark.mpi
def test_livn_s_ranks_under_mpirun_leave_each_other_alone(direct):
    from livn.decoding import MeanFiringRate

    job = subprocess.run(
        [mpiexec(), "-n", "3", sys.executable, "-c", UNDER_MPIRUN],
        env={**os.environ, **MPI_SETTINGS, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    decoding = MeanFiringRate(duration=100)
    expected = [in_trial(direct, trial)(decoding) for trial in (0, 1)]
    assert f"answer {expected}\n" in job.stdout, job.stdout + job.stderr
