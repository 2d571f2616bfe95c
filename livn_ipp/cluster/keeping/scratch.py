"""Private directories for frames in files, that go when their owner goes.

The owner holds a lock in its directory, which the kernel gives back however the owner
ended. Whoever finds a directory whose lock is free may remove it, without knowing
anything about process ids, containers or hosts.
"""

import contextlib
import fcntl
import itertools
import mmap
import os
import pickle
import shutil
import stat
import tempfile
import time
import uuid
import weakref
from pathlib import Path
from typing import Final

from livn_ipp.cluster.wire import Frames

__all__ = [
    "SHARED_MEMORY",
    "Scratch",
    "read_frames",
    "sweep",
    "take_frames",
    "write_frames",
]

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - for directories of one user only
"""Where files are memory."""

_PREFIX: Final = "livn_ipp-"
_LOCK: Final = "owner"
_UNBORN: Final = 60.0  # s, after which a directory without a lock is a ruin


class Scratch:
    """A directory that only this user can read and that this process owns.

    It is removed when this object is collected, at the latest when Python exits;
    after a crash by the next :func:`sweep`, which making another one includes.

    Parameters
    ----------
    parent
        Where to make it.

    Attributes
    ----------
    path : Path
        The directory.

    Raises
    ------
    OSError
        If the parent is full, read-only or missing.
    """

    def __init__(self, parent: Path) -> None:
        sweep(parent)
        lock = None
        while lock is None:  # a sweeper may have been quicker than our lock
            self.path = parent / f"{_PREFIX}{uuid.uuid4().hex}"
            self.path.mkdir(mode=0o700)
            try:
                lock = _lock(self.path / _LOCK, create=True)
            except OSError:
                _remove_tree(self.path)
                raise
        self._names = itertools.count()
        self._owner = os.getpid()
        self._lock = lock
        self._finalizer = weakref.finalize(self, _give_up, self.path, lock, self._owner)

    @property
    def mine(self) -> bool:
        """Whether this process is the owner, and no fork of it."""
        return os.getpid() == self._owner

    def new(self) -> Path:
        """Name a file that does not exist yet."""
        return self.path / f"{os.getpid()}-{next(self._names)}"

    def fileno(self) -> int:
        """Tell the descriptor of the lock, for a process that is to inherit it."""
        return self._lock

    def hand_over(self) -> None:
        """Leave the directory to whoever inherited the lock; swept after their end."""
        if self._finalizer.detach():
            os.close(self._lock)

    def remove(self) -> None:
        """Remove the directory and all that is in it; may be called again."""
        self._finalizer()


def sweep(*parents: Path) -> None:
    """Remove directories whose owners have ended.

    Parameters
    ----------
    *parents
        Where to look: in shared memory and among temporary files by default. Other
        users' directories are left alone.
    """
    for parent in parents or (SHARED_MEMORY, Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            for path in parent.glob(f"{_PREFIX}*"):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(path)


def write_frames(path: Path, frames: Frames) -> tuple[int, ...]:
    """Write frames to a new file, one behind the other.

    Parameters
    ----------
    path
        Must not exist; only this user will be able to read it.
    frames
        Any.

    Returns
    -------
    tuple of int
        Bytes of each frame.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left of it.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        views = [pickle.PickleBuffer(frame).raw() for frame in frames]
        for view in views:
            written = 0
            while written < view.nbytes:  # a system call writes 2 GiB at most
                written += os.write(file, view[written:])
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        os.close(file)
    return tuple(view.nbytes for view in views)


def read_frames(path: Path, sizes: tuple[int, ...]) -> tuple[memoryview, ...]:
    """Read what :func:`write_frames` wrote.

    Parameters
    ----------
    path
        Of the file, which is kept.
    sizes
        Bytes of each frame.

    Returns
    -------
    tuple of memoryview
        Fresh memory.

    Raises
    ------
    OSError
        If the file is missing, or longer or shorter than it was.
    """
    with path.open("rb", buffering=0) as file:
        _check_size(file.fileno(), path, sizes)
        frames = tuple(memoryview(bytearray(size)) for size in sizes)
        for frame in frames:
            filled = 0
            while filled < frame.nbytes:
                count = file.readinto(frame[filled:])
                if not count:
                    raise OSError(f"{path} ended early")
                filled += count
    return frames


def take_frames(path: Path, sizes: tuple[int, ...]) -> tuple[memoryview, ...]:
    """Map what :func:`write_frames` wrote, and remove the file's name at once.

    The memory is given back with the last view of it. For files in memory only: a disk
    that fails under a mapping ends the process.

    Parameters
    ----------
    path, sizes
        As for :func:`read_frames`.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        path.unlink()
        _check_size(file, path, sizes)
        mapping = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(file)
    ends = list(itertools.accumulate(sizes))
    return tuple(mapping[e - n : e] for e, n in zip(ends, sizes, strict=True))


def _check_size(file: int, path: Path, sizes: tuple[int, ...]) -> None:
    found = os.fstat(file).st_size
    if found != sum(sizes):
        raise OSError(f"{path} has {found} bytes, not the {sum(sizes)} written to it")


def _lock(path: Path, *, create: bool = False) -> int | None:
    """Lock a file and return its descriptor; None if someone else has it."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | create * os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    except BlockingIOError:
        pass
    except OSError:
        os.close(file)
        raise
    os.close(file)
    return None


def _remove_if_abandoned(path: Path) -> None:
    about = path.lstat()
    if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
        return
    try:
        lock = _lock(path / _LOCK)
    except FileNotFoundError:
        if time.time() - about.st_mtime > _UNBORN:
            _remove_tree(path)
        return
    if lock is not None:
        _remove_tree(path)
        os.close(lock)


def _give_up(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked child is not the owner
        _remove_tree(path)
        os.close(lock)


def _remove_tree(path: Path) -> None:
    # Another process may be adding a last file.
    for _ in range(3):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
