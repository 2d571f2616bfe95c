"""How much of each population is active, bin by bin."""

import math
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from livn_ipp.decoding.whole import (
    WholeSpikes,
    active_cells,
    populations_of,
    whole_spikes,
)
from livn_ipp.errors import ConfigError
from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = [
    "PopulationActiveFraction",
    "PopulationActivity",
    "PopulationDensity",
    "PopulationSpikeDensity",
    "baks",
]

_REACH = 6.0  # bandwidths beyond which a kernel counts as zero


class PopulationActivity(TypedDict):
    """What a :class:`PopulationActiveFraction` returns."""

    mean_active_fraction: dict[str, float]
    std_active_fraction: dict[str, float]
    bin_size: float
    n_bins: int


class PopulationActiveFraction(Decoding):
    """Share of each population's cells that fire in a bin, on average over bins.

    A cell counts once in a bin however often it fires there. There are ``n_bins =
    round(duration / bin_size)`` bins (at least 1) from the start of the window; spikes
    behind the last are left out. Mean and standard deviation are over bins, the share
    is of the simulated cells; populations without any are left out.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    bin_size
        In ms.
    """

    bin_size: float = Field(default=50.0, gt=0)

    def __call__(self, run: Run, env: Any = None) -> PopulationActivity:
        """Count the cells that fire in each bin."""
        spikes = whole_spikes(run, env, "PopulationActiveFraction")
        n_bins = max(1, round(spikes.duration / self.bin_size))
        bins = np.floor(spikes.times / self.bin_size).astype(np.int64)
        means, deviations = {}, {}
        cells = active_cells(env)
        for name, own in populations_of(env, spikes.ids).items():
            if not cells[name]:
                continue
            inside = own & (bins < n_bins)
            pairs = np.stack([bins[inside], spikes.ids[inside].astype(np.int64)])
            once = np.unique(pairs, axis=1)
            share = np.bincount(once[0], minlength=n_bins) / cells[name]
            means[name], deviations[name] = float(share.mean()), float(share.std())
        return {
            "mean_active_fraction": means,
            "std_active_fraction": deviations,
            "bin_size": self.bin_size,
            "n_bins": n_bins,
        }


