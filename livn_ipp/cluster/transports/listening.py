"""The engines' end of a channel: a worker's ranks wait for parcels without the cluster.

While a session is open, its controller reaches the leader over a socket of their own;
the leader hands each parcel to the other ranks over the same socket. The ranks listen
inside a task that the cluster runs, and leave it after a short time without a parcel,
so that other tasks, as of ``%%px``, get their turn. What is not read by then waits in
the socket until they listen again.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq
from zmq.auth.thread import ThreadAuthenticator

from livn_ipp.cluster import wire

__all__ = ["ASK", "HEAR", "LEAVE", "PROGRESS", "REPLY", "Listening", "Opened"]

ASK: Final = b"ask"
"""Name of the socket over which a controller sends."""
HEAR: Final = b"hear"
"""Name of the one over which it receives."""
REPLY: Final = b"r"
PROGRESS: Final = b"p"
LEAVE: Final = b"l"
_PARCEL: Final = b""

_IDLE: Final = 0.5
"""Seconds without a parcel after which ranks leave: what ``%%px`` has to wait."""
_STAY: Final = 2.0
"""Seconds after which they leave in any case, for tasks that wait meanwhile."""
_ARRIVAL: Final = 5.0  # s, for a worker's ranks to reach their leader

Answer = Callable[[Sequence[Any]], Sequence[bytes | memoryview]]
"""Serves a packed parcel; returns the packed reply, on the leader."""
Opened = tuple[str, bytes]
"""Where a leader listens, and its public key."""


class Listening:
    """One rank's end of a channel. Collective over the ranks of a worker.

    Parameters
    ----------
    mpi
        The mpi4py communicator of the worker's ranks; None if there is only one.
    address
        The leader's, by which the controller and the other ranks reach it.
    public, secret
        The keys that whoever wants to be heard has to have.

    Attributes
    ----------
    opened : (str, bytes) or None
        Where the leader listens, and its public key; None if that is not possible or
        one of the ranks cannot reach it.
    """

    def __init__(self, mpi: Any, address: str, public: bytes, secret: bytes) -> None:
        self._rank = 0 if mpi is None else mpi.Get_rank()
        self._peers = [str(rank).encode() for rank in range(1, mpi.size if mpi else 1)]
        self._context = zmq.Context()
        self._socket: Any = None
        self._guard: Any = None
        opened: Opened | None = None
        if self._rank == 0:
            with contextlib.suppress(Exception):  # whatever it is: no channel then
                opened = self._bind(address, public)
        if mpi is not None:
            opened = mpi.bcast(opened)
            if opened is not None and self._rank > 0:
                with contextlib.suppress(Exception):
                    self._reach(opened, public, secret)
            arrived = opened is not None and self._rank == 0 and self._all_arrived()
            opened = opened if mpi.bcast(arrived) else None
        self.opened = opened

    def listen(self, answer: Answer) -> None:
        """Serve parcels until none comes for a while.

        Parameters
        ----------
        answer
            Serves one of them.
        """
        if self._rank == 0:
            self._lead(answer)
        else:
            while True:
                kind, *frames = self._receive()
                if bytes(kind) == LEAVE:
                    return
                answer(frames)

    def publish(self, progress: wire.Progress) -> None:
        """Tell the controller how far a call is, from the leader."""
        self._socket.send_multipart([HEAR, PROGRESS, *wire.pack(progress)], copy=False)

    def close(self) -> None:
        """Stop to be heard; idempotent."""
        if self._guard is not None:
            self._guard.stop()
        self._guard = None
        self._context.destroy(linger=0)

    # Inside

    def _bind(self, address: str, public: bytes) -> Opened:
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        self._guard.configure_curve_callback(credentials_provider=_Only(public))
        socket = self._socket = self._open(zmq.ROUTER)
        own_public, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_server = True
        port = socket.bind_to_random_port(f"tcp://{address}")
        return f"tcp://{address}:{port}", own_public

    def _reach(self, opened: Opened, public: bytes, secret: bytes) -> None:
        url, key = opened
        socket = self._socket = self._open(zmq.DEALER)
        socket.curve_publickey, socket.curve_secretkey = public, secret
        socket.curve_serverkey = key
        socket.identity = str(self._rank).encode()
        socket.connect(url)
        socket.send(b"here")

    def _open(self, kind: int) -> Any:
        socket = self._context.socket(kind)
        socket.linger = socket.sndhwm = socket.rcvhwm = 0
        return socket

    def _all_arrived(self) -> bool:
        awaited = set(self._peers)
        deadline = time.monotonic() + _ARRIVAL
        while awaited and (left := deadline - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                awaited.discard(self._socket.recv_multipart()[0])
        return not awaited

    def _lead(self, answer: Answer) -> None:
        end = time.monotonic() + _STAY
        try:
            while (left := min(_IDLE, end - time.monotonic())) > 0:
                if not self._socket.poll(left * 1000):
                    return
                _, kind, *frames = self._receive()
                if bytes(kind) == LEAVE:
                    return
                for peer in self._peers:
                    self._send([peer, _PARCEL, *frames])
                self._send([HEAR, REPLY, *answer(frames)])
        finally:
            for peer in self._peers:
                self._send([peer, LEAVE])

    def _receive(self) -> list[memoryview]:
        return [frame.buffer for frame in self._socket.recv_multipart(copy=False)]

    def _send(self, frames: Sequence[Any]) -> None:
        self._socket.send_multipart(frames, copy=False)


class _Only:
    """Lets one key in."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def callback(self, _domain: str, key: bytes) -> bool:
        return key == self._key
