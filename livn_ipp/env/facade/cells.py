"""The cells of a distributed culture: parameters, not processes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.system import System

__all__ = ["RemoteCell", "RemoteCells"]


class RemoteCell:
    """One cell of the culture on every worker.

    Attributes
    ----------
    gid : int
        Its number.
    population : str
        What it belongs to.
    """

    def __init__(self, cells: "RemoteCells", gid: int, population: str) -> None:
        self._cells = cells
        self.gid, self.population = gid, population

    def get_params(self) -> dict[str, float]:
        """Return its parameters by name."""
        at = int(np.searchsorted(self._cells.gids, self.gid))
        values = {name: row[at] for name, row in self._cells.get_params().items()}
        return {name: float(v) for name, v in values.items() if not np.isnan(v)}

    def set_params(self, params: Mapping[str, float]) -> "RemoteCell":
        """Set some of its parameters on every worker."""
        self._cells.configure("cells.change", params, self.gid)
        return self

    def __repr__(self) -> str:
        return f"RemoteCell({self.population} {self.gid})"


class RemoteCells(Mapping[str, Mapping[int, RemoteCell]]):
    """The culture's cells on every worker: by population and gid, or a gid at once.

    Parameters
    ----------
    system
        Tells the culture.
    configure, ask
        How a distributed environment sets, and asks.
    """

    def __init__(
        self,
        system: Callable[[], System],
        configure: Callable[..., Any],
        ask: Callable[..., Any],
    ) -> None:
        self._system, self.configure, self._ask = system, configure, ask

    @property
    def gids(self) -> NDArray[np.uint32]:
        """All cells, ascending."""
        return self._system().gids

    def get_params(self) -> dict[str, NDArray[np.float64]]:
        """Return each parameter of all cells by ascending gid; NaN if one lacks it."""
        return dict(self._ask("cells.get_params"))

    def set_params(self, params: Mapping[str, Any]) -> Any:
        """Set parameters of cells on every worker; see ``Env.cells.set_params``."""
        return self.configure("cells.set_params", params)

    def __getitem__(self, key: Any) -> Any:
        system = self._system()
        if isinstance(key, str):
            if key not in system.populations:
                raise KeyError(
                    f"there is no population {key!r}, only {system.populations}"
                )
            members = system.gids[system.population_of(system.gids) == key]
            return {gid: RemoteCell(self, gid, key) for gid in members.tolist()}
        if not isinstance(key, (int, np.integer)) or key not in system.gids:
            raise KeyError(f"there is no cell {key!r}")
        return RemoteCell(self, int(key), str(system.population_of([int(key)])[0]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._system().populations)

    def __len__(self) -> int:
        return len(self._system().populations)

    def __repr__(self) -> str:
        return f"RemoteCells({self._system()})"
