TITLE Dendrite of the Booth-Rinzel-Kiehn motoneuron as one point process

COMMENT
N-type and L-type (persistent) calcium currents, calcium-activated potassium current,
calcium pool and leak of the dendritic compartment
    Booth, Rinzel & Kiehn (1997) J Neurophysiol 78:3371-3385,
with AMPA (single exponential, may depress) and NMDA receptors, the fluctuating
background and the stimulus current of the Pinsky-Rinzel dendrite, whose file tells
their sources and how they keep their promises; the soma tells about the pool.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS livn_brk_dendrite
    NONSPECIFIC_CURRENT i
    RANGE surface, gcan, gcal, gkca, gl, eca, ek, el
    RANGE free, alpha, pump
    RANGE i, m_can, h_can, m_cal, ca, ampa, rise, decay
    RANGE use, tau_rec
    RANGE g_e0, g_i0, std_e, std_i, tau_e, tau_i, E_e, E_i, hold, g_e, g_i
    RANGE i_stim, g_stim
    GLOBAL m_can_inf, h_can_inf, m_cal_inf, unblocked
    GLOBAL keep_m_can, keep_h_can, keep_m_cal
    GLOBAL keep_ampa, mean_ampa, keep_rise, keep_decay, peak
    RANDOM rng
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
    surface = 2758   (um2)
    gcan = 2.881e-4  (S/cm2)
    gcal = 1e-5      (S/cm2)
    gkca = 2.37e-4   (S/cm2)
    gl = 1.39e-5     (S/cm2)
    eca = 80         (mV)
    ek = -89.7       (mV)
    el = -62         (mV)
    free = 1.195e-3
    alpha = 0.6776
    pump = 3.331     (/ms)
    half = 5e-4      (mM)
    ca_rest = 1e-5   (mM)
    tau_m_can = 4    (ms)
    tau_h_can = 40   (ms)
    tau_m_cal = 60   (ms)
    tau_ampa = 2   (ms)
    tau_rise = 3   (ms)
    tau_decay = 80 (ms)
    e_exc = 0      (mV)
    mg = 1         (mM)
    use = 0        : fraction of the available transmitter; 0 for no depression
    tau_rec = 400  (ms)
    g_e0 = 0       (uS)
    g_i0 = 0       (uS)
    std_e = 0      (uS)
    std_i = 0      (uS)
    tau_e = 2.728  (ms)
    tau_i = 10.49  (ms)
    E_e = 0        (mV)
    E_i = -75      (mV)
    hold = 0.2     (ms)
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
    can_max (uS)
    cal_max (uS)
    kca_max (uS)
    leak (uS)
    m_can
    h_can
    m_cal
    ca (mM)
    keep_ca
    influx
    ampa (uS)
    ampa_arrived (uS)
    rise (uS)
    decay (uS)
    nmda_arrived (uS)
    peak
    keep_ampa
    mean_ampa
    keep_rise
    keep_decay
    x_e
    x_i
    keep_e
    keep_i
    spread_e
    spread_i
    deviate_e
    deviate_i
    g_e (uS)
    g_i (uS)
    g_slow (uS)
    driving_slow (nA)
    steps
    countdown
    m_can_inf
    h_can_inf
    m_cal_inf
    keep_m_can
    keep_h_can
    keep_m_cal
    unblocked
}

INITIAL { LOCAL t_peak
    can_max = gcan*surface*(0.01)
    cal_max = gcal*surface*(0.01)
    kca_max = gkca*surface*(0.01)
    leak = gl*surface*(0.01)
    gates(v)
    m_can = m_can_inf
    h_can = h_can_inf
    m_cal = m_cal_inf
    keep_m_can = exp(-dt/tau_m_can)
    keep_h_can = exp(-dt/tau_h_can)
    keep_m_cal = exp(-dt/tau_m_cal)
    ca = ca_rest
    keep_ca = exp(-free*pump*dt)
    : of the calcium current, held over the step; nA/(um2) is 100 mA/cm2
    influx = alpha*(1 - keep_ca)/pump*100/surface

    t_peak = tau_rise*tau_decay/(tau_decay - tau_rise)*log(tau_decay/tau_rise)
    peak = 1/(exp(-t_peak/tau_decay) - exp(-t_peak/tau_rise))
    keep_ampa = exp(-dt/tau_ampa)
    : over a step; so an event carries the same charge for every dt
    mean_ampa = (1 - keep_ampa)*tau_ampa/dt
    keep_rise = exp(-dt/tau_rise)
    keep_decay = exp(-dt/tau_decay)
    ampa = 0
    rise = 0
    decay = 0
    ampa_arrived = 0
    nmda_arrived = 0

    background()
    steps = floor(hold/dt + 0.5)
    countdown = steps
    random_setseq(rng, 0)
    draw()
    x_e = deviate_e
    x_i = deviate_i
    fluctuate()
    conductances(can_max*m_can*m_can*h_can + cal_max*m_cal, ca, 0)
}

