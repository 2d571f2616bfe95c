"""Handles for calls in flight: concurrent.futures semantics, plus where and how far."""

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Generator
from typing import Any

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.partial import Partial
from livn_ipp.cluster.keeping.results import Kept
from livn_ipp.display import Card, Shown
from livn_ipp.errors import CallTimeout, ResultNotSerializable
from livn_ipp.run import Run

__all__ = ["CallFuture"]


class CallFuture(concurrent.futures.Future[Any], Shown):
    """The pending result of one call.

    Behaves as a :class:`concurrent.futures.Future` and can be awaited.

    Attributes
    ----------
    id : int
        Number of the call.
    worker : int or None
        The worker that runs or ran it.
    attempts : int
        How many times it was handed to a worker.
    progress : float
        Biological time reached in ms, as last reported; its `end` once it has a result.
    end : float or None
        Biological time in ms at which its run ends, as asked for, or once reported.
    partial : Run or None
        What is known so far of the run, with its spikes only, if the call was submitted
        with ``stream=True``; once it has ended, all of them.
    """

    def __init__(
        self,
        number: int,
        cancel: Callable[[int], None],
        help_out: Callable[["CallFuture", float | None], None],
        *,
        stream: bool = False,
    ) -> None:
        super().__init__()
        self.id = number
        self.worker: int | None = None
        self.attempts = 0
        self._reached = 0.0
        self.end: float | None = None
        self._partial = Partial() if stream else None
        self._cancel_call = cancel
        self._help_out = help_out

    def cancel(self) -> bool:
        """Give the call up: dropped if queued, stopped at a chunk end if running.

        Returns
        -------
        bool
            False if the call had already ended.
        """
        self._cancel_call(self.id)
        return self.cancelled()

    def cancelled(self) -> bool:
        """Tell whether the call was cancelled."""
        return self.done() and isinstance(
            super().exception(), concurrent.futures.CancelledError
        )

    def running(self) -> bool:
        """Tell whether the call was handed to a worker and has not ended."""
        return self.attempts > 0 and not self.done()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the call and return its result.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits for ever.

        Raises
        ------
        CallError
            The call failed; also an instance of the original exception's type.
        CallCancelled
            The call was cancelled.
        CallTimeout
            The call did not end in time; it goes on.
        """
        if isinstance(self._result, Kept):
            return self._unpacked()
        left = timeout
        if not self.done():
            began = time.monotonic()
            self._help_out(self, timeout)
            if timeout is not None:
                left = max(0.0, timeout - (time.monotonic() - began))
        try:
            value = super().result(left)
        except TimeoutError as error:
            if not self.done():
                raise CallTimeout(
                    f"call {self.id} has not ended after {timeout} s; it goes on: "
                    "wait again, or give it up with cancel()"
                ) from error
            raise
        return self._unpacked() if isinstance(value, Kept) else value

    def deliver(self, kept: Kept) -> None:
        """Take the result in, still pickled; the reader unpickles it."""
        self.set_result(kept)

    def take_progress(self, progress: wire.Progress) -> None:
        """Take in how far the call has come."""
        self._reached, self.end = progress.time, progress.end or self.end
        if self._partial is not None:
            self._partial.take(progress)

    @property
    def progress(self) -> float:
        """Biological time reached in ms."""
        # A short call reports nothing: who waits for a report must not wait for ever.
        if self.end is not None and self._word == "done":
            return float(self.end)
        return self._reached

    @property
    def partial(self) -> Run | None:
        """What is known so far of the run of a call that is streamed."""
        return None if self._partial is None else self._partial.run()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()

    def __int__(self) -> int:
        return self.id

    def _unpacked(self) -> Any:
        with self._condition:  # of two readers, one unpickles
            kept = self._result
            if isinstance(kept, Kept):
                frames = kept.frames()
                try:
                    self._result = wire.loads(frames)
                except Exception as error:
                    raise ResultNotSerializable(
                        f"the result of call {self.id} arrived but cannot be unpickled "
                        f"here: {type(error).__name__}: {error}; is a module missing "
                        f"in this process?"
                    ) from error
                kept.drop()
            return self._result

    @property
    def _word(self) -> str:
        if not self.done():
            return "running" if self.running() else "queued"
        if self.cancelled():
            return "cancelled"
        return "failed" if self.exception() else "done"

    def _card(self) -> Card:
        facts = [("worker", "-" if self.worker is None else f"{self.worker}")]
        if self.attempts > 1:
            facts.append(("attempts", f"{self.attempts}"))
        if self.progress:
            facts.append(("reached", f"{self.progress:g} ms"))
        error = self.exception() if self._word == "failed" else None
        details = "" if error is None else f"{type(error).__name__}: {error}"
        return Card(f"Call {self.id}", self._word, tuple(facts), details=details)

    def __repr__(self) -> str:
        where = f" on worker {self.worker}" if self._word == "running" else ""
        return f"CallFuture({self.id}, {self._word}{where})"
