"""What an event carries does not depend on the step."""

import numpy as np
import pytest

from livn_ipp.models.pinsky_rinzel import PinskyRinzel

pytestmark = pytest.mark.neuron

EVENT = 200.0  # ms
DURATION = 1000.0  # ms


def areas(dt):
    """Integral of the potential at the soma for each receptor, in mV ms."""
    from livn_ipp.neuron.boot import boot, world

    boot(None)
    h, pc = world().h, world().pc
    cell = PinskyRinzel().build(h, "EXC", 0)
    for name in ("g_e0", "g_i0", "std_e", "std_i"):
        setattr(cell.background, name, 0.0)
    cell.background.background()
    soma = cell.sections["soma"](0.5)
    h.celsius, h.secondorder, h.dt = 36.0, 2, dt

    def voltage(receptor, weight):
        connection = h.NetCon(None, receptor.process)
        pc.set_maxstep(10)
        connection.weight[receptor.slot] = weight
        h.finitialize(-64.84)
        connection.event(EVENT)
        samples = np.empty(round(DURATION / dt))
        for step in range(len(samples)):
            h.fadvance()
            samples[step] = soma.v
        return samples

    return {
        name: (voltage(receptor, 1e-3) - voltage(receptor, 0.0)).sum() * dt
        for name, receptor in cell.receptors.items()
    }


@pytest.mark.slow
def test_an_event_carries_the_same_charge_for_every_step():
    coarse, fine = areas(0.05), areas(0.0125)
    assert set(coarse) == {("dend", "AMPA"), ("dend", "NMDA"), ("soma", "GABA_A")}
    for name, area in coarse.items():
        assert area == pytest.approx(fine[name], rel=3e-4), name
