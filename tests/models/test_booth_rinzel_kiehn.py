"""The motoneuron against its equations, and cultures of it."""

import numpy as np
import pytest
from booth_rinzel_kiehn_equations import Equations

from livn_ipp.errors import ConfigError
from livn_ipp.models import reference
from livn_ipp.models.booth_rinzel_kiehn import BoothRinzelKiehn
from livn_ipp.models.pinsky_rinzel import PinskyRinzel

MODEL = BoothRinzelKiehn()


@pytest.fixture
def h():
    from livn_ipp.neuron.boot import boot, world

    boot()
    yield world().h
    world().vacate()


def simulate(h, current, duration, dt=0.05, until=None):
    """Voltages of a cell without background; `current` (nA) flows `until` some ms."""
    cell = MODEL.build(h, "EXC", 0)
    soma = cell.receptors["soma", "GABA_A"].process
    soma.i_stim = current
    pc = h.ParallelContext()
    h.dt, h.celsius, h.secondorder = dt, MODEL.celsius, 2
    recorded = [
        h.Vector().record(reference(cell.sections[name](0.5), "v"))
        for name in MODEL.sections
    ]
    pc.set_maxstep(10)
    h.finitialize(MODEL.v_init)
    pc.psolve(duration if until is None else until)
    if until is not None:
        soma.i_stim = 0.0
        pc.psolve(duration)
    return [np.array(trace) for trace in recorded]


def crossings(voltage, dt, level=-20.0):
    """Interpolated times of upward crossings."""
    at = np.flatnonzero((voltage[1:] > level) & (voltage[:-1] <= level))
    return dt * (at + (level - voltage[at]) / (voltage[at + 1] - voltage[at]))


@pytest.mark.neuron
def test_converges_to_the_equations(h):
    equations = Equations(MODEL.motoneuron)
    fine = 0.0025
    _, states = equations.integrate(lambda t: 0.1 if t < 60 else 0.0, 80.0, fine)
    expected = crossings(states[:, 0], fine)
    assert len(expected) >= 3, "too few spikes to compare"
    for dt, late in ((0.05, 0.25), (0.0125, 0.06)):
        soma, dend = simulate(h, 0.1, 80.0, dt, until=60.0)
        mine = crossings(soma, dt)
        assert len(mine) == len(expected)
        assert np.max(np.abs(mine - expected)) < late
    # Off the flanks of spikes the traces lie together.
    step = round(dt / fine)
    for trace, exact in ((soma, states[:, 0]), (dend, states[:, 1])):
        sampled = exact[::step]
        slow = np.abs(np.gradient(sampled, dt)) < 0.5
        assert np.max(np.abs(trace[: len(sampled)] - sampled)[slow]) < 1.0


@pytest.mark.neuron
def test_rate_by_current_adapts(h):
    """Figures of this model at dt 0.00625, where they no longer change."""
    for picoampere, first, last, number in [
        (20, 40.2, 471.8, 3),
        (50, 21.5, 88.0, 15),
        (100, 15.9, 32.8, 33),
    ]:
        soma, _ = simulate(h, picoampere * 1e-3, 1000.0)
        intervals = np.diff(crossings(soma, 0.05, -10.0))
        assert len(intervals) + 1 == number
        assert intervals[0] == pytest.approx(first, rel=0.01)
        assert intervals[-1] == pytest.approx(last, rel=0.01)


@pytest.mark.neuron
@pytest.mark.parametrize("name", ["EI1", "EI2"])
@pytest.mark.parametrize("seed", [123, 1])
def test_alive_and_stable(name, seed):
    from livn_ipp.env import Env

    env = Env(name, MODEL, seed=seed).init().record_spikes()
    env.run(1000)
    seconds = 4
    run = env.run(seconds * 1000)
    env.close()
    hertz = np.bincount(run.spikes.ids, minlength=env.system.num_cells) / seconds
    first, number = env.system.population_ranges["EXC"]
    assert 1 <= hertz[first : first + number].mean() <= 6
    assert 2 <= hertz[number:].mean() <= 25
    assert hertz.max() < 100
    assert np.mean(hertz > 0) > 0.9


def test_interneurons_are_those_of_the_other_model():
    other = PinskyRinzel()
    assert MODEL.parameters("INH") == other.parameters("INH")
    assert MODEL.states("INH") == other.states("INH")
    assert MODEL.default_noise("INH") == other.default_noise("INH")


def test_unknown_population_is_named():
    for ask in (MODEL.receptors, MODEL.states, MODEL.parameters, MODEL.default_noise):
        with pytest.raises(ConfigError, match="PV"):
            ask("PV")
