"""What pulses evoke: responses, recruitment and histograms around the pulse."""

from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

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
    "ExtracellularRecruitment",
    "PeriStimulusHistogram",
    "RecruitmentCurve",
    "StimulusResponse",
]

_SIGMA_PER_MAD: Final = 1.4826  # of a normal distribution
_QUIET: Final = 3  # bins in a row that end a response


class StimulusResponse(Decoding):
    """What a culture does after a pulse, against what it did before.

    With ``n`` the number of the system's cells and counts in bins of `bin_size` ms,
    every rank returns a dict of

    - ``evoked_rate_hz``: spikes per cell and s in `post_ms` after the pulse, less those
      in `pre_ms` before it; ``response_gain``: their ratio (NaN after silence).
    - ``response_peak_hz``: the fullest bin after the pulse, per cell and s.
    - ``response_latency_ms``: the centre of that bin, NaN unless its count exceeds the
      threshold ``median + threshold_k * max(1.4826 * MAD, 1)`` of the counts before
      the pulse, MAD being their median absolute deviation.
    - ``response_duration_ms``: from the first bin above the threshold, within `tail_ms`
      after the pulse, to the first of three bins in a row that are not; NaN if there
      are none.
    - ``response_probability``: share of the cells with more than one spike beyond what
      their count before the pulse makes expect, scaled to `post_ms`.

    The dict is empty if the window does not hold `pre_ms` before and `post_ms` after
    the pulse.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    onset_ms
        Time of the pulse in ms from the start of the window.
    pre_ms, post_ms, bin_size, tail_ms
        In ms.
    threshold_k
        Deviations above the median that make a response.
    """

    onset_ms: float = 0.0
    pre_ms: float = Field(default=1000.0, gt=0)
    post_ms: float = Field(default=500.0, gt=0)
    bin_size: float = Field(default=10.0, gt=0)
    tail_ms: float = Field(default=4000.0, gt=0)
    threshold_k: float = 3.0

    def __call__(self, run: Run, env: Any = None) -> dict[str, float]:
        """Compare the spikes after the pulse with those before."""
        spikes = whole_spikes(run, env, "StimulusResponse")
        if not _fits(self.onset_ms, self.pre_ms, self.post_ms, spikes.duration):
            return {}
        cells = max(1, len(env.system.gids))
        before, after = _around(spikes, self.onset_ms, self.pre_ms, self.post_ms)
        baseline = len(before) / (self.pre_ms / 1000) / cells
        response = len(after) / (self.post_ms / 1000) / cells
        gained = _more_than_expected(before, after, self.post_ms / self.pre_ms, 1.0)
        return {
            "evoked_rate_hz": response - baseline,
            "response_gain": response / baseline if baseline else float("nan"),
            **self._shape(spikes.times - self.onset_ms, cells),
            "response_probability": gained / cells,
        }

    def _shape(self, times: NDArray[np.float64], cells: int) -> dict[str, float]:
        before = self._counts(-times[times < 0], self.pre_ms)
        median = float(np.median(before))
        deviation = _SIGMA_PER_MAD * float(np.median(np.abs(before - median)))
        threshold = median + self.threshold_k * max(deviation, 1.0)
        since = times[times >= 0]
        after = self._counts(since, self.post_ms)
        peak = int(np.argmax(after))
        responded = after[peak] > threshold
        return {
            "response_peak_hz": float(after[peak] * 1000 / self.bin_size / cells),
            "response_latency_ms": (
                (peak + 0.5) * self.bin_size if responded else float("nan")
            ),
            "response_duration_ms": self._length(
                self._counts(since, self.tail_ms) > threshold
            ),
        }

    def _counts(self, times: NDArray[np.float64], span: float) -> NDArray[np.int64]:
        """Count times from 0 on in the whole bins of a span."""
        bins = max(1, int(span / self.bin_size + 1e-9))
        counts, _ = np.histogram(times[times < span], bins, (0.0, bins * self.bin_size))
        return counts.astype(np.int64)

    def _length(self, above: NDArray[np.bool_]) -> float:
        """Return how long it takes from the first bin above to three that are not."""
        if not above.any():
            return float("nan")
        since = above[np.argmax(above) :]
        quiet = np.convolve(~since, np.ones(_QUIET, np.int64), "valid") == _QUIET
        return float(np.argmax(quiet) * self.bin_size) if quiet.any() else float("nan")


