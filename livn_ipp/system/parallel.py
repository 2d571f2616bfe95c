"""Unconnected cells as a system."""

from collections.abc import Mapping
from typing import Any

from livn_ipp.system.census import Census
from livn_ipp.system.system import System
from livn_ipp.system.unconnected import Unconnected, checked_counts

__all__ = ["ParallelSystem"]


class ParallelSystem(System):
    """Cells that are simulated side by side, without connections.

    Wherever a system is asked for, a number or numbers by population do as well:
    ``Env(64)``, ``Env({"EXC": 3, "INH": 5})``.

    Parameters
    ----------
    populations
        Number of cells of each population; gids follow the given order. A single number
        is that of ``"EXC"``.
    coordinates
        Where the cells are:

        - None: on a square grid with a pitch of 100 um, by gid along x first;
        - a number: on a line along x, so many um apart (0: all in one place);
        - an array [n, 3] of (x, y, z), or [n, 4] of (gid, x, y, z), in um;
        - a dict with one of these for each population;
        - a function of the number of cells that returns one of these; it is called
          at once, so the system can be pickled in any case.
    name
        Name of the system.

    Raises
    ------
    ConfigError
        If numbers or coordinates cannot be used.

    Examples
    --------
    >>> system = ParallelSystem({"EXC": 3, "INH": 2}, coordinates=50.0)
    >>> system
    ParallelSystem(unconnected: 3 EXC, 2 INH)
    >>> system.coordinates("INH").tolist()
    [[3.0, 150.0, 0.0, 0.0], [4.0, 200.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        populations: int | Mapping[str, int] = 1,
        coordinates: Any = None,
        name: str = "unconnected",
    ) -> None:
        cells = Unconnected(checked_counts(populations), coordinates, name)
        Census.__init__(self, cells)
