"""Channels between machines: ZeroMQ sockets that let in whoever has the key.

What is sent crosses two threads on its way, ZeroMQ's own, and is encrypted.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import zmq
from zmq.auth.thread import ThreadAuthenticator

from livn_ipp.cluster.transports.stream import Message

__all__ = ["CurveGate", "CurveLink", "CurvePeer"]

_ASK: Final = b"ask"
"""Name of the socket over which a controller sends."""
_HEAR: Final = b"hear"
"""Name of the one over which it receives."""
_HANDSHAKE: Final = 5000  # ms, for the leader to let a controller in
_FAREWELL: Final = 1000  # ms, for the last message to leave


class CurveGate:
    """A leader's end: hears its controller, and speaks to it and to the other ranks.

    Parameters
    ----------
    address
        Where to listen.
    public
        The only key to let in.

    Attributes
    ----------
    opened : (str, bytes)
        Where it listens, and its public key.

    Raises
    ------
    Exception
        Whatever keeps it from listening.
    """

    def __init__(self, address: str, public: bytes) -> None:
        self._peers: list[bytes] = []
        self._context = zmq.Context()
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        try:
            self._guard.configure_curve_callback(credentials_provider=_Only(public))
            self._socket = _open(self._context, zmq.ROUTER)
            own, self._socket.curve_secretkey = zmq.curve_keypair()
            self._socket.curve_server = True
            port = self._socket.bind_to_random_port(f"tcp://{address}")
        except BaseException:
            self.close()
            raise
        self.opened = f"tcp://{address}:{port}", own

    def await_peers(self, count: int, seconds: float) -> bool:
        """Wait for the other ranks; tell whether all have come."""
        deadline = time.monotonic() + seconds
        while len(self._peers) < count and (left := deadline - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                name = self._socket.recv_multipart()[0]
                if name not in {_ASK, _HEAR, *self._peers}:
                    self._peers.append(name)
        return len(self._peers) >= count

    def receive(self, seconds: float) -> list[Any] | None:
        """Wait for what the controller sends: kind and frames, or None."""
        if not self._socket.poll(seconds * 1000):
            return None
        _, *message = _buffers(self._socket)
        return message

    def tell(self, kind: bytes, frames: Message) -> None:
        """Send to the controller."""
        self._socket.send_multipart([_HEAR, kind, *frames], copy=False)

    def tell_peers(self, kind: bytes, frames: Message) -> None:
        """Send to the other ranks."""
        for peer in self._peers:
            self._socket.send_multipart([peer, kind, *frames], copy=False)

    def close(self) -> None:
        """Stop to be heard; idempotent."""
        self._guard.stop()
        self._context.destroy(linger=0)


class CurvePeer:
    """Another rank's end: hears its leader.

    Parameters
    ----------
    url, key
        Where the leader listens, and its public key.
    public, secret
        What it lets in by.
    name
        What to be called by.
    """

    def __init__(
        self, url: str, key: bytes, public: bytes, secret: bytes, name: bytes
    ) -> None:
        self._context = zmq.Context()
        self._socket = _open(self._context, zmq.DEALER, key, public, secret, name)
        self._socket.connect(url)
        self._socket.send(b"here")

    def receive(self) -> list[Any]:
        """Wait for what the leader sends: kind and frames."""
        return _buffers(self._socket)

    def close(self) -> None:
        """Hear nothing any more; idempotent."""
        self._context.destroy(linger=0)


class CurveLink:
    """A controller's end.

    Parameters
    ----------
    url, key
        Where the leader listens, and its public key.
    public, secret
        What it lets in by.
    heard
        Takes the kind and the frames of what comes, on a thread of this link.

    Raises
    ------
    OSError
        If the leader does not let it in, after some seconds.
    """

    def __init__(
        self,
        url: str,
        key: bytes,
        public: bytes,
        secret: bytes,
        heard: Callable[[bytes, Message], None],
    ) -> None:
        self._context = zmq.Context()
        self._keys = key, public, secret
        self._heard = heard
        try:
            hear, self._socket = self._reach(url, _HEAR), self._reach(url, _ASK)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        threading.Thread(
            target=self._hear, args=(hear,), name="livn_ipp channel", daemon=True
        ).start()

    def send(self, kind: bytes, frames: Message) -> None:
        """Send to the leader; never blocks."""
        self._socket.send_multipart([kind, *frames], copy=False)

    def close(self) -> None:
        """Close it when all has left; returns at once."""
        self._socket.close(linger=_FAREWELL)
        # The thread that hears is told by this, and leaves.
        threading.Thread(target=self._context.term, daemon=True).start()

    def _reach(self, url: str, name: bytes) -> Any:
        socket = _open(self._context, zmq.DEALER, *self._keys, name)
        monitor = socket.get_monitor_socket(zmq.Event.HANDSHAKE_SUCCEEDED)
        try:
            socket.connect(url)
            let_in = bool(monitor.poll(_HANDSHAKE))
        finally:
            # In this order: libzmq waits for ever to tell a monitor that is gone.
            socket.disable_monitor()
            monitor.close(linger=0)
        if not let_in:
            raise ConnectionRefusedError(f"{url} does not let this session in")
        return socket

    def _hear(self, socket: Any) -> None:
        with contextlib.suppress(zmq.ContextTerminated):
            while True:
                kind, *frames = _buffers(socket)
                self._heard(bytes(kind), frames)
        socket.close(linger=0)


def _open(
    context: Any,
    kind: int,
    key: bytes = b"",
    public: bytes = b"",
    secret: bytes = b"",
    name: bytes = b"",
) -> Any:
    """Open a socket that may send and hold as much as it likes."""
    socket = context.socket(kind)
    socket.linger = socket.sndhwm = socket.rcvhwm = 0
    if key:
        socket.identity = name
        socket.curve_serverkey = key
        socket.curve_publickey, socket.curve_secretkey = public, secret
    return socket


def _buffers(socket: Any) -> list[Any]:
    return [frame.buffer for frame in socket.recv_multipart(copy=False)]


class _Only:
    """Lets one key in."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def callback(self, _domain: str, key: bytes) -> bool:
        return key == self._key
