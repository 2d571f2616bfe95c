"""Attributes that every cell has: its position and its dendrite's direction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import SystemFormatError
from livn_ipp.system.keyed import uniform
from livn_ipp.system.layout import ANGLE, COORDINATES
from livn_ipp.system.neuroh5 import Reader

__all__ = ["coordinates", "hashed_angles", "orientations"]

_Ranges = Mapping[str, tuple[int, int]]


def coordinates(file: Reader, ranges: _Ranges) -> NDArray[np.float64]:
    """Read rows (gid, x, y, z), positions in um.

    Parameters
    ----------
    file
        The file of cells.
    ranges
        First gid and number of cells of each population, by first gid.
    """
    rows = [
        np.column_stack(
            [
                np.arange(start, start + count),
                *(_one_per_cell(file, name, count, *field) for field in COORDINATES),
            ]
        )
        for name, (start, count) in ranges.items()
    ]
    return np.concatenate([np.zeros((0, 4)), *rows])


def orientations(file: Reader, ranges: _Ranges) -> NDArray[np.float64]:
    """Read the dendrites' directions in rad; hashed from the gid if there are none."""
    angles = [
        _one_per_cell(file, name, count, *ANGLE)
        if file.has(f"Populations/{name}/{'/'.join(ANGLE)}")
        else hashed_angles(np.arange(start, start + count))
        for name, (start, count) in ranges.items()
    ]
    return np.concatenate([np.zeros(0), *angles])


def hashed_angles(gids: NDArray[Any]) -> NDArray[np.float64]:
    """Directions in rad that look random but depend on the gid only."""
    return 2 * np.pi * uniform(gids)


def _one_per_cell(
    file: Reader, population: str, count: int, namespace: str, name: str
) -> NDArray[np.float64]:
    """Read an attribute that has exactly one value for each cell, by cell."""
    ragged = file.attribute(population, namespace, name, count, "f")
    problem = None
    if len(ragged.cells) != count or np.any(np.diff(ragged.pointer) != 1):
        problem = f"one value for each of {count} cells is due"
    elif not np.isfinite(ragged.values).all():
        problem = "holds values that are not finite numbers"
    if problem:
        field = f"Populations/{population}/{namespace}/{name}"
        raise SystemFormatError(file.path, field, problem)
    values = np.empty(count)
    values[ragged.cells] = ragged.values
    return values
