"""What the transport over ipyparallel runs on engines; pickled by name, which is short.

Engines import this module, so it needs nothing that only a controller has.
"""

import contextlib
import faulthandler
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ipyparallel.engine.datapub import publish_data

from livn_ipp.cluster import wire, worker
from livn_ipp.cluster.keeping.shared import offer
from livn_ipp.cluster.keeping.succession import Refused, Succession, Turn
from livn_ipp.cluster.launchers.address import own_address
from livn_ipp.cluster.reaching.security import LOOPBACK
from livn_ipp.cluster.starting.causes import log_descriptor
from livn_ipp.cluster.transports.listening import Invitation, Listening
from livn_ipp.cluster.transports.seats import differing
from livn_ipp.errors import ConfigError

__all__ = ["BOOT", "CLOSE", "LISTEN", "OPEN", "SERVE", "SHUT", "SUCCEED"]


class _Serve:
    """Runs on an engine; pickled by name, which is short."""

    def __call__(self, *frames: Any) -> Any:
        return _answer(frames)


def _answer(frames: Sequence[Any]) -> Sequence[bytes | memoryview]:
    """Serve a parcel; the reply counts on the leader only."""
    turn: Turn
    turn, items, inbox = wire.unpack(frames)
    held = worker.current()
    obeyed = held.succession
    if obeyed is not None and not obeyed.admits(turn):
        return wire.pack(Refused())
    answers = held.serve(list(items))
    if held.subworld.rank != 0:
        return ()
    reply = wire.pack(wire.Reply(turn.parcel, answers, held.telemetry.last_words()))
    if obeyed is not None:
        obeyed.keep(turn, items, reply)
    return offer(reply, inbox)


class _Open:
    """Runs on an engine: makes its end of a channel, to a controller with this key.

    The leader's is bound to the loopback if `local`, else to the interface that it
    reaches the cluster's controller by.
    """

    def __call__(self, invitation: Invitation, local: bool) -> Any:
        held = worker.current()
        held.stop_listening()
        address = LOOPBACK if local else _outward_address()
        made = Listening(held.subworld.mpi, address, invitation)
        if made.opened is None:
            made.close()
        else:
            held.listening = made
        return made.opened


class _Listen:
    """Runs on an engine: serves what comes over its channel, until nothing does."""

    def __call__(self) -> None:
        held = worker.current()
        if held.listening is None:
            return
        usual = held.telemetry.publish
        if held.subworld.rank == 0:
            held.telemetry.publish = held.listening.publish
        try:
            held.listening.listen(_answer)
        finally:
            held.telemetry.publish = usual


class _Shut:
    """Runs on an engine: closes its end of a channel."""

    def __call__(self) -> None:
        with contextlib.suppress(ConfigError):
            worker.current().stop_listening()


def _outward_address() -> str:
    """Find the address of the interface that leads to the cluster's controller."""
    from ipyparallel.engine.app import IPEngine

    with contextlib.suppress(Exception):
        url = urlsplit(IPEngine.instance().registration_url)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((url.hostname, url.port))  # sends nothing
            return str(probe.getsockname()[0])
    return own_address()


class _Boot:
    """Runs on an engine: builds its share of a worker and names it for ``%%px``."""

    def __call__(self, *frames: Any) -> Any:
        from IPython import get_ipython
        from mpi4py import MPI

        paths, subworld_size, content, ours, limits, epoch = wire.unpack(frames)
        sys.path.extend(path for path in paths if path not in sys.path)
        # Written by a signal handler in C, whoever holds the interpreter.
        faulthandler.register(signal.SIGUSR2, file=log_descriptor(), all_threads=True)
        factory = wire.loads(content)
        differences = _compare(MPI, factory, ours)
        if differences:
            return wire.pack(wire.dumps(([], differences)))
        failures = worker.boot(factory, MPI.COMM_WORLD, subworld_size, limits)
        if not failures:
            held = worker.current()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGUSR1, lambda *_: held.subworld.request_stop())
            if epoch is not None:
                held.succession = Succession(held.subworld, epoch)
            if held.subworld.rank == 0:
                held.telemetry.publish = _publish
            names = {
                "env": held.env,
                "comm": held.subworld.comm,
                "world": MPI.COMM_WORLD,
            }
            get_ipython().user_ns.update(names | factory.namespace(held.env))
        return wire.pack(wire.dumps((failures, [])))


def _compare(mpi: Any, factory: Any, fingerprint: dict[str, str]) -> list[str]:
    """Compare what one rank of each host reads with the controller's; collective."""
    if not fingerprint:
        return []
    on_host = mpi.COMM_WORLD.Split_type(mpi.COMM_TYPE_SHARED)
    found: list[str] = []
    if on_host.rank == 0:
        try:
            theirs = factory.fingerprint()
        except Exception as error:
            problem = f"unreadable ({type(error).__name__}: {error})"
            theirs = dict.fromkeys(fingerprint, problem)
        found = differing(fingerprint, theirs, platform.node())
    on_host.Free()
    return [item for items in mpi.COMM_WORLD.allgather(found) for item in items]


def _publish(progress: wire.Progress) -> None:
    publish_data({"livn_ipp": [bytes(frame) for frame in wire.pack(progress)]})
    # The thread that sends it needs the interpreter, which a simulation holds.
    time.sleep(0.0005)


class _Close:
    """Runs on an engine that outlives its environment."""

    def __call__(self, epoch: int | None) -> None:
        with contextlib.suppress(ConfigError):  # there is none
            obeyed = worker.current().succession
            if obeyed is None or obeyed.epoch == epoch:
                worker.close()


class _Succeed:
    """Runs on an engine: from now on it obeys another controller."""

    def __call__(self, epoch: int, inbox: str) -> Any:
        held = worker.current()
        if held.succession is None:
            raise ConfigError("this worker was not made to outlive its kernel")
        held.stop_listening()
        found = held.succession.succeed(epoch, held.applied, held.pipelines)
        return offer(wire.pack(found), inbox) if held.subworld.rank == 0 else ()


SERVE, BOOT, CLOSE, SUCCEED = _Serve(), _Boot(), _Close(), _Succeed()
OPEN, LISTEN, SHUT = _Open(), _Listen(), _Shut()