BREAKPOINT {
    CONDUCTANCE total
    SOLVE advance
    total = g + g_stim
    i = total*v - driving - i_stim
}

PROCEDURE background() {
    keep_e = exp(-hold/tau_e)
    keep_i = exp(-hold/tau_i)
    spread_e = sqrt(1 - keep_e*keep_e)
    spread_i = sqrt(1 - keep_i*keep_i)
    fluctuate()
}

PROCEDURE fluctuate() {
    : what stays the same until the next draw
    g_e = g_e0 + std_e*x_e
    if (g_e < 0) {
        g_e = 0
    }
    g_i = g_i0 + std_i*x_i
    if (g_i < 0) {
        g_i = 0
    }
    g_slow = g_e + g_i + leak
    driving_slow = g_e*E_e + g_i*E_i + leak*el
}

PROCEDURE draw() { LOCAL coarse, fine
    : one draw of 32 bits serves both processes
    fine = random_uniform(rng)*65536
    coarse = floor(fine)
    fine = fine - coarse
    deviate_e = normal(fine)
    deviate_i = normal((coarse + 0.5)/65536)
}

FUNCTION normal(u) { LOCAL tail, t
    : normal deviate of a uniform one; Abramowitz & Stegun (1964) 26.2.23
    TABLE FROM 0 TO 1 WITH 4096
    tail = u
    if (u > 0.5) {
        tail = 1 - u
    }
    if (tail < 3e-5) {
        tail = 3e-5
    }
    t = sqrt(-2*log(tail))
    normal = (2.515517 + t*(0.802853 + t*0.010328))/(1 + t*(1.432788 + t*(0.189269 + t*0.001308))) - t
    if (u > 0.5) {
        normal = -normal
    }
}

PROCEDURE advance() { LOCAL mc, hc, ml, calcium, inward, pool, a, r, d
    gates(v)
    mc = m_can_inf + (m_can - m_can_inf)*keep_m_can
    m_can = mc
    hc = h_can_inf + (h_can - h_can_inf)*keep_h_can
    h_can = hc
    ml = m_cal_inf + (m_cal - m_cal_inf)*keep_m_cal
    m_cal = ml
    calcium = can_max*mc*mc*hc + cal_max*ml
    inward = influx*calcium*(eca - v)
    if (inward < 0) {
        inward = 0
    }
    pool = ca_rest + (ca - ca_rest)*keep_ca + inward
    ca = pool

    a = ampa*keep_ampa + ampa_arrived*mean_ampa
    r = (rise + nmda_arrived*peak)*keep_rise
    d = (decay + nmda_arrived*peak)*keep_decay
    ampa_arrived = 0
    nmda_arrived = 0
    if (a < 1e-12) {
        a = 0
    }
    if (d < 1e-12) {
        r = 0
        d = 0
    }
    ampa = a
    rise = r
    decay = d

    countdown = countdown - 1
    if (countdown < 0.5) {
        draw()
        x_e = x_e*keep_e + spread_e*deviate_e
        x_i = x_i*keep_i + spread_i*deviate_i
        fluctuate()
        countdown = steps
    }
    conductances(calcium, pool, a + (d - r)*unblocked)
}

PROCEDURE conductances(calcium, pool, excitation) { LOCAL potassium
    potassium = kca_max*pool/(pool + half)
    g = calcium + potassium + excitation + g_slow
    driving = calcium*eca + potassium*ek + excitation*e_exc + driving_slow
}

PROCEDURE gates(v (mV)) {
    TABLE m_can_inf, h_can_inf, m_cal_inf, unblocked DEPEND mg FROM -120 TO 80 WITH 800
    m_can_inf = 1/(1 + exp(-(v + 30)/5))
    h_can_inf = 1/(1 + exp((v + 45)/5))
    m_cal_inf = 1/(1 + exp(-(v + 40)/7))
    unblocked = 1/(1 + mg/3.57*exp(-0.062*v))
}

NET_RECEIVE(weight_ampa (uS), weight_nmda (uS), available, last (ms)) {
    INITIAL { : without this block NEURON zeroes all but the first weight at finitialize
        available = 1
        last = 0
    }
    if (use > 0) {
        available = 1 - (1 - available)*exp((last - t)/tau_rec)
        last = t
        ampa_arrived = ampa_arrived + floor(weight_ampa*available*68719476736 + 0.5)/68719476736
        available = available*(1 - use)
    } else {
        ampa_arrived = ampa_arrived + weight_ampa
    }
    nmda_arrived = nmda_arrived + weight_nmda
}
