"""How regular the activity is: counts, intervals, and how long it remembers."""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from livn_ipp.decoding.whole import whole_spikes
from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = [
    "ISICV",
    "AutocorrelationTime",
    "CountStatistics",
    "IntervalVariation",
    "PopulationAutocorrTau",
    "PopulationRateMetrics",
]

_FEWEST_BINS = 9  # for an autocorrelation that means anything


class CountStatistics(TypedDict):
    """What a :class:`PopulationRateMetrics` returns."""

    mean_count: float
    std_count: float
    coefficient_of_variation: float
    fano_factor: float
    bin_size: float
    n_bins: int


class PopulationRateMetrics(Decoding):
    """Statistics of the culture's spike counts in equal bins.

    With the counts of ``n_bins = max(2, floor(duration / bin_size))`` bins:
    ``coefficient_of_variation = std_count / mean_count`` and ``fano_factor =
    std_count ** 2 / mean_count``, both 0 without spikes.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_size
        In ms.
    """

    bin_size: float = Field(default=100.0, gt=0)

    def __call__(self, run: Run, env: Any = None) -> CountStatistics:
        """Count the spikes of all ranks in bins."""
        spikes = whole_spikes(run, env, "PopulationRateMetrics")
        counts = spikes.counts(self.bin_size, least=2)
        mean, deviation = float(counts.mean()), float(counts.std())
        return {
            "mean_count": mean,
            "std_count": deviation,
            "coefficient_of_variation": deviation / mean if mean else 0.0,
            "fano_factor": deviation**2 / mean if mean else 0.0,
            "bin_size": self.bin_size,
            "n_bins": len(counts),
        }


class IntervalVariation(TypedDict):
    """What an :class:`ISICV` returns."""

    isi_cv: float
    n_units_used: int


class ISICV(Decoding):
    """Coefficient of variation of the intervals between spikes.

    For each cell with at least `min_spikes_per_unit` spikes it is the standard
    deviation of the intervals divided by their mean; ``isi_cv`` is the mean over these
    cells, 0 if there are none. A Poisson process has 1, a clock 0.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    min_spikes_per_unit
        Spikes that a cell needs to count.
    """

    min_spikes_per_unit: int = Field(default=5, ge=2)

    def __call__(self, run: Run, env: Any = None) -> IntervalVariation:
        """Compare the intervals of each cell."""
        spikes = whole_spikes(run, env, "ISICV")
        intervals = [
            np.diff(times)
            for _, times in spikes.trains()
            if len(times) >= self.min_spikes_per_unit
        ]
        variations = [each.std() / each.mean() for each in intervals]
        return {
            "isi_cv": float(np.mean(variations)) if variations else 0.0,
            "n_units_used": len(variations),
        }


class AutocorrelationTime(TypedDict):
    """What a :class:`PopulationAutocorrTau` returns."""

    pop_autocorr_tau: float
    bin_size: float
    max_lag: float


class PopulationAutocorrTau(Decoding):
    """How long the culture's activity stays correlated with itself, in ms.

    Integral timescale of the spike counts n in bins: with their autocorrelation
    ``r(k) = sum_t (n(t) - m) (n(t + k) - m) / sum_t (n(t) - m) ** 2``,
    ``tau = bin_size * (1 + 2 * (r(1) + r(2) + ...))`` up to the lag before the first
    where r is not positive, at most `max_lag`. It is kept between `bin_size` and
    `max_lag`, and is `bin_size` if counts do not vary or there are fewer than 9 bins.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_size
        In ms; well below the timescale that is sought.
    max_lag
        In ms.
    """

    bin_size: float = Field(default=10.0, gt=0)
    max_lag: float = Field(default=5000.0, gt=0)

    def __call__(self, run: Run, env: Any = None) -> AutocorrelationTime:
        """Correlate the counts of all ranks."""
        spikes = whole_spikes(run, env, "PopulationAutocorrTau")
        return {
            "pop_autocorr_tau": self._tau(spikes.counts(self.bin_size, least=2)),
            "bin_size": self.bin_size,
            "max_lag": self.max_lag,
        }

    def _tau(self, counts: NDArray[np.int64]) -> float:
        deviations = counts - counts.mean()
        if len(counts) < _FEWEST_BINS or not deviations.any():
            return self.bin_size
        length = 2 * len(counts)  # so that the transform does not wrap around
        power = np.abs(np.fft.rfft(deviations, length)) ** 2
        correlation = np.fft.irfft(power, length)
        lags = min(len(counts) - 1, int(self.max_lag / self.bin_size))
        positive = correlation[1 : lags + 1] / correlation[0]
        ends = np.flatnonzero(positive <= 0)
        if len(ends):
            positive = positive[: ends[0]]
        tau = self.bin_size * (1 + 2 * float(positive.sum()))
        return float(np.clip(tau, self.bin_size, max(self.max_lag, self.bin_size)))
