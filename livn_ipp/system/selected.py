"""A culture of which only some cells are there."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.io import MEA
from livn_ipp.system.source import Projection, Source, fixed

__all__ = ["Selected"]


class Selected:
    """A culture of which only some cells are there; a :class:`Source`.

    Parameters
    ----------
    whole
        The culture.
    gids : array
        The cells that remain.
    selection_name
        The stored selection's name, if it is one.
    """

    def __init__(
        self, whole: Source, gids: NDArray[np.uint32], selection_name: str | None = None
    ) -> None:
        self.whole = whole
        self.gids = fixed(gids)
        self.selection_name = selection_name

    @property
    def name(self) -> str:
        """Name of the culture."""
        return self.whole.name

    @property
    def path(self) -> Path | None:
        """The culture's directory."""
        return self.whole.path

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """First gid and number of cells of each population of the whole culture."""
        return self.whole.ranges

    @cached_property
    def _rows(self) -> NDArray[np.intp]:
        return np.searchsorted(self.whole.gids, self.gids)

    @cached_property
    def coordinates(self) -> NDArray[np.float64]:
        """Rows (gid, x, y, z) in um of the remaining cells."""
        return fixed(self.whole.coordinates[self._rows])

    @cached_property
    def orientations(self) -> NDArray[np.float64]:
        """Direction of their dendrites in rad."""
        return fixed(self.whole.orientations[self._rows])

    @property
    def projections(self) -> tuple[tuple[str, str], ...]:
        """Those of the whole culture, even where no connection remains."""
        return self.whole.projections

    def projection(self, pre: str, post: str, onto: NDArray[Any] | None) -> Projection:
        """Read the connections between cells that remain."""
        kept = self.gids if onto is None else np.intersect1d(onto, self.gids)
        edges = self.whole.projection(pre, post, kept)
        return edges.where(np.isin(edges.pre_gids, self.gids))

    def synapses(self, pre: str, post: str) -> dict[str, Any]:
        """Describe the synapses of a projection."""
        return self.whole.synapses(pre, post)

    def default_io(self) -> MEA | None:
        """Read the electrode array."""
        return self.whole.default_io()

    def document(self, kind: str, name: str) -> dict[str, Any] | None:
        """Read a document of the culture."""
        return self.whole.document(kind, name)

    def documents(self, kind: str) -> list[str]:
        """Return the names of which the culture has a document."""
        return self.whole.documents(kind)

    @property
    def bounding_box(self) -> NDArray[np.float64]:
        """Corners of the whole culture."""
        return self.whole.bounding_box

    @property
    def graph_id(self) -> str | None:
        """That of the whole culture."""
        return self.whole.graph_id

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the culture and of the cells that remain."""
        content = hashlib.sha256(self.whole.digest.encode())
        content.update(self.gids.tobytes())
        return content.hexdigest()[:32]

    def validate(self) -> None:
        """Read the whole culture once."""
        self.whole.validate()

    def __reduce__(self) -> tuple[Any, ...]:
        return Selected, (self.whole, self.gids, self.selection_name)
