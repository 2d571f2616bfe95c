"""The transport without a cluster: one worker, in a thread of this process."""

import os
import platform
import queue
import threading
from concurrent.futures import Future
from typing import Any

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.cluster.worker import Worker
from livn_ipp.errors import call_error

__all__ = ["LocalTransport"]


class LocalTransport:
    """Runs every call in order on one worker, on a thread beside the caller's."""

    name = "local"

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[tuple[int, tuple[wire.Item, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._booted: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._worker: Worker | None = None
        self._closing = False
        self._hangs = False
        self._listener: Listener | None = None

    def start(self, factory: Any, listener: Listener) -> tuple[int, ...]:
        """Build the environment; raise what building it raises."""
        self._listener = listener
        self._thread = threading.Thread(
            target=self._serve,
            args=(factory, listener),
            name="livn_ipp worker",
            daemon=True,
        )
        self._thread.start()
        error = self._booted.get()
        if error is not None:
            raise error
        return (0,)

    def send(self, _worker: int, parcel: int, items: tuple[wire.Item, ...]) -> None:
        """Queue a parcel."""
        self._inbox.put((parcel, items))

    def help(self, _future: "Future[Any]", _timeout: float | None) -> None:
        """Return at once: replies are read on a thread of their own."""

    def where(self, _worker: int) -> tuple[str, tuple[int, ...]]:
        """Tell this host and process."""
        return platform.node(), (os.getpid(),)

    def stop_call(self, _worker: int, _call: int) -> None:
        """Stop what runs at its next chunk end."""
        if self._worker is not None:
            self._worker.subworld.request_stop()

    def replace(self, worker: int, reason: str) -> None:
        """Give up the worker; a thread that hangs cannot be ended."""
        self._hangs = True
        if self._listener is not None:
            self._listener.lost(worker, f"{reason}; a thread cannot be replaced")

    def release(self, _worker: int) -> None:
        """Do nothing: the worker ends with the environment."""

    def engage(self, _worker: int) -> None:
        """Do nothing: steps travel as fast as can be."""

    def disengage(self, _worker: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """End the thread; what runs is stopped at its next chunk end."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing = True
        self._inbox.put(None)
        while thread.is_alive() and not self._hangs:
            self.stop_call(0, 0)
            thread.join(0.05)
        if self._worker is not None:
            # The process keeps its subworld; the last stop may have come too late.
            self._worker.subworld.reset()

    def _serve(self, factory: Any, listener: Listener) -> None:
        try:
            # Its rank is the user's own process: no limit on memory ends that.
            worker = Worker(factory, factory.prepare(None, 1), listener.limits)
            if failures := worker.build():
                raise call_error(tuple(failures), aftermath="nothing was built")
        except Exception as error:
            self._booted.put(error)
            return
        self._worker = worker
        self._booted.put(None)
        worker.telemetry.publish = lambda progress: listener.progressed(0, progress)
        while (message := self._inbox.get()) is not None and not self._closing:
            parcel, items = message
            # Through bytes, as on every transport: results never share memory with
            # the worker, and what cannot travel fails here too.
            answers = worker.serve(list(items))
            reply = wire.Reply(parcel, answers, worker.telemetry.last_words())
            listener.replied(0, wire.unpack(wire.pack(reply)))
        worker.close()
