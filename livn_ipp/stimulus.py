"""What drives a simulation: a field or current at cells, as a function of time."""

import math
from numbers import Real
from typing import Any, Final, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.policy import Policy
from livn_ipp.samples import DenseSamples, MixedSamples, PulseSamples, Samples

__all__ = ["UNITS", "Stimulus"]

UNITS: Final = {
    "extracellular": "mV",
    "current": "nA",
    "current_density": "mA/cm2",
    "conductance": "uS",
}
"""Unit of the samples for each input mode."""

_MAX_BYTES: Final = 5 * 10**9


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
    reversal : float
        Potential in mV to which a conductance opens; other modes have none.

    Raises
    ------
    ConfigError
        If `dt` is not positive, the widths differ, the mode is unknown or a number is
        not finite.

    Examples
    --------
    >>> pulse = Stimulus([[0.0], [0.5]], dt=1.0, gids=[3], input_mode="current")
    >>> pulse.duration, pulse.units
    (2.0, 'nA')
    """

    def __init__(
        self,
        array: ArrayLike | Samples,
        dt: float = 1.0,
        gids: ArrayLike | None = None,
        sections: Any = None,
        input_mode: str = "extracellular",
        reversal: float = 0.0,
    ) -> None:
        self._samples = (
            array
            if isinstance(array, (DenseSamples, MixedSamples, PulseSamples))
            else DenseSamples(cast("ArrayLike", array))
        )
        self._extent: float | None = None
        self.dt = _interval(dt)
        if input_mode not in UNITS:
            raise ConfigError(
                f"unknown input_mode {input_mode!r}; choose from {sorted(UNITS)}"
            )
        if isinstance(sections, str):
            raise ConfigError(
                f"sections must be a sequence of names, one per column, "
                f"not {sections!r}"
            )
        self.input_mode = input_mode
        self.reversal = _reversal(reversal)
        self.gids = None if gids is None else _gids(gids)
        self.sections = None if sections is None else tuple(sections)
        for what, given in (("gids", self.gids), ("sections", self.sections)):
            if given is not None and len(given) != self.width:
                raise ConfigError(
                    f"the stimulus has {self.width} columns but {len(given)} {what}"
                )

    @property
    def units(self) -> str:
        """Unit of the samples."""
        return UNITS[self.input_mode]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self._samples.width

    @property
    def num_rows(self) -> int:
        """Number of rows; the drive is zero after them."""
        return self._samples.num_rows

    @property
    def duration(self) -> float:
        """Time of the last row's end in ms."""
        return self.num_rows * self.dt

    @property
    def deferred(self) -> bool:
        """Whether rows are made only when they are asked for."""
        return not isinstance(self._samples, DenseSamples)

    @property
    def extent(self) -> float:
        """Time in ms that a run must last at least, to leave out nothing that acts."""
        if self._extent is not None:
            return self._extent
        acting = np.flatnonzero(self.array.any(axis=1))
        return float((acting[-1] + 1) * self.dt) if len(acting) else 0.0

    @property
    def array(self) -> NDArray[np.float64]:
        """All samples [T, n].

        Raises
        ------
        ConfigError
            If they would take more than 5 GB.
        """
        if self.num_rows * self.width * 8 > _MAX_BYTES:
            raise ConfigError(
                f"{self!r} is too large to be held whole; ask for its rows(first, last)"
            )
        return self.rows(0, self.num_rows)

    def rows(self, first: int, last: int) -> NDArray[np.float64]:
        """Return the rows ``first <= k < last``, zeros after the last.

        The bits of a column do not depend on which other columns there are.
        """
        return self._samples.rows(first, last)

    def changes(self) -> NDArray[np.int64]:
        """Return the rows at which the drive may differ from the row before, in order.

        They begin with 0 and end with the row after the last.
        """
        return self._samples.changes()

    @classmethod
    def from_policy(
        cls,
        policy: Policy,
        transfer: ArrayLike,
        gids: ArrayLike | None = None,
        sections: Any = None,
        input_mode: str = "extracellular",
    ) -> Self:
        """Let a pulse program drive cells; rows are made window by window.

        Parameters
        ----------
        policy
            The program of the channels.
        transfer : array [channels, n]
            What a unit of each channel's command makes at each column: mV/uA for an
            extracellular field.
        gids, sections, input_mode
            As for a Stimulus.

        Examples
        --------
        >>> from livn_ipp.policy import MonophasicPulsePolicy
        >>> pulse = MonophasicPulsePolicy(n_channels=1, channels=[0], amplitude=2)
        >>> drive = Stimulus.from_policy(pulse, [[0.5, 0.25]], gids=[3, 4])
        >>> drive.rows(0, 2).tolist()
        [[1.0, 0.5], [0.0, 0.0]]
        """
        mixed = MixedSamples(policy.samples(), transfer)
        stimulus = cls(mixed, policy.dt, gids, sections, input_mode)
        stimulus._extent = policy.extent_ms
        return stimulus

    @classmethod
    def from_extracellular(
        cls,
        array: ArrayLike,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: Any = None,
    ) -> Self:
        """Drive with an extracellular field in mV."""
        return cls(array, dt, gids, sections, "extracellular")

    @classmethod
    def from_current(
        cls,
        array: ArrayLike,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: Any = None,
    ) -> Self:
        """Drive with injected currents in nA."""
        return cls(array, dt, gids, sections, "current")

    @classmethod
    def from_current_density(
        cls,
        array: ArrayLike,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: Any = None,
    ) -> Self:
        """Drive with injected currents per membrane area in mA/cm2."""
        return cls(array, dt, gids, sections, "current_density")

    @classmethod
    def from_conductance(
        cls,
        array: ArrayLike,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: Any = None,
        reversal: float = 0.0,
    ) -> Self:
        """Drive with conductances in uS that open to `reversal` in mV."""
        return cls(array, dt, gids, sections, "conductance", reversal)

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
        if isinstance(value, Policy):
            raise ConfigError(
                f"{type(value).__name__} commands electrodes, not cells; pass "
                f"env.cell_stimulus(policy), or encode with ElectrodeStimulus"
            )
        raise ConfigError(
            f"a stimulus is None, a Stimulus, an array, a tuple or a dict, "
            f"not {type(value).__name__}; build one with env.cell_stimulus(...)"
        )

    def __repr__(self) -> str:
        return (
            f"Stimulus({self.input_mode}, {self.num_rows} x {self.dt:g} ms, "
            f"{self.width} columns)"
        )


def _interval(dt: Any) -> float:
    if not isinstance(dt, Real) or not 0 < float(dt) < math.inf:
        raise ConfigError(f"the stimulus's dt must be positive (ms), not {dt!r}")
    return float(dt)


def _reversal(value: Any) -> float:
    if not isinstance(value, Real) or not math.isfinite(float(value)):
        raise ConfigError(f"reversal must be a finite number (mV), not {value!r}")
    return float(value)


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
