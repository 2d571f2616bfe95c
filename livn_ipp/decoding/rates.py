"""How often cells fire, and whether a culture stays alive."""

from typing import Any, TypedDict

import numpy as np
from pydantic import Field

from livn_ipp.decoding.whole import active_cells, populations_of, whole_spikes
from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = [
    "ActiveFraction",
    "Activity",
    "FiringRate",
    "MeanFiringRate",
    "PerUnitFiringRate",
    "PopulationFiringRates",
    "PopulationRates",
    "Stability",
    "StabilityVerdict",
    "UnitRates",
]


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
        spikes = whole_spikes(run, env, "MeanFiringRate")
        n_units = max(1, len(spikes.units))
        return {
            "rate_hz": len(spikes.ids) / (n_units * spikes.duration_s),
            "total_spikes": len(spikes.ids),
            "n_units": n_units,
            "duration_s": spikes.duration_s,
        }


class Activity(TypedDict):
    """What an :class:`ActiveFraction` returns."""

    active_fraction: float
    active_units: int
    total_units: int
    silent_units: list[int]


class ActiveFraction(Decoding):
    """Share of the culture's cells that fired often enough.

    ``active_fraction = active_units / total_units``, where ``active_units`` is the
    number of cells with at least `min_spikes` spikes and ``total_units`` the number of
    the system's cells. ``silent_units`` lists the cells that fired, but less often.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    min_spikes
        Spikes that make a cell active.
    """

    min_spikes: int = Field(default=1, ge=1)

    def __call__(self, run: Run, env: Any = None) -> Activity:
        """Count the active cells of all ranks."""
        spikes = whole_spikes(run, env, "ActiveFraction")
        units, counts = np.unique(spikes.ids, return_counts=True)
        enough = counts >= self.min_spikes
        total = max(1, len(env.system.gids))
        return {
            "active_fraction": min(1.0, int(enough.sum()) / total),
            "active_units": int(enough.sum()),
            "total_units": total,
            "silent_units": units[~enough].tolist(),
        }


class UnitRates(TypedDict):
    """What a :class:`PerUnitFiringRate` returns."""

    per_unit_rates_hz: dict[int, float]
    max_rate_hz: float
    min_rate_hz: float
    mean_rate_hz: float
    rate_cv: float
    n_units: int


class PerUnitFiringRate(Decoding):
    """Firing rate of each cell that fired, and how much the rates differ.

    The rate of a cell is its number of spikes divided by the window's length in s;
    ``rate_cv`` is the standard deviation of these rates divided by their mean. Without
    spikes everything is 0.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    """

    def __call__(self, run: Run, env: Any = None) -> UnitRates:
        """Count the spikes of each cell."""
        spikes = whole_spikes(run, env, "PerUnitFiringRate")
        units, counts = np.unique(spikes.ids, return_counts=True)
        rates = counts / spikes.duration_s
        if len(units) == 0:
            units, rates = np.zeros(0, np.uint32), np.zeros(0)
        some = rates if len(rates) else np.zeros(1)
        mean = float(some.mean())
        return {
            "per_unit_rates_hz": dict(zip(units.tolist(), rates.tolist(), strict=True)),
            "max_rate_hz": float(some.max()),
            "min_rate_hz": float(some.min()),
            "mean_rate_hz": mean,
            "rate_cv": float(some.std()) / mean if mean else 0.0,
            "n_units": len(units),
        }


class PopulationRates(TypedDict):
    """What a :class:`PopulationFiringRates` returns."""

    rates_hz: dict[str, float]


class PopulationFiringRates(Decoding):
    """Mean firing rate of each population, silent cells included.

    ``rates_hz[population] = spikes / (cells * duration_s)``, where ``cells`` is the
    number of the population's cells that are simulated. Populations without any are
    left out.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    """

    def __call__(self, run: Run, env: Any = None) -> PopulationRates:
        """Count the spikes of each population."""
        spikes = whole_spikes(run, env, "PopulationFiringRates")
        cells = active_cells(env)
        return {
            "rates_hz": {
                name: int(own.sum()) / (cells[name] * spikes.duration_s)
                for name, own in populations_of(env, spikes.ids).items()
                if cells[name]
            }
        }


class StabilityVerdict(TypedDict):
    """What a :class:`Stability` returns."""

    is_stable: bool
    is_runaway: bool
    is_quiescent: bool
    has_nan: bool
    tail_mean_hz: float
    global_mean_hz: float
    max_rate_hz: float
    min_rate_hz: float


class Stability(Decoding):
    """Whether a culture neither falls silent nor runs away.

    Rates are spikes of the whole culture per s, in bins of `bin_size`. ``is_runaway``
    if their mean over the bins of the last `tail_window` ms exceeds `max_rate_hz`;
    ``is_quiescent`` if their mean over all bins is below `min_rate_hz`; ``is_stable``
    if neither. ``has_nan`` is always False and kept for livn's programs.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    tail_window
        End of the window that tells of running away, in ms.
    max_rate_hz, min_rate_hz
        Bounds on the spikes of the whole culture per s.
    bin_size
        In ms.
    """

    tail_window: float = Field(default=1000.0, gt=0)
    max_rate_hz: float = 20.0
    min_rate_hz: float = 0.05
    bin_size: float = Field(default=100.0, gt=0)

    def __call__(self, run: Run, env: Any = None) -> StabilityVerdict:
        """Compare the rates with the bounds."""
        spikes = whole_spikes(run, env, "Stability")
        counts = spikes.counts(self.bin_size)
        width_s = spikes.duration_s / len(counts)
        tail = int(max(0.0, spikes.duration - self.tail_window) / self.bin_size + 1e-9)
        last = counts[min(tail, len(counts) - 1) :]
        tail_mean = int(last.sum()) / (len(last) * width_s)
        global_mean = int(counts.sum()) / (len(counts) * width_s)
        runaway = tail_mean > self.max_rate_hz
        quiescent = global_mean < self.min_rate_hz
        return {
            "is_stable": not runaway and not quiescent,
            "is_runaway": runaway,
            "is_quiescent": quiescent,
            "has_nan": False,
            "tail_mean_hz": tail_mean,
            "global_mean_hz": global_mean,
            "max_rate_hz": self.max_rate_hz,
            "min_rate_hz": self.min_rate_hz,
        }
