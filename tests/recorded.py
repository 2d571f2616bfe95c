"""A run of EI1 with hand-made activity."""

import numpy as np

from livn_ipp.run import Events, Run, Series
from livn_ipp.system import System

SYSTEM = System("EI1")
IO = SYSTEM.default_io()
RUN = Run(
    1000.0,
    50.0,
    Events.of([0, 9, 0, 3], [10.0, 20.5, 30.25, 40.0]),
    {
        "voltage": Series(
            np.array([0, 0], np.uint32),
            np.array([[-60.0, 20.0], [-61.0, 10.0]], np.float32),
            0.1,
            0.1,
            "mV",
            ("soma", "dend"),
        ),
        "current": Series(
            np.array([3], np.uint32),
            np.array([[1e-3, -2e-3]], np.float32),
            0.5,
            0.5,
            "uA",
            ("soma",),
        ),
        "potential": Series(
            IO.channel_ids[:2], np.array([[5.0, 6.0, 7.0], [1.0, 2.0, 3.0]]), 1, 1, "uV"
        ),
    },
)
