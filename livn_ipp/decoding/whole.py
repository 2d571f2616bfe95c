"""The whole culture's spikes on every rank, the common ground of most decodings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run

__all__ = [
    "WholeSpikes",
    "active_cells",
    "checked_once",
    "populations_of",
    "whole_spikes",
]


@dataclass(frozen=True, eq=False)
class WholeSpikes:
    """All spikes of a window, ordered by (time, cell); the same on every rank.

    Attributes
    ----------
    ids : array [n], uint32
        The cell (gid) of each spike.
    times : array [n], float64
        Time of each spike in ms from the start of the window.
    duration : float
        Length of the window in ms.
    """

    ids: NDArray[np.uint32]
    times: NDArray[np.float64]
    duration: float

    @property
    def duration_s(self) -> float:
        """Length of the window in s."""
        return self.duration / 1000

    @property
    def units(self) -> NDArray[np.uint32]:
        """The cells that fired, in order."""
        return np.unique(self.ids)

    def trains(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield each cell that fired with the times of its spikes."""
        order = np.argsort(self.ids, kind="stable")
        units, first = np.unique(self.ids[order], return_index=True)
        trains = np.split(self.times[order], first[1:])
        yield from zip(units.tolist(), trains, strict=False)  # one is empty if all are

    def counts(self, bin_size: float, least: int = 1) -> NDArray[np.int64]:
        """Count all spikes in equal bins.

        Parameters
        ----------
        bin_size
            In ms. The bins fill the window: if it holds no whole number of them, they
            are as much wider as is needed.
        least
            Smallest number of bins.
        """
        bins = self.number_of_bins(bin_size, least)
        counts, _ = np.histogram(self.times, bins, (0.0, self.duration))
        return counts.astype(np.int64)

    def counts_per_unit(self, bin_size: float) -> NDArray[np.int64]:
        """Count the spikes of each cell that fired in equal bins: [units, bins]."""
        bins = self.number_of_bins(bin_size)
        edges = np.linspace(0.0, self.duration, bins + 1)
        column = np.clip(np.searchsorted(edges, self.times, "right") - 1, 0, bins - 1)
        units, row = np.unique(self.ids, return_inverse=True)
        counts = np.zeros((len(units), bins), np.int64)
        np.add.at(counts, (row, column), 1)
        return counts

    def number_of_bins(self, bin_size: float, least: int = 1) -> int:
        """Return how many bins fill the window."""
        return max(least, int(self.duration / bin_size + 1e-9))


def whole_spikes(run: Run, env: Any, name: str) -> WholeSpikes:
    """Bring the spikes of all ranks together on every rank. Collective.

    Parameters
    ----------
    run
        What this rank recorded.
    env
        The environment of this rank.
    name
        The decoding that asks, for the error.

    Raises
    ------
    ConfigError
        If spikes were not recorded, or several ranks hold those of the same cell.
    """
    if run.spikes is None:
        raise ConfigError(f"{name} needs spikes; call env.record_spikes()")
    shares = env.comm.allgather((run.spikes.ids, run.spikes.times))
    checked_once([ids for ids, _ in shares], name)
    whole = Events.of(
        np.concatenate([ids for ids, _ in shares]),
        np.concatenate([times for _, times in shares]),
    )
    return WholeSpikes(whole.ids, whole.times, run.duration)


def checked_once(cells_of_ranks: list[NDArray[Any]], name: str) -> None:
    """Refuse cells that several ranks hold.

    Raises
    ------
    ConfigError
        If there is one.
    """
    cells = np.concatenate([np.unique(cells) for cells in cells_of_ranks])
    if len(np.unique(cells)) < len(cells):
        raise ConfigError(
            f"several ranks hold spikes of the same cell and would count them twice; "
            f"in a Pipe, put {name} in front of what merges the ranks"
        )


def active_cells(env: Any) -> dict[str, int]:
    """Count the simulated cells of each population, on all ranks together."""
    own = populations_of(env, np.asarray(env.system.gids))
    return {name: int(np.count_nonzero(cells)) for name, cells in own.items()}


def populations_of(env: Any, ids: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Tell for each population which of `ids` are its cells."""
    return {
        name: (ids >= first) & (ids < first + count)
        for name, (first, count) in env.system.population_ranges.items()
    }
