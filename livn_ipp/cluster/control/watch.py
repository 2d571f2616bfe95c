"""Who is overdue: parcels in flight, signs of life, and time limits. Pure, no clock."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.control.events import StopCall, WorkerStuck
from livn_ipp.cluster.limits import Limits

__all__ = ["Watch"]

_PATIENCE: Final = 0.5
"""Seconds that a parcel goes on with cancelled calls before it is stopped."""


@dataclass(slots=True)
class _Parcel:
    number: int
    items: tuple[wire.Item, ...]
    cancelled: float | None = None
    """When a call of it was cancelled."""


@dataclass(slots=True)
class _Busy:
    parcels: deque[_Parcel] = field(default_factory=deque)
    began: float = 0.0
    """When the head parcel, or the call of it that was last seen, began."""
    seen: float = 0.0
    """Last sign of life."""
    call: int | None = None
    """The running call, as last seen."""
    stopping: float | None = None
    """When the head parcel was asked to stop."""


class Watch:
    """Knows what each worker was sent and says who takes too long.

    Times are seconds of any clock that only goes forward.

    Parameters
    ----------
    limits
        The limits to watch.

    Examples
    --------
    >>> watch = Watch(Limits(grace=5.0, stall_timeout=60.0))
    >>> watch.sent(0, 1, (wire.Call(7, "p", 0, (), limit=2.0),), now=0.0)
    >>> watch.overdue(6.9)
    []
    >>> watch.overdue(7.1)[0].overdue
    7
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._busy: dict[int, _Busy] = {}

    def sent(
        self, worker: int, parcel: int, items: tuple[wire.Item, ...], now: float
    ) -> None:
        """Take in that a worker was sent a parcel."""
        busy = self._busy.setdefault(worker, _Busy())
        busy.parcels.append(_Parcel(parcel, items))
        if len(busy.parcels) == 1:
            self._begin(busy, now)

    def replied(self, worker: int, parcel: int, now: float) -> None:
        """Take in that a worker answered a parcel."""
        busy = self._busy.get(worker)
        if busy is None or not busy.parcels or busy.parcels[0].number != parcel:
            return
        busy.parcels.popleft()
        if busy.parcels:
            self._begin(busy, now)
        else:
            del self._busy[worker]

    def alive(self, worker: int, call: int, now: float) -> None:
        """Take in a sign of life of a worker that runs a call."""
        busy = self._busy.get(worker)
        if busy is None:
            return
        busy.seen = now
        # The first of a parcel began with it, whenever it is first heard of.
        first = next(iter(_calls(busy.parcels[0])), None)
        if busy.call != call and not (busy.call is None and call == first):
            busy.began = now
        busy.call = call

    def cancelled(self, call: int, now: float) -> None:
        """Take in that a call, which some worker may hold, was cancelled."""
        for busy in self._busy.values():
            for parcel in busy.parcels:
                if parcel.cancelled is None and call in _calls(parcel):
                    parcel.cancelled = now

    def stopping(self, worker: int, now: float) -> None:
        """Take in that a worker was asked to stop what it runs."""
        busy = self._busy.get(worker)
        if busy is not None and busy.stopping is None:
            busy.stopping = now

    def gone(self, worker: int) -> None:
        """Take in that a worker is not there any more."""
        self._busy.pop(worker, None)

    def overdue(self, now: float) -> list[StopCall | WorkerStuck]:
        """Tell which workers to stop and which to replace."""
        found: list[StopCall | WorkerStuck] = []
        for worker, busy in self._busy.items():
            verdict = self._judge(worker, busy, now)
            if verdict is not None:
                found.append(verdict)
        for verdict in found:
            if isinstance(verdict, StopCall):
                self.stopping(verdict.worker, now)
            else:
                self.gone(verdict.worker)
        return found

    @staticmethod
    def _begin(busy: _Busy, now: float) -> None:
        busy.began = busy.seen = now
        busy.call = busy.stopping = None

    def _judge(
        self, worker: int, busy: _Busy, now: float
    ) -> StopCall | WorkerStuck | None:
        grace, stall = self._limits.grace, self._limits.stall_timeout
        calls = _calls(busy.parcels[0])
        running = busy.call if busy.call in calls else next(iter(calls), None)
        limit = None if running is None else calls[running]
        if limit is not None and now - busy.began > limit + grace:
            return WorkerStuck(
                worker,
                f"call {running} ran longer than its {limit:g} s and did not stop "
                f"within {grace:g} s more",
                running if len(calls) == 1 or busy.call == running else None,
            )
        if busy.stopping is not None and now - busy.stopping > grace:
            return WorkerStuck(
                worker, f"it did not stop within {grace:g} s after a cancellation"
            )
        cancelled = busy.parcels[0].cancelled
        if (
            cancelled is not None
            and busy.stopping is None
            and now - cancelled > _PATIENCE
        ):
            return StopCall(worker, running or 0)
        if stall is not None and now - busy.seen > stall:
            return WorkerStuck(worker, f"it gave no sign of life for {stall:g} s")
        return None


def _calls(parcel: _Parcel) -> dict[int, float | None]:
    return {item.id: item.limit for item in parcel.items if isinstance(item, wire.Call)}
