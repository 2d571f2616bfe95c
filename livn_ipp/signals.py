"""Signals of a simulation: spikes, and samples at a fixed interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError

__all__ = ["Events", "Series", "merged_events", "merged_series", "on_grid"]

_DECIMALS = 6  # ms; the simulation's times are decimal numbers with as many places


@dataclass(frozen=True, eq=False)
class Events:
    """Spikes, ordered by (time, id).

    Attributes
    ----------
    ids : array [n], uint32
        The cell (gid) of each spike.
    times : array [n], float64
        Time of each spike in ms from the start of the run.
    """

    ids: NDArray[np.uint32]
    times: NDArray[np.float64]

    @classmethod
    def of(cls, ids: ArrayLike, times: ArrayLike) -> Self:
        """Order spikes by (time, id) and fix their types."""
        id_array = np.asarray(ids, np.uint32)
        time_array = np.asarray(times, np.float64)
        order = np.lexsort((id_array, time_array))
        return cls(id_array[order], time_array[order])

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, cells: NDArray[Any]) -> Self:
        """Keep the spikes of the given cells."""
        kept = np.isin(self.ids, cells)
        return type(self)(self.ids[kept], self.times[kept])

    def window(self, start: float, stop: float) -> Self:
        """Keep ``start <= time < stop`` (ms), times counted from `start`."""
        kept = (self.times >= start) & (self.times < stop)
        return type(self)(self.ids[kept], on_grid(self.times[kept] - start))

    def shifted(self, by: float) -> Self:
        """Count the times from `by` ms earlier."""
        return type(self)(self.ids, on_grid(self.times + by))

    def raster(
        self, dt: float, n_cells: int | None = None, steps: int | None = None
    ) -> NDArray[np.bool_]:
        """Tell for each cell and bin whether there is a spike.

        Parameters
        ----------
        dt
            Width of a bin in ms; bin ``k`` holds ``k * dt <= time < (k + 1) * dt``.
        n_cells, steps
            Shape of the raster; by default just enough for the spikes.

        Returns
        -------
        array [n_cells, steps], bool
            Row ``i`` is the cell with gid ``i``.

        Raises
        ------
        ConfigError
            If `dt` is not positive or a spike lies outside the shape.

        Examples
        --------
        >>> Events.of([1, 0, 1], [0.5, 1.0, 2.9]).raster(1.0).astype(int).tolist()
        [[0, 1, 0], [1, 0, 1]]
        """
        if not dt > 0:
            raise ConfigError(f"a raster's dt must be positive (ms), not {dt!r}")
        bins = (self.times / dt + 1e-9).astype(np.int64)
        least = (int(max(self.ids, default=-1)) + 1, int(max(bins, default=-1)) + 1)
        shape = (
            least[0] if n_cells is None else n_cells,
            least[1] if steps is None else steps,
        )
        if least[0] > shape[0] or least[1] > shape[1]:
            raise ConfigError(
                f"the spikes need a raster of at least {least} (cells, steps), "
                f"not {shape}"
            )
        raster = np.zeros(shape, bool)
        raster[self.ids, bins] = True
        return raster


@dataclass(frozen=True, eq=False)
class Series:
    """A signal sampled at a fixed interval, one row per source.

    Sample ``k`` is the state at ``start + k * dt`` ms from the start of the run.

    Attributes
    ----------
    ids : array [rows]
        The cell (gid) or channel of each row.
    values : array [rows, samples]
        The samples, in `unit`.
    dt : float
        Sampling interval in ms.
    start : float
        Time of the first sample in ms from the start of the run.
    unit : str
        ``"mV"``, ``"uA"`` or ``"uV"``.
    sections : tuple of str
        The section of each row (``"soma"``, ``"dend"``); empty if rows are no sections.
    """

    ids: NDArray[Any]
    values: NDArray[Any]
    dt: float
    start: float
    unit: str
    sections: tuple[str, ...] = ()

    @property
    def times(self) -> NDArray[np.float64]:
        """Time of each sample in ms from the start of the run."""
        return self.start + self.dt * np.arange(self.values.shape[1], dtype=np.float64)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Let numpy take the samples, as it takes livn's plain arrays."""
        return np.array(self.values, dtype, copy=copy)

    def select(self, rows: NDArray[Any]) -> Self:
        """Keep the given rows (indices or mask)."""
        sections = (
            tuple(np.asarray(self.sections, object)[rows]) if self.sections else ()
        )
        return replace(
            self, ids=self.ids[rows], values=self.values[rows], sections=sections
        )

    def window(self, start: float, stop: float, name: str) -> Self:
        """Keep the samples between two multiples of `dt` (ms)."""
        first, last = _aligned(start, self, name), _aligned(stop, self, name)
        return replace(self, values=self.values[:, first:last])

    def followed_by(self, other: "Series", name: str) -> Self:
        """Append the samples of the next window.

        Raises
        ------
        ConfigError
            If the other's rows or sampling are not the same.
        """
        mine, theirs = _rows(self), _rows(other)
        if mine != theirs or not np.array_equal(self.ids, other.ids):
            raise ConfigError(
                f"{name} differs between the runs in its rows or sampling; (dt, start, "
                f"unit, sections) are {mine} and {theirs}"
            )
        return replace(self, values=np.concatenate([self.values, other.values], axis=1))


