"""Bytes in and out: objects as frames, and what controller and workers say.

Everything crosses a transport as frames that this module pickled, so that what cannot
be unpickled fails in our own frame, with a name, and never inside the transport.
"""

import pickle
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import cloudpickle
import numpy as np

from livn_ipp.errors import ConfigError, RankFailure

__all__ = [
    "COMPRESSIONS",
    "Answer",
    "Apply",
    "Ask",
    "Call",
    "Done",
    "Entry",
    "Failed",
    "Forget",
    "Frames",
    "Install",
    "Item",
    "Missing",
    "Progress",
    "Rebuild",
    "Reply",
    "StoppedCall",
    "Telemetry",
    "TimedOut",
    "check_compression",
    "compress",
    "dumps",
    "loads",
    "pack",
    "size",
    "unpack",
]

Frame = bytes | memoryview | pickle.PickleBuffer
Frames = tuple[Frame, ...]
"""A pickle, followed by the large buffers it refers to."""

COMPRESSIONS: Final = ("zlib",)
"""Ways to make results smaller: those that Python itself brings."""

_OUT_OF_BAND: Final = 1 << 16
_HUGE: Final = 1 << 23
_WORTHWHILE: Final = 1 << 10  # bytes; less is sent as soon as it is compressed
_LEVEL: Final = 1  # higher ones take several times as long for a few per cent
_GAIN: Final = 0.9
_PLAIN: Final = (int, float, bool, str, bytes, type(None))
_OURS: Final = "livn_ipp."
"""Whose named tuples are known to every worker."""
_FEW: Final = 16


def dumps(value: Any, *, snapshot: bool = False) -> Frames:
    """Pickle an object, large arrays beside it and not copied.

    Functions and classes of a notebook travel by value.

    Parameters
    ----------
    value
        The object.
    snapshot
        Copy large arrays, so that later changes to them do not show.

    Raises
    ------
    Exception
        Whatever pickling raises, if the object cannot be pickled.

    Examples
    --------
    >>> loads(dumps({"rate": 3.5}))
    {'rate': 3.5}
    """
    buffers: list[Frame] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(pickle.PickleBuffer(bytes(view)) if snapshot else buffer)
        return False

    module = pickle if _plain(value) else cloudpickle
    head = module.dumps(value, protocol=5, buffer_callback=keep_in_band)
    return (head if len(head) < _OUT_OF_BAND else pickle.PickleBuffer(head), *buffers)


def _plain(value: Any) -> bool:
    """Tell whether a value needs none of cloudpickle's care, which takes 20 us."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is np.ndarray or issubclass(kind, np.generic):
        return value.dtype.kind in "biufc"
    if kind is dict:
        keys, values = all(type(key) is str for key in value), value.values()
        return keys and len(value) <= _FEW and all(map(_plain, values))
    if kind is tuple or (issubclass(kind, tuple) and kind.__module__.startswith(_OURS)):
        return len(value) <= _FEW and all(map(_plain, value))
    return False


def compress(frames: Frames, method: str | None) -> Frames:
    """Make frames smaller; :func:`loads` reads them as it reads any others.

    Parameters
    ----------
    frames
        What :func:`dumps` returned.
    method
        One of :data:`COMPRESSIONS`, or None.

    Returns
    -------
    Frames
        Those given, if there is nothing to be gained.

    Examples
    --------
    >>> frames = dumps(np.zeros(10_000))
    >>> size(frames) > 80_000, size(compress(frames, "zlib")) < 1000
    (True, True)
    """
    before = size(frames)
    if method is None or before < _WORTHWHILE:
        return frames
    packed = [zlib.compress(bytes(frames[0]), _LEVEL)]
    packed += [zlib.compress(pickle.PickleBuffer(b).raw(), _LEVEL) for b in frames[1:]]
    if sum(map(len, packed)) > _GAIN * before:
        return frames
    buffers: list[Frame] = []
    head = pickle.dumps(_Compressed(packed), protocol=5, buffer_callback=buffers.append)
    return (head, *buffers)


def check_compression(method: Any) -> None:
    """Refuse what is no way to compress.

    Raises
    ------
    ConfigError
        Naming those there are.
    """
    if method is not None and method not in COMPRESSIONS:
        known = ", ".join(map(repr, COMPRESSIONS))
        raise ConfigError(f"compression must be None or {known}, not {method!r}")


class _Compressed:
    """What unpickles as the object whose frames it holds."""

    def __init__(self, packed: list[bytes]) -> None:
        self._packed = packed

    def __reduce__(self) -> Any:
        return _expanded, tuple(map(pickle.PickleBuffer, self._packed))


def _expanded(*packed: Any) -> Any:
    head, *buffers = (zlib.decompress(each) for each in packed)
    return pickle.loads(head, buffers=[bytearray(each) for each in buffers])


def loads(frames: Frames) -> Any:
    """Unpickle frames; arrays are writable and own their memory."""
    head, *buffers = frames
    return pickle.loads(head, buffers=[_copy(buffer) for buffer in buffers])


def _copy(buffer: Frame) -> bytearray | memoryview:
    view = pickle.PickleBuffer(buffer).raw()
    if view.nbytes < _HUGE:
        return bytearray(view)
    # On huge pages, and without clearing them first: three times as fast.
    return np.frombuffer(view, np.uint8).copy().data


def pack(message: Any) -> tuple[bytes | memoryview, ...]:
    """Turn a message into flat frames for a transport, nested frames not copied."""
    buffers: list[memoryview] = []
    head = pickle.dumps(
        message, protocol=5, buffer_callback=lambda b: buffers.append(b.raw())
    )
    return (head, *buffers)


def unpack(frames: Sequence[bytes | memoryview]) -> Any:
    """Read a message back; nested frames stay views of the transport's memory."""
    head, *buffers = frames
    return pickle.loads(head, buffers=[pickle.PickleBuffer(b) for b in buffers])


