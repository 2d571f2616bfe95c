"""Which rank of a subworld simulates which cell: three ways, the same spikes."""

import difflib
import heapq
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.system import System

__all__ = [
    "PARTITIONS",
    "balance",
    "by_cost",
    "by_place",
    "cell_costs",
    "checked_partition",
    "in_turn",
    "own_gids",
    "synapses_in",
]

_Ranks = NDArray[np.int64]

PARTITIONS: Final = ("round_robin", "cost", "spatial")
"""Every way to divide the cells of a culture among the ranks of a subworld."""

_SYNAPSE: Final = 0.002
"""Cost of a connection in costs of a compartment: 0.4 us for each spike of its source
against 1 ms for each biological second, at 5 Hz (``benchmarks/partition.py``)."""
_BITS: Final = 16
"""Of a coordinate in a Morton code: cells nearer than 1/65536 of the culture tie."""


def checked_partition(name: Any) -> str:
    """Refuse what is not one of :data:`PARTITIONS`.

    Raises
    ------
    ConfigError
        Naming them.

    Examples
    --------
    >>> checked_partition("spatal")
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: partition='spatal' is not one of round_robin, cost,
    spatial; did you mean 'spatial'?
    """
    if isinstance(name, str) and name in PARTITIONS:
        return name
    near = difflib.get_close_matches(str(name), PARTITIONS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"partition={name!r} is not one of {', '.join(PARTITIONS)}{hint}")


def in_turn(cells: int, ranks: int) -> _Ranks:
    """Deal cells out in turn, as livn does.

    Parameters
    ----------
    cells, ranks
        How many there are.

    Returns
    -------
    array [cells]
        The rank of each.

    Examples
    --------
    >>> in_turn(5, 2).tolist()
    [0, 1, 0, 1, 0]
    """
    return np.arange(cells) % ranks


def by_cost(costs: ArrayLike, ranks: int) -> _Ranks:
    """Give each cell, the costliest first, to the rank that has the least to do.

    This is scheduling by the longest processing time: the costliest rank has at most
    4/3 - 1/(3 ranks) times what it would have in the best division of all.

    Parameters
    ----------
    costs : array [cells]
        What each costs, in any unit.
    ranks
        How many there are.

    Returns
    -------
    array [cells]
        The rank of each.

    Examples
    --------
    >>> by_cost([3, 3, 2, 2, 2], 2).tolist()
    [0, 1, 0, 1, 0]
    """
    values = np.asarray(costs, np.float64)
    chosen = np.zeros(len(values), np.int64)
    least = [(0.0, rank) for rank in range(ranks)]
    for cell in np.argsort(-values, kind="stable").tolist():
        sum_so_far, rank = least[0]
        chosen[cell] = rank
        heapq.heapreplace(least, (sum_so_far + float(values[cell]), rank))
    return chosen


def by_place(places: ArrayLike, ranks: int) -> _Ranks:
    """Give neighbours to the same rank: equal blocks in Morton order.

    Parameters
    ----------
    places : array [cells, d]
        Where they are, in um.
    ranks
        How many there are.

    Returns
    -------
    array [cells]
        The rank of each.

    Examples
    --------
    >>> by_place([[0, 0], [9, 9], [1, 0], [9, 8]], 2).tolist()
    [0, 1, 0, 1]
    """
    codes = _morton(np.atleast_2d(np.asarray(places, np.float64)))
    chosen = np.zeros(len(codes), np.int64)
    order = np.argsort(codes, kind="stable")
    for rank, block in enumerate(np.array_split(order, ranks)):
        chosen[block] = rank
    return chosen


def cell_costs(compartments: ArrayLike, synapses: ArrayLike) -> NDArray[np.float64]:
    """Model what it costs to simulate each cell, in costs of a compartment.

    A compartment is integrated at each step, a connection costs something only when its
    source fires. At 5 Hz, 500 connections onto a cell cost as much as one compartment.

    Parameters
    ----------
    compartments, synapses : array [cells]
        How many compartments each has, and how many connections end on it.

    Examples
    --------
    >>> cell_costs([2, 2], [0, 500]).tolist()
    [2.0, 3.0]
    """
    integrated = np.asarray(compartments, np.float64)
    return integrated + _SYNAPSE * np.asarray(synapses, np.float64)


def balance(amounts: ArrayLike) -> float:
    """Tell how evenly ranks share something: the mean over the maximum, at most 1.

    Examples
    --------
    >>> balance([3.0, 1.0]), balance([0.0, 0.0])
    (0.6666666666666666, 1.0)
    """
    values = np.asarray(amounts, np.float64)
    most = float(values.max(initial=0.0))
    return float(values.mean()) / most if most > 0 else 1.0


def synapses_in(
    system: System, gids: NDArray[np.uint32] | None = None
) -> NDArray[np.int64]:
    """Count the connections that end on each cell, of all cells by default."""
    wanted = system.gids if gids is None else gids
    counts = np.zeros(len(wanted), np.int64)
    for pre, post in system.projections:
        posts = system.projection(pre, post, gids).post_gids
        counts += np.bincount(np.searchsorted(wanted, posts), minlength=len(wanted))
    return counts


def own_gids(
    system: System, model: Model, partition: str, rank: int, size: int
) -> NDArray[np.uint32]:
    """Return the cells that a rank of a subworld simulates, ascending.

    Every rank computes the same division on its own; by cost, it reads all connections
    for that.

    Parameters
    ----------
    system, model
        The culture and its dynamics.
    partition
        One of :data:`PARTITIONS`.
    rank, size
        The rank, and how many the subworld has.
    """
    gids = system.gids
    if size == 1:
        return gids
    if partition == "cost":
        compartments = np.full(len(gids), len(model.sections))
        ranks = by_cost(cell_costs(compartments, synapses_in(system)), size)
    elif partition == "spatial":
        ranks = by_place(system.coordinates()[:, 1:], size)
    else:
        ranks = in_turn(len(gids), size)
    own: NDArray[np.uint32] = gids[ranks == rank]
    return own


def _morton(places: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Interleave the bits of coordinates, which go over the extent of all."""
    if not len(places):
        return np.zeros(0, np.uint64)
    low = places.min(axis=0)
    extent = np.maximum((places.max(axis=0) - low).max(), np.finfo(float).tiny)
    cells = ((places - low) / extent * ((1 << _BITS) - 1)).astype(np.uint64)
    codes = np.zeros(len(places), np.uint64)
    axes = cells.shape[1]
    for bit in range(_BITS):
        for axis in range(axes):
            ones = (cells[:, axis] >> np.uint64(bit)) & np.uint64(1)
            codes |= ones << np.uint64(bit * axes + axis)
    return codes
