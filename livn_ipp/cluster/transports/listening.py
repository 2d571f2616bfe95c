"""The engines' end of a channel: a worker's ranks wait for parcels without the cluster.

While a session is open, its controller reaches the leader over a socket of their own;
the leader hands each parcel to the other ranks in the same way. The ranks listen
inside a task that the cluster runs, and leave it after a short time without a parcel,
so that other tasks, as of ``%%px``, get their turn. What is not read by then waits in
the socket until they listen again.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.transports.curve import CurveGate, CurvePeer
from livn_ipp.cluster.transports.unix import UnixGate, UnixPeer

__all__ = ["LEAVE", "PARCEL", "PROGRESS", "REPLY", "Invitation", "Listening", "Opened"]

PARCEL: Final = b"a"
REPLY: Final = b"r"
PROGRESS: Final = b"p"
LEAVE: Final = b"l"

_IDLE: Final = 0.5
"""Seconds without a parcel after which ranks leave: what ``%%px`` has to wait."""
_STAY: Final = 2.0
"""Seconds after which they leave in any case, for tasks that wait meanwhile."""
_ARRIVAL: Final = 5.0  # s, for a worker's ranks to reach their leader

Answer = Callable[[Sequence[Any]], Sequence[bytes | memoryview]]
"""Serves a packed parcel; returns the packed reply, on the leader."""
Invitation = tuple[bytes, bytes, str]
"""Keys, public and secret, and a directory of the controller's; empty if it is
elsewhere."""
Opened = tuple[str, bytes]
"""Where a leader listens, and its public key."""


class Listening:
    """One rank's end of a channel. Collective over the ranks of a worker.

    Parameters
    ----------
    mpi
        The mpi4py communicator of the worker's ranks; None if there is only one.
    address
        The leader's, by which the controller and the other ranks reach it if they are
        not all on one machine.
    invitation
        What whoever wants to be heard has to have, and where.

    Attributes
    ----------
    opened : (str, bytes) or None
        Where the leader listens, and its public key; None if that is not possible or
        one of the ranks cannot reach it.
    """

    def __init__(self, mpi: Any, address: str, invitation: Invitation) -> None:
        self._leads = mpi is None or mpi.Get_rank() == 0
        self._end: Any = None
        opened: Opened | None = None
        if self._leads:
            opened = self._open(address, invitation)
        if mpi is not None:
            opened = mpi.bcast(opened)
            if opened is not None and not self._leads:
                self._reach(opened, invitation, str(mpi.Get_rank()).encode())
            arrived = opened is not None and self._leads and self._all_arrived(mpi)
            opened = opened if mpi.bcast(arrived) else None
        self.opened = opened

    def listen(self, answer: Answer) -> None:
        """Serve parcels until none comes for a while.

        Parameters
        ----------
        answer
            Serves one of them.
        """
        if self._leads:
            self._lead(answer)
        else:
            while True:
                kind, *frames = self._end.receive()
                if bytes(kind) == LEAVE:
                    return
                answer(frames)

    def publish(self, progress: wire.Progress) -> None:
        """Tell the controller how far a call is, from the leader."""
        self._end.tell(PROGRESS, wire.pack(progress))

    def close(self) -> None:
        """Stop to be heard; idempotent."""
        end, self._end = self._end, None
        if end is not None:
            end.close()

    # Inside

    def _open(self, address: str, invitation: Invitation) -> Opened | None:
        public, secret, directory = invitation
        if directory:
            # Without one, or in a container that does not see it: the other way.
            with contextlib.suppress(OSError):
                self._end = UnixGate(directory, secret)
        if self._end is None:
            with contextlib.suppress(Exception):  # whatever it is: no channel then
                self._end = CurveGate(address, public)
        return None if self._end is None else self._end.opened

    def _reach(self, opened: Opened, invitation: Invitation, name: bytes) -> None:
        url, key = opened
        public, secret, _ = invitation
        with contextlib.suppress(Exception):  # the leader waits, and tells all
            if url.startswith("ipc:"):
                self._end = UnixPeer(url, secret, name)
            else:
                self._end = CurvePeer(url, key, public, secret, name)

    def _all_arrived(self, mpi: Any) -> bool:
        return bool(self._end.await_peers(mpi.Get_size() - 1, _ARRIVAL))

    def _lead(self, answer: Answer) -> None:
        end = time.monotonic() + _STAY
        try:
            while (left := min(_IDLE, end - time.monotonic())) > 0:
                message = self._end.receive(left)
                if message is None:
                    return
                kind, *frames = message
                if bytes(kind) == LEAVE:
                    return
                self._end.tell_peers(PARCEL, frames)
                self._end.tell(REPLY, answer(frames))
        finally:
            self._end.tell_peers(LEAVE, ())
