"""What the controller hears and what it asks for: events in, instructions out."""

from dataclasses import dataclass

from livn_ipp.cluster import wire
from livn_ipp.cluster.wire import Frames
from livn_ipp.errors import LivnError

__all__ = [
    "AskWorker",
    "CallsSubmitted",
    "CancelCalls",
    "Event",
    "Instruction",
    "Reject",
    "ReplyArrived",
    "Request",
    "Resolve",
    "Send",
    "SetterSubmitted",
    "Settle",
    "ShutDown",
    "Started",
    "StopCall",
    "WorkerGone",
    "WorkerJoined",
]


@dataclass(frozen=True, slots=True)
class Request:
    """A call as the user submitted it.

    Attributes
    ----------
    id
        Unique number of the call.
    pipeline
        Digest of its pipeline.
    trial, inputs, state, options
        As in :class:`livn_ipp.cluster.wire.Call`.
    priority
        Higher runs first.
    worker
        The only worker that may run it, or None.
    """

    id: int
    pipeline: str
    trial: int
    inputs: Frames
    state: Frames | None = None
    options: Frames | None = None
    priority: int = 0
    worker: int | None = None


# Events


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker is ready: its environment is built and its config log is empty."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker's processes ended."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallsSubmitted:
    """The user submitted calls of one pipeline."""

    requests: tuple[Request, ...]
    content: Frames


@dataclass(frozen=True, slots=True)
class SetterSubmitted:
    """The user called a setter."""

    ticket: int
    method: str
    arguments: Frames


@dataclass(frozen=True, slots=True)
class AskWorker:
    """The user asked something that any one worker can answer."""

    ticket: int
    name: str
    arguments: Frames
    all_ranks: bool = False


@dataclass(frozen=True, slots=True)
class ReplyArrived:
    """A worker's leader answered a parcel."""

    worker: int
    reply: wire.Reply


@dataclass(frozen=True, slots=True)
class CancelCalls:
    """The user gave up on calls."""

    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The user ended it all."""


Event = (
    WorkerJoined
    | WorkerGone
    | CallsSubmitted
    | SetterSubmitted
    | AskWorker
    | ReplyArrived
    | CancelCalls
    | ShutDown
)

# Instructions


@dataclass(frozen=True, slots=True)
class Send:
    """Send a parcel to every rank of a worker."""

    worker: int
    parcel: int
    items: tuple[wire.Item, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A call was handed to a worker."""

    call: int
    worker: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Resolve:
    """A call ended with a result."""

    call: int
    result: Frames


@dataclass(frozen=True, slots=True)
class Reject:
    """A call ended with an error."""

    call: int
    error: LivnError


@dataclass(frozen=True, slots=True)
class Settle:
    """A setter or question ended: with an error, or well and with a value."""

    ticket: int
    error: LivnError | None = None
    value: Frames | None = None


@dataclass(frozen=True, slots=True)
class StopCall:
    """Ask a worker to stop the call it is running, at its next chunk end."""

    worker: int
    call: int


Instruction = Send | Started | Resolve | Reject | Settle | StopCall
