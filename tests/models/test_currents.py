"""Every current under voltage clamp, against the published equations or the formula."""

from dataclasses import replace

import booth_rinzel_kiehn_equations
import numpy as np
import pinsky_rinzel_equations
import pytest
from runge_kutta import clamped_currents

from livn_ipp.models.booth_rinzel_kiehn import BoothRinzelKiehn
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.models.two_compartment import Depression

pytestmark = pytest.mark.neuron

DT = 0.0125
RIGID = 1e9  # uF/cm2: no current moves the voltage


@pytest.fixture
def h():
    from livn_ipp.neuron.boot import boot, world

    boot()
    yield world().h
    world().vacate()


def clamp(h, sections, before, after, duration, dt=DT):
    """Hold sections at a voltage, step it, and stop some time later."""
    for section in sections:
        section.cm = RIGID
    h.dt, h.celsius = dt, 36.0
    h.finitialize(before)
    for section in sections:
        section.v = after
    for _ in range(round(duration / dt)):
        h.fadvance()
    h.fcurrent()


def only(model, population, names):
    """A cell's parameters, all conductances but some zero."""
    densities = {
        name: value.default if name in names else 0.0
        for name, value in model.parameters(population).items()
        if value.unit == "mS/cm2"
    }
    assert names <= densities.keys()
    return densities


# Some potassium currents need the calcium that another current brings.
PINSKY_RINZEL = [{"gl"}, {"gna"}, {"gk"}, {"gca"}, {"gca", "gkc"}, {"gca", "gahp"}]
MOTONEURON = [
    {"gl_soma"},
    {"gl_dend"},
    {"gna"},
    {"gk"},
    {"gcan_soma"},
    {"gcan_dend"},
    {"gcal"},
    {"gcan_soma", "gkca_soma"},
    {"gcan_dend", "gcal", "gkca_dend"},
]


def compare(h, model, population, densities, equations, moment):
    (before, after), duration = moment
    cell = model.build(h, population, 0)
    for name, value in densities.items():
        cell.assign(name, value)
    clamp(h, cell.sections.values(), before, after, duration)
    expected = clamped_currents(equations, before, after, duration, DT)
    measured = [
        cell.receptors["soma", "GABA_A"].process.i,
        cell.background.i,
    ]
    assert np.max(np.abs(expected)) > 1e-4, "nothing to compare"
    # Tables are linear over 0.25 mV; calcium is a step late.
    assert measured == pytest.approx(expected, rel=4e-3, abs=5e-6)


STEPS = [((-70.1, -10.1), 0.5), ((-62.0, 10.3), 3.0), ((-50.0, -35.2), 20.0)]


@pytest.mark.parametrize("moment", STEPS)
@pytest.mark.parametrize("names", PINSKY_RINZEL, ids=sorted)
def test_pinsky_rinzel(h, names, moment):
    model = PinskyRinzel()
    densities = only(model, "EXC", names)
    equations = pinsky_rinzel_equations.Equations(
        replace(model.cells["EXC"], **densities)
    )
    compare(h, model, "EXC", densities, equations, moment)


@pytest.mark.parametrize("moment", STEPS)
@pytest.mark.parametrize("names", MOTONEURON, ids=sorted)
def test_booth_rinzel_kiehn(h, names, moment):
    model = BoothRinzelKiehn()
    densities = only(model, "EXC", names)
    equations = booth_rinzel_kiehn_equations.Equations(
        replace(model.motoneuron, **densities)
    )
    compare(h, model, "EXC", densities, equations, moment)


def response(h, place, receptor_slot, voltage, times, weight=1e-3, **parameters):
    """Currents (nA) at some times (ms) after an event onto a clamped process."""
    process = place.process
    for name, value in parameters.items():
        setattr(process, name, value)
    connection = h.NetCon(None, process)
    connection.weight[receptor_slot] = weight
    connection.delay = 0
    place.section.cm = RIGID
    h.dt = DT
    h.finitialize(voltage)
    connection.event(1.0)
    currents = []
    for time in times:
        while h.t < 1.0 + time - DT / 2:
            h.fadvance()
        h.fcurrent()
        currents.append(process.i)
    return np.array(currents)


class Place:
    """One process in a section of its own, without channels."""

    def __init__(self, h, name):
        self.section = h.Section(name="clamped")
        self.section.L = self.section.diam = 10
        self.process = getattr(h, name)(self.section(0.5))
        for variable in vars_of_conductance(name):
            setattr(self.process, variable, 0.0)


def vars_of_conductance(name):
    return {
        "livn_pr_soma": ("gna", "gk", "gl"),
        "livn_pr_dendrite": ("gca", "gkc", "gahp", "gl"),
        "livn_brk_soma": ("gna", "gk", "gcan", "gkca", "gl"),
        "livn_brk_dendrite": ("gcan", "gcal", "gkca", "gl"),
        "livn_inputs": (),
    }[name]


DENDRITES = ["livn_pr_dendrite", "livn_brk_dendrite", "livn_inputs"]
SOMATA = [("livn_pr_soma", 0), ("livn_brk_soma", 0), ("livn_inputs", 2)]
TIMES = np.array([0.5, 2.0, 6.0, 25.0, 80.0])
LATE = 2e-2  # an event acts up to a step late


