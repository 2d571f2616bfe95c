"""Four cells under real electrodes, on real ranks; only the activity is hand-made."""

from types import SimpleNamespace

import numpy as np

from livn_ipp.io import MEA
from livn_ipp.run import Events, Run, Series
from livn_ipp.subworld import Subworld

COORDINATES = np.array(
    [
        [0, 0.0, 0.0, 0.0],
        [1, 50.0, 0.0, 0.0],
        [2, 100.0, 0.0, 0.0],
        [3, 900.0, 0.0, 0.0],
    ]
)
# Channel 7 hears cells 0 and 1, channel 8 cells 1 and 2, channel 9 none.
ELECTRODES = [[7, 0.0, 0.0, 0.0], [8, 100.0, 0.0, 0.0], [9, 0.0, 5000.0, 0.0]]
SPIKES = [(2, 1.0), (0, 2.0), (1, 2.0), (3, 2.5), (1, 7.0)]
DURATION = 10.0
SYSTEM = SimpleNamespace(
    gids=np.arange(4, dtype=np.uint32),
    population_ranges={"EXC": (0, 3), "INH": (3, 1)},
)


class Dish:
    """What a decoding sees of an environment."""

    def __init__(self, subworld=None, spikes=SPIKES, duration=DURATION, system=SYSTEM):
        self.subworld = subworld or Subworld()
        self.comm = self.subworld.comm
        self.io = MEA(ELECTRODES, output_radius=60.0)
        rank, size = self.subworld.rank, self.subworld.size
        self.system = system
        self.gids = system.gids[rank::size]
        self.spikes, self.duration = spikes, duration

    def channel_recording(self, ids, *arrays):
        return self.io.channel_recording(COORDINATES, ids, *arrays)

    def potential_recording(self, currents, gids):
        return self.io.potential_recording(COORDINATES, gids, 1000 * currents)

    def run(self, *signals):
        """What this rank recorded: spikes and any of voltage, current, potential."""
        mine = [(gid, time) for gid, time in self.spikes if gid in self.gids]
        ids, times = zip(*mine, strict=True) if mine else ((), ())
        series = {
            "voltage": lambda: self._series(np.float32, "mV"),
            "current": lambda: self._series(np.float64, "uA"),
            "potential": lambda: Series(
                self.io.channel_ids, self._potential(), 1.0, 1.0, "uV"
            ),
        }
        return Run(
            0.0,
            self.duration,
            Events.of(ids, times) if "spikes" in signals else None,
            {name: series[name]() for name in signals if name != "spikes"},
        )

    def _series(self, dtype, unit):
        samples = np.random.default_rng(1).normal(
            0.0, 1e-3, (len(self.system.gids), int(self.duration))
        )
        values = samples[self.gids].astype(dtype)
        return Series(self.gids, values, 1.0, 1.0, unit, ("soma",) * len(values))

    def _potential(self):
        current = self._series(np.float64, "uA")
        return self.potential_recording(current.values, current.ids)
