"""The system directory: a culture's cells, connections, electrodes and parameters."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.io import MEA
from livn_ipp.json_file import read_json
from livn_ipp.system import cells
from livn_ipp.system.graph import Graph
from livn_ipp.system.layout import DISTANCE, FACTOR, locate
from livn_ipp.system.neuroh5 import reading

__all__ = ["Projection", "System"]


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
        In um; it sets the delay.
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


class System:
    """A culture on disk, read when it is asked for.

    Parameters
    ----------
    path
        A system directory, the name of a shipped culture such as ``"EI1"``, or another
        System.

    Raises
    ------
    ConfigError
        If there is no such directory.
    SystemFormatError
        If a file is missing, or ``graph.json`` is broken or too new. What is wrong
        within other files shows when they are read, or by :meth:`validate`.

    Examples
    --------
    >>> system = System("EI1")
    >>> system
    System(EI1: 8 EXC, 2 INH)
    >>> system.population_of([0, 9]).tolist()
    ['EXC', 'INH']
    >>> system.projection("EXC", "INH", gids=[9]).post_gids.tolist()
    [9, 9, 9, 9, 9, 9, 9, 9]
    """

    def __init__(self, path: "str | Path | System") -> None:
        self.path: Path = path.path if isinstance(path, System) else locate(path)
        self.name = self.path.name
        self._graph = Graph(self.path / "graph.json")
        single = self.path / "graph.h5"
        one_file = single.is_file() and not (self.path / "cells.h5").exists()
        self._cells = single if one_file else self.path / "cells.h5"
        self._connections = single if one_file else self.path / "connections.h5"
        for file in (self._cells, self._connections):
            if not file.is_file():
                raise SystemFormatError(file, "", "the file is missing")

    @cached_property
    def population_ranges(self) -> dict[str, tuple[int, int]]:
        """First gid and number of cells of each population, by first gid."""
        with reading(self._cells) as file:
            return file.populations()

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations, by first gid."""
        return tuple(self.population_ranges)

    @cached_property
    def gids(self) -> NDArray[np.uint32]:
        """All cells, ascending."""
        spans = [np.arange(a, a + n) for a, n in self.population_ranges.values()]
        return np.concatenate([np.zeros(0, int), *spans]).astype(np.uint32)

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return len(self.gids)

    num_neurons = num_cells  # livn's name

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
        starts = [start for start, count in self.population_ranges.values() if count]
        names = [name for name, (_, count) in self.population_ranges.items() if count]
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
        if population is None:
            return self._coordinates
        start, count = self._range(population)
        at = int(np.searchsorted(self.gids, start))
        return self._coordinates[at : at + count]

    def orientations(self) -> NDArray[np.float64]:
        """Direction of each cell's dendrite in the plane.

        Returns
        -------
        array [num_cells]
            Angle to the x axis in rad, by gid; hashed from the gid where the file holds
            none.
        """
        return self._orientations

    @cached_property
    def projections(self) -> tuple[tuple[str, str], ...]:
        """The (presynaptic, postsynaptic) pairs of populations that are connected."""
        with reading(self._connections) as file:
            ranges = file.populations()
            pairs = file.projections()
        if ranges != self.population_ranges:
            raise SystemFormatError(
                self._connections,
                "H5Types/Populations",
                f"is not that of {self._cells.name}",
            )
        for pre, post in pairs:
            if unknown := {pre, post} - set(ranges):
                raise SystemFormatError(
                    self._connections,
                    f"Projections/{post}/{pre}",
                    f"{unknown.pop()} is not a population",
                )
        return pairs

    def projection(
        self, pre: str, post: str, gids: ArrayLike | None = None
    ) -> Projection:
        """Read the connections from one population to another.

        Parameters
        ----------
        pre, post
            The populations.
        gids
            Read connections onto these cells only; gids of other populations count for
            nothing, so a rank may pass all its cells.

        Raises
        ------
        ConfigError
            If these populations are not connected.
        """
        if (pre, post) not in self.projections:
            raise ConfigError(
                f"{self.name} has no projection from {pre!r} to {post!r}; "
                f"it has {list(self.projections)}"
            )
        pre_start, pre_count = self._range(pre)
        post_start, post_count = self._range(post)
        onto = None
        if gids is not None:
            index = np.asarray(gids, np.int64) - post_start
            onto = index[(index >= 0) & (index < post_count)]
        with reading(self._connections) as file:
            weighted = file.has(f"Projections/{post}/{pre}/{FACTOR}")
            columns = (DISTANCE, FACTOR) if weighted else (DISTANCE,)
            edges = file.edges(pre, post, pre_count, post_count, columns, onto)
        order = np.lexsort((edges.sources, edges.destinations))
        factor = edges.columns.get(FACTOR, np.ones(len(order)))
        return Projection(
            pre,
            post,
            (edges.sources[order] + pre_start).astype(np.uint32),
            (edges.destinations[order] + post_start).astype(np.uint32),
            edges.columns[DISTANCE][order].astype(np.float64),
            factor[order].astype(np.float64),
        )

    def synapses(self, pre: str, post: str) -> dict[str, Any]:
        """Describe the synapses of a projection: sections, receptors, delay."""
        return self._graph.synapses(pre, post)

    def default_io(self) -> MEA | None:
        """Read the electrode array of ``mea.json``; None if there is none."""
        path = self.path / "mea.json"
        return MEA.load(path) if path.exists() else None

    def default_params(self, name: str = "default") -> dict[str, Any]:
        """Read ``params/<name>.json``, by model class and group; ``{}`` if absent."""
        path = self.path / "params" / f"{name}.json"
        return read_json(path) if path.exists() else {}

    @cached_property
    def bounding_box(self) -> NDArray[np.float64]:
        """Lowest and highest corner [2, 3] of the culture in um."""
        return self._graph.bounding_box()

    def digest(self) -> str:
        """Fingerprint of all the directory's files; equal on ranks that agree."""
        return self._digest

    def validate(self) -> "System":
        """Read everything once: raise SystemFormatError for the first fault found."""
        self.coordinates()
        self.orientations()
        self._graph.bounding_box()
        for pre, post in self.projections:
            self.projection(pre, post)
            self.synapses(pre, post)
        self.default_io()
        for file in sorted((self.path / "params").glob("*.json")):
            self.default_params(file.stem)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return System, (self.path,)

    def __repr__(self) -> str:
        counts = [f"{n} {name}" for name, (_, n) in self.population_ranges.items()]
        return f"System({self.name}: {', '.join(counts)})"

    def _range(self, population: str) -> tuple[int, int]:
        if population not in self.population_ranges:
            raise ConfigError(
                f"{self.name} has no population {population!r}; "
                f"it has {list(self.populations)}"
            )
        return self.population_ranges[population]

    @cached_property
    def _coordinates(self) -> NDArray[np.float64]:
        with reading(self._cells) as file:
            return _constant(cells.coordinates(file, self.population_ranges))

    @cached_property
    def _orientations(self) -> NDArray[np.float64]:
        with reading(self._cells) as file:
            return _constant(cells.orientations(file, self.population_ranges))

    @cached_property
    def _digest(self) -> str:
        content = hashlib.sha256()
        for file in sorted(self.path.rglob("*")):
            if file.suffix in {".json", ".h5"} and file.is_file():
                content.update(file.relative_to(self.path).as_posix().encode())
                content.update(hashlib.sha256(file.read_bytes()).digest())
        return content.hexdigest()[:32]


def _constant(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array.setflags(write=False)  # it is handed out more than once
    return array
