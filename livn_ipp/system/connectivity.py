"""Connections arranged as a matrix of cells."""

from typing import Any

import numpy as np

from livn_ipp.errors import ConfigError
from livn_ipp.system.source import Source, range_of

__all__ = ["connectivity_matrix"]

_MOST = 2**31  # bytes of a matrix that is not sparse


def connectivity_matrix(
    source: Source, pre: str | None, post: str | None, *, sparse: bool
) -> Any:
    """Arrange weight factors; see :meth:`System.connectivity_matrix`."""
    rows, columns = _members(source, pre), _members(source, post)
    shape = (len(rows), len(columns))
    values, at, to = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
    for before, after in source.projections:
        if pre not in {None, before} or post not in {None, after}:
            continue
        edges = source.projection(before, after, None)
        kind = source.synapses(before, after).get("type")
        values.append(-edges.factor if kind == "inhibitory" else edges.factor)
        at.append(np.searchsorted(rows, edges.pre_gids))
        to.append(np.searchsorted(columns, edges.post_gids))
    entries = np.concatenate(values), np.concatenate(at), np.concatenate(to)
    if sparse:
        return _sparse(shape, *entries)
    if 8 * shape[0] * shape[1] > _MOST:
        raise ConfigError(
            f"a matrix of {shape[0]} x {shape[1]} cells would take "
            f"{8 * shape[0] * shape[1] / 1e9:.0f} GB; pass sparse=True"
        )
    matrix = np.zeros(shape)
    np.add.at(matrix, entries[1:], entries[0])
    return matrix


def _members(source: Source, population: str | None) -> Any:
    gids = source.gids
    if population is None:
        return gids
    start, count = range_of(source.ranges, population, source.name)
    return gids[(gids >= start) & (gids < start + count)]


def _sparse(shape: tuple[int, int], values: Any, at: Any, to: Any) -> Any:
    from scipy.sparse import coo_array

    return coo_array((values, (at, to)), shape=shape).tocsr()
