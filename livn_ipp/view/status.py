"""A cluster's workers and calls as a table: a card in notebooks, text elsewhere."""

from collections.abc import Sequence

from livn_ipp.display import Card, Shown
from livn_ipp.view.snapshot import Snapshot, WorkerState, WorkerView

__all__ = ["Status"]

_COLUMNS = (
    "worker", "state", "host", "pids", "call", "reached", "done", "failed", "retried",
)  # fmt: skip


class Status(Shown):
    """What a snapshot says of workers and calls.

    Parameters
    ----------
    seen
        The snapshot.

    Examples
    --------
    >>> from livn_ipp.view.snapshot import WorkerState, WorkerView
    >>> workers = (WorkerView(0, WorkerState.BUSY, "node7", (41, 42), call=3, time=80),)
    >>> Status(Snapshot("EI1", 0.0, workers=workers))
    EI1: 1 worker (1 busy); 0 queued, 0 running; 0 done since the first look
    worker  state  host   pids   call  reached  done  failed  retried
    0       busy   node7  41 42  3     80 ms    0     0       0
    """

    def __init__(self, seen: Snapshot) -> None:
        self.seen = seen

    def _card(self) -> Card:
        busy = any(worker.state is WorkerState.BUSY for worker in self.seen.workers)
        facts = (("workers", self._workers()), ("calls", self._calls()))
        errors = [
            f"worker {worker.index}: {worker.error}"
            for worker in self.seen.workers
            if worker.error
        ]
        return Card(
            self.seen.name,
            "busy" if busy else "idle",
            facts,
            _COLUMNS,
            tuple(_row(worker) for worker in self.seen.workers),
            "\n".join(errors),
        )

    def _workers(self) -> str:
        states = [worker.state for worker in self.seen.workers]
        counts = [
            f"{states.count(state)} {state}" for state in WorkerState if state in states
        ]
        many = f"{len(states)} worker{'' if len(states) == 1 else 's'}"
        return f"{many} ({', '.join(counts)})" if counts else many

    def _calls(self) -> str:
        calls = self.seen.calls
        ended = {
            "done": calls.done,
            "failed": calls.failed,
            "cancelled": calls.cancelled,
        }
        told = ", ".join(
            f"{count} {how}" for how, count in ended.items() if count or how == "done"
        )
        now = f"{calls.queued} queued, {calls.running} running"
        return f"{now}; {told} since the first look"

    def __repr__(self) -> str:
        rows = [_COLUMNS, *(_row(worker) for worker in self.seen.workers)]
        title = f"{self.seen.name}: {self._workers()}; {self._calls()}"
        return "\n".join([title, *_aligned(rows)])


def _row(worker: WorkerView) -> tuple[str, ...]:
    return (
        f"{worker.index}",
        worker.state.value,
        worker.host or "-",
        " ".join(map(str, worker.pids)) or "-",
        "-" if worker.call is None else f"{worker.call}",
        "-" if worker.call is None else f"{worker.time:g} ms",
        f"{worker.done}",
        f"{worker.failed}",
        f"{worker.retried}",
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
