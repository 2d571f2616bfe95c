"""The ranks that simulate one network together, and how they agree.

Every rank of a subworld runs the same program. When one of them raises while the
others wait in a collective, an unguarded program hangs for ever. Here every collective
begins with a vote: a rank that fails casts the vote it owes, the others see it at
their next collective and raise :class:`PeerFailed` at the same point. The same vote
tells all ranks of a wish to stop, of a time limit, and when to say how far they are.
"""

import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import LivnError

__all__ = [
    "Communicator",
    "Course",
    "Late",
    "PeerFailed",
    "State",
    "Stopped",
    "Subworld",
    "Telemetry",
]

_NOBODY: Final = -(1 << 30)
"""Below the negative of any rank."""


class State(IntEnum):
    """What a rank votes; the highest vote wins."""

    GOING = 0
    PUBLISH = 1
    LATE = 2
    STOP = 3
    FAILED = 4


class PeerFailed(LivnError):
    """Another rank of the subworld raised; this one has nothing to report."""


class Stopped(LivnError):
    """All ranks agreed to stop at this point because someone asked for it."""


class Late(Stopped):
    """All ranks agreed to stop at this point because their time is over."""


@dataclass(frozen=True, slots=True)
class Course:
    """A run under way, as its ranks tell of it.

    Attributes
    ----------
    start, end
        Biological time in ms at which it begins and ends.
    news
        Takes this rank's spikes since it was last asked: the cells, and the times in
        ms from the run's start.
    potential
        Returns this rank's share in the latest sample of the potential at each
        electrode, in uV; None where it is not sampled.
    """

    start: float
    end: float
    news: Callable[[], tuple[NDArray[np.uint32], NDArray[np.float64]]]
    potential: Callable[[], NDArray[np.float64] | None] | None = None


class Telemetry(Protocol):
    """What carries word of a simulation to those who wait for it."""

    def due(self, time: float, course: Course) -> bool:
        """Tell whether to publish now; only ever True on the leader."""

    def collect(self, time: float, course: Course) -> None:
        """Gather what is new from all ranks and publish it. Collective."""

    def report(self, time: float) -> None:
        """Publish the biological time (ms), from the leader alone."""

    def alive(self) -> None:
        """Publish a sign of life if there was none for some time."""


class Subworld:
    """The ranks that simulate one network together.

    Parameters
    ----------
    comm
        An mpi4py communicator of exactly these ranks; None for a single process that
        needs no MPI.

    Attributes
    ----------
    rank, size : int
        This process's rank and the number of ranks.
    comm : Communicator
        Guarded collectives over the ranks, with mpi4py's names.
    poll : callable or None
        Asked before each vote whether to stop, where no signal can bring the wish.
    deadline : float or None
        Reading of ``time.perf_counter`` after which a vote ends in :class:`Late`.
    telemetry : Telemetry or None
        Who is told how far the simulation is; the same on all ranks.
    astray : bool
        Whether this rank raised where the others may be waiting for it without a vote.

    Examples
    --------
    >>> alone = Subworld()
    >>> alone.comm.gather("spikes")
    ['spikes']
    >>> alone.agree(offers=True)
    0
    """

    def __init__(self, comm: Any = None) -> None:
        self.mpi = comm if comm is not None and comm.Get_size() > 1 else None
        self.rank: int = self.mpi.Get_rank() if self.mpi else 0
        self.size: int = self.mpi.Get_size() if self.mpi else 1
        self.comm = Communicator(self)
        self.poll: Callable[[], bool] | None = None
        self.deadline: float | None = None
        self.telemetry: Telemetry | None = None
        self.astray = False
        self._stop = False
        self._mine = np.zeros(2, np.int32)
        self._all = np.zeros(2, np.int32)

    def request_stop(self) -> None:
        """Ask all ranks to stop at their next vote; safe in a signal handler."""
        self._stop = True

    def reset(self) -> None:
        """Forget a stop that was asked for, once nothing is left that it could stop."""
        self._stop = False

    def agree(self, *, offers: bool = False) -> int:
        """Vote that this rank is well, and learn how the others are.

        Parameters
        ----------
        offers
            Whether this rank has what one of them is to bring.

        Returns
        -------
        int
            The lowest rank that offers it; 0 if none does.

        Raises
        ------
        Stopped
            On every rank, if one was asked to stop.
        Late
            On every rank, if the deadline is over.
        PeerFailed
            If another rank failed.
        """
        self._heed(self._vote(self._state(), offers=offers))
        if self.telemetry is not None:
            self.telemetry.alive()
        first = -int(self._all[1])
        return first if first < self.size else 0

    def checkpoint(self, time: float, course: Course) -> None:
        """Vote at the end of a chunk of a run, and publish if that is due. Collective.

        Parameters
        ----------
        time
            Biological time in ms that the run has reached.
        course
            The run.

        Raises
        ------
        Stopped, Late, PeerFailed
            As :meth:`agree`.
        """
        state, telemetry = self._state(), self.telemetry
        if telemetry is None:
            self._heed(self._vote(state))
            return
        if state == State.GOING and telemetry.due(time, course):
            state = State.PUBLISH
        outcome = self._vote(state)
        if outcome in {State.PUBLISH, State.LATE}:
            telemetry.collect(time, course)
        self._heed(outcome)

    @contextmanager
    def without_votes(self) -> Iterator[None]:
        """Do what the ranks do together by other means than votes, or mark a failure.

        A simulator's own collectives cannot be left by one rank alone: if it raises in
        the block, its peers may never come to the vote that it casts.
        """
        try:
            yield
        except BaseException:
            self.astray = self.mpi is not None
            raise

    def fail(self) -> None:
        """Cast the vote this rank owes its peers after it raised."""
        self._vote(State.FAILED)

    def report(self, time: float) -> None:
        """Pass on the biological time (ms) that a simulation has reached.

        For simulators whose ranks meet nowhere during a run; not collective.
        """
        if self.telemetry is not None:
            self.telemetry.report(time)

    def _state(self) -> State:
        if self.poll is not None and self.poll():
            self._stop = True
        if self._stop:
            return State.STOP
        late = self.deadline is not None and time.perf_counter() >= self.deadline
        return State.LATE if late else State.GOING

    def _heed(self, outcome: int) -> None:
        if outcome < State.LATE:
            return
        if outcome == State.FAILED:
            raise PeerFailed("another rank of this subworld raised")
        if outcome == State.STOP:
            self._stop = False
            raise Stopped("stopped on request")
        if outcome == State.LATE:
            self.deadline = None
            raise Late("stopped because the time is over")

    def _vote(self, state: State, *, offers: bool = False) -> int:
        if self.mpi is None:
            return state
        from mpi4py import MPI

        self._mine[:] = state, -self.rank if offers else _NOBODY
        self.mpi.Allreduce(self._mine, self._all, MPI.MAX)
        return int(self._all[0])

    def __repr__(self) -> str:
        return f"Subworld(rank {self.rank} of {self.size})"


