"""Attributes that every cell has: its position and its dendrite's direction."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import SystemFormatError
from livn_ipp.system.layout import ANGLE, COORDINATES
from livn_ipp.system.neuroh5 import Reader

__all__ = ["coordinates", "orientations"]

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
        else _hashed_angles(start, count)
        for name, (start, count) in ranges.items()
    ]
    return np.concatenate([np.zeros(0), *angles])


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


def _hashed_angles(start: int, count: int) -> NDArray[np.float64]:
    """Directions in rad that look random but depend on the gid only."""
    # SplitMix64 (Steele, Lea & Flood 2014, OOPSLA); it wraps around on purpose.
    bits = np.arange(start + 1, start + 1 + count, dtype=np.uint64)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return 2 * np.pi * (bits >> np.uint64(11)).astype(np.float64) / 2.0**53
