"""The slow potential at the electrodes: filters and spectra."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from livn_ipp.decoding.channels import potential_of
from livn_ipp.errors import ConfigError
from livn_ipp.run import Run, Series
from livn_ipp.types import Decoding

__all__ = ["BANDS", "LFP"]

BANDS: Final[Mapping[str, tuple[float, float]]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 80.0),
}
"""Bounds in Hz of the usual frequency bands."""

_Floats = NDArray[np.float64]


class LFP(Decoding):
    """Local field potential: electrode potentials, filtered and sampled more slowly.

    The potentials are those of ``env.record_potential``, else computed from recorded
    membrane currents; the ranks' shares add up exactly. They pass a Butterworth filter
    forwards and backwards (no phase shift) if `lowpass_hz` is given, and every k-th
    sample is kept, ``k = floor(rate / downsample_hz)``: without a filter, what is
    faster than half of the new rate then shows up at lower frequencies.

    Every rank returns a dict of ``lfp`` (float32 uV, [channels, samples]),
    ``sample_rate_hz``, ``n_channels`` and ``n_samples``. With `compute_band_power` it
    also holds the power (uV^2) in each band, ``broadband`` over all frequencies, and
    ``<band>_relative``, their ratio: the spectral density of the mean of the channels
    by Welch's method (1967, IEEE Trans Audio Electroacoust 15:70; Hann windows),
    integrated by the trapezoidal rule over the frequencies within the band.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    channels
        Ids of the channels to keep, in this order; by default all.
    downsample_hz
        Sampling rate to come down to, in Hz.
    lowpass_hz
        Corner frequency in Hz, below half the sampling rate; None for no filter.
    lowpass_order
        Order of the filter.
    compute_band_power
        True for :data:`BANDS`, or (lowest, highest) frequency in Hz by name.
    nperseg, noverlap
        Samples in each window of Welch's method, and by how many they overlap (half
        by default); at most what there is.
    """

    channels: list[int] | None = None
    downsample_hz: float = Field(default=1000.0, gt=0)
    lowpass_hz: float | None = Field(default=None, gt=0)
    lowpass_order: int = Field(default=4, ge=1)
    compute_band_power: bool | dict[str, tuple[float, float]] = False
    nperseg: int = Field(default=2048, ge=2)
    noverlap: int | None = Field(default=None, ge=0)

    def __call__(self, run: Run, env: Any = None) -> dict[str, Any]:
        """Filter the potentials that all ranks' cells make together."""
        share = run.potential or potential_of(run.current, env)
        if share is None:
            raise ConfigError(
                "LFP needs electrode potentials; call env.record_potential() or "
                "env.record_membrane_current()"
            )
        part = Run(run.t0, run.duration, None, {"potential": share})
        parts = env.comm.gather(part, 0)
        result = None
        if parts is not None:
            whole = Run.merge(parts).potential
            assert whole is not None
            result = self._decode(whole)
        decoded: dict[str, Any] = env.comm.bcast(result, 0)
        return decoded

    def _decode(self, potential: Series) -> dict[str, Any]:
        values = self._chosen(potential).astype(np.float64)
        rate = 1000.0 / potential.dt
        if self.lowpass_hz is not None:
            values = self._filtered(values, rate)
        stride = max(1, int(rate / self.downsample_hz + 1e-9))
        values, rate = values[:, ::stride], rate / stride
        result = {
            "lfp": values.astype(np.float32),
            "sample_rate_hz": rate,
            "n_channels": values.shape[0],
            "n_samples": values.shape[1],
        }
        if self.compute_band_power:
            chosen = self.compute_band_power
            bands = chosen if isinstance(chosen, dict) else BANDS
            result |= self._powers(values.mean(axis=0), rate, bands)
        return result

    def _chosen(self, potential: Series) -> NDArray[Any]:
        if self.channels is None:
            return potential.values
        known = potential.ids.tolist()
        unknown = sorted(set(self.channels) - set(known))
        if unknown:
            raise ConfigError(f"the array has no channels {unknown}; it has {known}")
        return potential.values[[known.index(channel) for channel in self.channels]]

    def _filtered(self, values: _Floats, rate: float) -> _Floats:
        from scipy.signal import butter, sosfiltfilt

        assert self.lowpass_hz is not None
        if self.lowpass_hz >= rate / 2:
            raise ConfigError(
                f"lowpass_hz={self.lowpass_hz:g} must be below half the sampling rate "
                f"of the potentials, {rate / 2:g} Hz"
            )
        least = 3 * (self.lowpass_order + 2)
        if values.shape[1] <= least:
            raise ConfigError(
                f"{values.shape[1]} samples are too few for a filter of order "
                f"{self.lowpass_order}; record more than {least}"
            )
        sections = butter(self.lowpass_order, self.lowpass_hz, fs=rate, output="sos")
        filtered: _Floats = sosfiltfilt(sections, values, axis=1)
        return filtered

    def _powers(
        self, signal: _Floats, rate: float, bands: Mapping[str, tuple[float, float]]
    ) -> dict[str, float]:
        from scipy.signal import welch

        size = min(self.nperseg, len(signal))
        overlap = size // 2 if self.noverlap is None else min(self.noverlap, size // 2)
        frequencies, density = welch(signal, rate, nperseg=size, noverlap=overlap)
        total = _integral(density, frequencies)
        powers = {}
        for name, (low, high) in bands.items():
            inside = (frequencies >= low) & (frequencies <= high)
            if np.count_nonzero(inside) == 1:
                powers[name] = float(density[inside][0] * frequencies[1])
            else:
                powers[name] = _integral(density[inside], frequencies[inside])
        relative = {f"{name}_relative": powers[name] / total for name in bands if total}
        return powers | {"broadband": total} | relative


def _integral(values: _Floats, at: _Floats) -> float:
    return float(((values[1:] + values[:-1]) / 2 * np.diff(at)).sum())
