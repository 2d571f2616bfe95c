"""What can be recorded, of which cells, sections and states."""

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.currents import Currents
from livn_ipp.stimulus import Stimulus

pytestmark = pytest.mark.neuron


@pytest.fixture
def env():
    from livn_ipp.env import Env

    env = Env("EI1").init()
    yield env
    env.close()


def test_everything_recordable_can_be_recorded_by_name(env):
    env.enable_plasticity()
    for name in env.recordable():
        env.record(name) if name == "spikes" else env.record(name, dt=1.0)
    run = env.run(20)
    channels = {"current" if n == "membrane_current" else n for n in env.recordable()}
    assert set(run.channels) == channels - {"spikes"}
    for name, series in run.channels.items():
        samples = 20
        assert series.values.shape == (len(series.ids), samples), name
        assert np.isfinite(series.values).all(), name


def test_some_cells_and_sections(env):
    env.record_voltage("EXC", gids=[7, 2], sections="soma")
    run = env.run(5)
    assert run.voltage.ids.tolist() == [2, 7]
    assert run.voltage.sections == ("soma", "soma")
    env.record("voltage", "INH", gids=[9], sections=["dend", "soma"])
    more = env.clear(trial=0).run(5)
    assert more.voltage.ids.tolist() == [2, 7, 9, 9]
    assert more.voltage.sections == ("soma", "soma", "soma", "dend")
    assert np.array_equal(more.voltage.values[:2], run.voltage.values)
    every = env.clear_recordings().record_voltage().clear(trial=0).run(5)
    assert np.array_equal(every.voltage.values[[4, 14, 18, 19]], more.voltage.values)


def test_states_are_those_of_the_cells(env):
    env.record_state("ca", dt=0.5).record("h", "INH", dt=0.5)
    run = env.run(50)
    calcium, gate = run.channels["ca"], run.channels["h"]
    assert set(calcium.sections) == {"dend"}
    assert set(gate.ids) == {8, 9}
    assert set(gate.sections) == {"soma"}
    assert ((gate.values >= 0) & (gate.values <= 1)).all()
    cell = env._simulation.network.cells[3]
    now = cell.states["dend", "ca"].ca
    assert calcium.values[calcium.ids == 3][0, -1] == np.float32(now)


def test_intervals_of_recordings(env):
    assert env.voltage_recording_dt == env.membrane_current_recording_dt == 0.1
    env.record_voltage(dt=0.5).record_membrane_current(dt=0.25)
    assert (env.voltage_recording_dt, env.membrane_current_recording_dt) == (0.5, 0.25)
    with pytest.raises(ConfigError, match=r"every 0\.5 ms.*clear_recordings"):
        env.record_voltage("INH", dt=1.0)
    env.clear_recordings().record_voltage("INH", dt=1.0)
    assert env.voltage_recording_dt == 1.0


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda env: env.record("voltag"), "voltage"),
        (lambda env: env.record("cA"), "ca"),
        (lambda env: env.record_state("xyz"), "state of the model"),
        (lambda env: env.record_voltage(gids=[3, 10]), r"\[10\]"),
        (lambda env: env.record_voltage("INH", gids=[3]), r"\[3\].*INH"),
        (lambda env: env.record_voltage(sections="axon"), "axon"),
        (lambda env: env.record_state("ca", sections="soma"), "section"),
        (lambda env: env.record("potential", "EXC"), "population"),
    ],
)
def test_what_there_is_not_is_refused(env, ask, words):
    with pytest.raises(ConfigError, match=words):
        ask(env)
    assert not env.run(1).channels


def test_restarting_the_noise(env):
    env.record_spikes()
    env.run(100)
    env.reseed_noise(5)
    other = env.run(300).digest()
    env.clear(trial=0).run(100)
    assert env.run(300).digest() != other
    env.clear(trial=0).run(100)
    assert env.reseed_noise(5).run(300).digest() == other
    assert env.trial == 5
    assert env.reseed_noise().trial == 6
    with pytest.raises(ConfigError, match="stream"):
        env.reseed_noise(-1)


def test_halving_the_work_changes_no_bit_of_a_potential(env, monkeypatch):
    """In cells that a field drives, the dendrite's current is minus the soma's."""
    env.record_potential(0.2).set_noise({"std_e": 2e-3})
    commands = np.zeros((60, 16))
    commands[10:20, [1, 4]] = 15.0
    field = env.cell_stimulus(commands)
    halved = env.run(60, field).potential.values
    monkeypatch.setattr(Currents, "take_pairs", lambda _: None)
    whole = env.clear(trial=0).run(60, field).potential.values
    assert np.array_equal(halved, whole)
    assert np.abs(whole).max() > 1


def test_potentials_follow_injected_currents(env):
    env.record_potential(0.5).record_membrane_current(dt=0.5)
    injected = Stimulus.from_current([[0.05, -0.02]] * 5, 2.0, [3, 8], ["soma", "dend"])
    run = env.run(20, injected)
    from_currents = env.potential_recording(run.current.values)
    assert np.allclose(run.potential.values, from_currents, atol=1e-3)
    pairs = run.current.values.reshape(10, 2, -1)[:, :, 5].sum(axis=1) * 1e3
    assert np.allclose(pairs[[3, 8]], [0.05, -0.02], atol=1e-6)
