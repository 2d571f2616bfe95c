"""The spikes of a sliding window, in memory that does not grow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SpikeWindow"]

_FIRST = 1024


class SpikeWindow:
    """Spikes in order of time, of which old ones are dropped.

    Examples
    --------
    >>> window = SpikeWindow()
    >>> window.add(np.array([7, 8]), np.array([1.0, 2.0]), limit=3).tolist()
    []
    >>> window.add(np.array([9, 7]), np.array([3.0, 4.0]), limit=3).tolist()
    [7]
    >>> window.expire(2.5).tolist()
    [8]
    >>> window.gids.tolist(), window.times.tolist()
    ([9, 7], [3.0, 4.0])
    """

    def __init__(self) -> None:
        self._start = self._stop = 0
        self._gids = np.empty(0, np.uint32)
        self._times = np.empty(0, np.float64)

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def gids(self) -> NDArray[np.uint32]:
        """Cell of each spike; valid until the next change."""
        return self._gids[self._start : self._stop]

    @property
    def times(self) -> NDArray[np.float64]:
        """Time of each spike, ascending; valid until the next change."""
        return self._times[self._start : self._stop]

    def add(
        self, gids: NDArray[Any], times: NDArray[np.float64], limit: int
    ) -> NDArray[np.uint32]:
        """Append spikes, none earlier than the last, in any order among themselves.

        Parameters
        ----------
        gids, times
            Cell and time of each.
        limit
            Most spikes to keep; beyond that the oldest are dropped.

        Returns
        -------
        array
            The cells of the spikes that were dropped because there are too many.
        """
        if len(times) > 1 and np.any(times[1:] < times[:-1]):
            order = np.argsort(times, kind="stable")
            gids, times = gids[order], times[order]
        surplus = max(0, len(times) - limit)
        overflow = min(len(self), max(0, len(self) + len(times) - limit))
        dropped = np.concatenate([self._drop(overflow), gids[:surplus]])
        gids, times = gids[surplus:], times[surplus:]
        self._make_room(len(times))
        end = self._stop + len(times)
        self._gids[self._stop : end] = gids
        self._times[self._stop : end] = times
        self._stop = end
        return dropped.astype(np.uint32, copy=False)

    def expire(self, before: float) -> NDArray[np.uint32]:
        """Drop the spikes before a time and return their cells."""
        return self._drop(int(np.searchsorted(self.times, before)))

    def _drop(self, count: int) -> NDArray[np.uint32]:
        dropped = self.gids[:count].copy()
        self._start += count
        return dropped

    def _make_room(self, count: int) -> None:
        if self._stop + count <= len(self._times):
            return
        # Twice what is live, so that each spike is moved once on average.
        live = len(self)
        size = max(_FIRST, 2 * (live + count))
        gids, times = np.empty(size, np.uint32), np.empty(size, np.float64)
        gids[:live], times[:live] = self.gids, self.times
        self._gids, self._times, self._start, self._stop = gids, times, 0, live
