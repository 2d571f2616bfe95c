"""What a monitor knows of one worker: its calls, its time, its spikes."""

from collections import deque
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from livn_ipp.view.snapshot import Recent, WorkerState, WorkerView
from livn_ipp.view.spikes import SpikeWindow

__all__ = ["Ending", "Worker"]

_CALLS_IN_VIEW: Final = 50

Ending = Literal["done", "failed", "cancelled"]


class Worker:
    """One worker, as a monitor sees it.

    Its biological time, `clock`, goes on from call to call.

    Parameters
    ----------
    index
        Number of the worker.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.state = WorkerState.STARTING
        self.host = ""
        self.pids: tuple[int, ...] = ()
        self.memory: tuple[int, ...] = ()
        self.error = ""
        self.done = self.failed = self.retried = 0
        self.calls: dict[int, int] = {}  # handed to it, in order, with the attempt
        self.call: int | None = None  # the one that runs
        self.heard: set[int] = set()  # of the calls, those that told when they end
        self.time, self.since = 0.0, 0.0
        self.end: float | None = None
        self.potential: NDArray[np.float64] | None = None
        self.origin = 0.0  # biological time at which the call began
        self.horizon = 0.0  # and from which on all spikes are in the window
        self.spikes = SpikeWindow()
        self.begins: deque[tuple[float, int]] = deque(maxlen=_CALLS_IN_VIEW)
        self.empties = 0

    @property
    def clock(self) -> float:
        """All biological time that it has simulated, in ms."""
        return self.origin + self.time

    @property
    def observed(self) -> float:
        """Length of its window in ms."""
        return self.clock - self.horizon

    def take_up(self, now: float, call: int) -> None:
        """Run this call from now on."""
        self.origin = self.clock
        self.call, self.since = call, now
        self.time, self.end = 0.0, None
        self.begins.append((self.origin, call))

    def settle(self, now: float, call: int, how: Ending) -> None:
        """End a call, and take up the one behind it."""
        del self.calls[call]
        self.heard.discard(call)
        self.done += how == "done"
        self.failed += how == "failed"
        if self.call != call:
            return
        following = next(iter(self.calls), None)
        if following is not None:
            self.take_up(now, following)
        else:
            self.rest()

    def rest(self) -> None:
        """Run nothing."""
        self.origin, self.time, self.end, self.call = self.clock, 0.0, None, None
        if self.state is WorkerState.BUSY:
            self.state = WorkerState.IDLE

    def fired(
        self, gids: NDArray[np.uint32], times: NDArray[np.float64], limit: int
    ) -> NDArray[np.uint32]:
        """Add spikes, of which so many are kept; return the cells of those dropped."""
        dropped = self.spikes.add(gids, self.origin + times, limit)
        if len(dropped) and len(self.spikes):
            self.horizon = float(self.spikes.times[0])
        return dropped

    def slide(self, window: float) -> NDArray[np.uint32]:
        """Forget what is older than the window (ms); return the cells of its spikes."""
        self.horizon = max(self.horizon, self.clock - window)
        while len(self.begins) > 1 and self.begins[1][0] <= self.horizon:
            self.begins.popleft()
        return self.spikes.expire(self.horizon)

    def empty(self) -> NDArray[np.uint32]:
        """Forget the call and the spikes; return the cells of these."""
        dropped = self.spikes.gids.copy()
        self.heard.clear()
        self.rest()
        self.horizon = self.clock
        self.spikes = SpikeWindow()
        self.begins.clear()
        self.potential = None
        self.empties += 1
        return dropped

    def recent(self) -> Recent:
        """Copy what is in the window."""
        begins = tuple(begin for begin in self.begins if begin[0] >= self.horizon)
        return Recent(
            self.index,
            self.spikes.gids.copy(),
            self.spikes.times.copy(),
            self.horizon,
            self.clock,
            begins,
        )

    def view(self, now: float) -> WorkerView:
        """Tell what is known of it."""
        return WorkerView(
            index=self.index,
            state=self.state,
            host=self.host,
            pids=self.pids,
            call=self.call,
            attempt=0 if self.call is None else self.calls[self.call],
            ahead=max(0, len(self.calls) - 1),
            time=self.time,
            end=self.end,
            seconds=0.0 if self.call is None else max(0.0, now - self.since),
            done=self.done,
            failed=self.failed,
            retried=self.retried,
            memory=self.memory,
            error=self.error,
        )
