"""Replies of a worker's leader, kept until the controller says that it has them.

A kernel that dies, or a connection that breaks, takes replies with it that are on their
way. What is kept here can be fetched by whoever comes next.
"""

import contextlib
import struct
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Final

__all__ = ["Outbox"]

Buffers = tuple[bytes | memoryview, ...]
"""A message as a transport sends it."""

_MEMORY: Final = 64 << 20


class Outbox:
    """Numbered messages, of which the oldest are moved to disk if they grow too large.

    Files have no name and are readable by nobody else; they go with the process.

    Parameters
    ----------
    memory
        Bytes to hold in memory. The newest message is held there whatever its size.

    Examples
    --------
    >>> outbox = Outbox()
    >>> for number in range(3):
    ...     outbox.keep(number, [b"spikes of", str(number).encode()])
    >>> outbox.acknowledge(1)
    >>> list(outbox)
    [(2, (b'spikes of', b'2'))]
    """

    def __init__(self, memory: int = _MEMORY) -> None:
        self._limit = memory
        self._held: dict[int, Buffers] = {}
        self._spilled: dict[int, IO[bytes]] = {}

    def keep(self, number: int, message: Sequence[bytes | memoryview]) -> None:
        """Keep a message.

        Parameters
        ----------
        number
            Larger than those before.
        message
            Buffers that nobody changes any more.
        """
        self._held[number] = tuple(message)
        while self.memory > self._limit and len(self._held) > 1:
            oldest = next(iter(self._held))
            try:
                self._spilled[oldest] = _written(self._held[oldest])
            except OSError:  # a full disk: better too large than lost
                return
            del self._held[oldest]

    def acknowledge(self, number: int) -> None:
        """Drop the messages up to a number."""
        for each in [each for each in self._spilled if each <= number]:
            self._spilled.pop(each).close()
        for each in [each for each in self._held if each <= number]:
            del self._held[each]

    @property
    def memory(self) -> int:
        """Bytes that are held in memory."""
        return sum(memoryview(b).nbytes for m in self._held.values() for b in m)

    def __len__(self) -> int:
        return len(self._spilled) + len(self._held)

    def __iter__(self) -> Iterator[tuple[int, Buffers]]:
        """Iterate over numbers and messages, the oldest first."""
        for number, file in list(self._spilled.items()):
            yield number, _read(file)
        yield from list(self._held.items())

    def close(self) -> None:
        """Drop everything."""
        for file in self._spilled.values():
            with contextlib.suppress(OSError):
                file.close()
        self._spilled.clear()
        self._held.clear()


def _written(message: Buffers) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when acknowledged
    try:
        for buffer in message:
            file.write(struct.pack("<Q", memoryview(buffer).nbytes))
            file.write(buffer)
        file.flush()
    except OSError:
        file.close()
        raise
    return file


def _read(file: IO[bytes]) -> Buffers:
    file.seek(0)
    buffers = []
    while head := file.read(8):
        buffers.append(file.read(*struct.unpack("<Q", head)))
    return tuple(buffers)
