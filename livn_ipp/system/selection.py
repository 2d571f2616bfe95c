"""Which cells of a culture a selection chooses."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.system.keyed import uniform
from livn_ipp.system.source import Source

__all__ = ["METHODS", "choose"]

METHODS: Final = ("first", "random", "patch")
_PURPOSE: Final = 5  # of the random numbers, beside the seed
_Gids = NDArray[np.uint32]


def choose(
    source: Source,
    select: Any,
    method: str = "first",
    bounds: ArrayLike | None = None,
    seed: int = 123,
) -> _Gids:
    """Choose cells; see :meth:`livn_ipp.system.System.selection`.

    Returns
    -------
    array, uint32
        The chosen cells, ascending.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}; choose from {list(METHODS)}")
    if bounds is not None and method != "patch":
        raise ConfigError(f"bounds go with method='patch', not {method!r}")
    if isinstance(select, str):
        chosen = _stored(source, select)
    elif isinstance(select, Mapping):
        chosen = _by_population(source, select, method, bounds, seed)
    elif method == "patch":
        chosen = _patch(source, select, bounds)
    else:
        chosen = _shares(source, _counts(source, select), method, seed)
    if len(chosen) == 0:
        raise ConfigError(f"{_told(select, method)} chooses no cell of {source.name}")
    return np.unique(chosen).astype(np.uint32)


def _told(select: Any, method: str) -> str:
    return f"selection({select!r}, method={method!r})"


def _members(source: Source, population: str) -> _Gids:
    start, count = source.ranges[population]
    gids = source.gids
    return gids[np.searchsorted(gids, start) : np.searchsorted(gids, start + count)]


def _counts(source: Source, select: Any) -> dict[str, int]:
    """Share a number or fraction out over populations in proportion to their sizes."""
    sizes = {name: len(_members(source, name)) for name in source.ranges}
    total = sum(sizes.values())
    if isinstance(select, float):
        return {name: _count(select, size, "all") for name, size in sizes.items()}
    wanted = _count(select, total, source.name)
    # Largest remainders (Hamilton's method), so that the numbers add up.
    exact = np.array([wanted * size / max(total, 1) for size in sizes.values()])
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: wanted - counts.sum()]] += 1
    return dict(zip(sizes, counts.tolist(), strict=True))


def _count(value: Any, size: int, where: str) -> int:
    """Turn a number or fraction of `size` cells into a number."""
    if isinstance(value, (float, np.floating)):
        if not 0 < value <= 1:
            raise ConfigError(
                f"a fraction of cells lies above 0 and up to 1, not {value!r}; give "
                f"a whole number to choose so many cells"
            )
        return max(round(float(value) * size), min(size, 1))
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise ConfigError(
            f"cells are chosen by a number, a fraction, a dict by population or a "
            f"stored selection's name, not by {value!r}"
        )
    if not 0 <= value <= size:
        raise ConfigError(f"{value} cells are asked for; {where} has {size}")
    return int(value)


def _shares(
    source: Source, counts: Mapping[str, int], method: str, seed: int
) -> NDArray[Any]:
    parts = [np.zeros(0, np.uint32)]
    for name, count in counts.items():
        members = _members(source, name)
        if method == "random":
            # By a number of its own for each cell, so that more is a superset of less.
            members = members[np.argsort(uniform(members, seed, _PURPOSE))]
        parts.append(members[:count])
    return np.concatenate(parts)


def _by_population(
    source: Source,
    select: Mapping[Any, Any],
    method: str,
    bounds: ArrayLike | None,
    seed: int,
) -> NDArray[Any]:
    if bounds is not None:
        raise ConfigError("give either cells by population or bounds, not both")
    counts, chosen = {}, [np.zeros(0, np.uint32)]
    for name, value in select.items():
        if name not in source.ranges:
            raise ConfigError(
                f"{source.name} has no population {name!r}; "
                f"it has {list(source.ranges)}"
            )
        members = _members(source, name)
        if isinstance(value, (list, tuple, np.ndarray, range)):
            chosen.append(_listed(np.asarray(value), members, name, source.name))
        elif method == "patch":
            raise ConfigError(
                f"a patch is one region for all populations, so {name}: {value!r} has "
                f"no meaning; give a number, a fraction or bounds"
            )
        else:
            counts[name] = _count(value, len(members), name)
    return np.concatenate([*chosen, _shares(source, counts, method, seed)])


def _listed(gids: NDArray[Any], members: _Gids, name: str, system: str) -> _Gids:
    if gids.size and (gids.ndim != 1 or gids.dtype.kind not in "iu"):
        raise ConfigError(f"{name}: cells are given as a list of gids, not {gids!r}")
    unknown = np.setdiff1d(gids, members)
    if len(unknown):
        raise ConfigError(f"{name} of {system} has no cells {unknown[:5].tolist()}")
    return gids.astype(np.uint32)


def _patch(source: Source, select: Any, bounds: ArrayLike | None) -> _Gids:
    """Choose the cells around the culture's centre, or in a given box."""
    places = source.coordinates[:, 1:3]
    if bounds is not None:
        lowest, highest = _corners(bounds)
        inside = ((places >= lowest) & (places <= highest)).all(axis=1)
        return np.compress(inside, source.gids)
    corners = source.bounding_box[:, :2]
    offsets = places - corners.mean(axis=0)
    if isinstance(select, float):
        _count(select, 1, "")
        half = np.sqrt(select) * (corners[1] - corners[0]) / 2
        return np.compress((np.abs(offsets) <= half).all(axis=1), source.gids)
    count = _count(select, len(places), source.name)
    nearest = np.argsort((offsets**2).sum(axis=1), kind="stable")
    return np.take(source.gids, nearest[:count])


def _corners(bounds: ArrayLike) -> NDArray[np.float64]:
    try:
        corners = np.array(bounds, np.float64)
    except (TypeError, ValueError):
        corners = np.zeros(0)
    ordered = corners.shape == (2, 2) and bool(np.all(corners[0] < corners[1]))
    if not ordered:
        raise ConfigError(
            f"bounds must be [[x0, y0], [x1, y1]] in um with x0 < x1 and y0 < y1, "
            f"not {bounds!r}"
        )
    return corners


def _stored(source: Source, name: str) -> NDArray[Any]:
    document = source.document("selection", name)
    if document is None:
        raise ConfigError(
            f"{source.name} stores no selection {name!r}, "
            f"only {source.documents('selection')}"
        )
    assert source.path is not None
    file = source.path / "selection" / f"{name}.json"
    made_for = document.get("meta", {}).get("graph")
    if made_for is not None and made_for != source.graph_id:
        raise SystemFormatError(
            file,
            "meta.graph",
            f"is {made_for}, but this culture is {source.graph_id}: the selection was "
            f"made for another one",
        )
    listed = document.get("gids")
    if not isinstance(listed, dict):
        raise SystemFormatError(file, "gids", "an object {population: [gids]} is due")
    try:
        return _by_population(
            source, {k: np.array(v, int) for k, v in listed.items()}, "first", None, 0
        )
    except (ConfigError, TypeError, ValueError) as error:
        raise SystemFormatError(file, "gids", str(error)) from error
