TITLE Soma of the Booth-Rinzel-Kiehn motoneuron as one point process

COMMENT
Fast sodium current, delayed rectifier, N-type calcium current, calcium-activated
potassium current, calcium pool and leak of the somatic compartment
    Booth, Rinzel & Kiehn (1997) J Neurophysiol 78:3371-3385,
with a GABA_A receptor (difference of exponentials, peak 1) and a stimulus current.
The pool gains free*alpha mM/ms per mA/cm2 of calcium current and loses free*pump of
what exceeds its rest per ms; calcium opens the potassium current at once.

See the soma of the Pinsky-Rinzel cell for how one point process per compartment keeps
its promises. Beyond it: the calcium influx is never negative.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS livn_brk_soma
    NONSPECIFIC_CURRENT i
    RANGE surface, gna, gk, gcan, gkca, gl, ena, ek, eca, el
    RANGE free, alpha, pump
    RANGE i, h, n, m_can, h_can, ca, rise, decay, i_stim, g_stim
    GLOBAL m_inf, h_inf, n_inf, keep_h, keep_n
    GLOBAL m_can_inf, h_can_inf, keep_m_can, keep_h_can
    GLOBAL keep_rise, keep_decay, peak
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (uS) = (microsiemens)
    (S)  = (siemens)
    (um) = (micron)
    (mM) = (milli/liter)
}

PARAMETER {
    surface = 306.5  (um2)
    gna = 0.105      (S/cm2)
    gk = 0.04515     (S/cm2)
    gcan = 1.068e-3  (S/cm2)
    gkca = 2.959e-4  (S/cm2)
    gl = 1.452e-4    (S/cm2)
    ena = 60.4       (mV)
    ek = -89.7       (mV)
    eca = 80         (mV)
    el = -62         (mV)
    free = 1.005e-3
    alpha = 0.2102
    pump = 1.528     (/ms)
    half = 5e-4      (mM)
    ca_rest = 1e-5   (mM)
    tau_m_can = 4    (ms)
    tau_h_can = 40   (ms)
    tau_rise = 0.5   (ms)
    tau_decay = 8    (ms)
    e_gaba = -75     (mV)
    i_stim = 0       (nA) : positive depolarises
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
    can_max (uS)
    kca_max (uS)
    leak (uS)
    h
    n
    m_can
    h_can
    ca (mM)
    keep_ca
    influx
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
    m_can_inf
    h_can_inf
    keep_m_can
    keep_h_can
}

INITIAL { LOCAL t_peak
    na_max = gna*surface*(0.01)
    k_max = gk*surface*(0.01)
    can_max = gcan*surface*(0.01)
    kca_max = gkca*surface*(0.01)
    leak = gl*surface*(0.01)
    slow_gates(v)
    h = h_inf
    n = n_inf
    m_can = m_can_inf
    h_can = h_can_inf
    keep_m_can = exp(-dt/tau_m_can)
    keep_h_can = exp(-dt/tau_h_can)
    ca = ca_rest
    keep_ca = exp(-free*pump*dt)
    influx = alpha*gcan*(1 - keep_ca)/pump : of the calcium current, held over the step
    v_before = v
    t_peak = tau_rise*tau_decay/(tau_decay - tau_rise)*log(tau_decay/tau_rise)
    peak = 1/(exp(-t_peak/tau_decay) - exp(-t_peak/tau_rise))
    keep_rise = exp(-dt/tau_rise)
    keep_decay = exp(-dt/tau_decay)
    rise = 0
    decay = 0
    arrived = 0
    conductances(h, n, m_can*m_can*h_can, ca, 0)
}

BREAKPOINT {
    CONDUCTANCE total
    SOLVE advance
    total = g + g_stim
    i = total*v - driving - i_stim
}

PROCEDURE advance() { LOCAL hn, nn, mc, hc, open, inward, pool, r, d
    slow_gates(v)
    hn = h_inf + (h - h_inf)*keep_h
    h = hn
    nn = n_inf + (n - n_inf)*keep_n
    n = nn
    mc = m_can_inf + (m_can - m_can_inf)*keep_m_can
    m_can = mc
    hc = h_can_inf + (h_can - h_can_inf)*keep_h_can
    h_can = hc
    open = mc*mc*hc
    inward = influx*open*(eca - v)
    if (inward < 0) {
        inward = 0
    }
    pool = ca_rest + (ca - ca_rest)*keep_ca + inward
    ca = pool

    r = (rise + arrived*peak)*keep_rise
    d = (decay + arrived*peak)*keep_decay
    arrived = 0
    if (d < 1e-12) {
        r = 0
        d = 0
    }
    rise = r
    decay = d
    conductances(hn, nn, open, pool, d - r)
}

PROCEDURE conductances(hn, nn, open, pool, gaba) { LOCAL na, potassium, calcium, mi
    fast_gate(v + 0.5*(v - v_before))
    v_before = v
    mi = m_inf
    na = na_max*mi*mi*mi*hn
    potassium = k_max*nn*nn*nn*nn + kca_max*pool/(pool + half)
    calcium = can_max*open
    g = na + potassium + calcium + gaba + leak
    driving = na*ena + potassium*ek + calcium*eca + gaba*e_gaba + leak*el
}

PROCEDURE fast_gate(v (mV)) {
    TABLE m_inf FROM -120 TO 80 WITH 800
    m_inf = 1/(1 + exp(-(v + 35)/7.8))
}

PROCEDURE slow_gates(v (mV)) {
    TABLE h_inf, n_inf, keep_h, keep_n, m_can_inf, h_can_inf DEPEND dt FROM -120 TO 80 WITH 800
    h_inf = 1/(1 + exp((v + 55)/7))
    keep_h = exp(-dt*(exp((v + 50)/15) + exp(-(v + 50)/16))/30)
    n_inf = 1/(1 + exp(-(v + 28)/15))
    keep_n = exp(-dt*(exp((v + 40)/40) + exp(-(v + 40)/50))/7)
    m_can_inf = 1/(1 + exp(-(v + 30)/5))
    h_can_inf = 1/(1 + exp((v + 45)/5))
}

NET_RECEIVE(weight (uS)) {
    INITIAL { : without this block NEURON zeroes further weights at finitialize
    }
    arrived = arrived + weight
}
