"""The shipped cultures are alive, stable and answer their electrodes."""

import numpy as np
import pytest

pytestmark = pytest.mark.neuron

PULSE, GAP = 20, 400  # ms


def rates(name, duration, trial=0):
    """Mean rate of EXC and INH and each cell's rate in Hz, after a second."""
    from livn_ipp.env import Env

    env = Env(name).init().record_spikes()
    env.clear(trial=trial).run(1000)
    run = env.run(duration)
    env.close()
    count = np.bincount(run.spikes.ids, minlength=env.system.num_cells)
    hertz = count / duration * 1e3
    first, number = env.system.population_ranges["EXC"]
    return hertz[first : first + number].mean(), hertz[number:].mean(), hertz


@pytest.mark.parametrize(
    "name",
    [
        "EI1",
        "EI2",
        pytest.param("EI3", marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_alive_and_stable(name):
    excitatory, inhibitory, cells = rates(name, 5000)
    assert 1 <= excitatory <= 6
    assert 2 <= inhibitory <= 25
    assert cells.max() < 100
    assert np.mean(cells > 0) > 0.9


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["EI1", "EI2"])
def test_alive_in_other_trials(name):
    excitatory = [rates(name, 3000, trial)[0] for trial in (1, 2, 3)]
    assert 1 <= np.mean(excitatory) <= 6


def paired_trials(env, channels, microampere, trials):
    """Spikes of near cells within 50 ms of a pulse, less those without it."""
    near = np.zeros(env.system.num_cells, bool)
    for channel, gid, distance in env.io.distances(env.system.coordinates()):
        near[int(gid)] |= channel in channels and distance <= 125
    commands = np.zeros((GAP, env.io.num_channels))
    commands[:PULSE, channels] = microampere
    field = env.cell_stimulus(commands)
    counts = []
    for trial in range(trials):
        pair = []
        for stimulus in (field, None):
            env.clear(trial=trial).run(GAP)
            spikes = env.run(GAP, stimulus).spikes
            pair.append(np.count_nonzero(near[spikes.ids] & (spikes.times < 50)))
        counts.append(pair)
    driven, undriven = np.array(counts).T
    return driven - undriven, near.sum()


@pytest.mark.parametrize(("channel", "microampere"), [(1, -20.0), (4, 20.0)])
def test_one_electrode_raises_the_rate_of_the_cells_near_it(channel, microampere):
    """20 uA for 20 ms, against the same noise without it.

    Which sign excites depends on where the dendrites of the near cells point.
    """
    from livn_ipp.env import Env

    env = Env("EI1").init().record_spikes()
    extra, near = paired_trials(env, [channel], microampere, trials=30)
    env.close()
    assert near >= 1
    error = extra.std(ddof=1) / np.sqrt(len(extra))
    assert extra.mean() > 3 * error
    assert extra.mean() / near > 0.1, "at least a spike per ten near cells and pulses"


def test_the_response_grows_with_the_current():
    from livn_ipp.env import Env

    env = Env("EI1").init().record_spikes()
    means = [
        paired_trials(env, [1, 4], ua, trials=15)[0].mean() for ua in (1.5, 20, 80)
    ]
    env.close()
    assert means[0] < means[1] < means[2]
    assert means[1] > 0.5
