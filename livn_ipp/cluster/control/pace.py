"""How much to hand to a worker at once: parcels that outweigh the cost of a message."""

import math
from collections import OrderedDict
from typing import Final

__all__ = ["Pace"]

_PARCEL_SECONDS: Final = 0.2
"""A message costs milliseconds; parcels of this length make that a few percent."""
_AHEAD_BELOW: Final = 0.25
"""Longer parcels are not sent ahead: the next idle worker should take them."""
_MOST_CALLS: Final = 1024
_REMEMBERED: Final = 256
"""Pipelines whose mean duration is remembered."""


class Pace:
    """Learns how long the calls of each pipeline take, and sizes parcels by it.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.batch("p", queued=1000, workers=2)
    1
    >>> pace.learn("p", 0.01)
    >>> pace.batch("p", queued=1000, workers=2)
    20
    """

    def __init__(self) -> None:
        self._seconds: OrderedDict[str, float] = OrderedDict()

    def learn(self, pipeline: str, seconds: float) -> None:
        """Take the duration of one call into a running mean."""
        before = self._seconds.pop(pipeline, seconds)
        self._seconds[pipeline] = 0.8 * before + 0.2 * seconds
        if len(self._seconds) > _REMEMBERED:
            self._seconds.popitem(last=False)

    def batch(self, pipeline: str, queued: int, workers: int) -> int:
        """Return how many of the queued calls one parcel should hold."""
        seconds = self._seconds.get(pipeline)
        if seconds is None:
            return 1
        fair = math.ceil(queued / (2 * workers))
        return max(1, min(int(_PARCEL_SECONDS / max(seconds, 1e-6)), fair, _MOST_CALLS))

    def expected(self, pipeline: str, calls: int) -> float:
        """Return the seconds that calls will take; infinite while that is unknown."""
        return self._seconds.get(pipeline, math.inf) * calls

    @staticmethod
    def may_send_behind(seconds: float) -> bool:
        """Tell whether a worker that is busy for so long may be sent more."""
        return seconds < _AHEAD_BELOW
