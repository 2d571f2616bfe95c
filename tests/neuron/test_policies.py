"""Pulse programs drive a culture as their rendered rows do, on any number of ranks."""

import pickle

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.decoding import (
    LFP,
    ExtracellularRecruitment,
    PeriStimulusHistogram,
    PopulationFiringRates,
    PopulationSpikeDensity,
    StimulusResponse,
    Waveforms,
)
from livn_ipp.encoding import ElectrodeStimulus
from livn_ipp.errors import ConfigError
from livn_ipp.policy import BiphasicPulsePolicy, PulseSweepPolicy
from livn_ipp.run import Run

DURATION = 90
PULSE = BiphasicPulsePolicy(
    amplitude=60.0, phase_duration=0.5, pulse_times=[30.0, 60.0], channels=[5, 6]
)
SCHEDULE = [(30.0, 60.0), (60.0, 60.0)]
AROUND = {"duration": DURATION, "pre_ms": 20, "post_ms": 20}
DECODINGS = [
    ExtracellularRecruitment(schedule=SCHEDULE, ceiling_mv=0.0, **AROUND),
    LFP(duration=DURATION, lowpass_hz=300),
    PeriStimulusHistogram(onsets=[30, 60], populations=["EXC", "INH"], **AROUND),
    PopulationFiringRates(duration=DURATION),
    PopulationSpikeDensity(duration=DURATION),
    StimulusResponse(onset_ms=30.0, **AROUND),
    Waveforms(duration=DURATION),
]


def culture():
    from mpi4py import MPI

    from livn_ipp.env import Env

    env = Env("EI2", comm=MPI.COMM_WORLD).init().record_spikes()
    return env.record_voltage(dt=0.1).record_potential(dt=0.1)


def bits(run):
    signals = [(n, s.ids, s.values, s.sections) for n, s in run.channels.items()]
    return run.digest(), pickle.dumps([(n, *map(bytes, a)) for n, *a, _ in signals])


def figures(result):
    return {key: pickle.dumps(value) for key, value in result.items()}


def play(_subworld):
    env = culture()
    run = env(DURATION, encoding=ElectrodeStimulus(policy=PULSE))
    decoded = [figures(decoding(run, env)) for decoding in DECODINGS]
    whole = run.gather(env.comm)
    dense = env.clear(trial=0).run(
        DURATION, env.cell_stimulus(PULSE.for_array(16).render(), dt=PULSE.dt)
    )
    dense = dense.gather(env.comm)
    env.clear(trial=0)
    silent = env.run(DURATION).gather(env.comm)
    found = (bits(whole), bits(dense), bits(silent)) if whole else None
    return decoded, found


@pytest.fixture(scope="module")
def on_one_rank():
    return run_on_ranks(play, 1)[0]


@pytest.mark.mpi
def test_a_program_drives_as_its_rows_do(on_one_rank):
    _, (program, rows, silent) = on_one_rank
    assert program == rows
    assert program[0] != silent[0]


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_gives_the_same_bits(on_one_rank, ranks):
    decoded, found = on_one_rank
    results = run_on_ranks(play, ranks)
    assert results[0][1] == found
    for mine, _ in results:
        for decoding, expected, result in zip(DECODINGS, decoded, mine, strict=True):
            assert result == expected, type(decoding).__name__


@pytest.mark.neuron
def test_two_runs_joined_are_one_long_run(tmp_path):
    env = culture()
    parts = [env.run(20), env.run(30.5)]
    whole = env.clear(trial=0).run(50.5)
    joined = parts[0].concat(parts[1])
    assert bits(joined) == bits(whole)
    assert bits(whole.slice(20, 50.5)) == bits(parts[1])
    assert bits(Run.load(whole.save(tmp_path / "run.h5"))) == bits(whole)
    env.close()


@pytest.mark.neuron
def test_a_run_shorter_than_its_program_is_refused_before_it_starts():
    env = culture()
    sweep = PulseSweepPolicy(amplitudes=[5], repeats=2, trial_ms=50, onset_ms=10)
    with pytest.raises(ConfigError, match="100 ms"):
        env(99, encoding=ElectrodeStimulus(policy=sweep))
    assert env.t == 0.0
    assert env(100, encoding=ElectrodeStimulus(policy=sweep)).duration == 100
    env.close()


@pytest.mark.neuron
def test_a_long_program_is_never_held_whole():
    env = culture()
    hours = PulseSweepPolicy(amplitudes=[5], repeats=10_000, trial_ms=2000)
    stimulus = ElectrodeStimulus(policy=hours)(env, None, None)
    assert stimulus.deferred
    assert stimulus.num_rows * stimulus.width * 8 > 10**11  # bytes, if it were
    assert stimulus.rows(10_000, 10_002).any()
    assert np.isfinite(stimulus.extent)
    env.close()
