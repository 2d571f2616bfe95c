TITLE Sodium and potassium channels of a fast spiking interneuron

COMMENT
    Wang & Buzsaki (1996) J Neurosci 16:6402-6413.

Any mechanism works in a section beside livn_inputs. This one shows what makes large
steps accurate: gates advance exactly over a step, from a table; the instantaneous gate
sees the voltage extrapolated by half a step; and conductances change in the state step
only, so that the current is linear in v during a step (CONDUCTANCE).
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX wang_buzsaki
    NONSPECIFIC_CURRENT i
    RANGE gna, gk, ena, ek, h, n
    GLOBAL m_inf, h_inf, n_inf, keep_h, keep_n
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S)  = (siemens)
}

PARAMETER {
    gna = 0.035 (S/cm2)
    gk = 0.009  (S/cm2)
    ena = 55    (mV)
    ek = -90    (mV)
    phi = 5
}

ASSIGNED {
    v (mV)
    i (mA/cm2)
    dt (ms)
    g (S/cm2)
    driving (mA/cm2)
    v_before (mV)
    h
    n
    m_inf
    h_inf
    n_inf
    keep_h
    keep_n
}

INITIAL {
    slow_gates(v)
    h = h_inf
    n = n_inf
    v_before = v
    conductances()
}

BREAKPOINT {
    CONDUCTANCE g
    SOLVE advance
    i = g*v - driving
}

PROCEDURE advance() {
    slow_gates(v)
    h = h_inf + (h - h_inf)*keep_h
    n = n_inf + (n - n_inf)*keep_n
    conductances()
}

PROCEDURE conductances() { LOCAL na, k
    fast_gate(v + 0.5*(v - v_before))
    v_before = v
    na = gna*m_inf*m_inf*m_inf*h
    k = gk*n*n*n*n
    g = na + k
    driving = na*ena + k*ek
}

PROCEDURE fast_gate(v (mV)) { LOCAL a, b
    TABLE m_inf FROM -120 TO 80 WITH 800
    a = 0.1*linoid(-(v + 35), 10)
    b = 4*exp(-(v + 60)/18)
    m_inf = a/(a + b)
}

PROCEDURE slow_gates(v (mV)) { LOCAL a, b
    TABLE h_inf, n_inf, keep_h, keep_n DEPEND dt, phi FROM -120 TO 80 WITH 800
    a = 0.07*exp(-(v + 58)/20)
    b = 1/(exp(-0.1*(v + 28)) + 1)
    h_inf = a/(a + b)
    keep_h = exp(-dt*phi*(a + b))
    a = 0.01*linoid(-(v + 34), 10)
    b = 0.125*exp(-(v + 44)/80)
    n_inf = a/(a + b)
    keep_n = exp(-dt*phi*(a + b))
}

FUNCTION linoid(x, width) {
    : x/(exp(x/width) - 1), continued through x = 0
    if (fabs(x/width) < 1e-6) {
        linoid = width - x/2
    } else {
        linoid = x/(exp(x/width) - 1)
    }
}
