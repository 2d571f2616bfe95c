"""The shape of spikes: voltages cut out around them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from livn_ipp.decoding.whole import checked_once
from livn_ipp.errors import ConfigError
from livn_ipp.run import Run, Series
from livn_ipp.types import Decoding

__all__ = ["Waveforms"]

_BASELINE_MS = 2.0  # at the start of a waveform


class Waveforms(Decoding):
    """Voltages around spikes, aligned at their peaks, and the shape of their mean.

    Around each spike, the samples from `pre_ms` before to `post_ms` after it are
    searched for their highest; the waveform has the same span around that one. Spikes
    too near an end of the window are left out. Every rank returns a dict of ``dt`` and
    ``pre_ms``, and by population

    - ``waveforms``: float32 mV, [spikes, samples], by cell, then time.
    - ``shape`` of their mean: ``threshold_mV``, the median of its first 2 ms;
      ``peak_mV``; ``amplitude_mV``, the difference; ``half_width_ms``, between the
      first and last sample at half of it (NaN if it is one sample); ``ahp_mV``, the
      lowest after the peak relative to the threshold; ``n_spikes``.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    pre_ms, post_ms
        In ms.
    section
        Whose voltage; None for all recorded sections.
    populations
        Names of those to tell apart; None for all cells together as ``"all"``.
    max_spikes
        Most spikes that are used of each cell.
    voltage_gids
        The cells to use; None for all whose voltage is recorded.
    voltage_dt
        Sampling interval of the voltage in ms that is recommended for the record.
    """

    pre_ms: float = Field(default=4.0, gt=0)
    post_ms: float = Field(default=10.0, gt=0)
    section: str | None = "soma"
    populations: list[str] | None = None
    max_spikes: int = Field(default=500, ge=1)
    voltage_gids: list[int] | None = None
    voltage_dt: float | None = 0.025

    def __call__(self, run: Run, env: Any = None) -> dict[str, Any]:
        """Cut out the waveforms of each rank's own cells and bring them together."""
        if run.spikes is None or run.voltage is None:
            raise ConfigError(
                f"Waveforms needs spikes and voltages; call env.record_spikes() and "
                f"env.record_voltage(dt={self.voltage_dt or 0.1})"
            )
        voltage = run.voltage
        shares = env.comm.allgather(self._cut(run, voltage))
        checked_once([np.array([gid for gid, _ in s]) for s in shares], "Waveforms")
        # A cell's rows stay in their order, whichever rank holds it.
        cuts = sorted(
            (cut for share in shares for cut in share), key=lambda cut: cut[0]
        )
        groups = self._groups(env)
        waveforms = {}
        for name, (first, count) in groups.items():
            own = [waves for gid, waves in cuts if first <= gid < first + count]
            if own:
                waveforms[name] = np.concatenate(own)
        return {
            "dt": voltage.dt,
            "pre_ms": self.pre_ms,
            "waveforms": waveforms,
            "shape": {name: _shape(w, voltage.dt) for name, w in waveforms.items()},
        }

    def _cut(self, run: Run, voltage: Series) -> list[tuple[int, NDArray[Any]]]:
        """Return (cell, waveforms) of each row with any."""
        assert run.spikes is not None
        before, after = (round(ms / voltage.dt) for ms in (self.pre_ms, self.post_ms))
        sections = voltage.sections or ("",) * len(voltage.ids)
        cuts = []
        for gid, section, trace in zip(
            voltage.ids.tolist(), sections, voltage.values, strict=True
        ):
            if section and self.section is not None and section != self.section:
                continue
            if self.voltage_gids is not None and gid not in self.voltage_gids:
                continue
            own = run.spikes.times[run.spikes.ids == gid][: self.max_spikes]
            centres = np.searchsorted(voltage.times, own).tolist()
            waves = [_aligned(trace, at, before, after) for at in centres]
            whole = [wave for wave in waves if wave is not None]
            if whole:
                cuts.append((gid, np.array(whole)))
        return cuts

    def _groups(self, env: Any) -> dict[str, tuple[int, int]]:
        if self.populations is None:
            return {"all": (0, 2**32)}
        ranges = env.system.population_ranges
        unknown = sorted(set(self.populations) - set(ranges))
        if unknown:
            raise ConfigError(
                f"the system has no populations {unknown}; it has {list(ranges)}"
            )
        return {name: ranges[name] for name in self.populations}


def _aligned(
    trace: NDArray[Any], centre: int, before: int, after: int
) -> NDArray[Any] | None:
    """Cut a waveform around the peak at a spike; None if the trace ends before."""
    first, last = centre - before, centre + after
    if first < 0 or last >= len(trace):
        return None
    peak = first + int(np.argmax(trace[first:last]))
    first, last = peak - before, peak + after
    return None if first < 0 or last >= len(trace) else trace[first:last]


def _shape(waves: NDArray[Any], dt: float) -> dict[str, float]:
    mean = waves.mean(axis=0, dtype=np.float64)
    threshold = float(np.median(mean[: max(1, round(_BASELINE_MS / dt))]))
    top = int(np.argmax(mean))
    peak = float(mean[top])
    above = np.flatnonzero(mean >= (threshold + peak) / 2)
    width = float((above[-1] - above[0]) * dt) if len(above) > 1 else float("nan")
    return {
        "threshold_mV": threshold,
        "peak_mV": peak,
        "amplitude_mV": peak - threshold,
        "half_width_ms": width,
        "ahp_mV": float(mean[top:].min()) - threshold,
        "n_spikes": len(waves),
    }