def baks(
    spike_times: ArrayLike, time: ArrayLike, alpha: float = 4.77, beta: float = 0.42
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate a cell's firing rate with a kernel that adapts its width.

    Bayesian adaptive kernel smoother (Ahmadi, Constandinou & Bouganis 2018, PLoS ONE
    13:e0206794): a Gaussian kernel on each spike, whose bandwidth at time t is the mean
    of its posterior under a gamma prior. With n spikes at t_i and ``b = n ** beta``

    ``h(t) = G(alpha) / G(alpha + 1/2) * sum_i q_i ** -alpha / sum_i q_i ** -(alpha +
    1/2)``, where ``q_i = (t - t_i) ** 2 / 2 + 1 / b`` and G is the gamma function, and

    ``rate(t) = sum_i exp(-(t - t_i) ** 2 / (2 h(t) ** 2)) / (sqrt(2 pi) h(t))``

    over the spikes within six bandwidths.

    Parameters
    ----------
    spike_times : array [n]
        In s.
    time : array [t]
        Where to estimate, in s.
    alpha
        Shape of the prior.
    beta
        Exponent that sets its scale from the number of spikes.

    Returns
    -------
    tuple of array [t]
        Rate in Hz and bandwidth in s; both are 0 without spikes.

    Examples
    --------
    >>> rate, bandwidth = baks([0.5], [0.5])
    >>> print(bandwidth.round(4), rate.round(4))
    [0.47] [0.8488]
    """
    spikes = np.asarray(spike_times, np.float64).reshape(-1, 1)
    at = np.asarray(time, np.float64).ravel()
    if len(spikes) == 0:
        return np.zeros(len(at)), np.zeros(len(at))
    squares = (at - spikes) ** 2
    spread = squares / 2 + float(len(spikes)) ** -beta
    ratio = math.gamma(alpha) / math.gamma(alpha + 0.5)
    upper, lower = spread**-alpha, spread ** -(alpha + 0.5)
    bandwidth = ratio * upper.sum(axis=0) / lower.sum(axis=0)
    kernels = np.exp(-squares / (2 * bandwidth**2))
    near = squares <= (_REACH * bandwidth) ** 2
    total = np.where(near, kernels, 0.0).sum(axis=0)
    return total / (math.sqrt(2 * math.pi) * bandwidth), bandwidth


class PopulationDensity(TypedDict):
    """What a :class:`PopulationSpikeDensity` returns, each by population."""

    mean_rate: dict[str, float]
    fraction_active: dict[str, float]
    mean_fraction_active_per_bin: dict[str, float]
    std_fraction_active_per_bin: dict[str, float]
    rate_cv: dict[str, float]
    n_total: dict[str, int]
    n_active: dict[str, int]


class PopulationSpikeDensity(Decoding):
    """Activity of each population from smoothed rates of its cells.

    The rate of each cell with at least two spikes is estimated by :func:`baks` every
    `temporal_resolution` ms; the others count as silent. Then, for each population,

    - ``mean_rate`` (Hz): mean over active cells of the mean of their rate over time.
    - ``n_active``, ``n_total``, ``fraction_active``: cells that are active, that are
      simulated, and their ratio.
    - ``mean_fraction_active_per_bin``, ``std_fraction_active_per_bin``: the share of
      cells whose rate, interpolated at the centres of bins of `stability_resolution`
      ms, reaches `active_threshold`; its mean and standard deviation over bins.
    - ``rate_cv``: that standard deviation divided by that mean, 0 if the mean is 0.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    temporal_resolution, stability_resolution
        In ms.
    active_threshold
        Rate in Hz that makes a cell active in a bin: one for all populations or one
        for each by name (0 for those not named).
    baks_alpha, baks_beta
        Prior of the kernel's width; see :func:`baks`. None stands for 0.42.
    """

    temporal_resolution: float = Field(default=2.0, gt=0)
    stability_resolution: float = Field(default=2.0, gt=0)
    active_threshold: float | dict[str, float] = 0.01
    baks_alpha: float = Field(default=4.77, gt=0)
    baks_beta: float | None = None

    def __call__(self, run: Run, env: Any = None) -> PopulationDensity:
        """Estimate the rate of each cell and sum up by population."""
        spikes = whole_spikes(run, env, "PopulationSpikeDensity")
        time = np.arange(0.0, spikes.duration, self.temporal_resolution)
        if len(time) < 2:
            raise ConfigError(
                f"a window of {spikes.duration:g} ms is too short for a "
                f"temporal_resolution of {self.temporal_resolution:g} ms"
            )
        bins = np.arange(
            0.0, time[-1] + self.temporal_resolution, self.stability_resolution
        )
        centres = bins + self.stability_resolution / 2
        cells = active_cells(env)
        thresholds = self._thresholds(list(cells))
        result = PopulationDensity(
            mean_rate={},
            fraction_active={},
            mean_fraction_active_per_bin={},
            std_fraction_active_per_bin={},
            rate_cv={},
            n_total={},
            n_active={},
        )
        for name, own in populations_of(env, spikes.ids).items():
            total = cells[name]
            if not total:
                continue
            rates = self._rates(spikes, own, time)
            means = rates.mean(axis=1)
            active = int(np.count_nonzero(means > 0))
            reached = np.zeros(len(centres), np.int64)
            for rate in rates:
                reached += np.interp(centres, time, rate) >= thresholds[name]
            share = reached / total
            mean, deviation = float(share.mean()), float(share.std())
            result["mean_rate"][name] = float(means.sum()) / active if active else 0.0
            result["fraction_active"][name] = active / total
            result["mean_fraction_active_per_bin"][name] = mean
            result["std_fraction_active_per_bin"][name] = deviation
            result["rate_cv"][name] = deviation / mean if mean else 0.0
            result["n_total"][name] = total
            result["n_active"][name] = active
        return result

    def _rates(
        self, spikes: WholeSpikes, own: NDArray[np.bool_], time: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        beta = 0.42 if self.baks_beta is None else self.baks_beta
        own = own & (spikes.times <= time[-1])
        part = WholeSpikes(spikes.ids[own], spikes.times[own], spikes.duration)
        rates = [
            baks(times / 1000, time / 1000, self.baks_alpha, beta)[0]
            for _, times in part.trains()
            if len(times) >= 2
        ]
        return np.array(rates).reshape(len(rates), len(time))

    def _thresholds(self, names: list[str]) -> dict[str, float]:
        if not isinstance(self.active_threshold, dict):
            return dict.fromkeys(names, self.active_threshold)
        unknown = sorted(set(self.active_threshold) - set(names))
        if unknown:
            raise ConfigError(
                f"active_threshold names populations {unknown}; the system has {names}"
            )
        return dict.fromkeys(names, 0.0) | self.active_threshold
