"""The one exception hierarchy: what happened, where, and what to do."""

from __future__ import (
    annotations,
)  # CallError's constructor names classes defined below it

import concurrent.futures
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "CallCancelled",
    "CallError",
    "CallTimeout",
    "ClusterLost",
    "ConfigError",
    "DistributedFallbackWarning",
    "JournalError",
    "LivnError",
    "MissingExtra",
    "PreflightError",
    "RankFailure",
    "ResultLost",
    "ResultNotSerializable",
    "ResultTooLarge",
    "SessionLost",
    "SystemFormatError",
    "VersionMismatch",
    "WorkerLost",
    "WorkerMemoryError",
    "call_error",
]


class LivnError(Exception):
    """Any error that livn_ipp raises on purpose."""


class ConfigError(LivnError, ValueError):
    """A value the user gave cannot be used; raised before anything changes."""


class PreflightError(LivnError, RuntimeError):
    """Something the cluster needs is missing on this machine."""


class DistributedFallbackWarning(RuntimeWarning):
    """No cluster can be started here, so calls run in this process."""


class MissingExtra(LivnError, ImportError):
    """A library that only some features need is not installed."""


class VersionMismatch(LivnError, RuntimeError):
    """Ranks and controller do not run the same software."""


class ClusterLost(LivnError, ConnectionError):
    """The cluster is gone: its controller or its last worker ended."""


class JournalError(LivnError, OSError):
    """The journal of a search cannot be read or written: damaged, or the disk full."""


class SystemFormatError(LivnError, ValueError):
    """A system directory is broken.

    Parameters
    ----------
    path
        The file at fault.
    field
        The dataset, group or key at fault; empty for the file as a whole.
    problem
        What is wrong and what was expected.
    """

    def __init__(self, path: str | Path, field: str, problem: str) -> None:
        super().__init__(path, field, problem)
        self.path = Path(path)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        where = f"{self.path}: {self.field}" if self.field else str(self.path)
        return f"{where}: {self.problem}"


@dataclass(frozen=True)
class RankFailure:
    """What one rank saw when a call failed.

    Attributes
    ----------
    rank
        Rank inside the subworld.
    host
        Name of the machine.
    pid
        Process id on that machine.
    module, type_name
        Where the exception's type is defined, and its qualified name.
    message
        ``str`` of the exception.
    traceback
        The formatted traceback.
    """

    rank: int
    host: str
    pid: int
    module: str
    type_name: str
    message: str
    traceback: str