class _Pulses(Decoding):
    """A decoding of the windows around the pulses of a schedule."""

    schedule: list[tuple[float, float]]
    pre_ms: float = Field(default=1000.0, gt=0)
    post_ms: float = Field(default=500.0, gt=0)

    @model_validator(mode="after")
    def _pulses_fit(self) -> Self:
        self._check(self.duration)
        return self

    def _check(self, duration: float) -> None:
        for time, _ in self.schedule:
            if not _fits(time, self.pre_ms, self.post_ms, duration):
                raise ConfigError(
                    f"the pulse at {time:g} ms needs {self.pre_ms:g} ms before and "
                    f"{self.post_ms:g} ms after it, within the {duration:g} ms of the "
                    f"window"
                )

    def _by_amplitude(self) -> dict[float, list[float]]:
        times: dict[float, list[float]] = {}
        for time, amplitude in self.schedule:
            times.setdefault(float(amplitude), []).append(time)
        return times

    def _curve(
        self, spikes: WholeSpikes, cells: int, least: int, extra: float
    ) -> dict[float, float]:
        """Return the median share of cells that answer, by amplitude."""
        scale = self.post_ms / self.pre_ms
        shares: dict[float, list[float]] = {}
        for amplitude, times in self._by_amplitude().items():
            for time in times:
                before, after = _around(spikes, time, self.pre_ms, self.post_ms)
                answered = _more_than_expected(before, after, scale, extra, least)
                shares.setdefault(amplitude, []).append(answered / cells)
        return {each: float(np.median(values)) for each, values in shares.items()}


class RecruitmentCurve(_Pulses):
    """Share of the culture that answers a pulse, by its amplitude.

    A cell answers if it has more than one spike in `post_ms` after the pulse beyond
    what its count in `pre_ms` before makes expect, scaled to `post_ms`. ``curve`` holds
    the median share over the pulses of each amplitude. With at least two amplitudes the
    dict also tells between which the share first reaches `recruited`: ``below_mv`` and
    ``above_mv`` (livn's names; in the schedule's unit), ``censored`` (``"below"`` if
    the lowest already does, ``"above"`` if none does, else None),
    ``highest_tested_mv``, ``probability_at_highest``, ``amplitudes_mv``,
    ``probabilities`` and ``recruited``.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    schedule
        Time in ms and amplitude of each pulse, such as
        :meth:`livn_ipp.policy.PulseSweepPolicy.schedule` returns.
    pre_ms, post_ms
        In ms; each pulse needs both within the window.
    recruited
        Share that counts as recruited.
    """

    recruited: float = Field(default=0.5, ge=0, le=1)

    def __call__(self, run: Run, env: Any = None) -> dict[str, Any]:
        """Find the cells that answer each pulse."""
        spikes = whole_spikes(run, env, "RecruitmentCurve")
        self._check(spikes.duration)
        curve = self._curve(spikes, max(1, len(env.system.gids)), 0, 1.0)
        return {"curve": curve, **self._threshold(curve)}

    def _threshold(self, curve: dict[float, float]) -> dict[str, Any]:
        if len(curve) < 2:
            return {}
        amplitudes = sorted(curve)
        above = next((a for a in amplitudes if curve[a] >= self.recruited), None)
        below = None
        if above is not None:
            below = max((a for a in amplitudes if a < above), default=None)
        censored = "above" if above is None else "below" if below is None else None
        return {
            "censored": censored,
            "below_mv": below,
            "above_mv": above,
            "highest_tested_mv": amplitudes[-1],
            "probability_at_highest": curve[amplitudes[-1]],
            "amplitudes_mv": amplitudes,
            "probabilities": [curve[amplitude] for amplitude in amplitudes],
            "recruited": self.recruited,
        }


