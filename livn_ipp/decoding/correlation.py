"""How alike the activity of different cells is."""

from typing import Any, TypedDict

import numpy as np
from pydantic import Field

from livn_ipp.decoding.whole import whole_spikes
from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = ["Correlation", "PairwiseChannelCorrelation"]


class Correlation(TypedDict):
    """What a :class:`PairwiseChannelCorrelation` returns."""

    mean_pairwise_correlation: float
    n_pairs: int


class PairwiseChannelCorrelation(Decoding):
    """Mean correlation of the spike counts of two cells.

    The spikes of each cell that fired are counted in ``floor(duration / bin_size)``
    bins; cells whose counts do not vary are left out. The Pearson correlation of the
    counts is averaged over all ``n_pairs = n (n - 1) / 2`` pairs of the n cells. With
    the counts z standardised to mean 0 and variance 1 and T bins, that mean is

    ``(sum_t (sum_i z_i(t)) ** 2 / T - n) / (n (n - 1))``,

    which needs no matrix of all pairs. With fewer than `min_units` cells it is 0.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_size
        In ms.
    min_units
        Cells that are needed.
    """

    bin_size: float = Field(default=20.0, gt=0)
    min_units: int = Field(default=2, ge=2)

    def __call__(self, run: Run, env: Any = None) -> Correlation:
        """Correlate the counts of all cells of all ranks."""
        spikes = whole_spikes(run, env, "PairwiseChannelCorrelation")
        counts = spikes.counts_per_unit(self.bin_size).astype(np.float64)
        deviations = counts - counts.mean(axis=1, keepdims=True)
        deviations = deviations[deviations.any(axis=1)]
        n = len(deviations)
        if n < self.min_units:
            return {"mean_pairwise_correlation": 0.0, "n_pairs": 0}
        z = deviations / np.sqrt((deviations**2).mean(axis=1, keepdims=True))
        together = float((z.sum(axis=0) ** 2).mean())
        return {
            "mean_pairwise_correlation": (together - n) / (n * (n - 1)),
            "n_pairs": n * (n - 1) // 2,
        }
