"""When cells fire together: bursts, synchrony and avalanches."""

from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from livn_ipp.decoding.whole import whole_spikes
from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = [
    "AvalancheAnalysis",
    "Avalanches",
    "BurstRate",
    "Bursts",
    "PeakSynchrony",
    "Synchrony",
]

_SIGMA_PER_MAD: Final = 1.4826  # of a normal distribution
_FEWEST_AVALANCHES: Final = 11  # for a power law to be fitted


class Bursts(TypedDict):
    """What a :class:`BurstRate` returns."""

    burst_rate_hz: float
    n_bursts: int
    threshold: float
    onsets: list[float]


class BurstRate(Decoding):
    """How often the culture bursts.

    The spikes of all cells are counted in ``floor(duration / bin_size)`` bins. A bin
    belongs to a burst if its count reaches ``threshold = max(median + mad_k * 1.4826 *
    MAD, min_floor, min_floor_fraction * n)``, where MAD is the median absolute
    deviation of the counts (1 if it is 0) and n the number of cells that fired.
    Neighbouring bins are one burst; ``onsets`` (ms from the start of the window) are
    where they begin. Without spikes all figures are 0.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_size
        In ms.
    mad_k
        Deviations above the median that make a burst.
    min_floor_fraction, min_floor
        Least number of spikes in a burst's bin: per cell that fired, and as such.
    """

    bin_size: float = Field(default=50.0, gt=0)
    mad_k: float = 5.0
    min_floor_fraction: float = 0.15
    min_floor: float = 3.0

    def __call__(self, run: Run, env: Any = None) -> Bursts:
        """Find the bursts of the whole culture."""
        spikes = whole_spikes(run, env, "BurstRate")
        if len(spikes.ids) == 0:
            return {"burst_rate_hz": 0.0, "n_bursts": 0, "threshold": 0.0, "onsets": []}
        counts = spikes.counts(self.bin_size)
        median = float(np.median(counts))
        deviation = float(np.median(np.abs(counts - median))) or 1.0
        threshold = max(
            median + self.mad_k * _SIGMA_PER_MAD * deviation,
            self.min_floor,
            self.min_floor_fraction * len(spikes.units),
        )
        starts, _ = _stretches(counts >= threshold)
        width = spikes.duration / len(counts)
        return {
            "burst_rate_hz": len(starts) / spikes.duration_s,
            "n_bursts": len(starts),
            "threshold": threshold,
            "onsets": (starts * width).tolist(),
        }


class Synchrony(TypedDict):
    """What a :class:`PeakSynchrony` returns."""

    max_synchronous_peak: float
    max_bin_count: int
    n_active_units: int


class PeakSynchrony(Decoding):
    """Most spikes in one bin, per cell that fired.

    ``max_synchronous_peak = max_bin_count / n_active_units``, 0 without spikes.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_size
        In ms.
    """

    bin_size: float = Field(default=2.0, gt=0)

    def __call__(self, run: Run, env: Any = None) -> Synchrony:
        """Find the fullest bin of the whole culture."""
        spikes = whole_spikes(run, env, "PeakSynchrony")
        most, active = int(spikes.counts(self.bin_size).max()), len(spikes.units)
        return {
            "max_synchronous_peak": most / active if active else 0.0,
            "max_bin_count": most,
            "n_active_units": active,
        }


class Avalanches(TypedDict):
    """What an :class:`AvalancheAnalysis` returns."""

    n_avalanches: int
    mean_size: float
    mean_duration: float
    branching_ratio: float
    size_power_law_exponent: float
    size_power_law_r2: float


class AvalancheAnalysis(Decoding):
    """Neuronal avalanches: stretches of bins with spikes between empty ones.

    After Beggs & Plenz (2003, J Neurosci 23:11167). Bins of `bin_width` start at the
    first spike. The size of an avalanche is its number of spikes, its duration its
    number of bins. ``branching_ratio`` is the mean of n(t + 1) / n(t) over all
    successive bins of all avalanches (about 1 in a critical culture), 0 if no avalanche
    is longer than a bin.

    With more than 10 avalanches, a power law ``P(size) ~ size ** -exponent`` is fitted
    by least squares to the logarithms of the shares in 19 logarithmic bins, with its
    coefficient of determination r2; otherwise both are 0.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_width
        In ms; about the mean interval between spikes of the culture.
    """

    bin_width: float = Field(default=4.0, gt=0)

    def __call__(self, run: Run, env: Any = None) -> Avalanches:
        """Find the avalanches of the whole culture."""
        spikes = whole_spikes(run, env, "AvalancheAnalysis")
        times = spikes.times
        bins = ((times - times[:1]) / self.bin_width + 1e-9).astype(np.int64)
        counts = np.bincount(bins)
        starts, stops = _stretches(counts > 0)
        sizes = np.array(
            [counts[a:b].sum() for a, b in zip(starts, stops, strict=True)], np.int64
        )
        followed = (counts[:-1] > 0) & (counts[1:] > 0)
        ratios = counts[1:][followed] / counts[:-1][followed]
        exponent, r2 = _power_law(sizes)
        return {
            "n_avalanches": len(sizes),
            "mean_size": _mean(sizes),
            "mean_duration": _mean(stops - starts),
            "branching_ratio": _mean(ratios),
            "size_power_law_exponent": exponent,
            "size_power_law_r2": r2,
        }


def _stretches(
    flags: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where stretches of True begin, and where they have ended."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int64), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _power_law(sizes: NDArray[np.int64]) -> tuple[float, float]:
    """Return exponent and r2 of a power law of sizes."""
    if len(sizes) < _FEWEST_AVALANCHES or sizes.max() < 2:
        return 0.0, 0.0
    edges = np.logspace(0, np.log10(sizes.max()), 20)
    edges[-1] = sizes.max()  # the logarithm's rounding must not lose the largest
    found, _ = np.histogram(sizes, edges)
    some = found > 0
    if np.count_nonzero(some) < 3:
        return 0.0, 0.0
    x = np.log10((edges[:-1] + edges[1:])[some] / 2)
    y = np.log10(found[some] / found.sum())
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx * dy).sum() / (dx**2).sum()
    residual, total = ((dy - slope * dx) ** 2).sum(), (dy**2).sum()
    return float(-slope), float(1 - residual / total) if total > 0 else 0.0


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else 0.0
