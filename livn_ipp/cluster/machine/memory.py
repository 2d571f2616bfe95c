"""A limit on the resident memory of a rank, kept by a small process beside it.

A thread of the rank could not keep it: while NEURON or another extension computes, it
holds the interpreter, and no other thread of the process runs. The process that watches
imports nothing but parts of the standard library, and ends with the rank.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # not when it runs beside a rank
    from livn_ipp.errors import WorkerMemoryError

__all__ = ["MemoryWatch", "main", "memory_error", "world_log"]

_SHARE: Final = 0.95
"""Of the limit, at which a rank is ended: before the machine is in trouble."""
_INTERVAL: Final = 0.1
"""Seconds between two looks."""


class MemoryWatch:
    """Ends this process when it comes close to a limit on its memory.

    Parameters
    ----------
    limit
        Bytes of resident memory.
    rank
        This process's rank in its world, for the message.
    """

    def __init__(self, limit: int, rank: int) -> None:
        import subprocess

        # Isolated and without site: it starts within 20 ms and takes 10 MB.
        program = [sys.executable, "-I", "-S", __file__]
        self._process = subprocess.Popen(
            [*program, str(os.getpid()), str(int(limit)), str(rank)],
            stdin=subprocess.PIPE,  # its end tells that this process has ended
            stdout=subprocess.DEVNULL,
            stderr=world_log(),
        )

    def close(self) -> None:
        """End the watch; may be called again."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()


def world_log() -> int:
    """Tell the file descriptor that leads to the log of this rank's world.

    Returns
    -------
    int
        On an engine not that of standard error, which goes to the notebook.
    """
    descriptor = getattr(sys.stderr, "_original_stdstream_copy", None)
    return 2 if descriptor is None else int(descriptor)


def memory_error(
    words: Mapping[str, Any], worker: int | None = None
) -> "WorkerMemoryError":
    """Make the error that a watch's last words stand for.

    Parameters
    ----------
    words
        As :func:`main` wrote them.
    worker
        Index of the worker that the rank belonged to.

    Returns
    -------
    WorkerMemoryError
        Naming what the rank used and what it may use.

    Examples
    --------
    >>> words = {"rank": 1, "host": "node7", "pid": 42, "rss": 2.1e9, "limit": 2.2e9}
    >>> error = memory_error(words, worker=0)
    >>> isinstance(error, MemoryError), error.rss
    (True, 2100000000)
    """
    from livn_ipp.errors import WorkerMemoryError

    rss, limit = int(words["rss"]), int(words["limit"])
    error = WorkerMemoryError(
        f"rank {words['rank']} on {words['host']} (pid {words['pid']}) used "
        f"{rss / 1e9:.2f} GB of the {limit / 1e9:.2f} GB that memory_limit allows and "
        f"was ended; the call is not run again. Record less, simulate for a shorter "
        f"time, spread the network over more ranks (subworld_size), or raise "
        f"memory_limit",
        worker=worker,
    )
    error.rss, error.limit = rss, limit
    return error


def main(arguments: Sequence[str]) -> None:
    """Watch a process until it ends, or end it; be the process beside it.

    Parameters
    ----------
    arguments
        Process id, limit in bytes, rank.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pid, limit, rank = map(int, arguments)
    while not select.select([0], [], [], _INTERVAL)[0] and os.getppid() == pid:
        rss = _resident(pid)
        if rss >= _SHARE * limit:
            words = {
                "kind": "memory",
                "rank": rank,
                "host": os.uname().nodename,
                "pid": pid,
                "rss": rss,
                "limit": limit,
            }
            os.write(2, f"\nlivn_ipp last words: {json.dumps(words)}\n".encode())
            os.kill(pid, signal.SIGKILL)
            return


def _resident(pid: int) -> int:
    """Read a process's resident memory in bytes; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - no pathlib here
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    main(sys.argv[1:])
