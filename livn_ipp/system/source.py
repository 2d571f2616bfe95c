"""Where a system comes from: what a directory and cells in memory have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA

__all__ = ["Projection", "Source", "fixed", "range_of"]


@dataclass(frozen=True, eq=False)
class Projection:
    """Connections from one population to another, sorted by (post, pre).

    Attributes
    ----------
    pre, post : str
        The populations.
    pre_gids, post_gids : array [edges], uint32
        The two cells of each connection.
    distance : array [edges], float64
        Length of the connection in um; it sets the delay, at 250 um/ms. Generated
        cultures count in the synapse, which delays as much as 250 um do.
    factor : array [edges], float64
        What the projection's weight is multiplied with; 1 if the file has none.
    """

    pre: str
    post: str
    pre_gids: NDArray[np.uint32]
    post_gids: NDArray[np.uint32]
    distance: NDArray[np.float64]
    factor: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pre_gids)

    def where(self, kept: NDArray[np.bool_]) -> "Projection":
        """Keep some of the connections."""
        return Projection(
            self.pre,
            self.post,
            self.pre_gids[kept],
            self.post_gids[kept],
            self.distance[kept],
            self.factor[kept],
        )


class Source(Protocol):
    """What :class:`livn_ipp.system.System` asks of what it stands for.

    Sources are immutable, and pickled when a system travels to another process. The
    arrays that they return are read-only.
    """

    @property
    def name(self) -> str:
        """Name of the culture."""

    @property
    def path(self) -> Path | None:
        """The directory; None if there is none."""

    @property
    def selection_name(self) -> str | None:
        """Name of the stored selection that this is, if any."""

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """First gid and number of cells of each population, by first gid."""

    @property
    def gids(self) -> NDArray[np.uint32]:
        """All cells, ascending."""

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """Rows (gid, x, y, z) in um [n, 4], by gid."""

    @property
    def orientations(self) -> NDArray[np.float64]:
        """Direction of each cell's dendrite in rad [n], by gid."""

    @property
    def projections(self) -> tuple[tuple[str, str], ...]:
        """The (presynaptic, postsynaptic) pairs of populations that are connected."""

    @property
    def bounding_box(self) -> NDArray[np.float64]:
        """Lowest and highest corner [2, 3] in um."""

    @property
    def digest(self) -> str:
        """Fingerprint of everything that is simulated."""

    def projection(self, pre: str, post: str, onto: NDArray[Any] | None) -> Projection:
        """Read one of :attr:`projections`, onto some gids or, if None, onto all."""

    def synapses(self, pre: str, post: str) -> dict[str, Any]:
        """Describe the synapses of a projection: sections, receptors, delay."""

    def default_io(self) -> MEA | None:
        """Read the electrode array."""

    def document(self, kind: str, name: str) -> dict[str, Any] | None:
        """Read ``<kind>/<name>.json``, or ``<name>.json`` if `kind` is empty."""

    def documents(self, kind: str) -> list[str]:
        """Return the names of which there is a document."""

    @property
    def graph_id(self) -> str | None:
        """The identity that stored selections refer to."""

    def validate(self) -> None:
        """Read everything once, to find faults."""


def fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Make an array read-only, as it is handed out more than once."""
    array.setflags(write=False)
    return array


def range_of(
    ranges: dict[str, tuple[int, int]], population: str, system: str
) -> tuple[int, int]:
    """Look up the first gid and the number of cells of a population.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    if population not in ranges:
        raise ConfigError(
            f"{system} has no population {population!r}; it has {list(ranges)}"
        )
    return ranges[population]
