"""Which controller a worker obeys, and what the next one finds.

Engines may outlive their kernel. Each controller that takes them over begins an epoch
of its own; parcels of any other one are refused. The leader decides what is served and
tells the other ranks, so that two kernels at once, or one that died while it was
sending, never have the ranks of a worker do different things.
"""

import hashlib
import os
import pickle
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.outbox import Outbox
from livn_ipp.subworld import Subworld

__all__ = ["Found", "Refused", "Succession", "Turn", "answers", "fingerprint"]

_TAG: Final = 4
_UNANSWERED: Final = (wire.Install, wire.Forget, wire.Telemetry)
_OUT_OF_STEP: Final = 4
"""Exit code of a rank that was sent another parcel than its leader."""


class Turn(NamedTuple):
    """What a controller sends along with each parcel.

    Attributes
    ----------
    epoch
        Number that the controller drew.
    parcel
        Number of the parcel.
    acknowledged
        The last of this worker's parcels whose reply has arrived, or -1.
    """

    epoch: int
    parcel: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The leader's answer to a parcel of a controller that it does not obey."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a new controller finds on a worker.

    Attributes
    ----------
    applied
        Fingerprints of the config log's entries that its environment has; None if one
        of them failed half way.
    pipelines
        Digests of the pipelines that are installed.
    replies
        What :meth:`Succession.keep` was given and nobody acknowledged, by parcel.
    """

    applied: tuple[str, ...] | None
    pipelines: tuple[str, ...]
    replies: dict[int, tuple[bytes, ...]]


class Succession:
    """One rank's memory of who it obeys; on the leader, also the replies.

    Parameters
    ----------
    subworld
        The ranks of the worker.
    epoch
        Of the controller that made the worker.
    outbox
        Where the leader keeps replies.
    """

    def __init__(
        self, subworld: Subworld, epoch: int, outbox: Outbox | None = None
    ) -> None:
        self.epoch = epoch
        self.outbox = outbox or Outbox()
        self._mpi: Any = subworld.mpi
        self._rank = subworld.rank
        self._size = subworld.size
        self._refused: set[tuple[int, int]] = set()

    def admits(self, turn: Turn) -> bool:
        """Tell whether a parcel is to be served; the same on all ranks."""
        if self._rank == 0:
            admitted = turn.epoch == self.epoch
            if admitted:
                self.outbox.acknowledge(turn.acknowledged)
            self._tell(turn, admitted=admitted)
            return admitted
        while (turn.epoch, turn.parcel) not in self._refused:
            order, admitted = self._told()
            if order == (turn.epoch, turn.parcel):
                return admitted
            if admitted:
                _leave(f"was sent parcel {turn[:2]} while its leader served {order}")
            self._refused.add(order)
        self._refused.discard((turn.epoch, turn.parcel))
        return False

    def keep(
        self,
        turn: Turn,
        items: Iterable[wire.Item],
        reply: Sequence[bytes | memoryview],
    ) -> None:
        """Keep a reply until it is acknowledged, if it answers calls.

        Parameters
        ----------
        turn, items
            The parcel's.
        reply
            A packed :class:`livn_ipp.cluster.wire.Reply`.
        """
        answered = (i for i in items if not isinstance(i, _UNANSWERED))
        calls = [i.id if isinstance(i, wire.Call) else None for i in answered]
        if any(call is not None for call in calls):
            self.outbox.keep(turn.parcel, [pickle.dumps(calls), *reply])

    def succeed(
        self, epoch: int, applied: tuple[str, ...] | None, pipelines: tuple[str, ...]
    ) -> Found:
        """Obey another controller from now on; only the leader's answer counts."""
        self.epoch = epoch
        replies = {
            number: tuple(bytes(buffer) for buffer in message)
            for number, message in self.outbox
        }
        return Found(applied, pipelines, replies)

    def _tell(self, turn: Turn, *, admitted: bool) -> None:
        if self._mpi is not None:
            order = np.array([turn.epoch, turn.parcel, admitted], np.int64)
            for rank in range(1, self._size):
                self._mpi.Send(order, rank, _TAG)

    def _told(self) -> tuple[tuple[int, int], bool]:
        order = np.empty(3, np.int64)
        self._mpi.Recv(order, 0, _TAG)
        return (int(order[0]), int(order[1])), bool(order[2])


def answers(kept: Sequence[bytes | memoryview]) -> dict[int, Any]:
    """Read what :meth:`Succession.keep` was given: the answers by call."""
    calls, *reply = kept
    found: wire.Reply = wire.unpack(reply)
    numbered = zip(pickle.loads(calls), found.answers, strict=True)
    return {call: answer for call, answer in numbered if call is not None}


def fingerprint(entry: wire.Entry) -> str:
    """Tell entries of config logs apart by their content."""
    content = hashlib.sha256(entry.method.encode())
    for frame in entry.arguments:
        content.update(frame if isinstance(frame, bytes) else memoryview(frame))
    return content.hexdigest()[:32]


def _leave(reason: str) -> None:
    """End this rank, and its world with it: better lost than silently wrong."""
    sys.stderr.write(f"livn_ipp: this rank {reason}; its world ends\n")
    sys.stderr.flush()
    os._exit(_OUT_OF_STEP)
