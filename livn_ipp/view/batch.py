"""Batch: how far the calls are that run now, and when they will have ended."""

from collections import Counter
from collections.abc import Mapping, Sequence

from livn_ipp.view.snapshot import Calls

__all__ = ["Batch"]


class Batch:
    """The calls from when the first is submitted until nothing is unfinished."""

    def __init__(self) -> None:
        self._open = False
        self._began = self._closed = 0.0
        self._ends: Counter[str] = Counter()
        self._biological = 0.0
        self._lengths: tuple[float, int] = (0.0, 0)  # of calls, in ms: sum, number

    def begin(self, now: float) -> None:
        """Begin a new batch unless one is open."""
        if not self._open:
            self._open = True
            self._began = self._closed = now
            self._ends.clear()
            self._biological = 0.0
            self._lengths = (0.0, 0)

    def simulated(self, time: float, length: float | None = None) -> None:
        """Add biological time that a call advanced; its length if it is new (ms)."""
        self._biological += time
        if length:
            total, number = self._lengths
            self._lengths = (total + length, number + 1)

    def unheard(self) -> None:
        """Add the time of a call that was too short to tell of it, as usual."""
        total, number = self._lengths
        if number:
            self._biological += total / number

    def count(self, now: float, how: str) -> None:
        """Count a call that ended, by how."""
        self._ends[how] += 1
        self._closed = now

    def close(self, now: float) -> None:
        """End the batch, if one is open: nothing is unfinished."""
        if self._open:
            self._open, self._closed = False, now

    def calls(
        self,
        now: float,
        *,
        queued: int,
        running: Sequence[tuple[float, float | None]],
        ends: Mapping[str, int],
    ) -> Calls:
        """Tell how far it is.

        Parameters
        ----------
        now
            The time in s.
        queued
            How many calls wait.
        running
            Biological time reached and that of the end, if known, of each that runs.
        ends
            How many calls have ever been done, failed, cancelled.
        """
        ended = self._ends.total()
        total = ended + queued + len(running)
        elapsed = (now if self._open else self._closed) - self._began
        parts = [min(1.0, time / end) for time, end in running if end]
        work = ended + sum(parts)
        left = self._left(queued, running)
        return Calls(
            queued=queued,
            running=len(running),
            done=ends["done"],
            failed=ends["failed"],
            cancelled=ends["cancelled"],
            total=total,
            ended=ended,
            batch_failed=self._ends["failed"],
            batch_cancelled=self._ends["cancelled"],
            fraction=work / total if total else 0.0,
            elapsed=max(0.0, elapsed),
            biological=self._biological,
            remaining=self._remaining(elapsed, work, total, left),
            remaining_biological=left,
        )

    def _left(
        self, queued: int, running: Sequence[tuple[float, float | None]]
    ) -> float | None:
        total, number = self._lengths
        if not number:
            return None
        usual = total / number
        part = sum(max(0.0, (end or usual) - time) for time, end in running)
        return part + queued * usual

    def _remaining(
        self, elapsed: float, work: float, total: int, left: float | None
    ) -> float | None:
        if not self._open:
            return 0.0
        if elapsed <= 0 or not work:
            return None
        if left is not None and self._biological:
            return left * elapsed / self._biological
        return (total - work) * elapsed / work
