"""The controller's end of a channel: parcels to one worker, past the cluster's queues.

A message through ipyparallel crosses a dozen threads; one through the channel, two. The
worker's ranks listen to it only for a while after each parcel, and are asked again, by
a task of the cluster, when the next one is sent.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from livn_ipp.cluster.transports.listening import ASK, HEAR, LEAVE

__all__ = ["Channel"]

_HANDSHAKE: Final = 5000  # ms, for the leader to let this end in
_FAREWELL: Final = 1000  # ms, for the last message to leave
_FRUITLESS: Final = 3
"""Times that ranks may listen without hearing what was sent to them."""

Message = Sequence[bytes | memoryview]


class Channel:
    """A private way to the ranks of one worker; a leader lets no other key in.

    Parameters
    ----------
    listen
        Asks the ranks to listen, and calls back with the leader's answer, an
        ``AsyncResult``, when they have stopped.
    heard
        Takes what the leader says, on a thread of this channel.
    broken
        Hears why the channel does not work any more.
    closed
        Hears that nothing will be sent any more.
    """

    def __init__(
        self,
        listen: Callable[[Callable[[Any], None]], None],
        heard: Callable[[bytes, Message], None],
        broken: Callable[[str], None],
        closed: Callable[[], None],
    ) -> None:
        self.public, self.secret = zmq.curve_keypair()
        self._listen = listen
        self._heard = heard
        self._broken = broken
        self._on_close = closed
        self._lock = threading.RLock()
        self._context = zmq.Context()
        self._socket: Any = None  # to send; there is one once the leader let us in
        self._connecting = False
        self._listening = False
        self._awaited: set[int] = set()
        self._fruitless = 0
        self._wanted = True
        self._closed = False

    def connect(self, url: str, key: bytes) -> None:
        """Reach the leader, on a thread of this channel; without success, do nothing.

        Parameters
        ----------
        url, key
            Where it listens, and its public key.
        """
        with self._lock:
            self._connecting = not self._closed
        if not self._connecting:
            return
        threading.Thread(
            target=self._connect, args=(url, key), name="livn_ipp channel", daemon=True
        ).start()

    def send(self, parcel: int, frames: Message) -> bool:
        """Send a parcel; False if that must be done in another way."""
        with self._lock:
            if self._socket is None or self._closed:
                return False
            self._awaited.add(parcel)
            self._socket.send_multipart([b"", *frames], copy=False)
            if not self._listening:
                self._enter()
            return True

    def answered(self, parcel: int) -> None:
        """Take in that a parcel was answered."""
        with self._lock:
            self._awaited.discard(parcel)
            self._fruitless = 0
            self._close_if_done()

    def want(self, *, wanted: bool) -> None:
        """Tell whether the channel is needed; if not, it closes after the last answer.

        Returns at once.
        """
        with self._lock:
            self._wanted = wanted
            self._close_if_done()

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed

    def close(self) -> None:
        """Let the ranks go, and close; returns at once, idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            socket, self._socket = self._socket, None
            if socket is not None:
                socket.send(LEAVE)
                socket.close(linger=_FAREWELL)
            if self._connecting:
                return  # who connects sees it, and ends the context
        # The thread that hears is told by this, and leaves.
        threading.Thread(target=self._context.term, daemon=True).start()

    # Inside

    def _close_if_done(self) -> None:
        if not self._wanted and not self._awaited and not self._closed:
            self.close()
            self._on_close()

    def _connect(self, url: str, key: bytes) -> None:
        ask = hear = None
        with contextlib.suppress(zmq.ZMQError):
            hear = self._reach(url, key, HEAR)
            ask = hear and self._reach(url, key, ASK)
        with self._lock:
            self._connecting = False
            reached = ask is not None and not self._closed
            if reached:
                self._socket = ask
        if reached:
            self._hear(hear)
            return
        for socket in (ask, hear):
            if socket is not None:
                socket.close(linger=0)
        if self._closed:
            self._context.term()

    def _reach(self, url: str, key: bytes, name: bytes) -> Any:
        """Connect a socket; None if the leader does not let it in."""
        socket = self._context.socket(zmq.DEALER)
        socket.linger = socket.sndhwm = socket.rcvhwm = 0
        socket.identity = name
        socket.curve_serverkey = key
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        let_in = False
        monitor = socket.get_monitor_socket(zmq.Event.HANDSHAKE_SUCCEEDED)
        try:
            socket.connect(url)
            let_in = bool(monitor.poll(_HANDSHAKE))
        finally:
            # In this order: libzmq waits for ever to tell a monitor that is gone.
            socket.disable_monitor()
            monitor.close(linger=0)
            if not let_in:
                socket.close(linger=0)
        return socket if let_in else None

    def _hear(self, socket: Any) -> None:
        with contextlib.suppress(zmq.ContextTerminated):
            while True:
                kind, *frames = socket.recv_multipart(copy=False)
                self._heard(kind.bytes, [frame.buffer for frame in frames])
        socket.close(linger=0)

    def _enter(self) -> None:
        self._listening = True
        self._listen(self._left)

    def _left(self, answer: Any) -> None:
        """Take in that the ranks do not listen any more."""
        reason = ""
        with self._lock:
            self._listening = False
            try:
                answer.get(timeout=0)
            except Exception as error:
                reason = repr(error)
            if self._closed:
                return
            if self._awaited and not reason:
                # They left as this was on its way.
                self._fruitless += 1
                if self._fruitless > _FRUITLESS:
                    reason = "what is sent over its channel does not arrive"
                else:
                    try:
                        self._enter()
                    except (LookupError, OSError) as error:
                        reason = f"an engine is gone ({error!r})"
        if reason:
            self._broken(reason)
