"""The controller's end of a channel: parcels to one worker, past the cluster's queues.

A message through ipyparallel crosses a dozen threads; one through the channel, none or
two. The worker's ranks listen to it only for a while after each parcel, and are asked
again, by a task of the cluster, when the next one is sent.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import zmq

from livn_ipp.cluster.transports.curve import CurveLink
from livn_ipp.cluster.transports.hearing import Heard, Hearing
from livn_ipp.cluster.transports.listening import LEAVE, PARCEL
from livn_ipp.cluster.transports.stream import Message
from livn_ipp.cluster.transports.unix import UnixLink

__all__ = ["Channel"]

_FRUITLESS: Final = 3
"""Times that ranks may listen without hearing what was sent to them."""


class _Link(Protocol):
    def send(self, kind: bytes, frames: Message) -> None: ...

    def close(self) -> None: ...


class Channel:
    """A private way to the ranks of one worker; a leader lets no other key in.

    Parameters
    ----------
    hearing
        Reads what a leader on this machine says.
    listen
        Asks the ranks to listen, and calls back with the leader's answer, an
        ``AsyncResult``, when they have stopped.
    heard
        Takes what the leader says, on any thread.
    broken
        Hears why the channel does not work any more.
    closed
        Hears that nothing will be sent any more.
    """

    def __init__(
        self,
        hearing: Hearing,
        listen: Callable[[Callable[[Any], None]], None],
        heard: Heard,
        broken: Callable[[str], None],
        closed: Callable[[], None],
    ) -> None:
        self.public, self.secret = zmq.curve_keypair()
        self._hearing = hearing
        self._listen = listen
        self._heard = heard
        self._broken = broken
        self._on_close = closed
        self._lock = threading.RLock()
        self._link: _Link | None = None  # there is one once the leader let us in
        self._listening = False
        self._awaited: set[int] = set()
        self._fruitless = 0
        self._wanted = True
        self._closed = False

    def connect(self, url: str, key: bytes) -> None:
        """Reach the leader; without success, do nothing. Returns at once.

        Parameters
        ----------
        url, key
            Where it listens, and its public key.
        """
        if url.startswith("ipc:"):
            self._connect(url, key)
        else:
            threading.Thread(
                target=self._connect, args=(url, key), name="reach", daemon=True
            ).start()

    def send(self, parcel: int, frames: Message) -> bool:
        """Send a parcel; False if that must be done in another way.

        Raises
        ------
        OSError
            If the leader is gone.
        """
        with self._lock:
            if self._link is None or self._closed:
                return False
            self._awaited.add(parcel)
            self._link.send(PARCEL, frames)
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
    def reached(self) -> bool:
        """Whether parcels take this way."""
        return self._link is not None

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
            link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(OSError):
                link.send(LEAVE, ())
            link.close()

    # Inside

    def _close_if_done(self) -> None:
        if not self._wanted and not self._awaited and not self._closed:
            self.close()
            self._on_close()

    def _connect(self, url: str, key: bytes) -> None:
        link = None
        with contextlib.suppress(zmq.ZMQError, OSError):
            link = self._reach(url, key)
        with self._lock:
            if not self._closed:
                self._link = link
                return
        if link is not None:
            link.close()

    def _reach(self, url: str, key: bytes) -> _Link:
        if url.startswith("ipc:"):
            return UnixLink(url, self.secret, self._hearing, self._heard)
        return CurveLink(url, key, self.public, self.secret, self._heard)

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
