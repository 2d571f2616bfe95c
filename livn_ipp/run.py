"""What a simulation returns: spikes and sampled signals of one time window."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError

__all__ = ["Events", "Run", "Series"]


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

    def select(self, rows: NDArray[Any]) -> Self:
        """Keep the given rows (indices or mask)."""
        sections = (
            tuple(np.asarray(self.sections, object)[rows]) if self.sections else ()
        )
        return replace(
            self, ids=self.ids[rows], values=self.values[rows], sections=sections
        )


@dataclass(frozen=True, eq=False)
class Run:
    """One simulated time window.

    Unpacks as livn's six-tuple ``(spike_ids, spike_times, voltage_ids, voltage,
    current_ids, current)``; what was not recorded is None.

    Attributes
    ----------
    t0 : float
        Biological time at which the window starts, in ms.
    duration : float
        Length of the window in ms.
    spikes : Events or None
        Spikes, if recorded.
    channels : mapping of str to Series
        Sampled signals by name: ``voltage`` (mV), ``current`` (uA, membrane current),
        ``potential`` (uV, one row per electrode).
    """

    t0: float
    duration: float
    spikes: Events | None = None
    channels: Mapping[str, Series] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", MappingProxyType(dict(self.channels)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Run, (self.t0, self.duration, self.spikes, dict(self.channels))

    @property
    def t1(self) -> float:
        """Biological time at which the window ends, in ms."""
        return self.t0 + self.duration

    @property
    def voltage(self) -> Series | None:
        """Membrane voltage in mV, one row per recorded section."""
        return self.channels.get("voltage")

    @property
    def current(self) -> Series | None:
        """Membrane current in uA, one row per recorded section."""
        return self.channels.get("current")

    @property
    def potential(self) -> Series | None:
        """Electrode potential in uV, one row per channel."""
        return self.channels.get("potential")

    def __iter__(self) -> Iterator[NDArray[Any] | None]:
        spikes, voltage, current = self.spikes, self.voltage, self.current
        yield None if spikes is None else spikes.ids
        yield None if spikes is None else spikes.times
        yield None if voltage is None else voltage.ids
        yield None if voltage is None else voltage.values
        yield None if current is None else current.ids
        yield None if current is None else current.values

    def digest(self) -> str:
        """Fingerprint of the spikes: equal if and only if every (gid, time) is equal.

        Examples
        --------
        >>> a = Run(0, 10, Events.of([2, 1], [0.5, 0.25]))
        >>> b = Run(0, 10, Events.of([1, 2], [0.25, 0.5]))
        >>> a.digest() == b.digest()
        True
        """
        if self.spikes is None:
            raise ConfigError("the run holds no spikes; call record_spikes() before it")
        content = hashlib.sha256(self.spikes.ids.tobytes())
        content.update(self.spikes.times.tobytes())
        return content.hexdigest()[:16]

    def slice(self, start: float, stop: float | None = None) -> "Run":
        """Cut out ``start <= time < stop`` (ms from the start of the run).

        Parameters
        ----------
        start, stop
            Bounds in ms; `stop` defaults to the end of the run. For sampled signals
            both must be multiples of the sampling interval.

        Returns
        -------
        Run
            The window, its times counted from `start`.

        Raises
        ------
        ConfigError
            If the bounds leave the run or do not fit a sampling interval.
        """
        stop = self.duration if stop is None else stop
        if not 0 <= start < stop <= self.duration:
            raise ConfigError(
                f"slice({start}, {stop}) does not fit a run of {self.duration} ms; "
                f"choose 0 <= start < stop <= {self.duration}"
            )
        spikes = self.spikes
        if spikes is not None:
            inside = (spikes.times >= start) & (spikes.times < stop)
            spikes = Events(spikes.ids[inside], spikes.times[inside] - start)
        channels = {
            name: replace(
                series,
                values=series.values[
                    :, _aligned(start, series, name) : _aligned(stop, series, name)
                ],
            )
            for name, series in self.channels.items()
        }
        return Run(self.t0 + start, stop - start, spikes, channels)

    @staticmethod
    def merge(parts: Iterable["Run"]) -> "Run":
        """Put together the parts that the ranks of a subworld recorded.

        Rows of sampled signals are ordered by (id, section order of the part);
        electrode potentials, of which every rank holds its share, are summed.

        Raises
        ------
        ConfigError
            If there is no part, the parts cover different windows or samples, or
            the same spike is in two of them.
        """
        runs = list(parts)
        if not runs:
            raise ConfigError("merge() needs at least one run")
        first = runs[0]
        if any((run.t0, run.duration) != (first.t0, first.duration) for run in runs):
            raise ConfigError("merge() needs runs of one time window")
        spikes = [run.spikes for run in runs if run.spikes is not None]
        merged = None
        if spikes:
            merged = Events.of(
                np.concatenate([s.ids for s in spikes]),
                np.concatenate([s.times for s in spikes]),
            )
            _check_once(merged)
        names = dict.fromkeys(name for run in runs for name in run.channels)
        channels = {
            name: _merge_series(
                name, [r.channels[name] for r in runs if name in r.channels]
            )
            for name in names
        }
        return Run(first.t0, first.duration, merged, channels)

    def __repr__(self) -> str:
        spikes = (
            "no spikes recorded"
            if self.spikes is None
            else f"{len(self.spikes)} spikes"
        )
        signals = "".join(
            f", {name} {series.values.shape[0]}x{series.values.shape[1]}"
            for name, series in self.channels.items()
        )
        return f"Run({self.t0:g}-{self.t1:g} ms: {spikes}{signals})"


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


def _merge_series(name: str, parts: list[Series]) -> Series:
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
