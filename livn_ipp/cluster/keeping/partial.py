"""The spikes of a call that still runs, put together from what its worker publishes."""

import threading

import numpy as np
from numpy.typing import NDArray

from livn_ipp.cluster import wire
from livn_ipp.run import Events, Run

__all__ = ["Partial"]


class Partial:
    """What is known so far of a call that is streamed.

    Publications come in order but may be late or lost. After a gap nothing is added
    until the call's last word, which holds every spike; so what there is never lacks a
    spike before its end.

    Examples
    --------
    >>> spikes = np.array([7], np.uint32), np.array([0.25])
    >>> partial = Partial()
    >>> partial.take(wire.Progress(1, 5.0, spikes=wire.dumps(spikes), before=0))
    >>> partial.run()
    Run(0-5 ms: 1 spikes)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: list[tuple[NDArray[np.uint32], NDArray[np.float64]]] = []
        self._count = 0
        self._start = self._time = 0.0

    def take(self, progress: wire.Progress) -> None:
        """Take a publication in; it may begin another run, or the same one again."""
        if progress.spikes is None or progress.before is None:
            return
        ids, times = wire.loads(progress.spikes)
        with self._lock:
            if progress.before == 0:
                self._parts, self._count, self._start = [], 0, progress.start
            elif progress.before != self._count or progress.start != self._start:
                return
            self._parts.append((ids, times))
            self._count += len(ids)
            self._time = progress.time

    def run(self) -> Run | None:
        """Return the run as far as it is known; None if nothing is."""
        with self._lock:
            if not self._parts:
                return None
            if len(self._parts) > 1:
                ids, times = zip(*self._parts, strict=True)
                self._parts = [(np.concatenate(ids), np.concatenate(times))]
            (part,), start, time = self._parts, self._start, self._time
        return Run(start, _length(start, time), Events.of(*part))


def _length(start: float, end: float) -> float:
    # Times are decimal numbers of ms; their difference is to be one as well.
    return float(np.round(end - start, 6))
