"""Decodings of a simulated culture: the ranks that simulate it leave no trace."""

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.decoding import ChannelRecording, MeanFiringRate, Pipe

DURATION = 40


def pulse(env, t_end, inputs):
    commands = np.zeros((t_end, env.io.num_channels))
    commands[5:15, [1, 4]] = 20.0
    return env.cell_stimulus(commands)


def both(run, env):
    rate = MeanFiringRate(duration=DURATION)(run, env)
    recording = ChannelRecording(duration=DURATION)(run, env)
    return recording and (rate, *recording)


def culture():
    from mpi4py import MPI

    from livn_ipp.env import Env

    return Env("EI2", comm=MPI.COMM_WORLD).init().record_spikes()


def simulate(_subworld):
    env = culture().record_voltage().record_membrane_current()
    first = env(Pipe(stages=[both], duration=DURATION), encoding=pulse)
    env.clear(trial=0).clear_recordings()
    env.record_potential()
    again = env(ChannelRecording(duration=DURATION), encoding=pulse)
    return (first, again) if env.subworld.rank == 0 else again


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


@pytest.fixture(scope="module")
def on_one_rank():
    return run_on_ranks(simulate, 1)[0]


@pytest.mark.mpi
def test_a_driven_culture_is_heard(on_one_rank):
    (rate, cells, times, voltage_ids, voltage, channels, potentials), _ = on_one_rank
    assert rate["total_spikes"] > 0
    assert sum(map(len, cells.values())) >= rate["total_spikes"]
    assert all((np.diff(t) >= 0).all() for t in times.values())
    assert voltage.shape == (len(voltage_ids), 10 * DURATION)
    assert potentials.shape == (len(channels), 10 * DURATION)
    assert (np.abs(potentials).max(axis=1) > 0.1).all()  # uV


@pytest.mark.mpi
def test_potentials_recorded_and_computed_are_the_same(on_one_rank):
    first, again = on_one_rank
    # Recorded currents are float32: some fall on the next step of 2^-20 nA.
    np.testing.assert_allclose(first[-1], again[-1], rtol=0, atol=1e-4)


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_gives_the_same_bits(on_one_rank, ranks):
    (first, again), *others = run_on_ranks(simulate, ranks)
    assert others == [None] * (ranks - 1)
    for mine, serial in zip((*first, *again), sum(on_one_rank, ()), strict=True):
        assert same(mine, serial)