class ExtracellularRecruitment(_Pulses):
    """Range of amplitudes over which an extracellular pulse makes cells fire.

    A cell answers if it has at least `min_spikes` in `post_ms` after the pulse, and
    more than its count in `pre_ms` before makes expect. Every rank returns a dict of

    - ``curve``: median share of cells that answer, by amplitude.
    - ``peak_mv``: highest membrane voltage within `post_ms`, by amplitude; empty
      without `ceiling_mv`.
    - ``threshold_ua``: lowest amplitude whose share reaches `recruited`; ``block_ua``:
      lowest above it whose share falls short again; ``ceiling_ua``: lowest whose peak
      exceeds `ceiling_mv`. None if there is none.
    - ``band``: the lower of the latter two divided by the threshold; infinite if there
      is neither, NaN without a threshold.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    schedule
        Time in ms and amplitude in uA of each pulse.
    pre_ms, post_ms
        In ms; each pulse needs both within the window.
    recruited
        Share of the cells that counts as recruited.
    min_spikes
        Spikes that are an answer.
    ceiling_mv
        Voltage in mV beyond which an answer is no spike; needs recorded voltage.
    units
        Number of cells that shares are of; by default the system's.
    section
        Where the voltage counts; None for all recorded sections.
    voltage_dt
        Sampling interval of the voltage in ms that is recommended for the record.
    """

    pre_ms: float = Field(default=50.0, gt=0)
    post_ms: float = Field(default=20.0, gt=0)
    recruited: float = Field(default=0.5, ge=0, le=1)
    min_spikes: int = Field(default=1, ge=1)
    ceiling_mv: float | None = None
    units: int | None = Field(default=None, ge=1)
    section: str | None = "soma"
    voltage_dt: float | None = 0.025

    def __call__(self, run: Run, env: Any = None) -> dict[str, Any]:
        """Find the cells that answer each pulse, and how high their voltage goes."""
        spikes = whole_spikes(run, env, "ExtracellularRecruitment")
        self._check(spikes.duration)
        cells = self.units or max(1, len(env.system.gids))
        curve = self._curve(spikes, cells, self.min_spikes, 0.0)
        peaks = {} if self.ceiling_mv is None else self._peaks(run, env)
        return {"curve": curve, "peak_mv": peaks, **self._edges(curve, peaks)}

    def _peaks(self, run: Run, env: Any) -> dict[float, float]:
        """Return the highest voltage on all ranks by amplitude. Collective."""
        voltage = run.voltage
        if voltage is None:
            raise ConfigError(
                f"ceiling_mv needs membrane voltages; call "
                f"env.record_voltage(dt={self.voltage_dt or 0.1})"
            )
        if self.section is not None and voltage.sections:
            voltage = voltage.select(np.array(voltage.sections) == self.section)
        mine = {}
        for amplitude, pulses in self._by_amplitude().items():
            inside = np.zeros(voltage.values.shape[1], bool)
            for time in pulses:
                since = voltage.times - time
                inside |= (since >= 0) & (since < self.post_ms)
            mine[amplitude] = float(voltage.values[:, inside].max(initial=-np.inf))
        shares = env.comm.allgather(mine)
        highest = {each: max(share[each] for share in shares) for each in mine}
        return {each: peak for each, peak in highest.items() if peak > -np.inf}

    def _edges(
        self, curve: dict[float, float], peaks: dict[float, float]
    ) -> dict[str, float | None]:
        amplitudes = sorted(curve)
        threshold = next((a for a in amplitudes if curve[a] >= self.recruited), None)
        block = ceiling = None
        if threshold is not None:
            beyond = [a for a in amplitudes if a > threshold]
            block = next((a for a in beyond if curve[a] < self.recruited), None)
        if self.ceiling_mv is not None:
            high = (a for a in sorted(peaks) if peaks[a] > self.ceiling_mv)
            ceiling = next(high, None)
        ends = [end for end in (block, ceiling) if end is not None]
        if not threshold:
            band = float("nan")
        else:
            band = min(ends) / threshold if ends else float("inf")
        return {
            "threshold_ua": threshold,
            "block_ua": block,
            "ceiling_ua": ceiling,
            "band": band,
        }


