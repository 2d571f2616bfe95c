"""Messages between processes of one machine: no thread carries them, so none is woken.

A message is a kind, one byte, and frames. It is written by the thread that sends it,
as far as the other end takes it at once, and read by the thread that wants it.
"""

import contextlib
import hmac
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

__all__ = ["Message", "Stream", "admit", "bind", "reach"]

_HEAD: Final = struct.Struct("<cIQ")
"""Kind, number of frames, bytes of all that follows."""
_SOME: Final = 1 << 16
_MANY: Final = 512
"""Buffers that one system call takes, by far."""
_NAME: Final = 8
"""Bytes of the name by which a stream introduces itself."""
_INTRODUCTION: Final = 2.0
"""Seconds that it has for that."""

Message = Sequence[bytes | memoryview]
"""The frames of a message; the kind may come before them."""


class Stream:
    """One end of a connection.

    Parameters
    ----------
    end
        The connected socket, which the stream closes.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._socket = end
        self._writing = threading.Lock()
        self._late: deque[memoryview] = deque()
        """What the other end did not take at once; a thread writes it."""
        self._closing = False
        self._read = bytearray()
        self._drained = False
        """Whether the last read left nothing: the next would take a call in vain."""

    def fileno(self) -> int:
        """Tell the descriptor, to wait for."""
        return self._socket.fileno()

    def send(self, kind: bytes, frames: Message) -> None:
        """Send a message; never blocks.

        Raises
        ------
        OSError
            If the other end is gone.
        """
        views = [memoryview(frame).cast("B") for frame in frames]
        sizes = [view.nbytes for view in views]
        index = struct.pack(f"<{len(sizes)}Q", *sizes)
        whole = len(index) + sum(sizes)
        head = _HEAD.pack(kind, len(sizes), whole) + index
        if whole <= _SOME:
            views = [memoryview(head + b"".join(views))]
        else:
            views = [memoryview(head), *(view for view in views if view.nbytes)]
        parts = deque(views)
        with self._writing:
            if self._late:
                self._late.extend(parts)
                return
            self._write(parts, socket.MSG_DONTWAIT)
            if parts:
                self._late = parts
                threading.Thread(
                    target=self._write_late, name="livn_ipp stream", daemon=True
                ).start()

    def receive(self) -> list[bytes] | None:
        """Return the kind and the frames of the next message; None if there is none.

        Never blocks. After a message, None may come although another has just arrived;
        a selector tells of that one.

        Raises
        ------
        EOFError
            If the other end is closed.
        OSError
            If it ended otherwise.
        """
        while True:
            missing = self._missing()
            if not missing:
                return self._take()
            if self._drained:
                self._drained = False
                return None
            most = max(missing, _SOME)
            try:
                more = self._socket.recv(most, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not more:
                raise EOFError("the other end of a stream is closed")
            self._drained = len(more) < most
            self._read += more

    def close(self) -> None:
        """Close it, once all is written; returns at once, idempotent."""
        with self._writing:
            self._closing = True
            if not self._late:
                self._socket.close()

    # Inside

    def _missing(self) -> int:
        """Return the bytes that are missing of the next message, as far as known."""
        if len(self._read) < _HEAD.size:
            return _HEAD.size - len(self._read)
        _, _, rest = _HEAD.unpack_from(self._read)
        return max(0, _HEAD.size + int(rest) - len(self._read))

    def _take(self) -> list[bytes]:
        kind, count, rest = _HEAD.unpack_from(self._read)
        sizes = struct.unpack_from(f"<{count}Q", self._read, _HEAD.size)
        place = _HEAD.size + 8 * count
        message = [kind]
        with memoryview(self._read) as view:
            for size in sizes:
                message.append(bytes(view[place : place + size]))
                place += size
        del self._read[: _HEAD.size + rest]
        return message

    def _write(self, parts: deque[memoryview], flags: int = 0) -> None:
        """Write parts and drop what was written."""
        with contextlib.suppress(BlockingIOError):
            while parts:
                some = [parts[i] for i in range(min(len(parts), _MANY))]
                written = self._socket.sendmsg(some, (), flags)
                while written:
                    if written < parts[0].nbytes:
                        parts[0] = parts[0][written:]
                        break
                    written -= parts.popleft().nbytes

    def _write_late(self) -> None:
        part = self._late[0]
        while True:
            try:
                self._write(deque([part]))
                gone = False
            except OSError:  # who reads hears of it
                gone = True
            with self._writing:
                self._late.popleft()
                if gone:
                    self._late.clear()
                if not self._late:
                    if self._closing:
                        self._socket.close()
                    return
                part = self._late[0]


def bind(path: str) -> socket.socket:
    """Listen at a path, which must be in a directory of this user's only.

    Raises
    ------
    OSError
        If that is not possible, as with a path of more than about 100 characters.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(path)
        server.listen(64)
    except OSError:
        server.close()
        raise
    return server


def reach(path: str, secret: bytes, name: bytes) -> Stream:
    """Connect to who listens at a path.

    Parameters
    ----------
    path
        Where it listens.
    secret
        What it lets in by.
    name
        What to be called by; at most 8 bytes.

    Raises
    ------
    OSError
        If nobody listens there.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.settimeout(_INTRODUCTION)
        end.connect(path)
        end.sendall(secret + name.ljust(_NAME))
    except OSError:
        end.close()
        raise
    return Stream(end)


def admit(server: socket.socket, secret: bytes) -> tuple[bytes, Stream] | None:
    """Let in who has connected, if it knows the secret.

    Returns
    -------
    (bytes, Stream) or None
        What it is called, and its stream; None for a stranger.
    """
    end, _ = server.accept()
    with contextlib.suppress(OSError):
        end.settimeout(_INTRODUCTION)
        said = end.recv(len(secret) + _NAME, socket.MSG_WAITALL)
        known, name = said[: len(secret)], said[len(secret) :]
        if len(name) == _NAME and hmac.compare_digest(known, secret):
            return name.rstrip(), Stream(end)
    end.close()
    return None
