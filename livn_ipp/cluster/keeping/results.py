"""Bounds on results: how large one may be, how many are kept in memory unread.

Finished results that nobody has read stay in memory up to a limit, the rest go to disk.
"""

import contextlib
import platform
import tempfile
import threading
import warnings
import zlib
from collections import deque
from pathlib import Path
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.scratch import Scratch, read_frames, write_frames
from livn_ipp.cluster.machine.environment import available_memory
from livn_ipp.errors import ResultLost, ResultTooLarge

__all__ = ["Kept", "Results", "check_size"]

_HARMLESS: Final = 64 << 20
"""Bytes of a result for which nobody needs to look at the memory."""
_LIGHT: Final = 512
"""Bytes of a result that weighs less than its future; they are not counted."""
_COPIES: Final = 3
"""Of a result, on its way from the rank that has it to who reads it."""


def check_size(size: int, limit: int | None) -> None:
    """Refuse to send a result that is too large.

    Parameters
    ----------
    size
        Of the result, in bytes.
    limit
        Bytes that are allowed; by default a third of the memory that is available.

    Raises
    ------
    ResultTooLarge
        Naming both.

    Examples
    --------
    >>> check_size(2_000_000_000, limit=1_000_000_000)
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ResultTooLarge: the result has 2.00 GB, and max_result allows ...
    """
    if size <= (_HARMLESS if limit is None else limit):
        return
    if limit is None:
        available = available_memory()
        if size * _COPIES <= available:
            return
        reason = (
            f"needs up to {_COPIES} times as much on its way, but "
            f"{_volume(available)} of memory are available on {platform.node()}"
        )
    else:
        reason = f"max_result allows {_volume(limit)}"
    raise ResultTooLarge(
        f"the result has {_volume(size)}, and {reason}. Record less, simulate for a "
        f"shorter time, let the decoding return less or write to a file"
    )


def _volume(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


class Results:
    """Keeps the frames of results until they are read.

    Parameters
    ----------
    memory
        Bytes that may be kept in memory; what comes beyond is written to disk.
    directory
        Where to write; the system's directory for temporary files by default.

    Examples
    --------
    >>> results = Results(memory=100)
    >>> kept = results.keep(wire.dumps("a long run"))
    >>> wire.loads(kept.frames()), results.in_memory > 0
    ('a long run', True)
    >>> kept.drop()
    >>> results.in_memory
    0
    """

    def __init__(self, memory: int, directory: Path | None = None) -> None:
        self._limit = memory
        self._directory = directory
        self._lock = threading.Lock()
        self._count = 0
        # Results may be dropped by the garbage collector, amid anything else, so
        # dropping one takes no lock.
        self._given_back: deque[int] = deque()
        self._scratch: Scratch | None = None
        self._warned = False

    @property
    def in_memory(self) -> int:
        """Bytes of results that are in memory now."""
        with self._lock:
            self._settle()
            return self._count

    def keep(self, frames: wire.Frames) -> "Kept":
        """Keep a result, in memory if there is room.

        If the disk refuses it, it stays in memory, and the first one to do so is
        warned about.
        """
        size = wire.size(frames)
        if size <= _LIGHT and self._limit >= _LIGHT << 10:
            return _Light(frames)
        with self._lock:
            self._settle()
            self._count += size
            fits = self._count <= self._limit
        held = _InMemory(frames, size, self._given_back)
        if fits:
            return held
        try:
            filed = _OnDisk(self._place(), frames)
        except OSError as error:
            self._warn(error)
            return held
        held.drop()
        return filed

    def _settle(self) -> None:
        while self._given_back:
            self._count -= self._given_back.popleft()

    def _place(self) -> Scratch:
        with self._lock:
            if self._scratch is None:
                parent = self._directory or Path(tempfile.gettempdir())
                self._scratch = Scratch(parent)
            return self._scratch

    def _warn(self, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        where = error.filename or "the directory for temporary files"
        # Where warnings are errors, the result is worth more than the warning.
        with contextlib.suppress(RuntimeWarning):
            warnings.warn(
                f"results that nobody has read exceed {self._limit / 1e6:.0f} MB and "
                f"cannot be written to {where} ({error.strerror or error}); they stay "
                f"in memory. Read them, raise result_memory, or set TMPDIR to a "
                f"directory with free space",
                RuntimeWarning,
                stacklevel=2,
            )


class Kept:
    """A result that nobody has read."""

    __slots__ = ()

    def frames(self) -> wire.Frames:
        """Return the result's frames.

        Raises
        ------
        ResultLost
            If they were on disk and are not any more as they were.
        """
        raise NotImplementedError

    def drop(self) -> None:
        """Give the memory or file back; may be called again."""
        raise NotImplementedError


class _Light(Kept):
    __slots__ = ("_frames",)

    def __init__(self, frames: wire.Frames) -> None:
        self._frames = frames

    def frames(self) -> wire.Frames:
        return self._frames

    def drop(self) -> None:
        self._frames = ()


class _InMemory(Kept):
    __slots__ = ("_frames", "_given_back", "_size")

    def __init__(self, frames: wire.Frames, size: int, given_back: deque[int]) -> None:
        self._frames = frames
        self._size = size
        self._given_back = given_back

    def frames(self) -> wire.Frames:
        return self._frames

    def drop(self) -> None:
        size, self._size = self._size, 0
        self._frames = ()
        if size:
            self._given_back.append(size)

    __del__ = drop


class _OnDisk(Kept):
    __slots__ = ("_checksum", "_path", "_scratch", "_sizes")

    def __init__(self, scratch: Scratch, frames: wire.Frames) -> None:
        self._scratch: Scratch | None = None
        self._path = scratch.new()
        self._sizes = write_frames(self._path, frames)
        self._checksum = _checksum(frames)
        self._scratch = scratch  # which lives as long as the last result in it

    def frames(self) -> wire.Frames:
        try:
            frames = read_frames(self._path, self._sizes)
            if _checksum(frames) != self._checksum:
                raise OSError(f"{self._path} has changed since it was written")
        except OSError as error:
            raise ResultLost(
                f"a result that waited on disk cannot be read back: {error}; is the "
                f"disk of {self._path} at fault? Run the call again"
            ) from error
        return frames

    def drop(self) -> None:
        scratch, self._scratch = self._scratch, None
        if scratch is not None and scratch.mine:
            with contextlib.suppress(OSError):
                self._path.unlink()

    __del__ = drop


def _checksum(frames: wire.Frames) -> int:
    value = 0
    for frame in frames:
        value = zlib.crc32(memoryview(frame), value)
    return value