def two_exponentials(t, rise, decay):
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    height = np.exp(-peak / decay) - np.exp(-peak / rise)
    return (np.exp(-t / decay) - np.exp(-t / rise)) / height


@pytest.mark.parametrize("name", DENDRITES)
def test_ampa(h, name):
    measured = response(h, Place(h, name), 0, -60.0, TIMES)
    expected = 1e-3 * np.exp(-TIMES / 2) * -60.0
    assert measured == pytest.approx(expected, rel=LATE, abs=1e-8)


@pytest.mark.parametrize("voltage", [-80.0, -40.1, 20.0])
@pytest.mark.parametrize("name", DENDRITES)
def test_nmda_with_its_block(h, name, voltage):
    """Jahr & Stevens (1990) J Neurosci 10:3178, at 1 mM magnesium."""
    measured = response(h, Place(h, name), 1, voltage, TIMES)
    open_channels = 1 / (1 + np.exp(-0.062 * voltage) / 3.57)
    expected = 1e-3 * two_exponentials(TIMES, 3, 80) * open_channels * voltage
    assert measured == pytest.approx(expected, rel=LATE)


@pytest.mark.parametrize(("name", "slot"), SOMATA)
def test_gaba(h, name, slot):
    measured = response(h, Place(h, name), slot, -50.0, TIMES)
    expected = 1e-3 * two_exponentials(TIMES, 0.5, 8) * (-50.0 + 75.0)
    assert measured == pytest.approx(expected, rel=LATE, abs=1e-8)


@pytest.mark.parametrize("name", [*DENDRITES, "livn_pr_soma", "livn_brk_soma"])
def test_stimulus(h, name):
    """Its reversal potential enters through the current."""
    currents = response(
        h, Place(h, name), 0, -60.0, [1.0], 0.0, i_stim=0.3, g_stim=2e-3
    )
    assert currents[0] == pytest.approx(2e-3 * -60.0 - 0.3, abs=1e-9)


@pytest.mark.parametrize("name", DENDRITES)
def test_background_drives_towards_its_reversal_potentials(h, name):
    place = Place(h, name)
    given = {"g_e0": 1e-3, "g_i0": 2e-3, "E_e": 0.0, "E_i": -75.0}
    currents = response(h, place, 0, -60.0, [1.0], 0.0, **given)
    assert currents[0] == pytest.approx(1e-3 * -60.0 + 2e-3 * 15.0, rel=1e-6)


def available(intervals, depression):
    """R at each spike, from its differential equation."""
    found, now = [], 1.0
    for interval in intervals:
        steps = 10_000
        for _ in range(steps):  # explicit Euler
            now += interval / steps * (1 - now) / depression.recovery
        found.append(now)
        now -= depression.use * now
    return np.array(found)


@pytest.mark.parametrize("name", DENDRITES)
def test_depression_of_each_connection_by_itself(h, name):
    depression = Depression(use=0.4, recovery=300.0)
    place = Place(h, name)
    process = place.process
    process.use, process.tau_rec = depression.use, depression.recovery
    busy, idle = h.NetCon(None, process), h.NetCon(None, process)
    for connection in (busy, idle):
        connection.weight[0], connection.delay = 1e-3, 0
    place.section.cm = RIGID
    intervals = [20.0, 50.0, 50.0, 200.0, 1000.0]
    for _ in range(2):  # a new simulation starts rested
        h.dt = DT
        h.finitialize(-60)
        for time in np.cumsum(intervals):
            busy.event(time)
        jumps = []
        for time in np.cumsum(intervals):
            while h.t < time - 1:
                h.fadvance()
            before = process.ampa
            while h.t < time + 0.1:
                h.fadvance()
            jumps.append(process.ampa - before * np.exp(-(h.t - time + 1) / 2))
        scale = np.exp(-0.1 / 2) * 1e-3
        expected = scale * available(intervals, depression)
        assert jumps == pytest.approx(expected, rel=0.02)
        idle.event(h.t + 1)
        while h.t < sum(intervals) + 2:
            h.fadvance()
        assert idle.weight[0] == busy.weight[0] == 1e-3, "depression changed a weight"
        fresh = idle.weight[int(idle.wcnt()) - 2]
        assert fresh == pytest.approx(1 - depression.use)


def test_what_depressed_connections_release_adds_up_in_any_order(h):
    """Many connections, one time: sums are exact, so their order cannot matter."""
    totals = []
    for direction in (1, -1):
        place = Place(h, "livn_pr_dendrite")
        process = place.process
        process.use, process.tau_rec = 0.25, 400.0
        connections = []
        for number in range(500)[::direction]:
            connection = h.NetCon(None, process)
            connection.weight[0] = round(1e-3 * (1 + number / 7) * 2**36) / 2**36
            connection.delay = 0
            connections.append((number, connection))
        h.dt = DT
        h.finitialize(-60)
        for number, connection in connections:
            connection.event(1.0 + number % 5)
            connection.event(37.0)
        while h.t < 37.1:
            h.fadvance()
        totals.append(process.ampa)
    assert totals[0] == totals[1] > 0