def size(frames: Frames) -> int:
    """Return the number of bytes in frames."""
    if len(frames) == 1 and isinstance(frames[0], bytes):  # which most are
        return len(frames[0])
    return sum(len(f) if isinstance(f, bytes) else memoryview(f).nbytes for f in frames)


# Instructions to a worker. Every rank of the worker gets the same list, in order. Calls
# and their answers are named tuples: thousands of them are pickled each second.


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered entry of the config log: a setter and its arguments."""

    version: int
    method: str
    arguments: Frames


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply an entry of the config log."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Start from a fresh environment and apply these entries."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Install:
    """Keep a pipeline, the pair (decoding, encoding), under its digest."""

    pipeline: str
    content: Frames


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop a pipeline."""

    pipeline: str


class Call(NamedTuple):
    """One encode, simulate, decode.

    Attributes
    ----------
    id
        Number of the call, unique in its controller.
    pipeline
        Digest of the installed pipeline to use.
    trial
        Selects the realisation of all randomness.
    inputs
        The encoding's input.
    state
        What to update the decoding's ``state`` with, if anything.
    options
        Further keyword arguments of the environment's call.
    limit
        Seconds after which it is stopped at the next chunk end, or None.
    session, step
        The session that it continues and its number there, or None and 0.
    stream
        Whether its spikes are published while it runs.
    """

    id: int
    pipeline: str
    trial: int
    inputs: Frames
    state: Frames | None = None
    options: Frames | None = None
    limit: float | None = None
    session: int | None = None
    step: int = 0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Read an attribute of the environment, or call it if it is a method.

    The answer is that of the lowest rank that has one; or, of all ranks, the list of
    their answers. A dotted name reaches into attributes of attributes.
    """

    id: int
    name: str
    arguments: Frames
    all_ranks: bool = False


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Publish spikes for views too, or no longer.

    Attributes
    ----------
    spikes
        Whether they are wanted.
    """

    spikes: bool


Item = Apply | Rebuild | Install | Forget | Call | Ask | Telemetry

# Answers of a worker, one for each Apply, Rebuild, Call and Ask.


class Done(NamedTuple):
    """A call's result, and what it cost."""

    result: Frames
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """What the ranks raised.

    Attributes
    ----------
    failures
        One for each rank that raised.
    clean
        True if nothing changed: every rank refused the value before touching anything.
    unserializable
        True if the call went well but its result cannot be pickled.
    """

    failures: tuple[RankFailure, ...]
    clean: bool = False
    unserializable: bool = False


@dataclass(frozen=True, slots=True)
class StoppedCall:
    """The call stopped at a chunk end because the controller asked for it."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The call was stopped at a chunk end because its time was over.

    Attributes
    ----------
    seconds
        How long it ran.
    """

    seconds: float


class Progress(NamedTuple):
    """What a leader tells of a call that runs.

    Attributes
    ----------
    call
        Number of the call.
    time
        Biological time reached, in ms.
    seconds
        How long the call has run.
    start, end
        Biological time in ms at which the run began and at which it ends; `end` is None
        where that is not known.
    rss
        Resident bytes of each rank; empty if only the leader spoke.
    new_spikes
        Number of spikes of all ranks since the last publication that counts them.
    spikes
        Those spikes: the pair of cells (uint32) and times (float64, ms from `start`);
        None if they were not asked for. Those for views are thinned if there are very
        many.
    before
        How many spikes of this run were published earlier, if each of them is; None for
        those for views.
    potential
        Potential at each electrode in uV, for views; empty if it is not sampled.
    """

    call: int
    time: float
    seconds: float = 0.0
    start: float = 0.0
    end: float | None = None
    rss: tuple[int, ...] = ()
    new_spikes: int = 0
    spikes: Frames | None = None
    before: int | None = None
    potential: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The call's pipeline, or the session it continues, is not here (any more)."""

    pipeline: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A setter, rebuild or question was carried out by every rank."""

    value: Frames | None = None


class Reply(NamedTuple):
    """The leader's answers to one parcel, in the order of its items.

    Attributes
    ----------
    parcel
        Number of the parcel.
    answers
        One for each item that is answered.
    progress
        The last word on calls that were streamed or timed out, with every spike:
        publications may come late or get lost.
    """

    parcel: int
    answers: tuple[Done | Failed | StoppedCall | TimedOut | Missing | Answer, ...] = ()
    progress: tuple[Progress, ...] = ()
