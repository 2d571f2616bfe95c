"""Channels inside one machine: sockets in a directory that only this user may enter."""

import contextlib
import os
import selectors
import time
import uuid
from pathlib import Path
from typing import Final

from livn_ipp.cluster.transports.hearing import Heard, Hearing
from livn_ipp.cluster.transports.stream import Message, Stream, admit, bind, reach

__all__ = ["UnixGate", "UnixLink", "UnixPeer"]

_CONTROLLER: Final = b"control"
"""What a controller is called; other ranks, by their number."""


class UnixGate:
    """A leader's end: hears its controller, and speaks to it and to the other ranks.

    Parameters
    ----------
    directory
        The controller's, to make the socket in.
    secret
        What to let in by.

    Attributes
    ----------
    opened : (str, bytes)
        Where it listens, and that it has no key.

    Raises
    ------
    OSError
        If the directory is not on this machine, or its path is too long.
    """

    def __init__(self, directory: str, secret: bytes) -> None:
        self._secret = secret
        # Named like all that this process leaves there, to be swept after its end.
        self._path = Path(directory, f"{os.getpid()}-{uuid.uuid4().hex}")
        self._server = bind(str(self._path))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._streams: dict[bytes, Stream] = {}
        self.opened = f"ipc://{self._path}", b""

    def await_peers(self, count: int, seconds: float) -> bool:
        """Wait for the other ranks; tell whether all have come."""
        deadline = time.monotonic() + seconds
        while len(self._streams) < count and (left := deadline - time.monotonic()) > 0:
            if self._selector.select(left):
                self._admit()
        return len(self._streams) >= count

    def receive(self, seconds: float) -> list[bytes] | None:
        """Wait for what the controller sends: kind and frames, or None.

        One that has closed its end is as one that says nothing.
        """
        deadline = time.monotonic() + seconds
        while True:
            if controller := self._streams.get(_CONTROLLER):
                try:
                    message = controller.receive()
                except (EOFError, OSError):
                    self._forget(_CONTROLLER)
                    return None
                if message is not None:
                    return message
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            for key, _ in self._selector.select(left):
                if key.fileobj is self._server:
                    self._admit()

    def tell(self, kind: bytes, frames: Message) -> None:
        """Send to the controller, if it is there."""
        if controller := self._streams.get(_CONTROLLER):
            with contextlib.suppress(OSError):  # its end is seen when it is heard next
                controller.send(kind, frames)

    def tell_peers(self, kind: bytes, frames: Message) -> None:
        """Send to the other ranks."""
        for name, stream in self._streams.items():
            if name != _CONTROLLER:
                stream.send(kind, frames)

    def close(self) -> None:
        """Stop to be heard; idempotent."""
        self._selector.close()
        self._server.close()
        self._path.unlink(missing_ok=True)
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    # Inside

    def _admit(self) -> None:
        let_in = admit(self._server, self._secret)
        if let_in is None:
            return
        name, stream = let_in
        if name in self._streams:
            self._forget(name)
        self._streams[name] = stream
        if name == _CONTROLLER:  # the others are never heard
            self._selector.register(stream, selectors.EVENT_READ)

    def _forget(self, name: bytes) -> None:
        stream = self._streams.pop(name)
        if name == _CONTROLLER:
            self._selector.unregister(stream)
        stream.close()


class UnixPeer:
    """Another rank's end: hears its leader.

    Parameters
    ----------
    url
        Where the leader listens.
    secret
        What it lets in by.
    name
        What to be called by.

    Raises
    ------
    OSError
        If nobody listens there.
    """

    def __init__(self, url: str, secret: bytes, name: bytes) -> None:
        self._stream = reach(url.removeprefix("ipc://"), secret, name)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stream, selectors.EVENT_READ)

    def receive(self) -> list[bytes]:
        """Wait for what the leader sends: kind and frames.

        Raises
        ------
        EOFError
            If the leader is gone.
        """
        while (message := self._stream.receive()) is None:
            self._selector.select()
        return message

    def close(self) -> None:
        """Hear nothing any more; idempotent."""
        self._selector.close()
        self._stream.close()


class UnixLink:
    """A controller's end.

    Parameters
    ----------
    url
        Where the leader listens.
    secret
        What it lets in by.
    hearing
        Reads what comes.
    heard
        Takes the kind and the frames of it, on any thread.

    Raises
    ------
    OSError
        If nobody listens there.
    """

    def __init__(self, url: str, secret: bytes, hearing: Hearing, heard: Heard) -> None:
        self._hearing = hearing
        self._stream = reach(url.removeprefix("ipc://"), secret, _CONTROLLER)
        hearing.add(self._stream, heard)

    def send(self, kind: bytes, frames: Message) -> None:
        """Send to the leader; never blocks.

        Raises
        ------
        OSError
            If it is gone.
        """
        self._stream.send(kind, frames)

    def close(self) -> None:
        """Close it when all has left; returns at once."""
        self._hearing.remove(self._stream)
        self._stream.close()
