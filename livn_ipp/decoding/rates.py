"""How often cells fire."""

from typing import Any, TypedDict

import numpy as np

from livn_ipp.errors import ConfigError
from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = ["FiringRate", "MeanFiringRate"]


class FiringRate(TypedDict):
    """What a :class:`MeanFiringRate` returns."""

    rate_hz: float
    total_spikes: int
    n_units: int
    duration_s: float


class MeanFiringRate(Decoding):
    """Mean firing rate of the cells that fired.

    ``rate_hz = total_spikes / (n_units * duration_s)``, where ``n_units`` is the number
    of cells that fired (at least 1) and ``duration_s`` the length of the window that is
    decoded, in s. Every rank returns the same dict; as only whole numbers are added up,
    its bits do not depend on the number of ranks.

    Parameters
    ----------
    duration
        Length of the simulation in ms.

    Examples
    --------
    >>> from livn_ipp.run import Events
    >>> class Serial:
    ...     from livn_ipp.subworld import Subworld
    ...     comm = Subworld().comm
    >>> run = Run(0.0, 500.0, Events.of([1, 1, 4, 1], [9.0, 80.0, 90.0, 400.0]))
    >>> MeanFiringRate(duration=500)(run, Serial())
    {'rate_hz': 4.0, 'total_spikes': 4, 'n_units': 2, 'duration_s': 0.5}
    """

    def __call__(self, run: Run, env: Any = None) -> FiringRate:
        """Count the spikes of all ranks."""
        if run.spikes is None:
            raise ConfigError("MeanFiringRate needs spikes; call env.record_spikes()")
        mine = np.unique(run.spikes.ids, return_counts=True)
        shares = env.comm.allgather(mine)
        units = np.concatenate([units for units, _ in shares])
        if len(np.unique(units)) < len(units):
            raise ConfigError(
                "several ranks hold spikes of the same cell and would count them "
                "twice; in a Pipe, put MeanFiringRate in front of what merges the ranks"
            )
        n_units = max(1, len(units))
        total_spikes = sum(int(counts.sum()) for _, counts in shares)
        duration_s = run.duration / 1000
        return {
            "rate_hz": total_spikes / (n_units * duration_s),
            "total_spikes": total_spikes,
            "n_units": n_units,
            "duration_s": duration_s,
        }
