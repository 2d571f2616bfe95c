"""The system directory: a culture's cells, connections, electrodes and parameters."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import SystemFormatError
from livn_ipp.io import MEA
from livn_ipp.json_file import read_json
from livn_ipp.system import cells
from livn_ipp.system.graph import Graph
from livn_ipp.system.layout import DISTANCE, FACTOR, locate
from livn_ipp.system.neuroh5 import reading
from livn_ipp.system.source import Projection, fixed, range_of

__all__ = ["Directory"]


class Directory:
    """A culture on disk, read when it is asked for.

    Parameters
    ----------
    path
        A system directory, or the name of a shipped culture such as ``"EI1"``.

    Raises
    ------
    ConfigError
        If there is no such directory.
    SystemFormatError
        If a file is missing, or ``graph.json`` is broken or too new. What is wrong
        within other files shows when they are read, or by :meth:`validate`.
    """

    selection_name: str | None = None

    def __init__(self, path: str | Path) -> None:
        self.path: Path | None = locate(path)
        self._folder: Path = self.path
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
    def ranges(self) -> dict[str, tuple[int, int]]:
        """First gid and number of cells of each population, by first gid."""
        with reading(self._cells) as file:
            return file.populations()

    @cached_property
    def gids(self) -> NDArray[np.uint32]:
        """All cells, ascending."""
        spans = [np.arange(a, a + n) for a, n in self.ranges.values()]
        return fixed(np.concatenate([np.zeros(0, int), *spans]).astype(np.uint32))

    @cached_property
    def coordinates(self) -> NDArray[np.float64]:
        """Rows (gid, x, y, z) in um [n, 4], by gid."""
        with reading(self._cells) as file:
            return fixed(cells.coordinates(file, self.ranges))

    @cached_property
    def orientations(self) -> NDArray[np.float64]:
        """Direction of each cell's dendrite in rad [n], by gid."""
        with reading(self._cells) as file:
            return fixed(cells.orientations(file, self.ranges))

    @cached_property
    def projections(self) -> tuple[tuple[str, str], ...]:
        """The (presynaptic, postsynaptic) pairs of populations that are connected."""
        with reading(self._connections) as file:
            ranges = file.populations()
            pairs = file.projections()
        if ranges != self.ranges:
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

    def projection(self, pre: str, post: str, onto: NDArray[Any] | None) -> Projection:
        """Read one of :attr:`projections`, onto some gids or, if None, onto all."""
        pre_start, pre_count = range_of(self.ranges, pre, self.name)
        post_start, post_count = range_of(self.ranges, post, self.name)
        if onto is not None:
            index = np.asarray(onto, np.int64) - post_start
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
        path = self._folder / "mea.json"
        return MEA.load(path) if path.exists() else None

    def document(self, kind: str, name: str) -> dict[str, Any] | None:
        """Read ``<kind>/<name>.json``; None if there is none."""
        path = self._folder / kind / f"{name}.json"
        return read_json(path) if path.exists() else None

    def documents(self, kind: str) -> list[str]:
        """Return the names of which there is a document."""
        return sorted(file.stem for file in (self._folder / kind).glob("*.json"))

    @cached_property
    def bounding_box(self) -> NDArray[np.float64]:
        """Lowest and highest corner [2, 3] of the culture in um."""
        return fixed(self._graph.bounding_box())

    @property
    def graph_id(self) -> str | None:
        """The architecture's uuid."""
        return self._graph.uuid

    @cached_property
    def digest(self) -> str:
        """Fingerprint of all the directory's files."""
        content = hashlib.sha256()
        for file in sorted(self._folder.rglob("*")):
            if file.suffix in {".json", ".h5"} and file.is_file():
                content.update(file.relative_to(self._folder).as_posix().encode())
                content.update(hashlib.sha256(file.read_bytes()).digest())
        return content.hexdigest()[:32]

    def validate(self) -> None:
        """Read everything once."""
        _ = self.coordinates, self.orientations, self.bounding_box
        for pre, post in self.projections:
            self.projection(pre, post, None)
            self.synapses(pre, post)
        self.default_io()
        self.document("", "model")
        for kind in ("params", "selection"):
            for name in self.documents(kind):
                self.document(kind, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Directory, (self.path,)
