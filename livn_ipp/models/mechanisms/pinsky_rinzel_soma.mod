TITLE Soma of the Pinsky-Rinzel cell as one point process

COMMENT
Fast sodium current, delayed rectifier and leak of the somatic compartment
    Pinsky & Rinzel (1994) J Comput Neurosci 1:39-60, appendix,
with a GABA_A receptor (difference of exponentials, peak 1) and a stimulus
current. Rate functions take u = v + 60 mV, as the paper counts voltage from
its resting level.

One point process holds everything that acts on the compartment, because NEURON
then visits each cell once per step. How it keeps its promises:

- The gates advance exactly over a step at constant voltage, from one table of
  steady states and decay factors. The instantaneous gate m sees the voltage
  extrapolated by half a step, the middle of the step in which its conductance
  acts; without this the firing rate is several percent low.
- An event only adds to `arrived`. The state step consumes it, so the order of
  simultaneous events has no influence if the weights lie on a dyadic grid.
- The current is linear in v during a step (CONDUCTANCE).
- A receptor that has decayed to nothing is set to zero: denormal numbers are slow.

Channel and receptor parameters are read when the simulation is initialised;
i_stim and g_stim may change at any time.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS livn_pr_soma
    NONSPECIFIC_CURRENT i
    RANGE surface, gna, gk, gl, ena, ek, el
    RANGE i, h, n, rise, decay, i_stim, g_stim
    GLOBAL m_inf, h_inf, n_inf, keep_h, keep_n
    GLOBAL keep_rise, keep_decay, peak
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (uS) = (microsiemens)
    (S)  = (siemens)
    (um) = (micron)
}

PARAMETER {
    surface = 1200 (um2)
    gna = 0.03     (S/cm2)
    gk = 0.015     (S/cm2)
    gl = 1e-4      (S/cm2)
    ena = 60       (mV)
    ek = -75       (mV)
    el = -60       (mV)
    tau_rise = 0.5 (ms)
    tau_decay = 8  (ms)
    e_gaba = -75   (mV)
    i_stim = 0     (nA) : positive depolarises
    g_stim = 0     (uS) : its reversal potential enters through i_stim
}

ASSIGNED {
    v (mV)
    i (nA)
    dt (ms)
    g (uS)
    total (uS)
    driving (nA)
    v_before (mV)
    na_max (uS)
    k_max (uS)
    leak (uS)
    h
    n
    rise (uS)
    decay (uS)
    arrived (uS)
    peak
    keep_rise
    keep_decay
    m_inf
    h_inf
    n_inf
    keep_h
    keep_n
}

INITIAL { LOCAL t_peak
    na_max = gna*surface*(0.01)
    k_max = gk*surface*(0.01)
    leak = gl*surface*(0.01)
    slow_gates(v)
    h = h_inf
    n = n_inf
    v_before = v
    t_peak = tau_rise*tau_decay/(tau_decay - tau_rise)*log(tau_decay/tau_rise)
    peak = 1/(exp(-t_peak/tau_decay) - exp(-t_peak/tau_rise))
    keep_rise = exp(-dt/tau_rise)
    keep_decay = exp(-dt/tau_decay)
    rise = 0
    decay = 0
    arrived = 0
    conductances(h, n, 0)
}

BREAKPOINT {
    CONDUCTANCE total
    SOLVE advance
    total = g + g_stim
    i = total*v - driving - i_stim
}

PROCEDURE advance() { LOCAL hn, nn, r, d
    slow_gates(v)
    hn = h_inf + (h - h_inf)*keep_h
    h = hn
    nn = n_inf + (n - n_inf)*keep_n
    n = nn
    r = (rise + arrived*peak)*keep_rise
    d = (decay + arrived*peak)*keep_decay
    arrived = 0
    if (d < 1e-12) {
        r = 0
        d = 0
    }
    rise = r
    decay = d
    conductances(hn, nn, d - r)
}

PROCEDURE conductances(hn, nn, gaba) { LOCAL na, k, mi
    fast_gate(v + 0.5*(v - v_before))
    v_before = v
    mi = m_inf
    na = na_max*mi*mi*hn
    k = k_max*nn
    g = na + k + gaba + leak
    driving = na*ena + k*ek + gaba*e_gaba + leak*el
}

PROCEDURE fast_gate(v (mV)) { LOCAL u, a, b
    TABLE m_inf FROM -120 TO 80 WITH 800
    u = v + 60
    a = 0.32*linoid(13.1 - u, 4)
    b = 0.28*linoid(u - 40.1, 5)
    m_inf = a/(a + b)
}

PROCEDURE slow_gates(v (mV)) { LOCAL u, a, b
    TABLE h_inf, n_inf, keep_h, keep_n DEPEND dt FROM -120 TO 80 WITH 800
    u = v + 60
    a = 0.128*exp((17 - u)/18)
    b = 4/(1 + exp((40 - u)/5))
    h_inf = a/(a + b)
    keep_h = exp(-dt*(a + b))
    a = 0.016*linoid(35.1 - u, 5)
    b = 0.25*exp(0.5 - 0.025*u)
    n_inf = a/(a + b)
    keep_n = exp(-dt*(a + b))
}

FUNCTION linoid(x, width) {
    : x/(exp(x/width) - 1), continued through x = 0
    if (fabs(x/width) < 1e-6) {
        linoid = width - x/2
    } else {
        linoid = x/(exp(x/width) - 1)
    }
}

NET_RECEIVE(weight (uS)) {
    INITIAL { : without this block NEURON zeroes further weights at finitialize
    }
    arrived = arrived + weight
}
