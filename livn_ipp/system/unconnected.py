"""Cells without connections, made in memory."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.positions import checked_rows
from livn_ipp.system.cells import hashed_angles
from livn_ipp.system.source import Projection, fixed

__all__ = ["Unconnected", "checked_counts"]

PITCH: Final = 100.0  # um, between cells whose places nobody gave
_MARGIN: Final = 100.0  # um around the cells, as in livn
_FORMS: Final = (
    "None (a square grid), a distance in um (a line along x), an array [n, 3] of "
    "(x, y, z) or [n, 4] of (gid, x, y, z) in um, a dict of such by population, or a "
    "function of the number of cells that returns one of these"
)


class Unconnected:
    """Cells that nothing connects.

    Parameters
    ----------
    populations
        Number of cells of each population; gids follow the given order.
    coordinates
        Where they are; see :class:`livn_ipp.system.ParallelSystem`.
    name
        Name of the system.
    """

    path: Path | None = None
    selection_name: str | None = None
    projections: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, populations: Mapping[str, int], coordinates: Any, name: str
    ) -> None:
        self.name = name
        self.ranges: dict[str, tuple[int, int]] = {}
        start = 0
        for population, count in populations.items():
            self.ranges[population] = (start, count)
            start += count
        self.gids = fixed(np.arange(start, dtype=np.uint32))
        places = _places(coordinates, dict(populations), start)
        self.coordinates = fixed(np.column_stack([self.gids, places]))
        self.orientations = fixed(hashed_angles(self.gids))

    @property
    def bounding_box(self) -> NDArray[np.float64]:
        """Lowest and highest corner [2, 3] in um, 100 um around the cells."""
        places = self.coordinates[:, 1:]
        return np.stack([places.min(axis=0) - _MARGIN, places.max(axis=0) + _MARGIN])

    @property
    def digest(self) -> str:
        """Fingerprint of populations and positions."""
        content = hashlib.sha256(repr(self.ranges).encode())
        content.update(self.coordinates.tobytes())
        return content.hexdigest()[:32]

    @property
    def graph_id(self) -> str | None:
        """None: there are no stored selections."""
        return None

    def projection(self, pre: str, post: str, onto: NDArray[Any] | None) -> Projection:
        """Raise ConfigError: there are no connections."""
        del onto
        raise ConfigError(f"{self.name} has no projection from {pre!r} to {post!r}")

    def synapses(self, pre: str, post: str) -> dict[str, Any]:
        """Raise ConfigError: there are no connections."""
        raise ConfigError(f"{self.name} has no synapses from {pre!r} to {post!r}")

    def default_io(self) -> MEA | None:
        """Return None: there are no electrodes."""
        return None

    def document(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return None: there are no documents."""
        del kind, name
        return None

    def documents(self, kind: str) -> list[str]:
        """Return nothing: there are no documents."""
        del kind
        return []

    def validate(self) -> None:
        """Do nothing: all was checked when it was made."""


def checked_counts(populations: Any) -> dict[str, int]:
    """Turn a number of cells, or numbers by population, into the latter.

    Raises
    ------
    ConfigError
        If it is neither, or there is not a single cell.
    """
    counts = populations if isinstance(populations, Mapping) else {"EXC": populations}
    for name, count in counts.items():
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not isinstance(name, str) or not name or not whole or count < 0:
            raise ConfigError(
                f"cells are given as a number or as {{population: number}}, "
                f"not {populations!r}"
            )
    checked = {name: int(count) for name, count in counts.items()}
    if sum(checked.values()) < 1:
        raise ConfigError(f"a system needs at least one cell, not {populations!r}")
    return checked


def _places(given: Any, populations: dict[str, int], cells: int) -> NDArray[np.float64]:
    """Turn any of the forms into positions [cells, 3]."""
    if callable(given):
        given = given(cells)
    if isinstance(given, Mapping):
        if set(given) != set(populations):
            raise ConfigError(
                f"coordinates are given for {sorted(given)}, but the populations are "
                f"{sorted(populations)}"
            )
        parts = [
            _places(given[name], {name: count}, count)
            for name, count in populations.items()
        ]
        return np.concatenate(parts)
    if given is None:
        side = int(np.ceil(np.sqrt(cells)))
        y, x = np.divmod(np.arange(cells), max(side, 1))
        return np.column_stack([PITCH * x, PITCH * y, np.zeros(cells)])
    try:
        values = np.array(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"coordinates must be {_FORMS} ({error})") from error
    if values.ndim == 0 and np.isfinite(values):
        line = values * np.arange(cells)
        return np.column_stack([line, np.zeros(cells), np.zeros(cells)])
    if values.shape == (cells, 3):
        values = np.column_stack([np.arange(cells), values])
    if values.shape != (cells, 4):
        raise ConfigError(
            f"coordinates must be {_FORMS}; for {cells} cells they are of shape "
            f"{values.shape}"
        )
    rows = checked_rows(values)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if not np.array_equal(rows[:, 0], np.arange(cells)):
        raise ConfigError(f"coordinates must name each gid from 0 to {cells - 1} once")
    return rows[:, 1:]
