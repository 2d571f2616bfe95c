"""What a monitor needs to know of a culture: who is who, and who is heard where."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.system import System

__all__ = ["Culture"]


@dataclass(frozen=True, eq=False)
class Culture:
    """Populations and electrodes of a culture, as arrays.

    Attributes
    ----------
    name
        Name of the culture.
    populations
        Name, first gid, number of gids and number of simulated cells of each.
    channels : array [C]
        Ids of the electrodes.
    positions : array [C, 2]
        Where they are in the plane, in um.
    hearing : array [2, n]
        Pairs (electrode's index, gid of a cell that it hears).

    Examples
    --------
    >>> culture = Culture.of(System("EI1"), System("EI1").default_io())
    >>> culture.populations, len(culture.channels)
    ((('EXC', 0, 8, 8), ('INH', 8, 2, 2)), 16)
    """

    name: str = ""
    populations: tuple[tuple[str, int, int, int], ...] = ()
    channels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    positions: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    hearing: NDArray[np.int64] = field(
        default_factory=lambda: np.empty((2, 0), np.int64)
    )

    @classmethod
    def of(cls, system: System, io: Any = None) -> Self:
        """Describe a culture.

        Parameters
        ----------
        system
            The culture.
        io
            Its electrodes; those that have no place in the plane are left out.
        """
        counts = system.population_counts
        populations = tuple(
            (name, first, number, counts[name])
            for name, (first, number) in system.population_ranges.items()
        )
        places = getattr(io, "electrode_coordinates", None)
        if places is None or not len(places):
            return cls(system.name, populations)
        cells = system.coordinates()
        try:
            heard = np.array(np.nonzero(io.heard(cells[:, 1:])))
        except ConfigError:  # it only stimulates
            heard = np.empty((2, 0), np.int64)
        heard[1] = cells[heard[1], 0].astype(np.int64)
        return cls(
            system.name,
            populations,
            np.asarray(places)[:, 0].astype(np.int64),
            np.asarray(places, np.float64)[:, 1:3],
            heard,
        )

    @property
    def size(self) -> int:
        """One more than the highest gid."""
        return max((first + n for _, first, n, _ in self.populations), default=0)

    def heard_rates(self, counts: NDArray[np.int64], seconds: float) -> Any:
        """Spikes per heard cell and second at each electrode: [C].

        Parameters
        ----------
        counts : array [size]
            Spikes of each gid.
        seconds
            Biological time in which they were counted.
        """
        electrode, cell = self.hearing
        many = len(self.channels)
        spikes = np.bincount(electrode, counts[cell], many)
        cells = np.bincount(electrode, minlength=many)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(cells > 0, spikes / (cells * max(seconds, 1e-9)), np.nan)
