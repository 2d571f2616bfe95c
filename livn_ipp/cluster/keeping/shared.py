"""Large messages between processes of one machine, through memory that they share.

The reader of the messages makes a directory in shared memory and names it with each
request. A writer that finds the directory, and so is on the same machine, puts a large
message there and sends only where it is; any other writer, or one for whom the memory
is too small, sends the message itself.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.scratch import (
    SHARED_MEMORY,
    Scratch,
    take_frames,
    write_frames,
)

__all__ = ["Inbox", "offer"]

_SMALLEST: Final = 1 << 18
"""Bytes below which sending the message itself is as fast."""
_MARK: Final = b"livn_ipp shared "

Message = Sequence[bytes | memoryview]


class Inbox:
    """A reader's directory for large messages.

    It goes with the reader, after a crash with the next inbox of anyone on the machine.

    Parameters
    ----------
    memory
        Directory of shared memory.
    """

    def __init__(self, memory: Path = SHARED_MEMORY) -> None:
        self._scratch: Scratch | None = None
        with contextlib.suppress(OSError):  # without one, messages come as they are
            self._scratch = Scratch(memory)

    @property
    def path(self) -> str:
        """What to name to writers; empty if there is no shared memory."""
        return "" if self._scratch is None else str(self._scratch.path)

    def take(self, message: Message) -> Message:
        """Fetch a message whose place was sent, and free the place.

        Parameters
        ----------
        message
            As it arrived.

        Returns
        -------
        sequence
            The message as it was offered. Its memory is given back with the last view
            of it.

        Raises
        ------
        OSError
            If it is not there any more.
        """
        if len(message) != 1 or bytes(message[0][: len(_MARK)]) != _MARK:
            return message
        if self._scratch is None:
            raise FileNotFoundError("the inbox was closed before a message was taken")
        name, sizes = json.loads(bytes(message[0][len(_MARK) :]))
        return take_frames(Path(self.path, Path(name).name), tuple(sizes))

    def discard(self, pids: Iterable[int]) -> None:
        """Remove what writers that have ended left.

        Parameters
        ----------
        pids
            Their process ids.
        """
        if self._scratch is not None:
            for pid in pids:
                for path in self._scratch.path.glob(f"{pid}-*"):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the directory and all that nobody took; may be called again."""
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None


def offer(message: Message, inbox: str) -> Message:
    """Put a large message into a reader's inbox.

    Parameters
    ----------
    message
        What is to be sent.
    inbox
        Path of the reader's inbox; empty if it has none.

    Returns
    -------
    sequence
        What to send instead: where the message is. The message itself if it is small,
        or the inbox is not on this machine or has too little room.
    """
    if not inbox or wire.size(tuple(message)) < _SMALLEST:
        return message
    try:
        # MPI keeps its own buffers there and fails if none is left.
        room = os.statvfs(inbox)
        if wire.size(tuple(message)) > room.f_bavail * room.f_frsize // 2:
            return message
        path = Path(inbox, f"{os.getpid()}-{uuid.uuid4().hex}")
        sizes = write_frames(path, tuple(message))
    except OSError:
        return message
    return [_MARK + json.dumps([path.name, sizes]).encode()]
