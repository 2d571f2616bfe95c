"""The culture's cells, by population and gid, and their parameters."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Cell
from livn_ipp.neuron.settings import Settings
from livn_ipp.system import System

__all__ = ["CellView", "Cells"]


class CellView:
    """One cell of a culture.

    Attributes
    ----------
    gid : int
        Its number.
    population : str
        What it belongs to.
    """

    def __init__(self, cells: "Cells", gid: int, population: str) -> None:
        self._cells = cells
        self.gid, self.population = gid, population

    @property
    def sections(self) -> Mapping[str, Any]:
        """Its NEURON sections by name, where this rank simulates it.

        Raises
        ------
        ConfigError
            If the network is not built, or another rank holds the cell.
        """
        return self._cells.built(self.gid).sections

    def get_params(self) -> dict[str, float]:
        """Return its parameters by name."""
        return self._cells.settings.cell(self.gid, self.population)

    def set_params(self, params: Mapping[str, float]) -> "CellView":
        """Set some of its parameters, on every rank alike; see :class:`Cells`."""
        self._cells.change(params, self.gid)
        return self

    def __repr__(self) -> str:
        return f"CellView({self.population} {self.gid})"


class Cells(Mapping[str, Mapping[int, CellView]]):
    """The culture's cells: by population and gid, or with a gid at once.

    Parameters of cells act from the next :meth:`Env.clear` or :meth:`Env.init` on,
    because the cells' mechanisms read them at time zero.

    Examples
    --------
    >>> from livn_ipp.env import Env
    >>> env = Env("EI1")
    >>> list(env.cells), env.cells[9].population
    (['EXC', 'INH'], 'INH')
    >>> _ = env.cells.set_params({"EXC:gna": 28.0})
    >>> env.cells["EXC"][3].get_params()["gna"]
    28.0
    """

    def __init__(
        self,
        owner: Any,
        system: Callable[[], System],
        settings: Settings,
        built: Callable[[int], Cell | None],
        apply: Callable[[], Any],
    ) -> None:
        self._owner, self._system = owner, system
        self.settings = settings
        self._built, self._apply = built, apply

    @property
    def gids(self) -> NDArray[np.uint32]:
        """All cells, ascending."""
        return self._system().gids

    def get_params(self) -> dict[str, NDArray[np.float64]]:
        """Return each parameter of all cells by ascending gid; NaN if one lacks it."""
        gids = self.gids.tolist()
        populations = self._system().population_of(self.gids).tolist()
        cells = [
            self.settings.cell(gid, population)
            for gid, population in zip(gids, populations, strict=True)
        ]
        names = dict.fromkeys(name for cell in cells for name in cell)
        return {
            name: np.array([cell.get(name, np.nan) for cell in cells]) for name in names
        }

    def set_params(self, params: Mapping[str, Any]) -> Any:
        """Set parameters of cells, on every rank alike.

        Parameters
        ----------
        params
            By ``name`` or ``POPULATION:name``: a number, or one for each cell by
            ascending gid.

        Returns
        -------
        Env
            The environment.

        Raises
        ------
        ConfigError
            If a name or value cannot be used; nothing was changed then.
        """
        self.change(params, None)
        return self._owner

    def change(self, params: Mapping[str, Any], gid: int | None) -> None:
        """Set parameters of one cell, or of all."""
        self.settings.set_cells(params, gid)
        self._apply()

    def built(self, gid: int) -> Cell:
        """Return what NEURON holds of a cell."""
        cell = self._built(gid)
        if cell is None:
            raise ConfigError(
                f"cell {gid} is not in this process: call init(), and ask the rank "
                f"that simulates it (env.active_gids)"
            )
        return cell

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return {gid: CellView(self, gid, key) for gid in self._of_population(key)}
        gids = self.gids
        if not isinstance(key, (int, np.integer)) or key not in gids:
            raise KeyError(
                f"there is no cell {key!r}; gids are {gids.min()} to {gids.max()}"
            )
        return CellView(
            self, int(key), str(self._system().population_of([int(key)])[0])
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._system().populations)

    def __len__(self) -> int:
        return len(self._system().populations)

    def __repr__(self) -> str:
        counts = [f"{len(self[name])} {name}" for name in self]
        return f"Cells({', '.join(counts)})"

    def _of_population(self, population: str) -> list[int]:
        system = self._system()
        if population not in system.populations:
            raise KeyError(
                f"there is no population {population!r}, only {system.populations}"
            )
        gids: list[int] = self.gids[
            system.population_of(self.gids) == population
        ].tolist()
        return gids
