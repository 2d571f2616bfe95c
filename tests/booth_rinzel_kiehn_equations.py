"""The Booth-Rinzel-Kiehn motoneuron from its equations, without NEURON or tables.

Booth, Rinzel & Kiehn (1997) J Neurophysiol 78:3371-3385; mV, mS/cm2, mM.
"""

import numpy as np
from runge_kutta import integrate

HALF, REST = 5e-4, 1e-5  # mM, of the potassium current and of the pool


def _open(v, half, slope):
    return 1 / (1 + np.exp((half - v) / slope))


class Equations:
    """Derivatives of (vs, vd, h, n, m, p, ca, m, p, l, ca), a current into the soma.

    The gates m and p are those of the N-type calcium current, l is the L-type's.
    """

    def __init__(self, parameters):
        self.p = parameters
        self.areas = np.array([parameters.surface_soma, parameters.surface_dend]) * 1e-8
        density = np.array([parameters.cm_soma, parameters.cm_dend])
        self.capacitances = density * self.areas * 1e3  # nF

    @staticmethod
    def steady(v):
        fast = (_open(v, -55, -7), _open(v, -28, 15))
        calcium = (_open(v, -30, 5), _open(v, -45, -5))
        return fast, calcium, _open(v, -40, 7)

    def start(self, v):
        fast, calcium, slow = self.steady(v)
        return np.array([v, v, *fast, *calcium, REST, *calcium, slow, REST])

    def __call__(self, state, current):
        vs, vd, h, n, ms, ps, cas, md, pd, cal, cad = state
        p, micro = self.p, 1e3  # mS/cm2 * cm2 * mV is uA; in nA 1e3
        (h_inf, n_inf), (ms_inf, ps_inf), _ = self.steady(vs)
        _, (md_inf, pd_inf), cal_inf = self.steady(vd)
        tau_h = 30 / (np.exp((vs + 50) / 15) + np.exp(-(vs + 50) / 16))
        tau_n = 7 / (np.exp((vs + 40) / 40) + np.exp(-(vs + 40) / 50))
        calcium_soma = p.gcan_soma * ms**2 * ps * (vs - p.eca)  # uA/cm2
        calcium_dend = (p.gcan_dend * md**2 * pd + p.gcal * cal) * (vd - p.eca)
        soma = (
            p.gna * _open(vs, -35, 7.8) ** 3 * h * (vs - p.ena)
            + p.gk * n**4 * (vs - p.ek)
            + p.gkca_soma * cas / (cas + HALF) * (vs - p.ek)
            + p.gl_soma * (vs - p.el)
            + calcium_soma
        )
        dend = (
            p.gkca_dend * cad / (cad + HALF) * (vd - p.ek)
            + p.gl_dend * (vd - p.el)
            + calcium_dend
        )
        axial = (vd - vs) / p.axial_resistance  # nA
        inward_soma, inward_dend = np.maximum([-calcium_soma, -calcium_dend], 0) * 1e-3
        return np.array(
            [
                (axial + current - soma * self.areas[0] * micro) / self.capacitances[0],
                (-axial - dend * self.areas[1] * micro) / self.capacitances[1],
                (h_inf - h) / tau_h,
                (n_inf - n) / tau_n,
                (ms_inf - ms) / 4,
                (ps_inf - ps) / 40,
                p.free_soma * (p.alpha_soma * inward_soma - p.pump_soma * (cas - REST)),
                (md_inf - md) / 4,
                (pd_inf - pd) / 40,
                (cal_inf - cal) / 60,
                p.free_dend * (p.alpha_dend * inward_dend - p.pump_dend * (cad - REST)),
            ]
        )

    def integrate(self, current, duration, dt, v=-62.0):
        """Return times and states; `current(t)` in nA."""
        return integrate(self, self.start(v), current, duration, dt)
