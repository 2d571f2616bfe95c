"""The transport over ipyparallel engines: targeted messages with our own bytes."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipyparallel.engine.datapub import publish_data
from ipyparallel.serialize import deserialize_object

from livn_ipp.cluster import topology, wire, worker
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.errors import ClusterLost, RankFailure, call_error

__all__ = ["IppTransport"]

_PATIENCE = 10.0  # s, for engines to leave what they do


class IppTransport:
    """Reaches workers as groups of ipyparallel engines.

    Every rank of a worker is sent each parcel, and each sends a reply; the leader's
    carries the answers.

    Parameters
    ----------
    cluster
        The engines, as a :class:`livn_ipp.cluster.launch.Cluster`.
    subworld_size
        Ranks per worker.
    timeout
        Seconds that building the environments may take.
    """

    name = "ipp"

    def __init__(
        self, cluster: Any, subworld_size: int, timeout: float = 300.0
    ) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._subworld_size = subworld_size
        self._client: Any = None
        self._listener: Listener | None = None
        self._places: dict[int, topology.WorkerPlace] = {}
        self._views: dict[int, tuple[Any, Any]] = {}
        self._lost: set[int] = set()
        self._closing = threading.Event()
        self.bytes_sent = 0

    @property
    def places(self) -> tuple[topology.WorkerPlace, ...]:
        """Where each worker runs."""
        return tuple(self._places.values())

    def start(self, factory: Any, listener: Listener) -> tuple[int, ...]:
        """Partition the worlds and build an environment on every rank."""
        self._listener = listener
        places = topology.workers(self._cluster.ranks(), self._subworld_size)
        self._places = {place.index: place for place in places}
        self._client = self._cluster.connect()
        self._client._registration_callbacks.append(self._registered)  # noqa: SLF001 - the
        # only way to hear of an engine's end; wait_for_engines uses it too.
        self._boot(factory)
        for place in places:
            leader, *others = (self._client[engine] for engine in place.engines)
            self._views[place.index] = (leader, others)
        return tuple(self._places)

    def send(self, worker: int, parcel: int, items: tuple[wire.Item, ...]) -> None:
        """Send a parcel to every rank of a worker."""
        frames = wire.pack((parcel, items))
        leader, others = self._views[worker]
        try:
            answer = leader.apply_async(_SERVE, *frames)
            self.bytes_sent += wire.size(frames) * (1 + len(others))
            for view in others:
                view.apply_async(_SERVE, *frames)
        except (KeyError, OSError) as error:  # an engine that is known to be gone
            self._lose(worker, f"an engine is gone ({error})")
            return
        answer._children[0].iopub_callbacks.append(  # noqa: SLF001 - as stream_output does
            lambda message: self._published(worker, message)
        )
        answer.add_done_callback(lambda done: self._answered(worker, done))
        self._forget_history(leader, *others)

    def help(self, _done: Callable[[], bool], _timeout: float | None) -> None:
        """Return at once: replies are read on a thread of their own."""

    def stop_call(self, worker: int, _call: int) -> None:
        """Raise the leader's stop flag; the ranks vote on it at the next chunk end."""
        leader = self._places[worker].engines[0]
        with contextlib.suppress(Exception):
            self._client.send_signal(signal.SIGUSR1, targets=[leader], block=False)

    def replace(self, worker: int, reason: str) -> None:
        """Give up a worker that hangs."""
        self._lose(worker, reason)

    def release(self, worker: int) -> None:
        """Forget a worker that has nothing more to do."""
        self._lost.add(worker)

    def close(self) -> None:
        """Give the environments back where engines live on, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        self._closing.set()
        if not self._cluster.owned:
            with contextlib.suppress(Exception):
                self._clear_engines(client)
        client.close()

    def _clear_engines(self, client: Any) -> None:
        """Close the environments of engines that live on, whatever they are doing."""
        alive = [p for i, p in self._places.items() if i not in self._lost]
        leaders = [place.engines[0] for place in alive]
        engines = [engine for place in alive for engine in place.engines]
        closed = client[engines].apply_async(_CLOSE)
        deadline = time.monotonic() + _PATIENCE
        while not closed.ready() and time.monotonic() < deadline:
            # One stop for each call that was sent ahead.
            client.send_signal(signal.SIGUSR1, targets=leaders, block=False)
            closed.wait(0.2)

    def _boot(self, factory: Any) -> None:
        # The user's own modules are where this process finds them.
        paths = [path for path in sys.path if Path(path).is_dir()]
        frames = wire.pack((paths, self._subworld_size, wire.dumps(factory)))
        engines = [e for place in self._places.values() for e in place.engines]
        pending = [
            (engine, self._client[engine].apply_async(_BOOT, *frames))
            for engine in engines
        ]
        deadline = time.monotonic() + self._timeout
        failures: dict[tuple[str, int], RankFailure] = {}
        for engine, answer in pending:
            try:
                frames = answer.get(timeout=max(0.1, deadline - time.monotonic()))
                raised = wire.loads(wire.unpack(frames))
            except TimeoutError as error:
                raise ClusterLost(
                    f"engine {engine} has not built its environment after "
                    f"{self._timeout:g} s\n{self._cluster.log_tail()}"
                ) from error
            except Exception as error:
                raise ClusterLost(
                    f"engine {engine} failed while it built its environment: {error}"
                ) from error
            failures.update(((f.host, f.pid), f) for f in raised)
        if failures:
            raise call_error(tuple(failures.values()), aftermath="nothing was built")

    def _answered(self, index: int, answer: Any) -> None:
        try:
            frames = answer.get(timeout=0)
        except Exception as error:
            self._lose(index, str(error).splitlines()[0] if str(error) else repr(error))
            return
        if self._listener is not None and index not in self._lost:
            self._listener.replied(index, wire.unpack(frames))

    def _published(self, index: int, message: dict[str, Any]) -> None:
        if (
            message["header"]["msg_type"] == "data_message"
            and self._listener is not None
        ):
            data, _ = deserialize_object(message["buffers"])
            if "livn_ipp" in data:
                self._listener.progressed(index, wire.unpack(data["livn_ipp"]))

    def _registered(self, event: dict[str, Any]) -> None:
        if event.get("event") != "unregister":
            return
        for place in self._places.values():
            if event.get("id") in place.engines:
                self._lose_world(place.world, f"engine {event.get('id')} ended")
                return

    def _lose_world(self, world: str, reason: str) -> None:
        for index, place in self._places.items():
            if place.world == world:
                self._lose(index, reason)

    def _lose(self, index: int, reason: str) -> None:
        if index in self._lost or self._closing.is_set():
            return
        self._lost.add(index)
        if self._listener is not None:
            self._listener.lost(index, reason)

    def _forget_history(self, *views: Any) -> None:
        if len(self._client.history) > 1000:
            self._client.history.clear()
            for view in views:
                view.history.clear()


class _Serve:
    """Runs on an engine; pickled by name, which is short."""

    def __call__(self, *frames: Any) -> Any:
        parcel, items = wire.unpack(frames)
        held = worker.current()
        answers = held.serve(list(items))
        if held.subworld.rank != 0:
            return ()
        return wire.pack(wire.Reply(parcel, answers, held.telemetry.last_words()))


class _Boot:
    """Runs on an engine: builds its share of a worker and names it for ``%%px``."""

    def __call__(self, *frames: Any) -> Any:
        from IPython import get_ipython
        from mpi4py import MPI

        paths, subworld_size, content = wire.unpack(frames)
        sys.path.extend(path for path in paths if path not in sys.path)
        factory = wire.loads(content)
        failures = worker.boot(factory, MPI.COMM_WORLD, subworld_size)
        if not failures:
            held = worker.current()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGUSR1, lambda *_: held.subworld.request_stop())
            if held.subworld.rank == 0:
                held.telemetry.publish = _publish
            names = {
                "env": held.env,
                "comm": held.subworld.comm,
                "world": MPI.COMM_WORLD,
            }
            get_ipython().user_ns.update(names | factory.namespace(held.env))
        return wire.pack(wire.dumps(failures))


def _publish(progress: wire.Progress) -> None:
    publish_data({"livn_ipp": [bytes(frame) for frame in wire.pack(progress)]})
    # The thread that sends it needs the interpreter, which a simulation holds.
    time.sleep(0.0005)


class _Close:
    """Runs on an engine that outlives its environment."""

    def __call__(self) -> None:
        worker.close()


_SERVE, _BOOT, _CLOSE = _Serve(), _Boot(), _Close()
