"""The calls that a former kernel had handed out: futures for their late answers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from livn_ipp.cluster import wire
from livn_ipp.cluster.control.outcomes import error_of, timed_out
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.keeping.journal import Sent
from livn_ipp.cluster.keeping.results import Results
from livn_ipp.cluster.keeping.succession import answers
from livn_ipp.errors import CallCancelled, WorkerLost

__all__ = ["Recovered"]


class Recovered:
    """Resolves the futures of recovered calls.

    Parameters
    ----------
    sent
        What the former kernel handed out.
    stop
        Stops the call that a worker runs.
    results
        Keeps results until they are read.

    Attributes
    ----------
    futures : dict
        By the ids that the calls had; all of them, in order.
    """

    def __init__(
        self,
        sent: Iterable[Sent],
        stop: Callable[[int, int], None],
        results: Results,
    ) -> None:
        self.futures: dict[int, CallFuture] = {}
        self._stop = stop
        self._results = results
        for parcel in sorted(sent, key=lambda each: each.parcel):
            for call in parcel.calls:
                future = CallFuture(call, self._cancel, lambda _done, _timeout: None)
                future.worker, future.attempts = parcel.worker, 1
                self.futures[call] = future

    def found(self, worker: int, kept: Iterable[Sequence[bytes | memoryview]]) -> None:
        """Take in what a worker had kept; it has answered all that it was sent."""
        for reply in kept:
            for call, answer in answers(reply).items():
                if (future := self.futures.get(call)) and not future.done():
                    self._resolve(future, worker, answer)
        self.gone(
            worker,
            "it had not reached its worker when the former kernel ended; submit it "
            "again",
        )

    def gone(self, worker: int, reason: str) -> None:
        """Give up what a worker was sent and has not answered."""
        for future in self.futures.values():
            if future.worker == worker and not future.done():
                future.set_exception(
                    WorkerLost(
                        f"call {future.id} cannot be recovered: {reason}", worker=worker
                    )
                )

    def close(self, reason: str) -> None:
        """Give up all that has not ended."""
        for worker in {future.worker for future in self.futures.values()}:
            if worker is not None:
                self.gone(worker, reason)

    def _cancel(self, call: int) -> None:
        future = self.futures[call]
        if not future.done() and future.worker is not None:
            self._stop(future.worker, call)
            future.set_exception(CallCancelled(f"call {call} was cancelled"))

    def _resolve(self, future: CallFuture, worker: int, answer: Any) -> None:
        match answer:
            case wire.Done():
                future.deliver(self._results.keep(answer.result))
            case wire.Failed():
                future.set_exception(error_of(answer, worker))
            case wire.TimedOut():
                aftermath = "it was stopped while no kernel was there"
                future.set_exception(timed_out(future.id, worker, None, aftermath))
            case _:  # stopped, or its pipeline was missing
                future.set_exception(
                    WorkerLost(
                        f"call {future.id} was stopped before it ended; submit it "
                        f"again",
                        worker=worker,
                    )
                )
