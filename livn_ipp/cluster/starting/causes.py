"""Why a world ended, read from what its launcher and its ranks left in the log.

Open MPI and MPICH tell what happened to which rank, in their own words. A rank that
ends itself on purpose leaves its last words: one line of JSON.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Collection, Mapping
from typing import Any, Final

__all__ = ["LAST_WORDS", "cause", "last_words", "log_descriptor", "say_last_words"]

LAST_WORDS: Final = "livn_ipp last words: "
"""What a line that tells why a rank ends itself begins with, before the JSON."""

_ABORT = re.compile(
    r"MPI_ABORT was invoked on rank (\d+).{0,300}?errorcode:?\s*(-?\d+)",
    re.DOTALL | re.IGNORECASE,
)
_MPICH_ABORT = re.compile(r"MPI_Abort\([^,)]*,\s*(-?\d+)\) - process (\d+)")
_SIGNAL = re.compile(r"process rank (\d+) .{0,300}?exited on\s+signal (\d+)", re.DOTALL)
_EXIT = re.compile(r"Process name: \[[^\]]*,(\d+)\]\s*Exit code:\s*(-?\d+)")
_NO_FINALIZE = re.compile(
    r"process rank (\d+) .{0,300}?exiting\s+improperly", re.DOTALL
)
_MPICH_PID = re.compile(r"=\s+PID (\d+) RUNNING AT")
_MPICH_SIGNAL = re.compile(r"EXIT STRING: .*\(signal (\d+)\)")
_MPICH_EXIT = re.compile(r"=\s+EXIT CODE: (-?\d+)")


def cause(
    log: str,
    exit_code: int | None,
    ranks: Mapping[int, int],
    struck: Collection[int] = (),
) -> str:
    r"""Tell which rank ended first, and how.

    Parameters
    ----------
    log
        What launcher and ranks wrote.
    exit_code
        The launcher's, as subprocess gives it; None if it runs.
    ranks
        Ranks by their process ids, for launchers that name only these.
    struck
        Ranks that were killed because the world was lost; theirs is not the cause.

    Returns
    -------
    str
        In plain words; empty if nothing is known yet.

    Examples
    --------
    >>> cause("prterun noticed that process rank 1 with PID 7 on node a exited on\n"
    ...       "signal 11 (Segmentation fault).", 139, {})
    'rank 1 was killed by signal 11 (segmentation fault)'
    >>> cause("", 3, {})
    'a rank ended with exit code 3'
    """
    for words in last_words(log):
        if words["kind"] == "left":
            return f"rank {words['rank']} was told to end in a call, as by h.quit()"
        if words["kind"] == "memory":
            return f"rank {words['rank']} used more memory than memory_limit allows"
    if found := _ABORT.search(log):
        return f"rank {found[1]} called MPI_Abort({found[2]})"
    if found := _MPICH_ABORT.search(log):
        return f"rank {found[2]} called MPI_Abort({found[1]})"
    if found := _SIGNAL.search(log):
        return _killed(int(found[1]), int(found[2]), struck)
    if found := _EXIT.search(log):
        return f"rank {found[1]} ended with exit code {found[2]}"
    if found := _NO_FINALIZE.search(log):
        return f"rank {found[1]} ended with exit code 0, without MPI_Finalize"
    if found := _MPICH_PID.search(log):
        rank = ranks.get(int(found[1]))
        if ended := _MPICH_SIGNAL.search(log, found.end()):
            return _killed(rank, int(ended[1]), struck)
        if ended := _MPICH_EXIT.search(log, found.end()):
            return f"{_named(rank)} ended with exit code {ended[1]}"
    return "" if exit_code is None or struck else _launcher(exit_code)


def _killed(rank: int | None, number: int, struck: Collection[int]) -> str:
    if rank in struck and number == signal.SIGKILL:
        return ""
    return f"{_named(rank)} was killed by {_signal(number)}"


def _named(rank: int | None) -> str:
    return "a rank" if rank is None else f"rank {rank}"


def _launcher(exit_code: int) -> str:
    if exit_code < 0:
        return f"its launcher was killed by {_signal(-exit_code)}"
    if exit_code == 0:
        return "its ranks ended with exit code 0"
    if exit_code > 128:  # as shells and launchers tell signals
        return f"a rank was killed by {_signal(exit_code - 128)}"
    return f"a rank ended with exit code {exit_code}"


def _signal(number: int) -> str:
    name = (signal.strsignal(number) or "").lower()
    return f"signal {number} ({name})" if name else f"signal {number}"


def last_words(log: str) -> list[dict[str, Any]]:
    """Read what ranks said before they ended themselves.

    Parameters
    ----------
    log
        What launcher and ranks wrote.

    Returns
    -------
    list of dict
        In the order in which they were said; each has a ``"kind"``.

    Examples
    --------
    >>> last_words('livn_ipp last words: {"kind": "memory", "rank": 1}')
    [{'kind': 'memory', 'rank': 1}]
    """
    words = []
    for line in log.splitlines():
        # Output of several ranks may share a line.
        _, found, text = line.partition(LAST_WORDS)
        if found:
            try:
                said, _ = json.JSONDecoder().raw_decode(text)
            except ValueError:  # cut short
                continue
            if isinstance(said, dict) and "kind" in said:
                words.append(said)
    return words


def say_last_words(**words: Any) -> None:
    """Write why this rank ends itself into its world's log.

    Parameters
    ----------
    **words
        What JSON can hold; among it ``kind``.
    """
    # Past Python's own buffers and locks, which a thread may hold for ever.
    os.write(log_descriptor(), f"\n{LAST_WORDS}{json.dumps(words)}\n".encode())


def log_descriptor() -> int:
    """Tell the file descriptor of the world's log, on an engine.

    ipykernel sends what is written to the usual one to clients, by a thread that a
    hung rank may not let run.
    """
    copy = getattr(sys.stderr, "_original_stdstream_copy", None)
    return 2 if copy is None else int(copy)
