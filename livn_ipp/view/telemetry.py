"""Telemetry: the observer that a dispatcher tells, and where snapshots are taken."""

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from livn_ipp.view.monitor import Monitor
from livn_ipp.view.snapshot import Snapshot

__all__ = ["Telemetry"]


class Telemetry:
    """A :class:`livn_ipp.types.Observer` that may be told from any thread.

    Parameters
    ----------
    monitor
        What folds the news in.
    clock
        Tells the time in seconds since the epoch.

    Attributes
    ----------
    fault : str
        Traceback of the last news that could not be folded in; empty if all could. A
        fault in what is seen must not disturb what runs.

    Examples
    --------
    >>> telemetry = Telemetry(Monitor())
    >>> telemetry.joined(0)
    >>> telemetry.snapshot().workers[0].state.value
    'idle'
    """

    def __init__(
        self, monitor: Monitor, clock: Callable[[], float] = time.time
    ) -> None:
        self._monitor = monitor
        self._clock = clock
        self._lock = threading.Lock()
        self.fault = ""

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self._monitor.revision

    def snapshot(self, watch: int | None = None) -> Snapshot:
        """Tell what is known now; see :meth:`livn_ipp.view.monitor.Monitor.snapshot`.

        Parameters
        ----------
        watch
            The worker whose spikes are wanted.
        """
        with self._lock:
            return self._monitor.snapshot(self._clock(), watch)

    def joined(self, worker: int) -> None:
        """Take in that a worker is ready."""
        self._tell(self._monitor.joined, worker)

    def placed(self, worker: int, host: str, pids: tuple[int, ...]) -> None:
        """Take in where a worker's ranks are."""
        self._tell(self._monitor.placed, worker, host, pids)

    def lost(self, worker: int, reason: str, *, replaced: bool = False) -> None:
        """Take the loss of a worker in."""
        self._tell(self._monitor.lost, worker, reason, replaced=replaced)

    def retired(self, worker: int) -> None:
        """Take in that a worker was removed on request."""
        self._tell(self._monitor.retired, worker)

    def configured(self, version: int) -> None:
        """Take in how many entries the config log has."""
        self._tell(self._monitor.configured, version)

    def queued(self, calls: int) -> None:
        """Take in how many calls wait."""
        self._tell(self._monitor.queued, calls)

    def started(self, call: int, worker: int, attempt: int) -> None:
        """Take in that a call was handed to a worker."""
        self._tell(self._monitor.started, call, worker, attempt)

    def progressed(
        self,
        worker: int,
        call: int,
        time: float,
        end: float | None = None,
        gids: NDArray[np.uint32] | None = None,
        times: NDArray[np.float64] | None = None,
        rss: tuple[int, ...] = (),
        potential: NDArray[np.float64] | None = None,
    ) -> None:
        """Take in how far a call is."""
        self._tell(
            self._monitor.progressed,
            worker, call, time, end, gids, times, rss, potential,
        )  # fmt: skip

    def ended(
        self, call: int, how: Literal["done", "failed", "cancelled"], error: str = ""
    ) -> None:
        """Take in how a call ended."""
        self._tell(self._monitor.ended, call, how, error)

    def logged(self, line: str, worker: int | None = None) -> None:
        """Take a line for the log in."""
        self._tell(self._monitor.logged, line, worker)

    def _tell(self, news: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        with self._lock:
            try:
                news(self._clock(), *args, **kwargs)
            except Exception:
                self.fault = traceback.format_exc()
