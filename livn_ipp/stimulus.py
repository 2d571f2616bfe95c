"""What drives a simulation: a field or current at cells, as a function of time."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError

__all__ = ["UNITS", "Stimulus"]

UNITS: Final = {
    "extracellular": "mV",
    "current": "nA",
    "current_density": "mA/cm2",
    "conductance": "uS",
}
"""Unit of the samples for each input mode."""


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Samples of a drive, held constant over each interval `dt`.

    Row ``k`` acts from ``k * dt`` to ``(k + 1) * dt`` ms of the run; after the last row
    the drive is zero.

    Parameters
    ----------
    array : array [T, n]
        Samples in the unit of `input_mode`: one column per driven section.
    dt : float
        Interval in ms.
    gids : array [n], optional
        The cell of each column; by default the system's cells in order.
    sections : sequence of str, optional
        The section of each column (``"soma"`` or ``"dend"``); by default ``"soma"``.
    input_mode : str
        ``"extracellular"`` (mV), ``"current"`` (nA), ``"current_density"`` (mA/cm2) or
        ``"conductance"`` (uS).

    Raises
    ------
    ConfigError
        If `dt` is not positive, the widths differ, the mode is unknown or a sample is
        not finite.

    Examples
    --------
    >>> pulse = Stimulus([[0.0], [0.5]], dt=1.0, gids=[3], input_mode="current")
    >>> pulse.duration, pulse.units
    (2.0, 'nA')
    """

    array: NDArray[np.float64]
    dt: float = 1.0
    gids: NDArray[np.uint32] | None = None
    sections: tuple[str, ...] | None = None
    input_mode: str = "extracellular"

    def __init__(
        self,
        array: ArrayLike,
        dt: float = 1.0,
        gids: ArrayLike | None = None,
        sections: Any = None,
        input_mode: str = "extracellular",
    ) -> None:
        samples = np.atleast_2d(np.asarray(array, np.float64))
        if samples.ndim != 2:
            raise ConfigError(
                f"a stimulus needs an array [time, columns], not one of shape {samples.shape}"
            )
        if not np.isfinite(dt) or dt <= 0:
            raise ConfigError(f"the stimulus's dt must be positive (ms), not {dt}")
        if input_mode not in UNITS:
            raise ConfigError(f"unknown input_mode {input_mode!r}; choose from {sorted(UNITS)}")
        if not np.isfinite(samples).all():
            raise ConfigError("the stimulus holds samples that are not finite numbers")
        width = samples.shape[1]
        cells = None if gids is None else np.asarray(gids, np.uint32)
        names = None if sections is None else tuple(sections)
        for what, given in (("gids", cells), ("sections", names)):
            if given is not None and len(given) != width:
                raise ConfigError(
                    f"the stimulus has {width} columns but {len(given)} {what}"
                )
        object.__setattr__(self, "array", samples)
        object.__setattr__(self, "dt", float(dt))
        object.__setattr__(self, "gids", cells)
        object.__setattr__(self, "sections", names)
        object.__setattr__(self, "input_mode", input_mode)

    @property
    def units(self) -> str:
        """Unit of the samples."""
        return UNITS[self.input_mode]

    @property
    def duration(self) -> float:
        """Time of the last row's end in ms."""
        return len(self.array) * self.dt

    @classmethod
    def from_arg(cls, value: Any) -> "Stimulus | None":
        """Accept what a user may pass: None, a Stimulus, an array, (array, dt) or a dict.

        Raises
        ------
        ConfigError
            If the value is none of these.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, dict):
            return cls(**value)
        if isinstance(value, tuple):
            return cls(*value)
        if isinstance(value, (np.ndarray, list)):
            return cls(value)
        raise ConfigError(
            f"a stimulus is None, a Stimulus, an array, a tuple or a dict, "
            f"not {type(value).__name__}; build one with env.cell_stimulus(...)"
        )

    def __repr__(self) -> str:
        steps, width = self.array.shape
        return f"Stimulus({self.input_mode}, {steps} x {self.dt:g} ms, {width} columns)"
