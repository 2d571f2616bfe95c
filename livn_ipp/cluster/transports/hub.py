"""Whether a cluster's hub is there: one that ended hangs up, a frozen one is silent."""

import contextlib
import threading
import time
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

__all__ = ["Hub"]

_GONE: Final = 2.5  # s, for a connection that broke to come back
_STOOD_STILL: Final = 2.0  # s between looks, of which only this counts
_LOOP_TURN: Final = 5.0  # s, for another thread to do what it is asked
_LOOK: Final = 100  # ms
_EVENTS: Final = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_MONITOR_STOPPED  # also told by a socket that was closed
)


class Hub:
    """Asks the hub a small question now and then, and watches the line to it.

    That its port takes connections says nothing: processes that it started may hold
    that open after its end.

    Parameters
    ----------
    client
        A connected ``ipyparallel.Client``.
    patience
        Seconds that it may be silent, as it is while a network is down.
    """

    def __init__(self, client: Any, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._line: Any = None
        self._answer: Any = None
        self._silent = 0.0
        self._gone = 0.0
        self._connected = True
        self._looked = time.monotonic()
        client._io_loop.add_callback(self._watch)  # noqa: SLF001 - sockets have one thread

    def answers(self) -> bool:
        """Ask, or see whether the answer came; False if the hub is gone or frozen."""
        now = time.monotonic()
        # Time in which this process itself stood still does not count.
        passed = min(now - self._looked, _STOOD_STILL)
        self._looked = now
        self._listen()
        self._gone = 0.0 if self._connected else self._gone + passed
        if self._answer is None or self._answer.done():
            self._ask()
            self._silent = 0.0
        else:
            self._silent += passed
        return self._gone < _GONE and self._silent < self._patience

    def close(self) -> None:
        """Stop watching; nobody may be asking meanwhile."""
        self._unwatch()
        deadline = time.monotonic() + _LOOP_TURN
        while self._line is not None and time.monotonic() < deadline:
            if self._line.poll(_LOOK):
                self._listen()

    def _unwatch(self) -> None:
        client = self._client
        stopped = threading.Event()

        def stop() -> None:
            with contextlib.suppress(zmq.ZMQError):  # closed with the client
                client._query_socket.disable_monitor()  # noqa: SLF001
            stopped.set()

        if client._io_thread.is_alive():  # noqa: SLF001
            client._io_loop.add_callback(stop)  # noqa: SLF001 - after _watch
            stopped.wait(_LOOP_TURN)

    def _watch(self) -> None:
        self._line = self._client._query_socket.get_monitor_socket(_EVENTS)  # noqa: SLF001

    def _listen(self) -> None:
        while self._line is not None and self._line.poll(0):
            event = recv_monitor_message(self._line)["event"]
            self._connected = event != zmq.EVENT_DISCONNECTED
            # Never earlier: an event that nobody takes any more blocks libzmq's thread,
            # and with it every connection of this process, for ever.
            if event == zmq.EVENT_MONITOR_STOPPED:
                self._line.close(linger=0)
                self._line = None

    def _ask(self) -> None:
        with contextlib.suppress(OSError):  # the client is being closed
            self._answer = self._client._send(  # noqa: SLF001 - its own way blocks
                self._client._query_stream,  # noqa: SLF001
                "queue_request",
                content={"targets": None, "verbose": False},
            )