class CallError(LivnError):
    """A call failed on its worker; the worker lives on.

    Raised as an instance of the original exception's type as well, where that type
    can be imported here, so ``except ValueError`` catches a remote ``ValueError``.

    Attributes
    ----------
    failures
        One :class:`RankFailure` for each rank that raised.
    worker
        Index of the worker, or None if the call never reached one.
    """

    def __init__(
        self,
        message: str,
        *,
        failures: tuple[RankFailure, ...] = (),
        worker: int | None = None,
    ) -> None:
        # Not cooperative: types such as UnicodeDecodeError, which call_error mixes in,
        # demand constructor arguments of their own.
        Exception.__init__(self, message)
        self.message = message
        self.failures = failures
        self.worker = worker

    def __str__(self) -> str:
        return self.message

    @property
    def tracebacks(self) -> str:
        """The traceback of every rank that raised, as text; equal ones once."""
        ranks: dict[str, list[str]] = {}
        for each in self.failures:
            place = f"rank {each.rank} on {each.host} (pid {each.pid})"
            ranks.setdefault(each.traceback, []).append(place)
        return "\n".join(
            f"--- {', '.join(places)}\n{text}" for text, places in ranks.items()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        kind = CallError if "_mixed" in vars(type(self)) else type(self)
        arguments = (kind, self.message, self.failures, self.worker)
        return _rebuild, arguments, dict(vars(self))


class CallTimeout(CallError, TimeoutError):
    """A call did not end within its deadline.

    Attributes
    ----------
    time
        Biological time in ms that the call had reached, as last reported.
    partial
        The spikes until then if the call was submitted with ``stream=True``, else None.
    """

    time: float = 0.0
    partial: Any = None


class CallCancelled(CallError, concurrent.futures.CancelledError):
    """A call was cancelled before it ended."""


class WorkerLost(CallError):
    """A worker's processes ended while it held the call, and retrying did not help.

    Attributes
    ----------
    attempts
        Each worker that was lost with the call, and why.
    """

    attempts: tuple[str, ...] = ()


class SessionLost(WorkerLost):
    """The worker that held a session's state is gone, and the state with it.

    Attributes
    ----------
    last_step
        Number of the last step whose result arrived; 0 if none did.
    """

    last_step: int = 0


class WorkerMemoryError(WorkerLost, MemoryError):
    """A rank used more memory than it may; the call that did so is not run again.

    Attributes
    ----------
    rss
        Bytes of resident memory that the rank had.
    limit
        Bytes that it may have: ``memory_limit``.
    """

    rss: int = 0
    limit: int = 0


class ResultNotSerializable(CallError, TypeError):
    """A call's result cannot be sent back to the controller."""


class ResultTooLarge(CallError, MemoryError):
    """A call's result exceeds what may be sent back."""


class ResultLost(CallError):
    """A finished call's result waited on disk and cannot be read back."""


def call_error(
    failures: tuple[RankFailure, ...],
    worker: int | None = None,
    *,
    aftermath: str = "the worker is usable",
) -> CallError:
    """Build the error of a failed call from what its ranks saw.

    Parameters
    ----------
    failures
        At least one rank's failure; the first decides the type.
    worker
        Index of the worker.
    aftermath
        What the failure leaves behind.

    Returns
    -------
    CallError
        An instance of the original exception's type too, if it can be imported and
        mixed in.

    Examples
    --------
    >>> failure = RankFailure(1, "node7", 42, "builtins", "KeyError", "'x'", "...")
    >>> error = call_error((failure,), worker=0)
    >>> isinstance(error, KeyError), isinstance(error, CallError)
    (True, True)
    """
    first = failures[0]
    where = ", ".join(f"rank {f.rank} on {f.host}" for f in failures)
    target = "" if worker is None else f"worker {worker}, "
    told = f"{first.type_name}: {first.message}"
    if first.type_name == ModuleNotFoundError.__name__:
        told += (
            ". What a call uses is imported on its worker: install the module there; "
            "if it is a file of yours, set PYTHONPATH to its directory before the "
            "cluster starts, or send it with cloudpickle.register_pickle_by_value"
        )
    message = f"{told}\n(raised on {target}{where}; {aftermath})\n"
    error = _mixed_type(first)(message, failures=failures, worker=worker)
    error.message = message + error.tracebacks
    return error


def _mixed_type(failure: RankFailure) -> type[CallError]:
    original = _import_type(failure.module, failure.type_name)
    if original is None or issubclass(CallError, original):
        return CallError
    if issubclass(original, CallError):
        return original
    try:
        mixed = type(
            original.__name__,
            (CallError, original),
            {"__module__": original.__module__, "_mixed": True},
        )
        mixed("probe")
    except Exception:  # a layout, constructor or hook that refuses to be mixed in
        return CallError
    return mixed


def _import_type(module: str, name: str) -> type[Exception] | None:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception:  # importing it may fail in any way
        return None
    # SystemExit and KeyboardInterrupt must not end the user's own process.
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return None


def _rebuild(
    kind: type[CallError],
    message: str,
    failures: tuple[RankFailure, ...],
    worker: int | None,
) -> CallError:
    if failures and kind is CallError:
        kind = _mixed_type(failures[0])
    return kind(message, failures=failures, worker=worker)
