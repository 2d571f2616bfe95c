"""Reads streams: on a thread of its own, or on that of a caller who waits for a reply.

A caller's own thread is faster, because no other has to be woken and to wait for the
interpreter; the other one sees to it that all is read if nobody waits.
"""

import contextlib
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from livn_ipp.cluster.machine.interrupts import InterruptsDeferred
from livn_ipp.cluster.transports.stream import Message, Stream

__all__ = ["Heard", "Hearing"]

_LEFT_ALONE: Final = 0.01
"""Seconds after which the thread takes over from callers who helped."""

Heard = Callable[[bytes, Message], None]
"""Takes the kind and the frames of a message."""


class Hearing:
    """Hears what comes over any number of streams."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._streams: dict[Stream, Heard] = {}
        self._reading = threading.RLock()
        self._reader: int | None = None
        """The thread that reads."""
        self._lock = threading.Lock()
        self._helper: int | None = None
        self._awaited: Callable[[], Future[Any] | None] = lambda: None
        self._interrupts = InterruptsDeferred(self._ring)
        self._helped = 0.0
        self._aside = True
        """Whether the own thread leaves the reading to callers, or does not run."""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, stream: Stream, heard: Heard) -> None:
        """Hear a stream from now on.

        Parameters
        ----------
        stream
            Forgotten, but not closed, when its other end is closed.
        heard
            Takes its messages, in order, on any thread.
        """
        with self._lock:
            if self._closing.is_set():
                return
            self._streams[stream] = heard
            self._selector.register(stream, selectors.EVENT_READ, stream)
            if self._thread is None:
                self._aside = False
                self._thread = threading.Thread(
                    target=self._run, name="livn_ipp hearing", daemon=True
                )
                self._thread.start()

    def remove(self, stream: Stream) -> None:
        """Hear a stream no more; before it is closed, idempotent."""
        with self._lock:
            if self._streams.pop(stream, None) is not None:
                self._selector.unregister(stream)

    def help(self, future: "Future[Any]", timeout: float | None) -> None:
        """Read on the caller's thread until a future is done or time is up.

        Returns at once if another caller does so, or there is nothing to hear. An
        interrupt takes effect between two messages.
        """
        if not self._streams:
            return
        me = threading.get_ident()
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._reader == me:  # in a callback of what it has just read
            self._read(future, deadline)
            if self._interrupted():
                self._interrupts.take_effect()
            return
        with self._lock:
            if self._helper is not None:
                return
            self._helper = me
        try:
            with InterruptsDeferred(self._ring) as self._interrupts:
                if not self._aside:
                    self._ring()
                self._read_instead(future, deadline)
        finally:
            self._helped = time.monotonic()
            self._helper = None

    def close(self) -> None:
        """Hear nothing any more; returns at once, idempotent."""
        self._closing.set()
        with self._lock:
            self._streams.clear()
            if self._thread is None:
                self._release()
        self._ring()

    # Inside

    def _read_instead(self, future: "Future[Any]", deadline: float | None) -> None:
        """Read when the own thread has come to the end of what it does."""
        while self._wanted(future, deadline):
            if self._reading.acquire(timeout=_LEFT_ALONE):
                try:
                    self._reader = threading.get_ident()
                    self._read(future, deadline)
                finally:
                    self._reader = None
                    self._reading.release()

    def _read(self, future: "Future[Any]", deadline: float | None) -> None:
        if self._awaited() is not future:
            self._awaited = weakref.ref(future)
            future.add_done_callback(self._ended)
        while self._wanted(future, deadline):
            left = None if deadline is None else deadline - time.monotonic()
            self._turn(left)

    def _wanted(self, future: "Future[Any]", deadline: float | None) -> bool:
        late = deadline is not None and time.monotonic() >= deadline
        stopped = self._closing.is_set() or self._interrupted()
        return not (late or stopped or future.done())

    def _interrupted(self) -> bool:
        """Tell whether this thread is to be interrupted, as only a helper may be."""
        return self._helper == threading.get_ident() and self._interrupts.came

    def _turn(self, timeout: float | None) -> None:
        """Wait until something can be heard, and hear it."""
        for key, _ in self._selector.select(timeout):
            if key.data is not None:
                self._take_in(key.data)
            else:
                self._hush()

    def _take_in(self, stream: Stream) -> None:
        # One by one: who takes a message may read the next himself.
        while (heard := self._streams.get(stream)) is not None:
            try:
                message = stream.receive()
            except (EOFError, OSError):  # a worker that is gone is told elsewhere
                self.remove(stream)
                return
            if message is None:
                return
            kind, *frames = message
            heard(kind, frames)

    def _ended(self, _: object) -> None:
        """Wake the reader when what it waits for has ended in another way."""
        if threading.get_ident() != self._reader:
            self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # it rings already, or nobody hears it
            self._bell.send(b"!")

    def _hush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._reading:
                self._reader = threading.get_ident()
                while self._helper is None and not self._closing.is_set():
                    self._turn(None)
                self._reader = None
            self._stand_aside()
        with self._reading:
            self._release()

    def _release(self) -> None:
        self._selector.close()
        self._bell.close()
        self._ear.close()

    def _stand_aside(self) -> None:
        """Leave the reading to callers for as long as they come and go."""
        self._aside = True
        while not self._closing.wait(_LEFT_ALONE):
            with self._lock:
                alone = time.monotonic() - self._helped >= _LEFT_ALONE
                if self._helper is None and alone:
                    self._aside = False
                    return
