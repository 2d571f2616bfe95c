"""Notices worlds that come by themselves, and lets in those that fit."""

import contextlib
import logging
import threading
import time
import weakref
from typing import Any, Final

from livn_ipp.errors import LivnError

__all__ = ["Arrivals"]

_CALM: Final = 0.3  # s without a registration, after which a world may be complete
_LOOK: Final = 0.5  # s
_PATIENCE: Final = 20.0  # s, that worlds which start here are not disturbed

_log = logging.getLogger("livn_ipp")


class Arrivals:
    """Watches a cluster's registrations on a thread.

    Parameters
    ----------
    cluster
        A running :class:`livn_ipp.cluster.launch.Cluster`.
    connection
        Its connection.
    """

    def __init__(self, cluster: Any, connection: Any) -> None:
        self._cluster = weakref.ref(cluster)
        self._came = threading.Event()
        self._closing = threading.Event()
        self._latest = 0.0
        connection.on_registration(self._note)
        self._came.set()  # some may have come before
        threading.Thread(
            target=self._watch, name="livn_ipp arrivals", daemon=True
        ).start()

    def close(self) -> None:
        """Stop watching; idempotent."""
        self._closing.set()
        self._came.set()

    def _note(self) -> None:
        self._latest = time.monotonic()
        self._came.set()

    def _watch(self) -> None:
        while True:
            self._came.wait()
            if self._closing.wait(_LOOK):
                return
            cluster = self._cluster()
            if cluster is None:
                return
            quiet = time.monotonic() - self._latest
            if quiet < _CALM or (cluster.launching and quiet < _PATIENCE):
                continue
            self._came.clear()
            with contextlib.suppress(LivnError):  # it has ended, or one is busy
                if self._let_in(cluster):
                    self._came.set()  # look again
            del cluster

    def _let_in(self, cluster: Any) -> bool:
        """Let complete worlds in; tell whether others are still on their way."""
        on_their_way = False
        for world, ranks in cluster.strangers().items():
            if len(ranks) < ranks[0].size:
                on_their_way = True
                continue
            try:
                cluster.admit(world, ranks)
            except LivnError as error:
                cluster.refuse_world(world, str(error))
        return on_their_way
