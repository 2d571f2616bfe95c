"""From the ranks of a world to workers: environments are built, views opened."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from livn_ipp.cluster import topology, wire
from livn_ipp.cluster.limits import Limits
from livn_ipp.errors import ClusterLost, RankFailure, VersionMismatch, call_error

__all__ = [
    "Seat",
    "Seating",
    "differing",
    "ignore_late_replies",
    "registered",
]

_OUTPUT: Final = 5.0  # s, for the last words of what ranks print as they boot
_KNOWN: Final = 10.0  # s, for a client to hear of engines that another client knows
_LOOK: Final = 0.2  # s


@dataclass(frozen=True, eq=False)
class Seat:
    """One incarnation of a worker: the ranks that fill a slot until they are lost.

    Attributes
    ----------
    place
        Where it is.
    ranks
        Its ranks; the first is the leader.
    leader
        View of the leader.
    others
        Views of the other ranks.
    """

    place: topology.WorkerPlace
    ranks: tuple[topology.Rank, ...]
    leader: Any
    others: tuple[Any, ...]


def registered(client: Any, rank: topology.Rank) -> bool:
    """Tell whether a rank's engine is known, and its id not that of a later one.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.
    rank
        The rank.
    """
    return bool(client._engines.get(rank.engine) == rank.uuid)  # noqa: SLF001


def ignore_late_replies(client: Any) -> None:
    """Drop what engines say after they were given up.

    A client would print such replies, and keep them for ever.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.
    """
    handle = client._queue_handlers["apply_reply"]  # noqa: SLF001

    def handle_awaited(message: Any) -> None:
        if message["parent_header"].get("msg_id") in client.outstanding:
            handle(message)

    client._queue_handlers["apply_reply"] = handle_awaited  # noqa: SLF001


class Seating:
    """Builds environments on ranks, and knows every rank that it was given.

    Parameters
    ----------
    client
        The transport's ``ipyparallel.Client``.
    boot
        What each rank runs.
    factory
        Builds the environment.
    subworld_size
        Ranks per worker.
    limits
        Those on memory are for the ranks to keep.
    timeout
        Seconds that building may take.
    closing
        Ends all waiting.
    epoch
        The controller's number, if workers are to outlive it.

    Attributes
    ----------
    known
        Ranks by their engines' unique names.
    """

    def __init__(
        self,
        client: Any,
        boot: Callable[..., Any],
        factory: Any,
        subworld_size: int,
        limits: Limits,
        timeout: float,
        closing: threading.Event,
        epoch: int | None = None,
    ) -> None:
        self.known: dict[str, topology.Rank] = {}
        self._client = client
        self._boot = boot
        self._timeout = timeout
        self._closing = closing
        tell = getattr(factory, "fingerprint", dict)
        # The user's own modules are where this process finds them.
        paths = [path for path in sys.path if Path(path).is_dir()]
        self._frames = wire.pack(
            (paths, subworld_size, wire.dumps(factory), tell(), limits, epoch)
        )

    def seat(
        self, ranks: Iterable[topology.Rank], places: Sequence[topology.WorkerPlace]
    ) -> list[Seat]:
        """Build environments on whole worlds.

        Parameters
        ----------
        ranks
            All ranks of the worlds.
        places
            Their workers.

        Returns
        -------
        list of Seat
            In order of `places`.

        Raises
        ------
        CallError
            What building raised.
        VersionMismatch
            If files that workers read differ from the controller's.
        ClusterLost
            If a rank ended, or took too long.
        """
        by_engine = {rank.engine: rank for rank in ranks}
        engines = [engine for place in places for engine in place.engines]
        self.known |= {rank.uuid: rank for rank in by_engine.values()}
        self._await_known([by_engine[engine] for engine in engines])
        pending = [
            (e, self._client[e].apply_async(self._boot, *self._frames)) for e in engines
        ]
        deadline = time.monotonic() + self._timeout
        failures: dict[tuple[str, int], RankFailure] = {}
        mismatches: list[str] = []
        for engine, answer in pending:
            raised, differences = self._answer(engine, answer, deadline)
            failures.update(((f.host, f.pid), f) for f in raised)
            mismatches += differences
        if mismatches:
            raise VersionMismatch(
                "Workers would read other files than this process. "
                + ". ".join(dict.fromkeys(mismatches))
                + ". Give every machine the same files, or restart the environment"
            )
        if failures:
            raise call_error(tuple(failures.values()), aftermath="nothing was built")
        return [self._open(by_engine, place) for place in places]

    def find(
        self, ranks: Iterable[topology.Rank], places: Sequence[topology.WorkerPlace]
    ) -> list[Seat]:
        """Open views on workers that are there; parameters as for :meth:`seat`."""
        by_engine = {rank.engine: rank for rank in ranks}
        self.known |= {rank.uuid: rank for rank in by_engine.values()}
        self._await_known([by_engine[e] for place in places for e in place.engines])
        return [self._open(by_engine, place) for place in places]

    def _open(
        self, by_engine: dict[int, topology.Rank], place: topology.WorkerPlace
    ) -> Seat:
        leader, *others = (self._client[engine] for engine in place.engines)
        members = tuple(by_engine[engine] for engine in place.engines)
        return Seat(place, members, leader, tuple(others))

    def _await_known(self, ranks: Sequence[topology.Rank]) -> None:
        # Ids are given again: an engine that left may still be known by the id of one
        # that came.
        deadline = time.monotonic() + _KNOWN
        while not all(registered(self._client, rank) for rank in ranks):
            if time.monotonic() > deadline or self._closing.wait(0.02):
                gone = [rank.engine for rank in ranks]
                raise ClusterLost(f"of the engines {gone} some ended as they came")

    def _answer(
        self, engine: int, answer: Any, deadline: float
    ) -> tuple[list[RankFailure], list[str]]:
        while not answer.ready():
            if self._closing.is_set():
                raise ClusterLost("the environment is being closed")
            if time.monotonic() > deadline:
                raise ClusterLost(
                    f"engine {engine} has not built its environment after "
                    f"{self._timeout:g} s"
                )
            answer.wait(_LOOK)
        try:
            raised, differences = wire.loads(wire.unpack(answer.get(timeout=0)))
        except Exception as error:
            raise ClusterLost(
                f"engine {engine} failed while it built its environment: {error}"
            ) from error
        self._end_output(answer)
        return raised, differences

    def _end_output(self, answer: Any) -> None:
        """Have a client forget what it may have missed the end of.

        It hears of outputs a moment after it can send, and would wait for ever.
        """

        def end() -> None:
            for future in answer._children:  # noqa: SLF001 - the messages
                if not future.output.done():
                    future.output.set_result(None)

        loop = self._client._io_loop  # noqa: SLF001 - futures are its thread's
        loop.add_callback(loop.call_later, _OUTPUT, end)


def differing(ours: dict[str, str], theirs: dict[str, str], where: str) -> list[str]:
    """Name the items in which a rank differs from the controller.

    Parameters
    ----------
    ours, theirs
        Digests by item.
    where
        The rank's machine.

    Examples
    --------
    >>> differing({"system": "3a"}, {"system": "7c"}, "node2")
    ['system: 3a on the controller; 7c on node2']
    """
    return [
        f"{item}: {digest} on the controller; {theirs.get(item, 'missing')} on {where}"
        for item, digest in ours.items()
        if theirs.get(item) != digest
    ]