class Communicator:
    """mpi4py's lower-case collectives, each guarded by a vote.

    Objects are pickled before the vote, so one that cannot be pickled fails on its own
    rank while the others can still be told.
    """

    def __init__(self, subworld: Subworld) -> None:
        self._subworld = subworld

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self._subworld.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self._subworld.size

    def Get_rank(self) -> int:
        """Return this process's rank, as mpi4py spells it."""
        return self._subworld.rank

    def Get_size(self) -> int:
        """Return the number of ranks, as mpi4py spells it."""
        return self._subworld.size

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._subworld.agree()

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:
        """Collect one object of each rank on `root`, ordered by rank."""
        mpi, packed = self._prepare(value)
        if mpi is None:
            return [value]
        gathered = mpi.gather(packed, root)
        return None if gathered is None else [pickle.loads(item) for item in gathered]

    def allgather(self, value: Any) -> list[Any]:
        """Collect one object of each rank on every rank, ordered by rank."""
        mpi, packed = self._prepare(value)
        return (
            [value] if mpi is None else [pickle.loads(i) for i in mpi.allgather(packed)]
        )

    def bcast(self, value: Any, root: int = 0) -> Any:
        """Hand `root`'s object to every rank."""
        mpi, packed = self._prepare(value if self.rank == root else None)
        return value if mpi is None else pickle.loads(mpi.bcast(packed, root))

    def scatter(self, values: list[Any] | None, root: int = 0) -> Any:
        """Hand the i-th object of `root`'s list to rank i."""
        mpi = self._subworld.mpi
        if mpi is None:
            return self._one_per_rank(values)[0]
        packed = None
        if self.rank == root:
            packed = [_dumps(value) for value in self._one_per_rank(values)]
        self._subworld.agree()
        return pickle.loads(mpi.scatter(packed, root))

    def allreduce(self, value: Any, op: Any = None) -> Any:
        """Combine one value of each rank (sum by default) in rank order."""
        return _fold(self.allgather(value), op)

    def reduce(self, value: Any, op: Any = None, root: int = 0) -> Any:
        """Combine one value of each rank on `root`; None elsewhere."""
        gathered = self.gather(value, root)
        return None if gathered is None else _fold(gathered, op)

    def _one_per_rank(self, values: list[Any] | None) -> list[Any]:
        if values is None or len(values) != self.size:
            raise ValueError(f"scatter needs one object for each of {self.size} ranks")
        return values

    def _prepare(self, value: Any) -> tuple[Any, bytes]:
        mpi = self._subworld.mpi
        if mpi is None:
            return None, b""
        packed = _dumps(value)
        self._subworld.agree()
        return mpi, packed

    def __repr__(self) -> str:
        return f"Communicator(rank {self.rank} of {self.size})"


def _dumps(value: Any) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def _fold(values: list[Any], op: Any) -> Any:
    combined = values[0]
    for value in values[1:]:
        combined = combined + value if op is None else op(combined, value)
    return combined
