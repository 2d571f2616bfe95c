"""Samples of a drive, made window by window: dense, as pulses, or mixed from others."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError

__all__ = ["DenseSamples", "MixedSamples", "PulseSamples", "Samples"]

_Rows = NDArray[np.float64]


class Samples(Protocol):
    """Rows of samples; before row 0 and from row `num_rows` on they are zero."""

    @property
    def width(self) -> int:
        """Number of columns."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""

    def rows(self, first: int, last: int) -> _Rows:
        """Return the rows ``first <= k < last``, zeros where there are none."""

    def changes(self) -> NDArray[np.int64]:
        """Return the rows that may differ from the row before, in order."""


class DenseSamples:
    """Samples that are held as they are.

    Parameters
    ----------
    array : array [rows, columns]
        The samples.

    Raises
    ------
    ConfigError
        If they are not finite numbers in two dimensions.

    Examples
    --------
    >>> samples = DenseSamples([[0.0], [2.0], [2.0]])
    >>> samples.rows(2, 4).tolist(), samples.changes().tolist()
    ([[2.0], [0.0]], [0, 1, 3])
    """

    def __init__(self, array: ArrayLike) -> None:
        try:
            samples = np.asarray(array, np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the samples must be numbers: {error}") from None
        if samples.ndim != 2:
            raise ConfigError(
                f"the samples must be an array [time, columns], not one of shape "
                f"{samples.shape}"
            )
        if not np.isfinite(samples).all():
            raise ConfigError("there are samples that are not finite numbers")
        self.array = samples

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.array)

    def rows(self, first: int, last: int) -> _Rows:
        """Return the rows ``first <= k < last``, zeros where there are none."""
        known = self.array[first:last]
        if len(known) == last - first:
            return known
        wanted = np.zeros((last - first, self.width))
        wanted[: len(known)] = known
        return wanted

    def changes(self) -> NDArray[np.int64]:
        """Return the rows that differ from the row before."""
        different = np.any(np.diff(self.array, axis=0) != 0, axis=1)
        inner = np.flatnonzero(different) + 1
        return np.unique([0, *inner, self.num_rows]).astype(np.int64)


class PulseSamples:
    """Stretches of constant samples, in order and apart from each other.

    Parameters
    ----------
    starts, stops : array [pulses]
        First row of each pulse and the row after its last.
    levels : array [pulses, driven]
        The samples of each pulse.
    columns : sequence of int
        The driven columns.
    width, num_rows : int
        Shape of the whole.

    Examples
    --------
    >>> pulse = PulseSamples([1], [3], [[5.0]], columns=[1], width=2, num_rows=4)
    >>> pulse.rows(2, 4).tolist(), pulse.changes().tolist()
    ([[0.0, 5.0], [0.0, 0.0]], [0, 1, 3, 4])
    """

    def __init__(
        self,
        starts: ArrayLike,
        stops: ArrayLike,
        levels: ArrayLike,
        columns: Any,
        width: int,
        num_rows: int,
    ) -> None:
        self.starts = np.asarray(starts, np.int64)
        self.stops = np.asarray(stops, np.int64)
        self.levels = np.asarray(levels, np.float64)
        self.columns = list(columns)
        self.width = width
        self.num_rows = num_rows

    def rows(self, first: int, last: int) -> _Rows:
        """Return the rows ``first <= k < last``, zeros between pulses."""
        rows = np.zeros((last - first, self.width))
        begin = int(np.searchsorted(self.stops, first, "right"))
        end = int(np.searchsorted(self.starts, last, "left"))
        for pulse in range(begin, end):
            start = max(int(self.starts[pulse]) - first, 0)
            stop = int(self.stops[pulse]) - first
            rows[start:stop, self.columns] = self.levels[pulse]
        return rows

    def changes(self) -> NDArray[np.int64]:
        """Return the rows at which pulses begin or end."""
        edges = [self.starts, self.stops, np.array([0, self.num_rows])]
        return np.unique(np.concatenate(edges)).astype(np.int64)


class MixedSamples:
    """Samples that are weighted sums of others: the field of electrodes at cells.

    Parameters
    ----------
    commands
        The samples to sum, one column per channel.
    weights : array [channels, columns]
        The share of each channel in each column.

    Examples
    --------
    >>> mixed = MixedSamples(DenseSamples([[1.0, 2.0]]), [[10.0], [1.0]])
    >>> mixed.rows(0, 2).tolist()
    [[12.0], [0.0]]
    """

    def __init__(self, commands: Samples, weights: ArrayLike) -> None:
        self.commands = commands
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 2 or len(self.weights) != commands.width:
            raise ConfigError(
                f"{commands.width} channels need weights [{commands.width}, columns], "
                f"not an array of shape {self.weights.shape}"
            )
        if not np.isfinite(self.weights).all():
            raise ConfigError("there are weights that are not finite numbers")

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.weights.shape[1])

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.commands.num_rows

    def rows(self, first: int, last: int) -> _Rows:
        """Return the rows ``first <= k < last``."""
        commands = self.commands.rows(first, last)
        mixed = np.zeros((last - first, self.width))
        # One channel after the other: a matrix product's rounding depends on its width.
        for channel in np.flatnonzero(commands.any(axis=0)):
            mixed += commands[:, channel, None] * self.weights[channel]
        return mixed

    def changes(self) -> NDArray[np.int64]:
        """Return the rows at which the commands may change."""
        return self.commands.changes()
