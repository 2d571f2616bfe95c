"""Who the cells of a culture are, and where."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.system.source import Source, range_of

__all__ = ["Census"]


class Census:
    """The cells of a culture.

    Parameters
    ----------
    source
        Where they are read.

    Attributes
    ----------
    source : Source
        As above.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def name(self) -> str:
        """Name of the culture: the last part of its path."""
        return self.source.name

    @property
    def population_ranges(self) -> dict[str, tuple[int, int]]:
        """First gid and number of cells of each population, by first gid.

        A selection does not change them.
        """
        return dict(self.source.ranges)

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations, by first gid."""
        return tuple(self.source.ranges)

    @property
    def gids(self) -> NDArray[np.uint32]:
        """All cells, ascending; of a selection only those chosen."""
        return self.source.gids

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return len(self.gids)

    num_neurons = num_cells  # livn's name

    @property
    def population_counts(self) -> dict[str, int]:
        """Number of cells of each population; of a selection only those chosen."""
        ends = {name: start + n for name, (start, n) in self.source.ranges.items()}
        return {
            name: int(
                np.searchsorted(self.gids, end)
                - np.searchsorted(self.gids, self.source.ranges[name][0])
            )
            for name, end in ends.items()
        }

    def population_count(self, population: str) -> int:
        """Count the cells of a population; of a selection only those chosen."""
        range_of(self.source.ranges, population, self.name)
        return self.population_counts[population]

    def population_of(self, gids: ArrayLike) -> NDArray[np.str_]:
        """Name of each cell's population.

        Raises
        ------
        ConfigError
            If the system has no such cell.
        """
        wanted = np.asarray(gids)
        unknown = np.setdiff1d(wanted, self.gids)
        if len(unknown):
            raise ConfigError(f"{self.name} has no cell {unknown[0]}")
        ranges = self.source.ranges
        starts = [start for start, count in ranges.values() if count]
        names = [name for name, (_, count) in ranges.items() if count]
        return np.array(names)[np.searchsorted(starts, wanted, side="right") - 1]

    def coordinates(self, population: str | None = None) -> NDArray[np.float64]:
        """Positions of the cells.

        Parameters
        ----------
        population
            The cells' population; all cells if None.

        Returns
        -------
        array [n, 4]
            Rows (gid, x, y, z) in um, by gid.
        """
        rows = self.source.coordinates
        if population is None:
            return rows
        start, count = range_of(self.source.ranges, population, self.name)
        first, end = np.searchsorted(self.gids, [start, start + count])
        return rows[first:end]

    @property
    def neuron_coordinates(self) -> NDArray[np.float64]:
        """Rows (gid, x, y, z) in um of all cells, as livn names them."""
        return self.coordinates()

    def orientations(self) -> NDArray[np.float64]:
        """Direction of each cell's dendrite in the plane.

        Returns
        -------
        array [num_cells]
            Angle to the x axis in rad, by gid; hashed from the gid where the file holds
            none.
        """
        return self.source.orientations

    @property
    def bounding_box(self) -> NDArray[np.float64]:
        """Lowest and highest corner [2, 3] of the culture in um."""
        return self.source.bounding_box

    @property
    def center_point(self) -> NDArray[np.float64]:
        """Centre (x, y, z) of the bounding box in um."""
        centre: NDArray[np.float64] = self.bounding_box.mean(axis=0)
        return centre
