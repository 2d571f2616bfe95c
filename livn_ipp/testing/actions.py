"""What may go wrong on a rank: each action is called with the environment.

An action is any callable that takes the environment; these are the usual ones. What it
returns, if not None, is what the rank responds with in place of the decoding's answer.
"""

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from livn_ipp.errors import ConfigError

__all__ = [
    "Abort",
    "Allocate",
    "Compute",
    "Deadlock",
    "Die",
    "Huge",
    "Kill",
    "Leave",
    "Raise",
    "Segfault",
    "Sleep",
    "Unpicklable",
]

_SLICE: Final = 0.01  # s between votes
_STEP: Final = 16 << 20  # bytes that are allocated at once


@dataclass(frozen=True)
class Sleep:
    """Spend time without using the processor.

    Parameters
    ----------
    seconds
        How long; for ever by default.
    votes
        Agree with the other ranks all the while, as a simulation does at its chunk
        ends, so that the call can be stopped and shows signs of life. All ranks must
        do the same.
    hold_gil
        Keep the interpreter, so that no other thread and no signal handler of Python
        runs, as in a mechanism that never returns.

    Examples
    --------
    >>> from livn_ipp.testing import LightEnv
    >>> Sleep(0.01)(LightEnv("EI1"))
    """

    seconds: float = math.inf
    votes: bool = False
    hold_gil: bool = False

    def __call__(self, env: Any) -> None:
        """Sleep."""
        if self.hold_gil:
            _sleep_in_c(self.seconds)
        else:
            _spend(env, self.seconds, self.votes, time.sleep)


@dataclass(frozen=True)
class Compute:
    """Keep the processor busy.

    Parameters
    ----------
    seconds
        How long; for ever by default.
    votes
        As for :class:`Sleep`.
    """

    seconds: float = math.inf
    votes: bool = False

    def __call__(self, env: Any) -> None:
        """Compute."""
        _spend(env, self.seconds, self.votes, _compute)


class Raise:
    """Raise an exception.

    Parameters
    ----------
    kind
        Its class, or a function that makes it. Classes of a notebook or a function
        travel to the rank by value.
    *args
        What it is made from.

    Examples
    --------
    >>> Raise(KeyError, "electrode 99")(None)
    Traceback (most recent call last):
    ...
    KeyError: 'electrode 99'
    """

    def __init__(self, kind: Callable[..., BaseException], *args: Any) -> None:
        self.kind = kind
        self.args = args

    def __call__(self, env: Any) -> None:
        """Raise it."""
        del env
        raise self.kind(*self.args)

    def __repr__(self) -> str:
        return f"Raise({', '.join([self.kind.__name__, *map(repr, self.args)])})"


@dataclass(frozen=True)
class Leave:
    """Call ``sys.exit``."""

    code: int = 0

    def __call__(self, env: Any) -> None:
        """Leave."""
        del env
        sys.exit(self.code)


@dataclass(frozen=True)
class Die:
    """End the process at once, without any cleaning up: ``os._exit``."""

    code: int = 1

    def __call__(self, env: Any) -> None:
        """Die."""
        del env
        os._exit(self.code)


@dataclass(frozen=True)
class Kill:
    """Send this rank's process a signal; SIGSTOP makes it hang, as a lost machine does.

    Parameters
    ----------
    signal
        Number of the signal.
    """

    signal: int = signal.SIGKILL

    def __call__(self, env: Any) -> None:
        """Send it."""
        del env
        os.kill(os.getpid(), self.signal)


@dataclass(frozen=True)
class Segfault:
    """Read from address zero."""

    def __call__(self, env: Any) -> None:
        """Read it."""
        del env
        ctypes.string_at(0)


@dataclass(frozen=True)
class Abort:
    """Call ``MPI_Abort``, which ends every rank of the world."""

    code: int = 1

    def __call__(self, env: Any) -> None:
        """Abort."""
        del env
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(self.code)


@dataclass(frozen=True)
class Deadlock:
    """Enter a collective of MPI that the other ranks do not take part in.

    Used on some ranks of a subworld only.
    """

    def __call__(self, env: Any) -> None:
        """Wait for the others, in vain."""
        if env.subworld.mpi is None:
            raise ConfigError("a deadlock needs two ranks; use subworld_size=2 or more")
        env.subworld.mpi.Barrier()


@dataclass(frozen=True)
class Allocate:
    """Use up memory, and keep it for a while.

    Parameters
    ----------
    size
        Bytes.
    seconds
        How long they are kept; for ever by default. Votes meanwhile.
    """

    size: int
    seconds: float = math.inf

    def __call__(self, env: Any) -> None:
        """Allocate it, and write to every page."""
        kept = [
            bytearray(b"\1" * min(_STEP, self.size - begin))
            for begin in range(0, self.size, _STEP)
        ]
        _spend(env, self.seconds, True, time.sleep)
        del kept


@dataclass(frozen=True)
class Unpicklable:
    """Respond with something that cannot be sent anywhere."""

    def __call__(self, env: Any) -> Any:
        """Respond with a lock."""
        del env
        return {"held": threading.Lock()}


@dataclass(frozen=True)
class Huge:
    """Respond with that many bytes of ones."""

    size: int

    def __call__(self, env: Any) -> Any:
        """Respond with an array."""
        del env
        import numpy as np

        return np.ones(self.size, np.uint8)


def _spend(
    env: Any, seconds: float, votes: bool, pass_time: Callable[[float], None]
) -> None:
    began = time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        pass_time(min(left, _SLICE))
        if votes:
            env.subworld.report(1000 * (time.monotonic() - began))
            env.subworld.agree()


def _compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(1000))


def _sleep_in_c(seconds: float) -> None:
    """Wait in C for a lock that nobody gives back; no signal ends it."""
    library = ctypes.PyDLL(None)  # unlike CDLL, keeps the interpreter
    lock = ctypes.create_string_buffer(64)  # zeros are an initialised mutex
    library.pthread_mutex_lock(lock)
    if math.isinf(seconds):
        library.pthread_mutex_lock(lock)
    end = time.time() + seconds
    until = (ctypes.c_long * 2)(int(end), int(end % 1 * 1e9))
    library.pthread_mutex_timedlock(lock, until)
