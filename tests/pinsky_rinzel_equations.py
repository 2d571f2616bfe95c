"""The Pinsky-Rinzel cell from its equations, by Runge-Kutta, without NEURON or tables.

Pinsky & Rinzel (1994) J Comput Neurosci 1:39-60; voltages in mV, absolute.
"""

import numpy as np
from runge_kutta import integrate


def _linoid(x, width):
    return width if abs(x) < 1e-9 else x / np.expm1(x / width)


def _relaxation(a, b, value):
    return a * (1 - value) - b * value


class Equations:
    """Derivatives of (vs, vd, h, n, s, c, q, ca) under a current into the soma."""

    def __init__(self, parameters, g_e=0.0, g_i=0.0):
        self.p = parameters
        self.area = parameters.surface * 1e-8  # cm2
        self.capacitance = parameters.cm * self.area * 1e3  # nF
        self.capacitances = np.full(2, self.capacitance)
        self.g_e, self.g_i = g_e, g_i

    def conductance(self, density):
        return density * 1e-3 * self.area * 1e6  # uS

    def start(self, v):
        u = v + 60
        ah, bh, an, bn, a_s, bs, ac, bc = self.rates(u, u)
        h, n, s, c = (a / (a + b) for a, b in ((ah, bh), (an, bn), (a_s, bs), (ac, bc)))
        return np.array([v, v, h, n, s, c, self.p.q_init, 0.2])

    @staticmethod
    def rates(us, ud):
        ah, bh = 0.128 * np.exp((17 - us) / 18), 4 / (1 + np.exp((40 - us) / 5))
        an, bn = 0.016 * _linoid(35.1 - us, 5), 0.25 * np.exp(0.5 - 0.025 * us)
        a_s = 1.6 / (1 + np.exp(-0.072 * (ud - 65)))
        bs = 0.02 * _linoid(ud - 51.1, 5)
        closing = 2 * np.exp((6.5 - ud) / 27)
        opening = np.exp((ud - 10) / 11 - (ud - 6.5) / 27) / 18.975
        ac = opening if ud <= 50 else closing
        return ah, bh, an, bn, a_s, bs, ac, closing - ac

    def __call__(self, state, current):
        vs, vd, h, n, s, c, q, ca = state
        p, g = self.p, self.conductance
        us, ud = vs + 60, vd + 60
        ah, bh, an, bn, a_s, bs, ac, bc = self.rates(us, ud)
        am, bm = 0.32 * _linoid(13.1 - us, 4), 0.28 * _linoid(us - 40.1, 5)
        m = am / (am + bm)
        axial = (vd - vs) / p.axial_resistance
        soma = (
            g(p.gna) * m**2 * h * (vs - p.ena)
            + g(p.gk) * n * (vs - p.ek)
            + g(p.gl) * (vs - p.el)
        )
        calcium = p.gca * 1e-3 * s**2 * (vd - p.eca)  # mA/cm2
        dend = (
            calcium * self.area * 1e6
            + (g(p.gkc) * c * min(ca / 250, 1) + g(p.gahp) * q) * (vd - p.ek)
            + g(p.gl) * (vd - p.el)
            + self.g_e * vd
            + self.g_i * (vd + 75)
        )
        return np.array(
            [
                (axial + current - soma) / self.capacitance,
                (-axial - dend) / self.capacitance,
                _relaxation(ah, bh, h),
                _relaxation(an, bn, n),
                _relaxation(a_s, bs, s),
                _relaxation(ac, bc, c),
                _relaxation(min(2e-5 * ca, 0.01), 0.001, q),
                130 * max(-calcium, 0) - 0.075 * ca,
            ]
        )

    def integrate(self, current, duration, dt, v=-62.0):
        """Return times and states; `current(t)` in nA."""
        return integrate(self, self.start(v), current, duration, dt)
