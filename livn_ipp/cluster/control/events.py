"""What the controller hears and what it asks for: events in, instructions out."""

from dataclasses import dataclass
from typing import NamedTuple

from livn_ipp.cluster import wire
from livn_ipp.cluster.wire import Frames
from livn_ipp.errors import CallError, LivnError

__all__ = [
    "AskWorker",
    "CallsSubmitted",
    "CancelCalls",
    "CloseSession",
    "Disengage",
    "DrainWorkers",
    "Engage",
    "Event",
    "Instruction",
    "OpenSession",
    "Reject",
    "Release",
    "Replace",
    "ReplyArrived",
    "Request",
    "Resolve",
    "Send",
    "SetterSubmitted",
    "Settle",
    "ShutDown",
    "Started",
    "Step",
    "StopCall",
    "ViewsOpened",
    "WorkerAbandoned",
    "WorkerExpected",
    "WorkerGone",
    "WorkerJoined",
    "WorkerStuck",
]


class Request(NamedTuple):
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
    retries
        How many times it may run again after a loss; None as for every call.
    limit
        Seconds that one attempt may take, or None.
    session, step
        The session that it is a step of and the step's number, or None and 0.
    stream
        Whether its spikes are wanted while it runs.
    simulation
        Which of the session's simulations it belongs to; the first step of each that
        runs begins it.
    """

    id: int
    pipeline: str
    trial: int
    inputs: Frames
    state: Frames | None = None
    options: Frames | None = None
    priority: int = 0
    worker: int | None = None
    retries: int | None = None
    limit: float | None = None
    session: int | None = None
    step: int = 0
    stream: bool = False
    simulation: int = 0


# Events


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker is ready.

    Attributes
    ----------
    worker
        Which one.
    version
        How much of the config log it has: nothing, unless it was there before this
        controller.
    """

    worker: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker's processes ended.

    Attributes
    ----------
    worker
        Which one.
    reason
        Why, as far as known.
    replaced
        Whether another takes its place under the same index; calls wait for it.
    error
        What the call that it ran ends with, if that must not run again.
    """

    worker: int
    reason: str
    replaced: bool = False
    error: CallError | None = None


@dataclass(frozen=True, slots=True)
class WorkerExpected:
    """A worker is being started; calls may wait for it."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerAbandoned:
    """A worker that was expected will not come."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerStuck:
    """A worker does not end what it does.

    Attributes
    ----------
    worker
        Which one.
    reason
        What was noticed.
    overdue
        The call that exceeded its time limit, if that is what happened.
    """

    worker: int
    reason: str
    overdue: int | None = None


@dataclass(frozen=True, slots=True)
class DrainWorkers:
    """The user wants workers to end what they run and then to leave."""

    workers: tuple[int, ...]


class Step(NamedTuple):
    """A step of a session that was run, as it can be run again.

    Attributes
    ----------
    number
        Of the step; 0 starts the simulation.
    trial, inputs, state, options, limit
        As in :class:`livn_ipp.cluster.wire.Call`.
    version
        Of the config log that it ran under.
    digest
        Tells its answer from others; empty if that is too large to tell.
    """

    number: int
    trial: int
    inputs: Frames
    state: Frames | None
    options: Frames | None
    limit: float | None
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class OpenSession:
    """The user wants a worker for a simulation that goes on from call to call.

    Attributes
    ----------
    session
        Number of the session.
    worker
        The only worker that it may be on, or None.
    pipeline, content
        Digest and pickle of its pair (decoding, encoding), if steps are recorded.
    recover
        Whether its steps run again when the state is lost.
    history
        Steps to begin with.
    """

    session: int
    worker: int | None = None
    pipeline: str | None = None
    content: Frames = ()
    recover: bool = False
    history: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class CloseSession:
    """The user is done with a session."""

    session: int


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
    """The user asked something that one worker can answer: any, or this one."""

    ticket: int
    name: str
    arguments: Frames
    all_ranks: bool = False
    worker: int | None = None


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
class ViewsOpened:
    """Someone looks, or nobody does any more."""

    spikes: bool


@dataclass(frozen=True, slots=True)
class ShutDown:
    """It is all over: the user ended it, or what workers are reached by is gone."""

    reason: str = "the environment was shut down"


Event = (
    WorkerJoined
    | WorkerGone
    | WorkerExpected
    | WorkerAbandoned
    | WorkerStuck
    | DrainWorkers
    | OpenSession
    | CloseSession
    | CallsSubmitted
    | SetterSubmitted
    | AskWorker
    | ReplyArrived
    | CancelCalls
    | ViewsOpened
    | ShutDown
)

# Instructions. Those that every call brings about are named tuples, which are made
# several times faster.


@dataclass(frozen=True, slots=True)
class Send:
    """Send a parcel to every rank of a worker."""

    worker: int
    parcel: int
    items: tuple[wire.Item, ...]


class Started(NamedTuple):
    """A call was handed to a worker."""

    call: int
    worker: int
    attempt: int


class Resolve(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Replace:
    """End a worker by force and bring another in its place."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Let a drained worker go."""

    worker: int


@dataclass(frozen=True, slots=True)
class Engage:
    """A session begins on a worker: get ready for short steps, one by one."""

    worker: int


@dataclass(frozen=True, slots=True)
class Disengage:
    """The session on a worker is over."""

    worker: int


Instruction = (
    Send
    | Started
    | Resolve
    | Reject
    | Settle
    | StopCall
    | Replace
    | Release
    | Engage
    | Disengage
)
