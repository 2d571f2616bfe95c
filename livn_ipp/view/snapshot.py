"""What is seen of a cluster at one moment: plain data that everything else draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Calls",
    "Electrodes",
    "LogLine",
    "Population",
    "Recent",
    "Snapshot",
    "WorkerState",
    "WorkerView",
]


class WorkerState(StrEnum):
    """What a worker does."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    REPLACED = "being replaced"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker.

    Attributes
    ----------
    index
        Number of the worker.
    state
        What it does.
    host
        The leader's machine; empty if not known.
    pids
        Process of each rank; empty if not known.
    call, attempt
        The call that it runs, and for which time that call was handed out.
    ahead
        Calls that wait on it for the one that runs.
    time, end
        Biological time in ms that the call has reached, and that of its end if known.
    seconds
        How long the call has run.
    done, failed, retried
        Calls that ended here well or with an error, and that were started elsewhere
        because this worker was lost.
    memory
        Resident memory of each rank in bytes, as last reported.
    error
        The last error here; empty if none.
    """

    index: int
    state: WorkerState
    host: str = ""
    pids: tuple[int, ...] = ()
    call: int | None = None
    attempt: int = 0
    ahead: int = 0
    time: float = 0.0
    end: float | None = None
    seconds: float = 0.0
    done: int = 0
    failed: int = 0
    retried: int = 0
    memory: tuple[int, ...] = ()
    error: str = ""

    @property
    def ranks(self) -> int:
        """Number of its ranks, as far as known."""
        return max(len(self.pids), len(self.memory))

    @property
    def fraction(self) -> float | None:
        """How much of its call is done, 0 to 1, if known."""
        if self.call is None or not self.end:
            return None
        return min(1.0, self.time / self.end)


@dataclass(frozen=True, slots=True)
class Calls:
    """Counts of calls, and how far those are that were submitted together.

    Attributes
    ----------
    queued, running
        Calls that wait, and that run.
    done, failed, cancelled
        Calls that ended, by how.
    total, ended
        Calls of the present batch, which lasts until nothing is unfinished; how many
        of them have ended.
    batch_failed, batch_cancelled
        How many of these failed or were cancelled.
    fraction
        How much of the batch is done, 0 to 1.
    elapsed
        Seconds since the batch began, or that it took.
    biological
        Biological time that the batch has simulated, in ms.
    remaining, remaining_biological
        Estimates of what is left: seconds, and biological time in ms; None if not
        known.
    """

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0
    ended: int = 0
    batch_failed: int = 0
    batch_cancelled: int = 0
    fraction: float = 0.0
    elapsed: float = 0.0
    biological: float = 0.0
    remaining: float | None = None
    remaining_biological: float | None = None

    @property
    def unfinished(self) -> int:
        """Calls that have not ended."""
        return self.queued + self.running


@dataclass(frozen=True, slots=True)
class Population:
    """A population and how much it fires.

    Attributes
    ----------
    name
        Its name.
    first, cells
        Its first gid, and how many gids are its own.
    rate
        Spikes per cell and second of biological time, over the windows of all workers.
    """

    name: str
    first: int
    cells: int
    rate: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Electrodes:
    """The electrodes and what they hear.

    Attributes
    ----------
    ids : array [C]
        Channels.
    positions : array [C, 2]
        Where they are in the plane, in um.
    rates : array [C]
        Spikes per heard cell and second of biological time; nan where none is heard.
    potentials : array [C] or None
        Potentials in uV as the watched worker last reported.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.float64]
    rates: NDArray[np.float64]
    potentials: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Recent:
    """The spikes of the last seconds of biological time on one worker.

    Attributes
    ----------
    worker
        The worker, or None if nothing was simulated yet.
    gids, times : arrays
        Cell and time of each spike, in ms of all biological time that this worker has
        simulated, call after call.
    start, stop
        The window in the same time.
    begins
        Where calls began in the window, and their numbers.
    """

    worker: int | None = None
    gids: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    start: float = 0.0
    stop: float = 0.0
    begins: Sequence[tuple[float, int]] = ()


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log.

    Attributes
    ----------
    time
        When, in seconds since the epoch.
    worker
        Which worker it is about, if any.
    text
        What happened.
    """

    time: float
    worker: int | None
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A cluster and its culture at one moment.

    Attributes
    ----------
    name
        What is looked at.
    now
        When, in seconds since the epoch.
    revision
        Grows with every change; equal revisions show the same but for elapsed time.
    workers
        The workers by index.
    calls
        Counts and estimates.
    populations
        The populations by first gid.
    recent
        Spikes of one worker.
    electrodes
        The electrodes, if there are any.
    version
        Entries of the config log.
    log
        The latest lines of the log, oldest first.
    """

    name: str
    now: float
    revision: int = 0
    workers: tuple[WorkerView, ...] = ()
    calls: Calls = Calls()
    populations: tuple[Population, ...] = ()
    recent: Recent = field(default_factory=Recent)
    electrodes: Electrodes | None = None
    version: int = 0
    log: tuple[LogLine, ...] = ()
