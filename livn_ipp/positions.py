"""Tables of positions: rows (id, x, y, z) in um, checked where they come in."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError

__all__ = [
    "area_grid",
    "checked_electrodes",
    "checked_points",
    "checked_rows",
    "rows_of",
    "square_grid",
]

_Floats = NDArray[np.float64]


def square_grid(side: float, per_side: int, height: float) -> _Floats:
    """Rows (id, x, y, z) of a grid centred in a square; ids run along x first."""
    ticks = (np.arange(per_side) + 0.5) * (side / per_side)
    y, x = np.meshgrid(ticks, ticks, indexing="ij")
    count = per_side**2
    return np.column_stack([np.arange(count), x.ravel(), y.ravel(), [height] * count])


def area_grid(area: ArrayLike, pitch: float, height: float) -> _Floats:
    """Rows (id, x, y, z) of the largest grid of powers of two, centred in an area.

    Raises
    ------
    ConfigError
        If the area's corners [2, 2] or [2, 3] are not the lowest and the highest.
    """
    try:
        corners = np.array(area, np.float64)[:, :2]
    except (TypeError, ValueError, IndexError):
        corners = np.zeros(0)
    if corners.shape != (2, 2) or not np.all(corners[0] <= corners[1]):
        raise ConfigError(
            f"an area is given by its lowest and highest corner, [[x0, y0], [x1, y1]] "
            f"in um, not {area!r}"
        )
    fitting = np.floor(np.ptp(corners, axis=0) / pitch + 1e-9) + 1
    counts = 2 ** np.floor(np.log2(fitting))
    x, y = (
        middle + pitch * (np.arange(count) - (count - 1) / 2)
        for middle, count in zip(corners.mean(axis=0), counts, strict=True)
    )
    across, along = np.meshgrid(y, x, indexing="ij")
    ids = np.arange(across.size)
    heights = np.full(len(ids), float(height))
    return np.column_stack([ids, along.ravel(), across.ravel(), heights])


def checked_rows(
    value: ArrayLike, name: str = "coordinates", first: str = "gid"
) -> _Floats:
    """Check a table [n, 4] of finite numbers; the names appear in the error."""
    expected = f"{name} must be numbers [n, 4]: rows ({first}, x, y, z) in um"
    try:
        rows = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{expected} ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ConfigError(f"{expected}, not of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ConfigError(f"{expected}, all finite")
    return rows


def checked_electrodes(value: ArrayLike) -> _Floats:
    """Check a table [C, 4] of electrodes with distinct ids; it becomes read-only."""
    rows = checked_rows(value, "electrode_coordinates", "channel id")
    if len(rows) == 0:
        raise ConfigError("electrode_coordinates is empty; an array needs electrodes")
    ids = rows[:, 0]
    if (
        np.any(ids < 0)
        or np.any(ids != np.floor(ids))
        or len(np.unique(ids)) < len(ids)
    ):
        raise ConfigError(
            f"electrode_coordinates: channel ids must be distinct whole numbers "
            f"from 0, not {ids.tolist()}"
        )
    rows.setflags(write=False)
    return rows


def checked_points(value: ArrayLike) -> _Floats:
    """Check an array [n, 3] of positions."""
    points = np.asarray(value, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ConfigError(f"points must be [n, 3] (um), not of shape {points.shape}")
    return points


def rows_of(gids: _Floats, wanted: NDArray[Any]) -> NDArray[np.intp]:
    """Row of each wanted gid in a list of gids."""
    unknown = np.setdiff1d(wanted, gids)
    if len(unknown):
        raise ConfigError(f"no coordinates are given for cells {unknown[:5].tolist()}")
    order = np.argsort(gids, kind="stable")
    return order[np.searchsorted(gids, wanted, sorter=order)]
