"""Memory stays flat over many runs and many environments."""

import gc

import psutil
import pytest

from livn_ipp.policy import BiphasicPulsePolicy

pytestmark = [pytest.mark.neuron, pytest.mark.slow, pytest.mark.timeout(300)]

MEGABYTE = 1e6


def resident():
    gc.collect()
    return psutil.Process().memory_info().rss


def busy(env):
    """Have everything recorded and let connections learn."""
    env.enable_plasticity({"A_ltp": 0.1}).set_noise({"std_e": 2e-3})
    env.record_spikes().record_voltage().record_membrane_current(dt=0.2)
    return env.record_potential().record_weights(10.0).record_state("ca", dt=1.0)


def test_a_thousand_runs_with_recording_drive_and_learning():
    from livn_ipp.env import Env

    policy = BiphasicPulsePolicy(channels=(1, 4), amplitude=20.0, pulse_times=(2.0,))
    env = busy(Env("EI1").init())
    sizes = []
    for count in range(1000):
        env.clear() if count % 10 == 0 else env.normalize_weights()
        run = env.run(10, policy)
        del run
        if count % 100 == 99:
            sizes.append(resident())
    env.close()
    assert sizes[-1] - sizes[1] < 2 * MEGABYTE, [size / MEGABYTE for size in sizes]


def test_a_hundred_environments():
    from livn_ipp.env import Env

    sizes = []
    for _ in range(100):
        env = busy(Env("EI1").init())
        env.run(10)
        env.close()
        sizes.append(resident())
    assert sizes[-1] - sizes[20] < 3 * MEGABYTE, [s / MEGABYTE for s in sizes[::10]]
