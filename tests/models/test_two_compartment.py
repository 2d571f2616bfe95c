"""What the models offer as data is what their cells have."""

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.models import reference
from livn_ipp.models.booth_rinzel_kiehn import BoothRinzelKiehn
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.models.two_compartment import Depression

MODELS = [PinskyRinzel(), BoothRinzelKiehn(), PinskyRinzel(depression=Depression())]
CELLS = [(model, population) for model in MODELS for population in ("EXC", "INH")]


@pytest.fixture
def h():
    from livn_ipp.neuron.boot import boot, world

    boot()
    yield world().h
    world().vacate()


def everything(cell, model, population):
    """All numbers of a cell that a parameter may reach."""
    processes = [cell.receptors["soma", "GABA_A"].process, cell.background]
    numbers = [section.cm for section in cell.sections.values()]
    for process in processes:
        for setting in model.settings(population).values():
            numbers += [getattr(process, v, 0.0) for _, v in setting.places]
    return np.array(numbers)


@pytest.mark.neuron
@pytest.mark.parametrize(("model", "population"), CELLS)
def test_each_parameter_changes_the_cell_and_can_be_put_back(h, model, population):
    cell = model.build(h, population, 0)
    fresh = everything(cell, model, population)
    for name, parameter in model.parameters(population).items():
        assert parameter.lower <= parameter.default <= parameter.upper
        other = parameter.lower if parameter.upper == 1.0 else parameter.default + 1
        if other == parameter.default:
            other = parameter.upper
        cell.assign(name, other)
        assert not np.array_equal(everything(cell, model, population), fresh), name
        cell.assign(name, parameter.default)
        assert np.array_equal(everything(cell, model, population), fresh), name


@pytest.mark.neuron
@pytest.mark.parametrize(("model", "population"), CELLS)
def test_each_state_is_there_and_lives(h, model, population):
    cell = model.build(h, population, 0)
    for name, value in model.default_noise(population).items():
        setattr(cell.background, name, value)
    cell.background.background()
    assert cell.states.keys() == model.states(population).keys()
    links = []
    for receptor in cell.receptors.values():
        links.append(h.NetCon(None, receptor.process))
        links[-1].weight[receptor.slot] = 1e-3
    h.dt, h.celsius = 0.05, model.celsius
    traces = {
        state: h.Vector().record(reference(owner, state[1]))
        for state, owner in cell.states.items()
    }
    h.finitialize(model.v_init)
    for link in links:
        link.event(5.0)
    cell.receptors["soma", "GABA_A"].process.i_stim = 0.1
    h.ParallelContext().set_maxstep(10)
    h.ParallelContext().psolve(50)
    still = {state for state, trace in traces.items() if np.ptp(np.array(trace)) == 0}
    # Inhibitory cells bring no calcium into their dendrites.
    assert still <= {("dend", "s"), ("dend", "ca")}
    assert not still or population == "INH"


@pytest.mark.parametrize("model", MODELS)
def test_bounds_hold_for_every_mode(model):
    from livn_ipp.stimulus import UNITS

    assert set(model.amplitude_bounds) == set(UNITS)
    assert all(low < high for low, high in model.amplitude_bounds.values())


def test_depression_settles():
    depression = Depression(use=0.25, recovery=400.0)
    left = 1.0
    for _ in range(100):
        left = 1 - (1 - left * 0.75) * np.exp(-250 / 400)
    assert depression.steady_state(250.0) == pytest.approx(left)
    assert depression.steady_state(1e6) == pytest.approx(1.0)


@pytest.mark.parametrize(("use", "recovery"), [(0, 400), (1.5, 400), (0.5, 0)])
def test_depression_checks_its_values(use, recovery):
    with pytest.raises(ConfigError, match="use"):
        Depression(use, recovery)


@pytest.mark.neuron
def test_depression_calms_a_culture():
    from livn_ipp.env import Env

    counts = []
    for depression in (None, Depression()):
        env = Env("EI2", PinskyRinzel(depression=depression)).init().record_spikes()
        counts.append(len(env.run(2000).spikes))
        env.close()
    assert counts[1] < 0.95 * counts[0]
