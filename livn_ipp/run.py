"""What a simulation returns: spikes and sampled signals of one time window."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.display import Card, Shown
from livn_ipp.errors import ConfigError
from livn_ipp.signals import Events, Series, merged_events, merged_series, on_grid

if TYPE_CHECKING:  # each is an extra
    import neo
    import pandas as pd
    import xarray as xr

__all__ = ["Events", "Run", "Series"]


@dataclass(frozen=True, eq=False)
class Run(Shown):
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

    @property
    def spike_ids(self) -> NDArray[np.uint32] | None:
        """The cell of each spike, if recorded."""
        return None if self.spikes is None else self.spikes.ids

    @property
    def spike_times(self) -> NDArray[np.float64] | None:
        """Time of each spike in ms from the start of the run, if recorded."""
        return None if self.spikes is None else self.spikes.times

    @property
    def voltage_ids(self) -> NDArray[Any] | None:
        """The cell of each row of voltages, if recorded."""
        return None if self.voltage is None else self.voltage.ids

    @property
    def current_ids(self) -> NDArray[Any] | None:
        """The cell of each row of membrane currents, if recorded."""
        return None if self.current is None else self.current.ids

    def __iter__(self) -> Iterator[NDArray[Any] | None]:
        voltage, current = self.voltage, self.current
        yield self.spike_ids
        yield self.spike_times
        yield self.voltage_ids
        yield None if voltage is None else voltage.values
        yield self.current_ids
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
        return Run(
            _time(self.t0 + start),
            _time(stop - start),
            None if self.spikes is None else self.spikes.window(start, stop),
            {
                name: series.window(start, stop, name)
                for name, series in self.channels.items()
            },
        )

    def select(
        self,
        gids: ArrayLike | None = None,
        population: str | Iterable[str] | None = None,
        population_ranges: Mapping[str, tuple[int, int]] | None = None,
    ) -> "Run":
        """Keep some cells: their spikes and the rows of their sections.

        Electrode potentials are no cell's and stay as they are.

        Parameters
        ----------
        gids
            The cells.
        population
            Names of populations, in place of `gids`.
        population_ranges
            First gid and number of cells of each population, as
            ``system.population_ranges`` tells.

        Raises
        ------
        ConfigError
            If neither or both are given, or a population is unknown.

        Examples
        --------
        >>> run = Run(0, 10, Events.of([1, 2, 7], [1.0, 2.0, 3.0]))
        >>> run.select(population="INH", population_ranges={"INH": (5, 5)}).spikes.ids
        array([7], dtype=uint32)
        """
        if (gids is None) == (population is None):
            raise ConfigError("select() needs either gids or a population")
        if population is not None:
            cells = _cells_of(population, population_ranges)
        else:
            cells = np.atleast_1d(np.asarray(gids))
        return Run(
            self.t0,
            self.duration,
            None if self.spikes is None else self.spikes.select(cells),
            {
                name: s if name == "potential" else s.select(np.isin(s.ids, cells))
                for name, s in self.channels.items()
            },
        )

    def concat(self, other: "Run") -> "Run":
        """Append the window that follows this one.

        Parameters
        ----------
        other
            A run that starts where this one ends, with the same recordings.

        Returns
        -------
        Run
            Both windows as one, with the same bits as if they had been simulated so.

        Raises
        ------
        ConfigError
            If the other does not follow or holds other recordings.
        """
        if abs(other.t0 - self.t1) > 1e-6:
            raise ConfigError(
                f"concat() needs a run that starts at {self.t1:g} ms, where this one "
                f"ends, not at {other.t0:g} ms"
            )
        recorded = _recorded(self)
        if recorded != _recorded(other):
            raise ConfigError(
                f"concat() needs the same recordings in both runs, not {recorded} and "
                f"{_recorded(other)}; drop() what is missing in one"
            )
        spikes = self.spikes
        if spikes is not None and other.spikes is not None:
            later = other.spikes.shifted(self.duration)
            spikes = Events(
                np.concatenate([spikes.ids, later.ids]),
                np.concatenate([spikes.times, later.times]),
            )
        return Run(
            self.t0,
            _time(self.duration + other.duration),
            spikes,
            {
                name: series.followed_by(other.channels[name], name)
                for name, series in self.channels.items()
            },
        )

    def gather(self, comm: Any = None, root: int = 0) -> "Run | None":
        """Bring the ranks' parts together on one rank. Collective.

        Parameters
        ----------
        comm
            The ranks, ``env.comm``; None for this process alone.
        root
            The rank that gets the whole.

        Returns
        -------
        Run or None
            The whole on `root`, None elsewhere.
        """
        if comm is None:
            return self
        parts = comm.gather(self, root)
        return None if parts is None else Run.merge(parts)

    def add(self, name: str, series: Series) -> "Run":
        """Add a signal, or put another in its place."""
        return replace(self, channels={**self.channels, name: series})

    def add_spikes(self, ids: ArrayLike, times: ArrayLike) -> "Run":
        """Add spikes, times in ms from the start of the run."""
        return replace(self, spikes=Events.of(ids, times))

    def add_voltage(
        self,
        ids: ArrayLike,
        values: ArrayLike,
        dt: float = 0.1,
        sections: Iterable[str] = (),
    ) -> "Run":
        """Add membrane voltages [rows, samples] in mV, sampled every `dt` ms."""
        rows, samples = np.asarray(ids), np.atleast_2d(np.asarray(values))
        return self.add("voltage", Series(rows, samples, dt, dt, "mV", tuple(sections)))

    def add_current(
        self,
        ids: ArrayLike,
        values: ArrayLike,
        dt: float = 0.1,
        sections: Iterable[str] = (),
    ) -> "Run":
        """Add membrane currents [rows, samples] in uA, sampled every `dt` ms."""
        rows, samples = np.asarray(ids), np.atleast_2d(np.asarray(values))
        return self.add("current", Series(rows, samples, dt, dt, "uA", tuple(sections)))

    def drop(self, name: str) -> "Run":
        """Leave out the spikes or a signal.

        Raises
        ------
        ConfigError
            If there is none of this name.
        """
        if name not in _recorded(self):
            raise ConfigError(f"the run holds no {name}; it holds {_recorded(self)}")
        if name == "spikes":
            return replace(self, spikes=None)
        return replace(
            self, channels={n: s for n, s in self.channels.items() if n != name}
        )

    def drop_spikes(self) -> "Run":
        """Leave out the spikes, if any."""
        return replace(self, spikes=None)

    def drop_voltage(self) -> "Run":
        """Leave out the voltages, if any."""
        return self if self.voltage is None else self.drop("voltage")

    def drop_current(self) -> "Run":
        """Leave out the membrane currents, if any."""
        return self if self.current is None else self.drop("current")

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
        names = dict.fromkeys(name for run in runs for name in run.channels)
        channels = {
            name: merged_series(
                name, [r.channels[name] for r in runs if name in r.channels]
            )
            for name in names
        }
        return Run(first.t0, first.duration, merged_events(spikes), channels)

    def to_dataframe(self, name: str = "spikes") -> "pd.DataFrame":
        """Return spikes or a signal as a pandas table.

        See :func:`livn_ipp.export.tables.to_dataframe`.
        """
        from livn_ipp.export import tables

        return tables.to_dataframe(self, name)

    def to_xarray(self) -> "xr.Dataset":
        """Return everything as a labelled xarray Dataset.

        See :func:`livn_ipp.export.tables.to_xarray`.
        """
        from livn_ipp.export import tables

        return tables.to_xarray(self)

    def to_neo(self, system: Any = None) -> "neo.Block":
        """Return everything as a Neo Block, with units.

        See :func:`livn_ipp.export.neo.to_neo`.
        """
        from livn_ipp.export import neo

        return neo.to_neo(self, system)

    def to_nwb(self, path: str | Path, **options: Any) -> Path:
        """Write an NWB file.

        See :func:`livn_ipp.export.nwb.to_nwb`.
        """
        from livn_ipp.export import nwb

        return nwb.to_nwb(self, path, **options)

    def save(self, path: str | Path) -> Path:
        """Write an HDF5 file that :meth:`load` reads without loss.

        See :mod:`livn_ipp.export.hdf5`.
        """
        from livn_ipp.export import hdf5

        return hdf5.save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Run":
        """Read what :meth:`save` wrote."""
        from livn_ipp.export import hdf5

        return hdf5.load(path)

    def _card(self) -> Card:
        facts = [("window", f"{self.t0:g} to {self.t1:g} ms")]
        if self.spikes is not None:
            cells = len(np.unique(self.spikes.ids))
            facts.append(("spikes", f"{len(self.spikes)} of {cells} cells"))
        for name, series in self.channels.items():
            rows, samples = series.values.shape
            told = f"{rows} rows x {samples} samples every {series.dt:g} ms"
            facts.append((f"{name} ({series.unit})", told))
        return Card("Run", facts=tuple(facts), picture=self)

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


def _time(value: float) -> float:
    return float(on_grid(np.array([value], np.float64))[0])


def _recorded(run: Run) -> list[str]:
    spikes = [] if run.spikes is None else ["spikes"]
    return spikes + sorted(run.channels)


def _cells_of(
    population: str | Iterable[str],
    ranges: Mapping[str, tuple[int, int]] | None,
) -> NDArray[Any]:
    names = [population] if isinstance(population, str) else list(population)
    if ranges is None:
        raise ConfigError(
            "select(population=...) needs population_ranges=system.population_ranges"
        )
    unknown = sorted(set(names) - set(ranges))
    if unknown:
        raise ConfigError(
            f"there are no populations {unknown}; choose from {list(ranges)}"
        )
    return np.concatenate(
        [
            np.zeros(0, np.int64),
            *(ranges[n][0] + np.arange(ranges[n][1]) for n in names),
        ]
    )
