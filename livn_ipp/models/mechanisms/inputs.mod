TITLE Receptors, background and stimulus of one section, for cells of one's own

COMMENT
What acts on a section beside its own channels: AMPA (single exponential, may depress),
NMDA and GABA_A (differences of exponentials, peak 1) receptors, a fluctuating
background and a stimulus current. The channels may be any SUFFIX mechanism.

The dendrite of the Pinsky-Rinzel cell tells the sources and how events, background
and depression keep their promises. Weights are those of AMPA, NMDA and GABA_A.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS livn_inputs
    NONSPECIFIC_CURRENT i
    RANGE tau_ampa, tau_rise, tau_decay, tau_gaba_rise, tau_gaba, e_exc, e_gaba
    RANGE i, ampa, rise, decay, gaba_rise, gaba
    RANGE use, tau_rec
    RANGE g_e0, g_i0, std_e, std_i, tau_e, tau_i, E_e, E_i, hold, g_e, g_i
    RANGE i_stim, g_stim
    GLOBAL unblocked
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
    tau_ampa = 2   (ms)
    tau_rise = 3   (ms)
    tau_decay = 80 (ms)
    tau_gaba_rise = 0.5 (ms)
    tau_gaba = 8   (ms)
    e_exc = 0      (mV)
    e_gaba = -75   (mV)
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
    ampa (uS)
    ampa_arrived (uS)
    rise (uS)
    decay (uS)
    nmda_arrived (uS)
    gaba_rise (uS)
    gaba (uS)
    gaba_arrived (uS)
    peak
    peak_gaba
    keep_ampa
    mean_ampa
    keep_rise
    keep_decay
    keep_gaba_rise
    keep_gaba
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
    unblocked
}

INITIAL {
    block(v)
    peak = 1/height(tau_rise, tau_decay)
    peak_gaba = 1/height(tau_gaba_rise, tau_gaba)
    keep_ampa = exp(-dt/tau_ampa)
    : over a step; so an event carries the same charge for every dt
    mean_ampa = (1 - keep_ampa)*tau_ampa/dt
    keep_rise = exp(-dt/tau_rise)
    keep_decay = exp(-dt/tau_decay)
    keep_gaba_rise = exp(-dt/tau_gaba_rise)
    keep_gaba = exp(-dt/tau_gaba)
    ampa = 0
    rise = 0
    decay = 0
    gaba_rise = 0
    gaba = 0
    ampa_arrived = 0
    nmda_arrived = 0
    gaba_arrived = 0

    background()
    steps = floor(hold/dt + 0.5)
    countdown = steps
    random_setseq(rng, 0)
    draw()
    x_e = deviate_e
    x_i = deviate_i
    fluctuate()
    conductances(0, 0)
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
    g_slow = g_e + g_i
    driving_slow = g_e*E_e + g_i*E_i
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

FUNCTION height(rise (ms), decay (ms)) { LOCAL t_peak
    t_peak = rise*decay/(decay - rise)*log(decay/rise)
    height = exp(-t_peak/decay) - exp(-t_peak/rise)
}

PROCEDURE advance() { LOCAL a, r, d, gr, gd
    block(v)
    a = ampa*keep_ampa + ampa_arrived*mean_ampa
    r = (rise + nmda_arrived*peak)*keep_rise
    d = (decay + nmda_arrived*peak)*keep_decay
    gr = (gaba_rise + gaba_arrived*peak_gaba)*keep_gaba_rise
    gd = (gaba + gaba_arrived*peak_gaba)*keep_gaba
    ampa_arrived = 0
    nmda_arrived = 0
    gaba_arrived = 0
    if (a < 1e-12) {
        a = 0
    }
    if (d < 1e-12) {
        r = 0
        d = 0
    }
    if (gd < 1e-12) {
        gr = 0
        gd = 0
    }
    ampa = a
    rise = r
    decay = d
    gaba_rise = gr
    gaba = gd

    countdown = countdown - 1
    if (countdown < 0.5) {
        draw()
        x_e = x_e*keep_e + spread_e*deviate_e
        x_i = x_i*keep_i + spread_i*deviate_i
        fluctuate()
        countdown = steps
    }
    conductances(a + (d - r)*unblocked, gd - gr)
}

PROCEDURE conductances(excitation, inhibition) {
    g = excitation + inhibition + g_slow
    driving = excitation*e_exc + inhibition*e_gaba + driving_slow
}

PROCEDURE block(v (mV)) {
    TABLE unblocked DEPEND mg FROM -120 TO 80 WITH 800
    unblocked = 1/(1 + mg/3.57*exp(-0.062*v))
}

NET_RECEIVE(weight_ampa (uS), weight_nmda (uS), weight_gaba (uS), available, last (ms)) {
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
    gaba_arrived = gaba_arrived + weight_gaba
}
