"""The arithmetic of plasticity: spike pairs, and sums of what was learned."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARRIVAL", "FIRING", "Index", "Pairing", "normalized"]

ARRIVAL: Final = 1
"""An event: a spike reaches the connection's synapse."""

FIRING: Final = 0
"""An event: the connection's postsynaptic cell spikes."""

_GRID: Final = 2.0**32  # learned factors lie on it, so that sums of them are exact
_HALVINGS: Final = 60

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class Pairing:
    """Connections that learn by the rule of :class:`livn_ipp.neuron.plasticity.STDP`.

    Parameters
    ----------
    numbers
        The rule of each connection: an array [n] for each of its numbers, by name.
    factors : array [n]
        What they have learned so far.

    Attributes
    ----------
    factors : array [n]
        What they have learned.
    """

    def __init__(self, numbers: Mapping[str, _Floats], factors: _Floats) -> None:
        self._numbers = numbers
        self.factors = factors.copy()
        self.forget()

    def forget(self) -> None:
        """Let no spike so far be part of a pair."""
        self._arrivals = np.zeros(len(self.factors))  # decaying sums, at time _last
        self._firings = np.zeros(len(self.factors))
        self._last = np.zeros(len(self.factors))

    def learn(self, rows: _Ints, times: _Floats, kinds: _Ints) -> None:
        """Take each connection's events in the order of time.

        Parameters
        ----------
        rows, times, kinds : array [events]
            Connection, time in ms and kind of each event, in any order, none of them
            before an event of an earlier call.
        """
        rows, times, arrived, fired = _instants(rows, times, kinds)
        rule = self._numbers
        for chosen in _rounds(rows):
            at, now = rows[chosen], times[chosen]
            elapsed = now - self._last[at]
            arrivals = self._arrivals[at] * np.exp(-elapsed / rule["tau_ltp"][at])
            firings = self._firings[at] * np.exp(-elapsed / rule["tau_ltd"][at])
            factors = self.factors[at] + fired[chosen] * rule["A_ltp"][at] * arrivals
            factors = factors - arrived[chosen] * rule["A_ltd"][at] * firings
            factors = np.clip(factors, rule["w_min"][at], rule["w_max"][at])
            self.factors[at] = _on_grid(factors)
            self._arrivals[at] = arrivals + arrived[chosen]
            self._firings[at] = firings + fired[chosen]
            self._last[at] = now

    def normalize(self, groups: NDArray[Any], target: float | None) -> None:
        """Scale each group's factors to a common sum; see :func:`normalized`."""
        lowest, highest = self._numbers["w_min"], self._numbers["w_max"]
        self.factors = normalized(self.factors, lowest, highest, groups, target)


class Index:
    """Finds the rows that belong to a cell.

    Examples
    --------
    >>> rows, counts = Index(np.array([5, 3, 5])).rows_of(np.array([4, 5]))
    >>> rows.tolist(), counts.tolist()
    ([0, 2], [0, 2])
    """

    def __init__(self, gids: NDArray[Any]) -> None:
        self._order = np.argsort(gids, kind="stable").astype(np.int64)
        self._sorted = gids[self._order]

    def rows_of(self, ids: NDArray[Any]) -> tuple[_Ints, _Ints]:
        """Return the rows of the cells, one cell after the other, and their counts."""
        begin = np.searchsorted(self._sorted, ids, "left").astype(np.int64)
        counts = np.searchsorted(self._sorted, ids, "right") - begin
        skipped = np.repeat(begin - (np.cumsum(counts) - counts), counts)
        return self._order[np.arange(len(skipped)) + skipped], counts


def normalized(
    factors: _Floats,
    lowest: _Floats,
    highest: _Floats,
    groups: NDArray[Any],
    target: float | None = None,
) -> _Floats:
    """Scale each group's factors to a common sum, within their bounds.

    Parameters
    ----------
    factors, lowest, highest : array [n]
        The factors and their bounds.
    groups : array [n]
        To which group each belongs.
    target
        The sum; None for the number of factors in each group. If the bounds do not
        permit it, the nearest sum that they permit.

    Examples
    --------
    >>> normalized(
    ...     np.array([0.5, 1.0, 3.0]), np.zeros(3), np.full(3, 4.0), np.array([7, 7, 9])
    ... ).round(6).tolist()
    [0.666667, 1.333333, 1.0]
    """
    result = factors.copy()
    for group in np.unique(groups):
        mine = groups == group
        values, low, high = factors[mine], lowest[mine], highest[mine]
        wanted = float(len(values)) if target is None else target
        below, above = 0.0, _largest_scale(values, high)
        for _ in range(_HALVINGS):  # the sum grows with the scale
            scale = (below + above) / 2
            total = float(_on_grid(np.clip(values * scale, low, high)).sum())
            below, above = (scale, above) if total < wanted else (below, scale)
        result[mine] = _on_grid(np.clip(values * above, low, high))
    return result


def _largest_scale(values: _Floats, high: _Floats) -> float:
    positive = values > 0
    return float((high[positive] / values[positive]).max()) if positive.any() else 1.0


def _on_grid(values: _Floats) -> _Floats:
    return np.rint(values * _GRID) / _GRID


def _instants(
    rows: _Ints, times: _Floats, kinds: _Ints
) -> tuple[_Ints, _Floats, _Floats, _Floats]:
    """Order events by (row, time); those of one instant become one.

    Returns
    -------
    tuple of array
        Row and time of each, and whether (1.0 or 0.0) it is an arrival and a firing.
    """
    order = np.lexsort((kinds, times, rows))
    rows, times, kinds = rows[order], times[order], kinds[order]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(rows) != 0) | (np.diff(times) != 0)
    starts = np.flatnonzero(new)
    arrived = np.zeros(len(starts))
    fired = np.zeros(len(starts))
    place = np.cumsum(new) - 1
    arrived[place[kinds == ARRIVAL]] = 1.0
    fired[place[kinds == FIRING]] = 1.0
    return rows[starts], times[starts], arrived, fired


def _rounds(rows: _Ints) -> list[NDArray[np.intp]]:
    """Return the events that are the first of their row, then the second, ..."""
    if len(rows) == 0:
        return []
    starts = np.flatnonzero(np.concatenate([[True], np.diff(rows) != 0]))
    turn = np.arange(len(rows)) - np.repeat(
        starts, np.diff(np.append(starts, len(rows)))
    )
    order = np.argsort(turn, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(turn[order])) + 1)
