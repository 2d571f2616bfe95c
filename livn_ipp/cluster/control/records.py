"""What the controller remembers of calls, setters, workers and sessions."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.control.events import Request, Step
from livn_ipp.cluster.wire import Frames
from livn_ipp.errors import LivnError

__all__ = ["Call", "Epoch", "Parcel", "Pin", "Queue", "Session", "Setter", "Worker"]

Pin = tuple[str, int] | None
"""Who alone may run a call: ("worker", index), ("session", number) or anyone."""

ANYONE: Final = None


@dataclass(slots=True)
class Call:
    """A call that has not ended."""

    request: Request
    version: int | None = None
    """Of the config log; known once the call was first handed out."""
    attempts: tuple[str, ...] = ()
    """The workers that were lost with it."""
    held_in: tuple[int, int] | None = None
    """The worker and parcel that hold it."""
    ended: bool = False

    @property
    def pin(self) -> Pin:
        """Who alone may run it."""
        if self.request.session is not None:
            return ("session", self.request.session)
        if self.request.worker is not None:
            return ("worker", self.request.worker)
        return ANYONE

    @property
    def rank(self) -> tuple[int, int, "Call"]:
        """Its place in a queue: by priority, then in order of submission."""
        return (-self.request.priority, self.request.id, self)


Queue = list[tuple[int, int, Call]]
"""A heap of calls by rank."""


@dataclass(slots=True)
class Setter:
    """A setter that has not ended."""

    ticket: int
    method: str
    arguments: Frames
    sent: bool = False
    waiting: set[int] = field(default_factory=set)
    failures: dict[int, wire.Failed] = field(default_factory=dict)
    error: LivnError | None = None


@dataclass(slots=True)
class Epoch:
    """Calls that share a config version, and the setter that ends it."""

    queue: Queue = field(default_factory=list)
    pinned: dict[Pin, Queue] = field(default_factory=dict)
    setter: Setter | None = None

    def add(self, call: Call) -> Queue:
        """Return the queue that a call belongs to."""
        pin = call.pin
        return self.queue if pin is ANYONE else self.pinned.setdefault(pin, [])


@dataclass(slots=True)
class Parcel:
    """What was sent to a worker and has not been answered."""

    number: int
    items: tuple[wire.Item, ...]
    """The items that will be answered, in order."""
    seconds: float
    """How long it should take."""
    version: int = 0
    """Of the config log, behind its items."""
    simulation: int = 0
    """Of its session, if it holds a step."""
    void: bool = False
    """Whether it goes on with a state that is not the session's any more."""

    @property
    def calls(self) -> list[int]:
        """The calls in it."""
        return [item.id for item in self.items if isinstance(item, wire.Call)]


@dataclass(slots=True)
class Worker:
    """A live worker."""

    version: int = 0
    parcels: deque[Parcel] = field(default_factory=deque)
    pipelines: OrderedDict[str, int] = field(default_factory=OrderedDict)
    session: int | None = None
    """The session that has it for itself."""
    draining: bool = False

    def holds(self, parcel: int) -> bool:
        """Tell whether a parcel is the one whose answer comes next."""
        return bool(self.parcels) and self.parcels[0].number == parcel

    def awaits(self, parcel: int) -> bool:
        """Tell whether a parcel was sent and not answered."""
        return any(each.number == parcel for each in self.parcels)


@dataclass(slots=True)
class Session:
    """A simulation that goes on from call to call on one worker."""

    worker: int
    """The one that holds its state, or held it last."""
    wanted: int | None = None
    """The only worker that it may be on."""
    steps: int = 0
    """Steps whose results arrived."""
    pipeline: str | None = None
    """Of steps that are recorded."""
    recover: bool = False
    """Whether its steps run again when the state is lost."""
    simulation: int | None = None
    """The one that the next step finds; None to begin one."""
    reached: int = 0
    """The one whose steps are recorded."""
    history: list[Step] = field(default_factory=list)
    """The steps that made the state."""
    waiting: bool = False
    """Whether it waits for another worker."""
    losses: int = 0
    """How often the state was lost since a step ended."""
    ahead: deque[Step] = field(default_factory=deque)
    """Steps that are to be run again."""
    again: dict[int, Step] = field(default_factory=dict)
    """Steps that are being run again, by the ids of their calls."""

    def begin_again(self) -> None:
        """Run all steps again, if there are any."""
        self.simulation = self.reached if self.history else None
        self.ahead = deque(self.history)
        self.again.clear()
