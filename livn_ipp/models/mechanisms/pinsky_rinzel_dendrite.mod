TITLE Dendrite of the Pinsky-Rinzel cell as one point process

COMMENT
Calcium current, calcium-activated potassium current, potassium
after-hyperpolarisation current, calcium pool and leak of the dendritic compartment
    Pinsky & Rinzel (1994) J Comput Neurosci 1:39-60, appendix,
with AMPA (single exponential) and NMDA (difference of exponentials, peak 1) receptors,
the magnesium block of
    Jahr & Stevens (1990) J Neurosci 10:3178-3182,
a background of two fluctuating conductances
    Destexhe, Rudolph, Fellous & Sejnowski (2001) Neuroscience 107:13-24,
and a stimulus current. Rate functions take u = v + 60 mV.

See the soma for how one point process per compartment keeps its promises. Beyond it:

- The calcium influx is never negative. In a strong field the dendrite may exceed
  the calcium reversal potential, and the pool would empty below zero.
- The Ornstein-Uhlenbeck processes are updated exactly once every `hold` ms and
  constant in between, so one realisation serves every step that divides `hold`.
  They start from their stationary distribution. Each update adds a uniform deviate:
  over a time constant 13 to 52 of them add up, which leaves an excess kurtosis of
  -1.2*(1 - keep^2)/(1 + keep^2), that is -0.09 and -0.02, at half the cost. Each is held in units of its
  standard deviation, so that its mean and deviation may change at any time; call
  background() after a change.
- rng is the process's own stream; its identity fixes the realisation.
- AMPA may depress (use > 0): each connection keeps the fraction of its transmitter
  that is available and the time of its latest event,
      Tsodyks & Markram (1997) Proc Natl Acad Sci USA 94:719-723.
  Events of one connection come in the order of time, and what they release is
  rounded to the grid of weights (2^-36 uS), so order still has no influence.
- Values of a step are held in LOCAL variables: the translator reads every other one
  from memory each time it is named.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS livn_pr_dendrite
    NONSPECIFIC_CURRENT i
    RANGE surface, gca, gkc, gahp, gl, eca, ek, el, q_init
    RANGE i, s, c, ca, q, ampa, rise, decay
    RANGE use, tau_rec
    RANGE g_e0, g_i0, std_e, std_i, tau_e, tau_i, E_e, E_i, hold, g_e, g_i
    RANGE i_stim, g_stim
    GLOBAL s_inf, c_inf, keep_s, keep_c, unblocked
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
    surface = 1200 (um2)
    gca = 0.01     (S/cm2)
    gkc = 0.015    (S/cm2)
    gahp = 8e-4    (S/cm2)
    gl = 1e-4      (S/cm2)
    eca = 80       (mV)
    ek = -75       (mV)
    el = -60       (mV)
    tau_ampa = 2   (ms)
    tau_rise = 3   (ms)
    tau_decay = 80 (ms)
    e_exc = 0      (mV)
    mg = 1         (mM)
    use = 0        : fraction of the available transmitter; 0 for no depression
    tau_rec = 400  (ms)
    q_init = 0.004
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
    ca_max (uS)
    kc_max (uS)
    ahp_max (uS)
    leak (uS)
    s
    c
    q
    ca
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
    s_inf
    c_inf
    keep_s
    keep_c
    unblocked
}

INITIAL { LOCAL t_peak
    ca_max = gca*surface*(0.01)
    kc_max = gkc*surface*(0.01)
    ahp_max = gahp*surface*(0.01)
    leak = gl*surface*(0.01)
    gates(v)
    s = s_inf
    c = c_inf
    ca = 0.2
    q = q_init
    : the pool gains 0.13 per uA/cm2 of calcium current, held over the step
    keep_ca = exp(-0.075*dt)
    influx = 130*gca*(1 - keep_ca)/0.075

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
    x_e = normal(0.5 + deviate_e/3.4641016151377544)
    x_i = normal(0.5 + deviate_i/3.4641016151377544)
    fluctuate()
    conductances(s, c, ca, q, 0)
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
    : of mean 0 and variance 1; sqrt(12) = 3.4641...
    deviate_e = 3.4641016151377544*(fine - 0.5)
    deviate_i = 5.2857996e-5*(coarse - 32767.5)
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

PROCEDURE advance() { LOCAL sn, cn, inward, pool, opening, rate, qn, a, r, d
    gates(v)
    sn = s_inf + (s - s_inf)*keep_s
    s = sn
    cn = c_inf + (c - c_inf)*keep_c
    c = cn

    inward = influx*sn*sn*(eca - v)
    if (inward < 0) {
        inward = 0
    }
    pool = ca*keep_ca + inward
    ca = pool
    opening = 2e-5*pool
    if (opening > 0.01) {
        opening = 0.01
    }
    : exact relaxation to second order; rate*dt is below 1e-3
    rate = (opening + 0.001)*dt
    qn = q
    qn = qn + (opening*dt - rate*qn)*(1 - 0.5*rate)
    q = qn

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
    conductances(sn, cn, pool, qn, a + (d - r)*unblocked)
}

PROCEDURE conductances(sn, cn, pool, qn, excitation) { LOCAL calcium, potassium
    calcium = ca_max*sn*sn
    if (pool < 250) {
        potassium = kc_max*cn*pool*0.004 + ahp_max*qn
    } else {
        potassium = kc_max*cn + ahp_max*qn
    }
    g = calcium + potassium + excitation + g_slow
    driving = calcium*eca + potassium*ek + excitation*e_exc + driving_slow
}

PROCEDURE gates(v (mV)) { LOCAL u, a, b
    TABLE s_inf, c_inf, keep_s, keep_c, unblocked DEPEND dt, mg FROM -120 TO 80 WITH 800
    u = v + 60
    a = 1.6/(1 + exp(-0.072*(u - 65)))
    b = 0.02*linoid(u - 51.1, 5)
    s_inf = a/(a + b)
    keep_s = exp(-dt*(a + b))
    if (u <= 50) {
        a = exp((u - 10)/11 - (u - 6.5)/27)/18.975
        b = 2*exp((6.5 - u)/27) - a
    } else {
        a = 2*exp((6.5 - u)/27)
        b = 0
    }
    c_inf = a/(a + b)
    keep_c = exp(-dt*(a + b))
    unblocked = 1/(1 + mg/3.57*exp(-0.062*v))
}

FUNCTION linoid(x, width) {
    : x/(exp(x/width) - 1), continued through x = 0
    if (fabs(x/width) < 1e-6) {
        linoid = width - x/2
    } else {
        linoid = x/(exp(x/width) - 1)
    }
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
