"""What the controller remembers of calls, setters, workers and sessions."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.events import Request
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
    attempts: list[str] = field(default_factory=list)
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


@dataclass(slots=True)
class Session:
    """A simulation that goes on from call to call on one worker."""

    worker: int
    steps: int = 0
    """Steps whose results arrived."""