def on_grid(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo the rounding of sums of times: 0.3 for 0.1 + 0.2, as a simulation gives.

    Times that are not whole multiples of 1e-6 ms stay what they are.

    Examples
    --------
    >>> on_grid(np.array([0.1 + 0.2, 1 / 3])).tolist()
    [0.3, 0.3333333333333333]
    """
    decimal = np.round(times, _DECIMALS)
    near = np.abs(decimal - times) <= 1e-9
    grid: NDArray[np.float64] = np.where(near, decimal, times)
    return grid


def merged_events(parts: Sequence[Events]) -> Events | None:
    """Put together the spikes that ranks recorded; None if none did.

    Raises
    ------
    ConfigError
        If the same spike is in two of them.
    """
    if not parts:
        return None
    merged = Events.of(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.times for part in parts]),
    )
    _check_once(merged)
    return merged


def merged_series(name: str, parts: Sequence[Series]) -> Series:
    """Put together the rows of a signal that ranks sampled, or sum their potentials.

    Raises
    ------
    ConfigError
        If they sampled differently.
    """
    first = parts[0]
    samplings = {(part.dt, part.start, part.values.shape[1]) for part in parts}
    if len(samplings) > 1:
        raise ConfigError(
            f"{name} was sampled differently on the ranks: (dt, start, samples) are "
            f"{sorted(samplings)}"
        )
    if name == "potential":
        return replace(first, values=np.sum([part.values for part in parts], axis=0))
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids, kind="stable")
    joined = replace(
        first,
        ids=ids,
        values=np.concatenate([part.values for part in parts]),
        sections=tuple(name for part in parts for name in part.sections),
    )
    return joined.select(order)


def _rows(series: Series) -> tuple[Any, ...]:
    return series.dt, series.start, series.unit, series.sections


def _aligned(time: float, series: Series, name: str) -> int:
    index = time / series.dt
    if abs(index - round(index)) > 1e-6:
        raise ConfigError(
            f"{time} ms does not align with {name}'s recording dt of {series.dt} ms"
        )
    return round(index)


def _check_once(spikes: Events) -> None:
    twice = (np.diff(spikes.times) == 0) & (np.diff(spikes.ids) == 0)
    if twice.any():
        first = int(np.argmax(twice))
        raise ConfigError(
            f"two runs to merge hold the same spike (cell {spikes.ids[first]} at "
            f"{spikes.times[first]} ms); each cell must be in one of them, so merge "
            f"them once only"
        )
