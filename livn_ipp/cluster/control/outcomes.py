"""The errors that calls, setters and sessions end with, in words that help."""

from collections.abc import Iterable

from livn_ipp.cluster import wire
from livn_ipp.cluster.control.records import Call
from livn_ipp.errors import (
    CallError,
    CallTimeout,
    ClusterLost,
    RankFailure,
    ResultNotSerializable,
    SessionLost,
    WorkerLost,
    call_error,
)

__all__ = ["error_of", "lost", "nobody_left", "session_lost", "timed_out"]


def error_of(answer: wire.Failed, worker: int) -> CallError:
    """Build the error that a worker's ranks reported."""
    if answer.unserializable:
        failure: RankFailure = answer.failures[0]
        return ResultNotSerializable(
            f"the call's result cannot be sent back: {failure.message}; "
            "return arrays, numbers, strings or objects that pickle",
            failures=answer.failures,
            worker=worker,
        )
    return call_error(answer.failures, worker)


def lost(call: Call, worker: int, why: str = "") -> WorkerLost:
    """Build the error of a call that lost too many workers, or its only one.

    `why` tells for what reason nobody takes that one's place.
    """
    told = "; ".join(text for text in (*call.attempts, why) if text)
    history = told or f"worker {worker} is gone"
    error = WorkerLost(
        f"call {call.request.id} was lost with its worker ({history}); "
        "look at the worker's log with cluster.log_tail()",
        worker=worker,
    )
    error.attempts = call.attempts
    return error


def session_lost(session: int, worker: int, steps: int, reason: str) -> SessionLost:
    """Build the error of a session whose state is gone."""
    error = SessionLost(
        f"session {session} was lost on worker {worker} after step {steps}: {reason}; "
        "its state is gone: open a new session and start again",
        worker=worker,
    )
    error.last_step = steps
    return error


def timed_out(call: int, worker: int, limit: float | None, aftermath: str) -> CallError:
    """Build the error of a call that ran out of time."""
    allowed = "its time" if limit is None else f"its {limit:g} s"
    return CallTimeout(
        f"call {call} ran longer than {allowed} on worker {worker}; {aftermath}. "
        "Give it more by timeout=, or look at its progress",
        worker=worker,
    )


def nobody_left(reasons: Iterable[str]) -> ClusterLost:
    """Build the error of whatever needs a worker when there is none."""
    known = "; ".join(reason for reason in reasons if reason)
    return ClusterLost(
        f"no worker is left{f' ({known})' if known else ''}; start a new DistributedEnv"
    )
