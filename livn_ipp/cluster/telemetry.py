"""What the ranks of a worker tell while they simulate, and how often.

Only the leader publishes, a few times a second at most. It says when at a vote, so that
at the end of that chunk all ranks take part in gathering what is new; between, and
outside of runs, it gives signs of life alone.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import psutil
from numpy.typing import NDArray

from livn_ipp.cluster import wire
from livn_ipp.subworld import Course, Subworld

__all__ = ["Telemetry"]

INTERVAL: Final = 0.2
"""Seconds between publications; a viewer sees no more."""
LONGEST_INTERVAL: Final = 1.0
"""Seconds between them where they are slow, as on a machine with too much to do."""
_SHARE: Final = 0.01
"""Of the time of a run that publications may take, and once more for its ends."""
MOST_SPIKES: Final = 20_000
"""In one publication for views."""

_log = logging.getLogger(__name__)

_Spikes = tuple[NDArray[np.uint32], NDArray[np.float64]]
_Part = tuple[int, int, _Spikes, NDArray[np.float64] | None]
"""Of one rank: resident bytes, number of new spikes, these, share in potentials."""


class Telemetry:
    """One rank's share of what its worker publishes.

    Parameters
    ----------
    subworld
        The ranks of the worker.
    clock
        Returns seconds.

    Attributes
    ----------
    publish : callable or None
        Sends a publication to the controller; only the leader has one.
    spikes : bool
        Whether publications carry spikes for views.
    """

    def __init__(
        self, subworld: Subworld, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.publish: Callable[[wire.Progress], None] | None = None
        self.spikes = False
        self._subworld = subworld
        self._clock = clock
        self._process = psutil.Process()
        self._call: wire.Call | None = None
        self._course: Course | None = None
        self._streamed: list[_Spikes] = []  # of the course, and their number
        self._count = 0
        self._time = 0.0
        self._began = 0.0
        self._published = -math.inf
        self._interval = INTERVAL
        self._fair = 0.0  # s between collections that take no more than their share
        self._closed = -math.inf  # when an end was last collected
        self._told = False  # something of the course before its end
        self._closings: list[wire.Progress] = []  # words of ends, for views
        self._last_words: list[wire.Progress] = []

    # The worker's side

    def begin(self, call: wire.Call) -> None:
        """Speak of this call from now on."""
        self._call, self._course, self._time = call, None, 0.0
        self._streamed, self._count = [], 0
        self._began = self._clock()
        if self._began - self._published >= INTERVAL:
            self._publish(self._progress(call))

    def end(self, *, late: bool = False) -> None:
        """Speak of no call; keep the last word on it if it was streamed or is late."""
        call, self._call = self._call, None
        if call is None or self.publish is None or not (call.stream or late):
            return
        word = self._progress(call)
        if call.stream and self._streamed:
            word = word._replace(spikes=wire.dumps(_joined(self._streamed)), before=0)
        self._last_words.append(word)
        self._streamed = []

    def last_words(self) -> tuple[wire.Progress, ...]:
        """Return those on calls that ended since the last time this was called."""
        words = (*self._closings, *self._last_words)
        self._closings, self._last_words = [], []
        return words

    # The subworld's side

    def due(self, time: float, course: Course) -> bool:
        """Tell whether to publish now; see :class:`livn_ipp.subworld.Telemetry`."""
        call = self._call
        if self.publish is None or call is None:
            return False
        self._follow(course)
        now = self._clock()
        if time >= course.end:
            # What short calls do would be told by nothing else; but all or nothing.
            affordable = self._told or now - self._closed >= self._fair
            if call.stream or (self.spikes and affordable):
                return True
        return now - self._published >= self._interval

    def collect(self, time: float, course: Course) -> None:
        """Gather what is new from all ranks and publish it. Collective."""
        began = self._clock()
        self._follow(course)
        self._time = time
        part, mpi = None, self._subworld.mpi
        try:
            part = self._part(course)
        finally:
            # Also if this rank fails: the others learn it at their next vote.
            parts = [part] if mpi is None else mpi.gather(part)
        if parts is not None and self._call is not None:
            word = self._word(self._call, [part for part in parts if part])
            if time >= course.end and not self._call.stream:
                self._closings.append(word)  # it goes with the answer
                self._closed = began
            else:
                self._told = True
                self._publish(word)
        self._learn_cost(began)

    def report(self, time: float) -> None:
        """Publish the biological time (ms) if that is due, from the leader alone."""
        self._time = time
        self._speak(INTERVAL)

    def alive(self) -> None:
        """Publish a sign of life if there was none for some time."""
        # The ends of chunks, which have more to say, are given the time to come first.
        self._speak(2 * self._interval)

    # Inside

    def _speak(self, interval: float) -> None:
        if self.publish is None or self._call is None:
            return
        if self._clock() - self._published >= interval:
            self._publish(self._progress(self._call))

    def _follow(self, course: Course) -> None:
        if course is not self._course:
            self._course, self._streamed, self._count = course, [], 0
            self._told = False

    def _learn_cost(self, began: float) -> None:
        fair = (self._clock() - began) / _SHARE
        self._fair = 0.7 * self._fair + 0.3 * fair
        bounded = min(max(fair, INTERVAL), LONGEST_INTERVAL)
        self._interval = 0.7 * self._interval + 0.3 * bounded

    def _part(self, course: Course) -> _Part:
        spikes = course.news()
        count = len(spikes[0])
        if self._call is None or not self._call.stream:
            every = math.ceil(count * self._subworld.size / MOST_SPIKES) or 1
            spikes = spikes[0][::every], spikes[1][::every]
        potential = None if course.potential is None else course.potential()
        return self._process.memory_info().rss, count, spikes, potential

    def _word(self, call: wire.Call, parts: list[_Part]) -> wire.Progress:
        spikes, before = _joined([part[2] for part in parts]), None
        if call.stream:
            before = self._count
            self._streamed.append(spikes)
            self._count += len(spikes[0])
        shares = [part[3] for part in parts if part[3] is not None]
        return self._progress(call)._replace(
            rss=tuple(part[0] for part in parts),
            new_spikes=sum(part[1] for part in parts),
            spikes=wire.dumps(spikes) if call.stream or self.spikes else None,
            before=before,
            potential=_added(shares) if self.spikes else (),
        )

    def _publish(self, progress: wire.Progress) -> None:
        if self.publish is None:
            return
        words, self._closings = [*self._closings, progress], []  # in this order
        try:
            for word in words:
                self.publish(word)
        except Exception:  # word of a call must never be its end
            _log.warning("progress could not be published", exc_info=True)
        self._published = self._clock()

    def _progress(self, call: wire.Call) -> wire.Progress:
        seconds = self._clock() - self._began
        if self._course is None:
            return wire.Progress(call.id, self._time, seconds)
        start, end = self._course.start, self._course.end
        return wire.Progress(call.id, self._time, seconds, start, end)


def _added(shares: list[NDArray[np.float64]]) -> tuple[float, ...]:
    return tuple(np.sum(shares, axis=0).tolist()) if shares else ()


def _joined(parts: list[_Spikes]) -> _Spikes:
    if len(parts) == 1:
        return parts[0]
    return (
        np.concatenate([np.zeros(0, np.uint32), *(ids for ids, _ in parts)]),
        np.concatenate([np.zeros(0), *(times for _, times in parts)]),
    )
