"""Classical Runge-Kutta, and the currents of a clamped cell."""

import numpy as np


def integrate(derivative, state, current, duration, dt):
    """Return times and states; ``derivative(state, current(t))``."""
    times = np.arange(round(duration / dt) + 1) * dt
    states = [state]
    for t in times[:-1]:
        k1 = derivative(state, current(t))
        k2 = derivative(state + dt / 2 * k1, current(t))
        k3 = derivative(state + dt / 2 * k2, current(t))
        k4 = derivative(state + dt * k3, current(t))
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(state)
    return times, np.array(states)


def clamped_currents(equations, before, after, duration, dt):
    """Currents (nA) out of soma and dendrite, `duration` ms after a step of voltage."""
    held = np.concatenate([[0, 0], np.ones(len(equations.start(before)) - 2)])
    state = equations.start(before)
    state[:2] = after
    _, states = integrate(
        lambda s, i: held * equations(s, i), state, lambda _: 0.0, duration, dt
    )
    return -equations(states[-1], 0.0)[:2] * equations.capacitances
