"""Monitor: folds what an observer is told into a snapshot, without clock or threads.

A worker's biological time goes on from call to call here, so that the window slides
over calls that each start from t = 0.
"""

from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.view.batch import Batch
from livn_ipp.view.culture import Culture
from livn_ipp.view.snapshot import (
    Calls,
    Electrodes,
    LogLine,
    Population,
    Recent,
    Snapshot,
    WorkerState,
    WorkerView,
)
from livn_ipp.view.worker import Ending, Worker

__all__ = ["Monitor"]

_LINES: Final = 200
_LONGEST: Final = 500  # characters of a line


class Monitor:
    """What is known of workers and calls; each method is told the time.

    Implements :class:`livn_ipp.types.Observer` with `now`, in seconds since the epoch,
    as a further first argument. Keeps a bounded window of spikes of each worker.

    Parameters
    ----------
    culture
        Who is who in the culture; without it, there are no rates.
    name
        What is looked at; by default the culture's name.
    window
        Biological time in ms over which rates are taken and spikes are shown.
    limit
        Most spikes to keep, of all workers together.

    Examples
    --------
    >>> monitor = Monitor(window=1000)
    >>> monitor.joined(0.0, worker=0)
    >>> monitor.started(1.0, call=7, worker=0, attempt=1)
    >>> monitor.progressed(2.0, worker=0, call=7, time=250.0, end=1000.0)
    >>> seen = monitor.snapshot(2.0)
    >>> seen.workers[0].state.value, seen.calls.fraction, seen.calls.remaining
    ('busy', 0.25, 3.0)
    """

    def __init__(
        self,
        culture: Culture | None = None,
        name: str = "",
        *,
        window: float = 5000.0,
        limit: int = 400_000,
    ) -> None:
        self.culture = culture or Culture()
        self._name = name or self.culture.name
        self._window = window
        self._limit = limit
        self._workers: dict[int, Worker] = {}
        self._returned: dict[int, int] = {}  # calls whose worker was lost, and which
        self._batch = Batch()
        self._queued = 0
        self._ends = {"done": 0, "failed": 0, "cancelled": 0}
        self._version = 0
        self._log: deque[LogLine] = deque(maxlen=_LINES)
        self._counts = np.zeros(self.culture.size, np.int64)
        self._watched: int | None = None
        self._recent: tuple[Any, Recent] = (None, Recent())
        self.revision = 0

    # What the observer is told

    def joined(self, now: float, worker: int) -> None:
        """Take in that a worker is ready."""
        seen = self._worker(worker)
        if seen.state in (WorkerState.REPLACED, WorkerState.LOST):
            self._note(now, worker, "is ready again")
        seen.state = WorkerState.BUSY if seen.calls else WorkerState.IDLE
        self._changed()

    def placed(self, now: float, worker: int, host: str, pids: tuple[int, ...]) -> None:
        """Take in where a worker's ranks are."""
        del now
        seen = self._worker(worker)
        seen.host, seen.pids = host, tuple(pids)
        self._changed()

    def lost(
        self, now: float, worker: int, reason: str, *, replaced: bool = False
    ) -> None:
        """Take the loss of a worker in; its calls wait for another."""
        seen = self._worker(worker)
        state = WorkerState.REPLACED if replaced else WorkerState.LOST
        known = (seen.state, seen.error) == (state, _short(reason))
        seen.state, seen.error = state, _short(reason)
        self._returned.update(dict.fromkeys(seen.calls, worker))
        seen.calls.clear()
        seen.pids = seen.memory = ()
        self._uncount(seen.empty())
        if not known:  # who ends a worker tells of it, and so does who sees it end
            self._note(now, worker, f"{state}: {reason}")
        self._changed()

    def retired(self, now: float, worker: int) -> None:
        """Take in that a worker was removed on request."""
        seen = self._workers.pop(worker, None)
        if seen is not None:
            self._returned.update(dict.fromkeys(seen.calls, worker))
            self._uncount(seen.empty())
            self._note(now, worker, "was removed")

    def configured(self, now: float, version: int) -> None:
        """Take in how many entries the config log has."""
        del now
        if version != self._version:
            self._version = version
            self._changed()

    def queued(self, now: float, calls: int) -> None:
        """Take in how many calls wait."""
        if calls == self._queued:
            return
        self._queued = calls
        if calls:
            self._batch.begin(now)
        elif not self._unfinished:
            self._batch.close(now)
        self._changed()

    def started(self, now: float, call: int, worker: int, attempt: int) -> None:
        """Take in that a call was handed to a worker."""
        self._batch.begin(now)
        seen = self._worker(worker)
        if not seen.calls:
            seen.take_up(now, call)
        seen.calls[call] = attempt
        lost_by = self._workers.get(self._returned.pop(call, -1))
        if lost_by is not None:
            lost_by.retried += 1
        seen.state = WorkerState.BUSY
        self._changed()

    def progressed(
        self,
        now: float,
        worker: int,
        call: int,
        time: float,
        end: float | None = None,
        gids: NDArray[np.uint32] | None = None,
        times: NDArray[np.float64] | None = None,
        rss: tuple[int, ...] = (),
        potential: NDArray[np.float64] | None = None,
    ) -> None:
        """Take in how far a call is and what fired; stale news is passed over."""
        seen = self._workers.get(worker)
        if seen is None or call not in seen.calls:
            return
        if seen.call != call:
            seen.take_up(now, call)
        length = end if call not in seen.heard else None
        if end:
            seen.heard.add(call)
        self._batch.simulated(max(0.0, time - seen.time), length)
        seen.time, seen.end = max(time, seen.time), end or seen.end
        seen.memory = tuple(rss) or seen.memory
        seen.potential = seen.potential if potential is None else potential
        if gids is not None and times is not None and len(times):
            known = gids < len(self._counts)
            gids, times = gids[known], times[known]
            self._counts += np.bincount(gids, minlength=len(self._counts))
            share = max(1, self._limit // len(self._workers))
            self._uncount(seen.fired(gids, times, share))
        self._uncount(seen.slide(self._window))
        self._changed()

    def ended(self, now: float, call: int, how: Ending, error: str = "") -> None:
        """Take in how a call ended."""
        self._ends[how] += 1
        self._returned.pop(call, None)
        worker = next((i for i, w in self._workers.items() if call in w.calls), None)
        if worker is not None:
            seen = self._workers[worker]
            if how == "done" and seen.call == call and seen.end:
                # It went on to its end after it was last heard of.
                self._batch.simulated(max(0.0, seen.end - seen.time))
                seen.time = max(seen.time, seen.end)
                self._uncount(seen.slide(self._window))
            if how == "done" and call not in seen.heard:
                self._batch.unheard()
            seen.settle(now, call, how)
        if how == "failed":
            if worker is not None:
                self._workers[worker].error = _short(error)
            self._note(now, worker, f"call {call} failed: {error}")
        self._batch.count(now, how)
        if not self._unfinished:
            self._batch.close(now)
        self._changed()

    def logged(self, now: float, line: str, worker: int | None = None) -> None:
        """Take a line for the log in."""
        self._note(now, worker, line)

    # What it gives

    def snapshot(self, now: float, watch: int | None = None) -> Snapshot:
        """Tell what is known.

        Parameters
        ----------
        now
            The time.
        watch
            The worker whose spikes are wanted; by default one that is busy, and the
            same one as long as it stays so.
        """
        workers = tuple(w.view(now) for _, w in sorted(self._workers.items()))
        watched = self._workers.get(self._choose(watch, workers))
        seconds = sum(w.observed for w in self._workers.values()) / 1000
        return Snapshot(
            name=self._name,
            now=now,
            revision=self.revision,
            workers=workers,
            calls=self._calls(now, workers),
            populations=self._populations(seconds),
            recent=self._recent_of(watched),
            electrodes=self._electrodes(seconds, watched),
            version=self._version,
            log=tuple(self._log),
        )

    # Inside

    @property
    def _unfinished(self) -> int:
        handed_out = sum(len(w.calls) for w in self._workers.values())
        # Calls that came back are in the queue, of which news may not have come yet.
        return handed_out + max(self._queued, len(self._returned))

    def _worker(self, index: int) -> Worker:
        if index not in self._workers:
            self._workers[index] = Worker(index)
        return self._workers[index]

    def _changed(self) -> None:
        self.revision += 1

    def _note(self, now: float, worker: int | None, text: str) -> None:
        self._log.append(LogLine(now, worker, _short(text)))
        self._changed()

    def _uncount(self, gids: NDArray[np.uint32]) -> None:
        if len(gids):
            self._counts -= np.bincount(gids, minlength=len(self._counts))

    def _choose(self, watch: int | None, workers: tuple[WorkerView, ...]) -> int:
        if watch is not None:
            return watch
        busy = [w.index for w in workers if w.state is WorkerState.BUSY]
        firing = [w.index for w in workers if len(self._workers[w.index].spikes)]
        worth = busy or firing or [w.index for w in workers]
        if self._watched not in worth:
            self._watched = (worth or [-1])[0]
        assert self._watched is not None
        return self._watched

    def _calls(self, now: float, workers: tuple[WorkerView, ...]) -> Calls:
        running = [w for w in workers if w.call is not None]
        unfinished = self._unfinished
        return self._batch.calls(
            now,
            queued=unfinished - len(running),
            running=[(w.time, w.end) for w in running],
            ends=self._ends,
        )

    def _populations(self, seconds: float) -> tuple[Population, ...]:
        found = []
        for name, first, number, cells in self.culture.populations:
            spikes = int(self._counts[first : first + number].sum())
            rate = spikes / (cells * seconds) if cells and seconds else 0.0
            found.append(Population(name, first, number, rate))
        return tuple(found)

    def _electrodes(self, seconds: float, watched: Worker | None) -> Electrodes | None:
        culture = self.culture
        if not len(culture.channels):
            return None
        rates = culture.heard_rates(self._counts, seconds)
        potential = None if watched is None else watched.potential
        return Electrodes(culture.channels, culture.positions, rates, potential)

    def _recent_of(self, worker: Worker | None) -> Recent:
        # The same object as long as nothing changed: what draws it need not draw again.
        key = None if worker is None else (worker.index, worker.clock, worker.empties)
        if key != self._recent[0]:
            recent = Recent() if worker is None else worker.recent()
            self._recent = (key, recent)
        return self._recent[1]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
