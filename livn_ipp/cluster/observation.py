"""Tells observers what the dispatcher does, so that others can show it."""

from typing import Any

import numpy as np

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import events
from livn_ipp.errors import CallCancelled
from livn_ipp.types import Observer

__all__ = ["Observation"]


class Observation:
    """Translates events and instructions for whoever watches."""

    def __init__(self) -> None:
        self.observers: tuple[Observer, ...] = ()
        self.waiting = 0
        """How many calls waited, as was told last."""

    def __bool__(self) -> bool:
        return bool(self.observers)

    def happened(self, event: events.Event, transport: Any) -> None:
        """Tell of what became of a worker."""
        for observer in self.observers:
            match event:
                case events.WorkerJoined(worker):
                    self.appeared(observer, worker, transport)
                case events.WorkerGone(worker, reason, replaced):
                    observer.lost(worker, reason, replaced=replaced)
                case events.WorkerAbandoned(worker, reason):
                    observer.lost(worker, reason)
                case events.WorkerExpected(worker):
                    observer.logged("starting", worker)
                case events.ShutDown(reason):
                    observer.logged(reason)

    @staticmethod
    def appeared(observer: Observer, worker: int, transport: Any) -> None:
        """Tell of a worker that is ready."""
        observer.joined(worker)
        host, pids = transport.where(worker)
        if pids:
            observer.placed(worker, host, pids)

    def decided(self, instruction: events.Instruction) -> None:
        """Tell of what becomes of a call or worker."""
        for observer in self.observers:
            match instruction:
                case events.Started(call, worker, attempt):
                    observer.started(call, worker, attempt)
                case events.Resolve(call):
                    observer.ended(call, "done")
                case events.Reject(call, error):
                    if isinstance(error, CallCancelled):
                        observer.ended(call, "cancelled")
                    else:
                        observer.ended(call, "failed", str(error).partition("\n")[0])
                case events.Replace(worker, reason):
                    observer.lost(worker, reason, replaced=True)
                case events.Release(worker):
                    observer.retired(worker)

    def progressed(self, worker: int, progress: wire.Progress) -> None:
        """Tell how far a call is, and what its cells did."""
        if not self.observers:
            return
        gids = times = None
        if progress.spikes is not None and progress.before is None:
            gids, times = wire.loads(progress.spikes)
            times = progress.start + times
        potential = np.array(progress.potential) if progress.potential else None
        for observer in self.observers:
            observer.progressed(
                worker,
                progress.call,
                progress.time,
                progress.end,
                gids,
                times,
                progress.rss,
                potential,
            )

    def counted(self, waiting: int, version: int) -> None:
        """Tell how many calls wait and how long the config log is."""
        self.waiting = waiting
        for observer in self.observers:
            observer.queued(waiting)
            observer.configured(version)
