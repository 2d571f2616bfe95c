"""Stimuli through the engine: each mode against what physics says, and charge."""

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.errors import ConfigError
from livn_ipp.policy import BiphasicPulsePolicy, MonophasicPulsePolicy
from livn_ipp.stimulus import Stimulus

pytestmark = pytest.mark.neuron

QUIET = dict.fromkeys(("g_e0", "g_i0", "std_e", "std_i"), 0.0)


@pytest.fixture
def env():
    from livn_ipp.env import Env

    env = Env("EI1").init().set_noise(QUIET)
    yield env
    env.close()


def pulses(**changes):
    options = {"channels": (1, 4), "amplitude": 20.0, "pulse_times": (10.0, 30.0)}
    return BiphasicPulsePolicy(**options | changes)


def injected(env, stimulus, duration=60.0):
    """What the engine put into each section [n, sections] at each step of 0.05 ms."""
    seen = []
    drive = env._simulation._drive
    env.record_state("h", dt=0.05)  # so that there is a chunk for each step
    env.subworld.poll = lambda: seen.append(drive.currents.copy())
    env.clear(trial=0).run(duration, stimulus, chunk=0.05)
    env.subworld.poll = None
    return np.array(seen)


class TestPolicies:
    def test_biphasic_pulses_put_no_net_charge_into_any_section(self, env):
        currents = injected(env, pulses())
        charge = currents.sum(axis=0) * 0.05  # pC
        delivered = np.abs(currents).sum(axis=0) * 0.05
        assert delivered.min() > 0
        assert np.abs(charge / delivered).max() < 1e-12
        # What goes into the soma leaves the dendrite, at every moment.
        assert np.abs(currents.sum(axis=2)).max() == 0.0
        monophasic = injected(
            env,
            MonophasicPulsePolicy(
                channels=(1,), amplitude=20.0, pulse_width=1.0, pulse_times=(10.0,)
            ),
        )
        assert np.abs(monophasic.sum(axis=0)).max() > 1

    def test_pulses_act_when_and_as_strongly_as_they_say(self, env):
        currents = injected(env, pulses(cathodic_first=True))
        acting = np.flatnonzero(np.abs(currents).max(axis=(1, 2)))
        # 0.2 ms, a gap of 0.05 ms and 0.2 ms from 10 and from 30 ms on
        first = [*range(200, 204), *range(205, 209)]
        assert acting.tolist() == first + [step + 400 for step in first]
        commands = np.zeros((1, env.io.num_channels))
        commands[0, [1, 4]] = -20.0
        field = env.cell_stimulus(commands).array[0].reshape(-1, 2)
        wanted = (field[:, 1] - field[:, 0]) * env._simulation._drive._axial
        assert np.allclose(currents[200, :, 0], wanted, rtol=1e-12)

    def test_a_policy_is_what_its_rendering_is(self, env):
        env.record_voltage(dt=0.05)
        policy = pulses()
        deferred = env.run(60, policy).voltage.values
        stimulus = env.cell_stimulus(policy)
        dense = Stimulus(stimulus.array, stimulus.dt, stimulus.gids, stimulus.sections)
        assert stimulus.deferred
        assert not dense.deferred
        assert np.array_equal(
            env.clear(trial=0).run(60, dense).voltage.values, deferred
        )

    def test_a_run_shorter_than_its_policy_is_refused(self, env):
        with pytest.raises(ConfigError, match=r"30\.45 ms.*run longer"):
            env.run(30.0, pulses())
        assert env.t == 0.0
        env.run(30.45, pulses())

    def test_a_policy_too_strong_is_refused_before_anything_starts(self, env):
        with pytest.raises(ConfigError, match=r"at 10 ms.*-1000 to 1000 mV"):
            env.run(60, pulses(amplitude=2000.0))
        assert env.t == 0.0
        assert not env._simulation._drive.currents.any()

    def test_its_own_interval_holds(self, env):
        with pytest.raises(ConfigError, match="leave dt out"):
            env.cell_stimulus(pulses(), dt=1.0)

    def test_long_programs_are_never_rendered_whole(self, env):
        """An hour of rows at 0.05 ms for 20 sections would take 11 GB."""
        hour = pulses(pulse_times=(1.0, 3.6e6 - 1))
        stimulus = env.cell_stimulus(hour)
        with pytest.raises(ConfigError, match="too large"):
            _ = stimulus.array
        with pytest.raises(ConfigError, match="run longer"):
            env.run(10, stimulus)


class TestModes:
    def test_density_is_current_per_membrane(self, env):
        cell = env._simulation.network.cells[8]  # INH, 600 um2
        area = cell.sections["soma"](0.5).area()
        assert area == pytest.approx(600.0)
        env.record_voltage(dt=0.1)
        density = Stimulus.from_current_density([[0.01]] * 50, 1.0, [8])
        by_density = env.run(50, density).voltage.values
        current = Stimulus.from_current([[0.01 * area * 1e-2]] * 50, 1.0, [8])
        by_current = env.clear(trial=0).run(50, current).voltage.values
        assert np.allclose(by_density, by_current, atol=1e-4)
        assert np.ptp(by_current[16]) > 1

    def test_conductance_pulls_towards_its_reversal(self, env):
        env.record_voltage(dt=0.5)
        before = env.run(100).voltage.values[:, -1]
        for reversal in (-90.0, -75.0, -55.0):
            env.clear(trial=0).run(100)
            strong = Stimulus.from_conductance(
                [[1.0]] * 20, 1.0, [3], ["dend"], reversal=reversal
            )
            voltage = env.run(20, strong).voltage.values
            # 1 uS is hundreds of times the leak.
            assert voltage[7, -1] == pytest.approx(reversal, abs=0.5)
            assert np.allclose(voltage[8:, -1], before[8:], atol=0.5)

    def test_conductance_is_a_current_of_the_membrane(self, env):
        """Injected current is not; the currents of a cell cancel only with it."""
        env.record_membrane_current(dt=0.5)
        opened = Stimulus.from_conductance([[0.01]] * 20, 1.0, [3], reversal=0.0)
        pairs = env.run(20, opened).current.values.reshape(10, 2, -1)
        assert np.abs(pairs.sum(axis=1)).max() < 1e-9
        assert np.abs(pairs[3]).max() > 1e-6

    def test_everything_is_at_rest_after_a_run(self, env):
        drive = env._simulation._drive
        for stimulus in (
            Stimulus.from_conductance([[0.01]], 1.0, [3], reversal=-50.0),
            Stimulus.from_current([[0.01]], 1.0, [3]),
        ):
            env.run(1, stimulus)
            for targets in (drive._injected, drive._opened):
                targets._pointers.gather(targets._buffer)
                assert not targets._buffer.as_numpy().any()


def refused_on_one_rank(subworld):
    """The field is too strong at the cells of some ranks only."""
    from mpi4py import MPI

    from livn_ipp.env import Env

    env = Env("EI1", comm=MPI.COMM_WORLD).init().record_spikes()
    amplitude = 1e6 if subworld.rank == 1 else 1.0
    own = env.active_gids[:1]
    try:
        env.run(10, Stimulus.from_extracellular([[amplitude]], 1.0, own))
    except ConfigError as error:
        message = str(error)
    env.run(10)
    return message, env.t


@pytest.mark.mpi
def test_what_one_rank_refuses_all_refuse():
    results = run_on_ranks(refused_on_one_rank, 3)
    assert not any(isinstance(result, Exception) for result in results), results
    assert {time for _, time in results} == {10.0}
    assert len({message for message, _ in results}) == 1
    assert "1e+06 mV" in results[0][0]
