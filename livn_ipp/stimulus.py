"""What drives a simulation: a field or current at cells, as a function of time."""

import math
from dataclasses import dataclass
from numbers import Real
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
        samples = _samples(array)
        interval = _interval(dt)
        if input_mode not in UNITS:
            raise ConfigError(
                f"unknown input_mode {input_mode!r}; choose from {sorted(UNITS)}"
            )
        if isinstance(sections, str):
            raise ConfigError(
                f"sections must be a sequence of names, one per column, "
                f"not {sections!r}"
            )
        width = samples.shape[1]
        cells = None if gids is None else _gids(gids)
        names = None if sections is None else tuple(sections)
        for what, given in (("gids", cells), ("sections", names)):
            if given is not None and len(given) != width:
                raise ConfigError(
                    f"the stimulus has {width} columns but {len(given)} {what}"
                )
        object.__setattr__(self, "array", samples)
        object.__setattr__(self, "dt", interval)
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
        """Accept what a user may pass: None, a Stimulus, an array, a tuple or a dict.

        Raises
        ------
        ConfigError
            If the value is none of these.
        """
        if value is None or isinstance(value, cls):
            return value
        try:
            if isinstance(value, dict):
                return cls(**value)
            if isinstance(value, tuple):
                return cls(*value)
        except TypeError as error:
            raise ConfigError(f"Stimulus does not take these values: {error}") from None
        if isinstance(value, (np.ndarray, list)):
            return cls(value)
        raise ConfigError(
            f"a stimulus is None, a Stimulus, an array, a tuple or a dict, "
            f"not {type(value).__name__}; build one with env.cell_stimulus(...)"
        )

    def __repr__(self) -> str:
        steps, width = self.array.shape
        return f"Stimulus({self.input_mode}, {steps} x {self.dt:g} ms, {width} columns)"


def _samples(array: ArrayLike) -> NDArray[np.float64]:
    try:
        samples = np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a stimulus's samples must be numbers: {error}") from None
    if samples.ndim != 2:
        raise ConfigError(
            f"a stimulus needs an array [time, columns], not one of shape "
            f"{samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise ConfigError("the stimulus holds samples that are not finite numbers")
    return samples


def _interval(dt: Any) -> float:
    if not isinstance(dt, Real) or not 0 < float(dt) < math.inf:
        raise ConfigError(f"the stimulus's dt must be positive (ms), not {dt!r}")
    return float(dt)


def _gids(gids: ArrayLike) -> NDArray[np.uint32]:
    given = np.asarray(gids)
    if given.size == 0:  # a rank without cells
        return np.zeros(0, np.uint32)
    cells = given.astype(np.uint32)
    if given.ndim != 1 or given.dtype.kind not in "iu" or (cells != given).any():
        raise ConfigError(
            f"a stimulus's gids must be a list of cell numbers, one per column, "
            f"not {gids!r}"
        )
    return cells