class PeriStimulusHistogram(Decoding):
    """Spikes around pulses, counted in bins and averaged over the pulses.

    Every rank returns a dict of ``edges`` (ms from the pulse, [bins + 1]), ``n_trials``
    (pulses), ``counts`` (spikes per pulse in each bin, by population), ``n_units``
    (cells, by population), and ``spike_times`` (ms from the pulse) with ``spike_ids``
    of all spikes that were counted, pulse by pulse. Without `populations` all cells
    are taken together as ``"all"``.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    onsets
        Time of each pulse in ms from the start of the window.
    pre_ms, post_ms, bin_size
        In ms.
    populations
        Names of the populations to tell apart.
    """

    onsets: list[float] = Field(default_factory=list)
    pre_ms: float = Field(default=50.0, ge=0)
    post_ms: float = Field(default=150.0, gt=0)
    bin_size: float = Field(default=5.0, gt=0)
    populations: list[str] | None = None

    def __call__(self, run: Run, env: Any = None) -> dict[str, Any]:
        """Count the spikes of all ranks around each pulse."""
        spikes = whole_spikes(run, env, "PeriStimulusHistogram")
        bins = int(np.ceil((self.pre_ms + self.post_ms) / self.bin_size - 1e-9))
        edges = -self.pre_ms + self.bin_size * np.arange(bins + 1)
        near = [
            _near(spikes, onset, self.pre_ms, self.post_ms) for onset in self.onsets
        ]
        ids = np.concatenate([np.zeros(0, np.uint32), *(ids for ids, _ in near)])
        times = np.concatenate([np.zeros(0), *(times for _, times in near)])
        trials = max(1, len(self.onsets))
        groups, sizes = self._groups(env, ids)
        return {
            "edges": edges,
            "n_trials": trials,
            "n_units": sizes,
            "counts": {
                name: np.histogram(times[own], edges)[0] / trials
                for name, own in groups.items()
            },
            "spike_times": times,
            "spike_ids": ids,
        }

    def _groups(
        self, env: Any, ids: NDArray[np.uint32]
    ) -> tuple[dict[str, NDArray[np.bool_]], dict[str, int]]:
        if self.populations is None:
            return {"all": np.ones(len(ids), bool)}, {"all": len(env.system.gids)}
        ranges = env.system.population_ranges
        unknown = sorted(set(self.populations) - set(ranges))
        if unknown:
            raise ConfigError(
                f"the system has no populations {unknown}; it has {list(ranges)}"
            )
        own, cells = populations_of(env, ids), active_cells(env)
        return (
            {name: own[name] for name in self.populations},
            {name: cells[name] for name in self.populations},
        )


def _fits(onset: float, before: float, after: float, duration: float) -> bool:
    return onset - before >= 0 and onset + after <= duration


def _around(
    spikes: WholeSpikes, onset: float, before: float, after: float
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the cells of the spikes before a pulse and of those after it."""
    times, ids = spikes.times, spikes.ids
    return (
        ids[(times >= onset - before) & (times < onset)],
        ids[(times >= onset) & (times < onset + after)],
    )


def _near(
    spikes: WholeSpikes, onset: float, before: float, after: float
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Return the cells of the spikes around a pulse, and their times from it."""
    since = spikes.times - onset
    inside = (since >= -before) & (since < after)
    return spikes.ids[inside], since[inside]


def _more_than_expected(
    before: NDArray[np.uint32],
    after: NDArray[np.uint32],
    scale: float,
    extra: float,
    least: int = 0,
) -> int:
    """Count cells with more spikes than `scale` times those before plus `extra`."""
    cells = np.union1d(before, after)
    earlier = np.bincount(np.searchsorted(cells, before), minlength=len(cells))
    later = np.bincount(np.searchsorted(cells, after), minlength=len(cells))
    answered = (later > earlier * scale + extra) & (later >= least)
    return int(np.count_nonzero(answered))
