"""Frames as MPI messages, and how to wait for one without burning a core."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["Reader", "receive", "send", "wait"]

FRAME: Final = 1
"""Tag of the large buffers that follow a message; other tags are the caller's."""

_LARGEST: Final = 1 << 30
"""Bytes of one MPI message: counts are 32 bits wide in many libraries."""

_SPIN: Final = 0.0002
"""Seconds of probing without giving the core away: about a short call."""
_EAGER: Final = 0.002
"""Seconds of probing without pauses; covers a loop of short calls."""
_SHORTEST_SLEEP: Final = 0.00005
_LONGEST_SLEEP: Final = 0.001
_LEFT_ALONE: Final = 0.005
"""Seconds after which a reader's thread takes over from callers who helped."""


def send(comm: Any, frames: Any, dest: int, tag: int) -> list[tuple[Any, Any]]:
    """Start sending frames.

    Returns
    -------
    list
        A request and its buffer for each message; keep them until the request is done.
    """
    from mpi4py import MPI

    head, *buffers = frames
    sizes = [len(buffer) for buffer in buffers]
    first = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes) + head
    requests = [(comm.Isend([first, MPI.BYTE], dest, tag), first)]
    requests += [
        (comm.Isend([piece, MPI.BYTE], dest, FRAME), piece)
        for buffer in buffers
        for piece in _pieces(buffer)
    ]
    return requests


def receive(comm: Any, source: int, tag: int) -> list[bytes | memoryview]:
    """Receive the frames that `send` sent."""
    from mpi4py import MPI

    status = MPI.Status()
    comm.Probe(source, tag, status)
    first = bytearray(status.Get_count(MPI.BYTE))
    comm.Recv([first, MPI.BYTE], source, tag)
    (count,) = struct.unpack_from("<I", first)
    sizes = struct.unpack_from(f"<{count}Q", first, 4)
    frames: list[bytes | memoryview] = [memoryview(first)[4 + 8 * count :]]
    for size in sizes:
        buffer = bytearray(size)
        for piece in _pieces(buffer):
            comm.Recv([piece, MPI.BYTE], source, FRAME)
        frames.append(memoryview(buffer))
    return frames


def _pieces(buffer: Any) -> Iterator[memoryview]:
    view = memoryview(buffer)
    return (view[i : i + _LARGEST] for i in range(0, len(view), _LARGEST))


def wait(ready: Callable[[], bool], go_on: Callable[[], bool] = lambda: True) -> bool:
    """Wait for a message: eagerly at first, then with pauses that grow to 1 ms.

    Parameters
    ----------
    ready
        Tells whether it has come.
    go_on
        Tells whether it is still wanted.

    Returns
    -------
    bool
        Whether it has come.
    """
    began = time.monotonic()
    pause = _SHORTEST_SLEEP
    while go_on():
        if ready():
            return True
        elapsed = time.monotonic() - began
        if elapsed < _SPIN:
            continue
        if elapsed < _EAGER:
            time.sleep(0)
        else:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_SLEEP)
    return False


class Reader:
    """Reads replies: on a thread of its own, or on that of a caller who waits for one.

    A caller's own thread is faster, because nothing has to be woken; the other one sees
    to it that replies are read if nobody waits.

    Parameters
    ----------
    comm
        The mpi4py communicator that replies come over.
    handle
        Reads one message, given its source and tag; True if it was a reply.
    """

    def __init__(self, comm: Any, handle: Callable[[int, int], bool]) -> None:
        self._comm = comm
        self._handle = handle
        self._due = 0
        self._helpers = 0
        self._helped = 0.0
        self._counts = threading.Lock()
        self._reading = threading.Lock()
        self._awake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(
            target=self._run, name="livn_ipp mpi", daemon=True
        )
        self._thread.start()

    def expect(self) -> None:
        """Count on one reply more."""
        with self._counts:
            self._due += 1
        self._awake.set()

    def help(self, done: Callable[[], bool], timeout: float | None) -> None:
        """Read on the caller's thread until something is done or time is up."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def wanted() -> bool:
            late = deadline is not None and time.monotonic() >= deadline
            return not (done() or late or self._closing)

        with self._counts:
            self._helpers += 1
        try:
            while wanted():
                if self._reading.acquire(timeout=_LONGEST_SLEEP):
                    try:
                        self._read_while(wanted)
                    finally:
                        self._reading.release()
        finally:
            self._helped = time.monotonic()
            with self._counts:
                self._helpers -= 1

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self._awake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._awake.wait()
            time.sleep(_LONGEST_SLEEP)
            if self._closing:
                return
            if self._alone():
                with self._reading:
                    self._read_while(self._alone)
            with self._counts:
                if not self._due:
                    self._awake.clear()

    def _alone(self) -> bool:
        # Callers come and go in a loop of calls; taking over between two would only
        # keep the next one waiting.
        left = time.monotonic() - self._helped >= _LEFT_ALONE
        return self._due > 0 and not self._helpers and left and not self._closing

    def _read_while(self, wanted: Callable[[], bool]) -> None:
        from mpi4py import MPI

        status = MPI.Status()

        def came() -> bool:
            return bool(self._comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status))

        while wait(came, wanted):
            if self._handle(status.Get_source(), status.Get_tag()):
                with self._counts:
                    self._due -= 1
