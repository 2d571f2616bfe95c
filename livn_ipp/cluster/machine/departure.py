"""A rank that cannot go on: it says why, and ends itself for its worker to be replaced.

Two things leave the other ranks waiting for ever. A rank fails in the middle of what
they do together without votes, as in NEURON's own exchange of spikes; or something
ends Python in the middle of a call, as ``h.quit()`` does, and MPI then waits for all
ranks to end likewise.
"""

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from typing import Any, Final

from livn_ipp.cluster.starting.causes import say_last_words
from livn_ipp.errors import CallError, RankFailure, call_error

__all__ = ["before_the_end", "failure_error", "leave", "vote_or_leave"]

_PATIENCE: Final = 2.0
"""Seconds that the others have to come to the vote of a rank that failed on its own."""
_LONGEST: Final = 10_000
"""Characters of a message or traceback in a world's log."""


@contextmanager
def vote_or_leave(failure: RankFailure, world_rank: int) -> Iterator[None]:
    """End this process if the block, a vote, takes too long.

    Parameters
    ----------
    failure
        What this rank raised.
    world_rank
        Its rank in the world.
    """
    told = replace(
        failure,
        message=failure.message[:_LONGEST],
        traceback=failure.traceback[-_LONGEST:],
    )
    words = {"kind": "failed", "rank": world_rank, "failure": asdict(told)}
    timer = threading.Timer(_PATIENCE, leave, kwargs=words)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def failure_error(words: Mapping[str, Any], worker: int | None) -> CallError:
    """Make the error that a failed rank's last words stand for.

    Parameters
    ----------
    words
        As :func:`vote_or_leave` wrote them.
    worker
        Index of the worker that the rank belonged to.

    Returns
    -------
    CallError
        As if the rank had told it itself.
    """
    failure = RankFailure(**words["failure"])
    error: CallError = call_error(
        (failure,),
        worker,
        aftermath="the other ranks waited in the simulator; the worker is replaced",
    )
    return error


@cache
def before_the_end(action: Callable[[], None]) -> None:
    """Do something when Python or MPI is about to end in this process.

    Parameters
    ----------
    action
        Called once or twice; the same action is only registered once.
    """
    from mpi4py import MPI

    atexit.register(action)
    # MPI_Finalize, which NEURON calls on its own, begins with the attributes of SELF.
    key = MPI.Comm.Create_keyval(delete_fn=lambda *_: action())
    MPI.COMM_SELF.Set_attr(key, action)


def leave(**words: Any) -> None:
    """Say last words, and end this process without waiting for anything.

    Parameters
    ----------
    **words
        As :func:`livn_ipp.cluster.starting.causes.say_last_words` takes them.
    """
    say_last_words(**words)
    os._exit(1)
