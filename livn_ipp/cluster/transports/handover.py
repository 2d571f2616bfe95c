"""From kernel to kernel: how a transport leaves its workers, and how it finds them."""

import os
import platform
import secrets
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.journal import Journal, Past
from livn_ipp.cluster.keeping.succession import Found, Turn, fingerprint
from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import ClusterLost, ConfigError

__all__ = ["Handover", "agreed_version", "check_alone", "this_process"]


class Handover:
    """Writes down what another kernel needs, and numbers this one's parcels for it.

    Parameters
    ----------
    path
        The journal.
    past
        What it begins with: a former kernel's, or that of a new environment.

    Attributes
    ----------
    epoch
        This controller's number, which its workers obey.
    """

    def __init__(self, path: Path, past: Past) -> None:
        self.epoch = secrets.randbits(62)
        past.owner = this_process()
        self._lock = threading.Lock()
        self._configured = len(past.log)
        self._last = past.last_parcel
        self._received: weakref.WeakKeyDictionary[Any, int] = (
            weakref.WeakKeyDictionary()
        )
        self._journal = Journal(path, past)

    def turn(self, seat: Any, parcel: int, items: Iterable[wire.Item]) -> Turn:
        """Write down that a parcel is about to be sent."""
        # Steps of a session that are run again have ids below zero.
        calls = [i.id for i in items if isinstance(i, wire.Call) and i.id >= 0]
        with self._lock:
            # What was sent before a seat was taken does not concern it.
            acknowledged = self._received.setdefault(seat, self._last)
            self._last = parcel
            self._journal.sends(parcel, seat.place.index, calls, acknowledged)
        return Turn(self.epoch, parcel, acknowledged)

    def received(self, seat: Any, parcel: int) -> None:
        """Take in that the reply to a parcel is here."""
        with self._lock:
            self._received[seat] = parcel

    def recovered(self, slot: int) -> None:
        """Take in that all replies to a former kernel's parcels are here."""
        with self._lock:
            self._journal.acknowledge(slot, self._last)

    def seated(
        self, world: str, slots: Sequence[int], ranks: Iterable[Rank] = ()
    ) -> None:
        """Write down which slots the workers of a world fill; none if it is gone."""
        with self._lock:
            self._journal.seated(world, slots, ranks)

    def configured(self, log: Sequence[wire.Entry]) -> None:
        """Write down the entries of the config log that are new."""
        with self._lock:
            for entry in log[self._configured :]:
                self._journal.configured(entry.method, entry.arguments)
            self._configured = max(self._configured, len(log))

    def close(self, *, remove: bool) -> None:
        """Stop writing; `remove` if nobody is to find the environment any more."""
        with self._lock:
            self._journal.close(remove=remove)


def this_process() -> dict[str, Any]:
    """Tell who this process is, apart from later ones of the same number."""
    began = psutil.Process().create_time()
    return {"host": platform.node(), "pid": os.getpid(), "began": began}


def check_alone(path: Path, past: Past | None = None, *, takeover: bool) -> None:
    """Make sure that no other process controls a cluster's workers.

    Parameters
    ----------
    path
        The journal.
    past
        What it tells, if that is known.
    takeover
        Whether another process is to lose the workers.

    Raises
    ------
    ClusterLost
        Naming the process that has them.
    """
    if past is None:
        try:
            past = Journal.read(path)
        except ConfigError:
            return
    owner = past.owner
    if takeover or not owner or owner == this_process():
        return
    if owner["host"] == platform.node():
        try:
            began = psutil.Process(owner["pid"]).create_time()
        except psutil.Error:
            return
        if abs(began - owner["began"]) > 1.0:
            return
        state = "runs"
    else:
        state = "may run still"
    raise ClusterLost(
        f"Process {owner['pid']} on {owner['host']} controls the workers of this "
        f"cluster and {state}. Shut its environment down, or take the workers from it "
        f"by DistributedEnv.attach(..., takeover=True)"
    )


def agreed_version(found: Found, log: Sequence[wire.Entry]) -> int | None:
    """Tell how much of a config log a worker has; None if it has something else."""
    known = tuple(map(fingerprint, log))
    if found.applied is None or found.applied != known[: len(found.applied)]:
        return None
    return len(found.applied)
