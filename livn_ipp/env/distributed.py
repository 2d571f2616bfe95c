"""DistributedEnv, the facade: an Env whose calls run on the workers of a cluster."""

import atexit
import concurrent.futures
import hashlib
import itertools
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import CallSpec, Dispatcher, Transport
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.decoding import GatherAndMerge
from livn_ipp.env.factory import factory_for
from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.system import System

__all__ = ["DistributedEnv"]

_TRANSPORTS = ("auto", "ipp", "mpi", "local")


class DistributedEnv:
    """An Env that fans out calls to the workers of a cluster.

    In a notebook or a plain script it starts its own cluster, or uses one that is
    there; under ``mpirun -n subworld_size * num_workers + 1`` the highest rank is the
    controller and the other ranks serve inside :meth:`init` until :meth:`shutdown`.
    The same program gives the same results in each case.

    Calls are isolated: each starts from t = 0 with its own trial, so results do not
    depend on which worker ran them, how many there are, or what ran before.

    Parameters
    ----------
    system
        Path of a system directory, or the name of a shipped one (``"EI1"``). A path,
        not a System, because each worker reads it on its own.
    model, io, seed
        As :class:`livn_ipp.env.Env` takes them.
    comm
        The mpi4py communicator under ``mpirun``; ``COMM_WORLD`` by default.
    subworld_size
        Ranks per worker.
    num_workers
        Workers of the cluster that is started; by default as many as the cores allow.
    cluster
        A started :class:`livn_ipp.cluster.launch.Cluster` to use; it is left running.
    client, profile, cluster_id
        A running ipyparallel cluster to use: a connected client, or how to find it.
    workers_per_world
        Workers that share one MPI job, or ``"all"``; one isolates a crash best.
    launcher
        How engines are started.
    transport
        ``"ipp"``, ``"mpi"``, ``"local"`` (no cluster, serial) or ``"auto"``.
    backend
        ``"neuron"``, or a class as :class:`livn_ipp.types.Backend` describes.

    Examples
    --------
    >>> with DistributedEnv("EI1", num_workers=2) as env:  # doctest: +SKIP
    ...     env.record_spikes()
    ...     runs = env(100, inputs=[None, None])
    """

    def __init__(
        self,
        system: str | Path,
        model: Any = None,
        io: Any = None,
        seed: int = 123,
        comm: Any = None,
        subworld_size: int | None = 1,
        *,
        num_workers: int | None = None,
        cluster: Any = None,
        client: Any = None,
        profile: str | None = None,
        cluster_id: str | None = None,
        workers_per_world: int | Literal["all"] = 1,
        launcher: str = "mpi",
        transport: str = "auto",
        backend: str | Callable[..., Any] = "neuron",
    ) -> None:
        if not isinstance(system, (str, Path)):
            raise ConfigError(
                f"system must be the path of a system directory, not a "
                f"{type(system).__name__}: each worker reads it from disk on its own; "
                "pass system.path"
            )
        if transport not in _TRANSPORTS:
            raise ConfigError(
                f"unknown transport {transport!r}; choose from {_TRANSPORTS}"
            )
        self.subworld_size = 1 if subworld_size is None else subworld_size
        if self.subworld_size < 1:
            raise ConfigError(
                f"subworld_size must be at least 1, not {subworld_size!r}"
            )
        if num_workers is not None and num_workers < 1:
            raise ConfigError(f"num_workers must be at least 1, not {num_workers!r}")
        self.system = System(system)
        self.seed = seed
        self._factory = factory_for(backend, str(self.system.path), model, io, seed)
        self._num_workers = num_workers
        self._workers_per_world = workers_per_world
        self._launcher = launcher
        self._attach = {"client": client, "profile": profile, "cluster_id": cluster_id}
        self._transport_name = transport
        self._world = _mpi_world(comm) if transport in ("auto", "mpi") else None
        if transport == "mpi" and self._world is None:
            raise ConfigError(
                "transport='mpi' needs mpirun: start the script with "
                f"mpirun -n {self.subworld_size * (num_workers or 2) + 1} python ..."
            )
        self._explicit = (
            transport == "ipp" or num_workers is not None or subworld_size != 1
        )
        self.cluster = cluster
        self._owned: Any = None
        self._dispatcher: Dispatcher | None = None
        self._log: list[tuple[str, wire.Frames]] = []
        self._trials = itertools.count()
        self._responses: dict[int, CallFuture] = {}
        self._ended = False

    # Life

    def init(self) -> Self:
        """Start or find the workers and build the network on each.

        On the ranks of a worker under ``mpirun`` this returns only after the
        controller's :meth:`shutdown`.

        Raises
        ------
        PreflightError
            If something the cluster needs is missing.
        ConfigError
            If the ranks do not fill workers of `subworld_size`.
        """
        if self._dispatcher is not None:
            return self
        if self._ended:
            raise ConfigError(
                "this environment was shut down; build a new DistributedEnv"
            )
        if not self.is_root():
            from livn_ipp.cluster.transports.mpi import serve

            serve(self._world, self.subworld_size, self._factory)
            self._ended = True
            return self
        self._start(self._choose_transport())
        atexit.register(_shutdown_at_exit, weakref.ref(self))
        return self

    def is_root(self) -> bool:
        """Tell whether this process is the controller."""
        return self._world is None or bool(
            self._world.Get_rank() == self._world.Get_size() - 1
        )

    def shutdown(self) -> None:
        """Let the workers go, and end the cluster if this environment started it.

        May be called twice. Calls that have not ended are given up.
        """
        self._ended = True
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()
        owned, self._owned = self._owned, None
        if owned is not None:
            owned.stop()

    def repartition(self, subworld_size: int) -> Self:
        """Cut the cluster's ranks into workers of another size.

        The configuration is applied to the new workers; unfinished calls are given up.

        Parameters
        ----------
        subworld_size
            Ranks per worker; must divide the ranks of every world.
        """
        if self._live().transport.name != "ipp":
            raise ConfigError("only ipyparallel engines can be repartitioned")
        from livn_ipp.cluster import topology

        topology.workers(self.cluster.ranks(), subworld_size)
        self._live().close()
        self.subworld_size = subworld_size
        self._start(self._ipp_transport())
        for method, arguments in self._log:
            self._live().configure(method, arguments).result()
        return self

    def __enter__(self) -> Self:
        return self.init()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    # Configuration: numbered, acknowledged by every rank

    def record_spikes(self, population: Any = None) -> Self:
        """Record spikes; see :meth:`livn_ipp.env.Env.record_spikes`."""
        return self._configure("record_spikes", population)

    def record_voltage(self, population: Any = None, dt: float = 0.1) -> Self:
        """Record membrane voltage; see :meth:`livn_ipp.env.Env.record_voltage`."""
        return self._configure("record_voltage", population, dt=dt)

    def record_membrane_current(self, population: Any = None, dt: float = 0.1) -> Self:
        """Record membrane current; see the method of :class:`livn_ipp.env.Env`."""
        return self._configure("record_membrane_current", population, dt=dt)

    def record_potential(self, dt: float = 0.1) -> Self:
        """Record potentials; see :meth:`livn_ipp.env.Env.record_potential`."""
        return self._configure("record_potential", dt=dt)

    def clear_recordings(self) -> Self:
        """Record nothing any more."""
        return self._configure("clear_recordings")

    def apply_model_defaults(self, weights: bool = True, noise: bool = True) -> Self:
        """Return to the model's weights and noise."""
        return self._configure("apply_model_defaults", weights=weights, noise=noise)

    def apply_default_params(self, group: str | None = None) -> Self:
        """Apply a named group of the system's parameters."""
        return self._configure("apply_default_params", group)

    def set_weights(self, weights: dict[str, float]) -> Self:
        """Set synaptic weights; see :meth:`livn_ipp.env.Env.set_weights`."""
        return self._configure("set_weights", weights)

    def set_noise(self, noise: dict[str, float]) -> Self:
        """Set the background; see :meth:`livn_ipp.env.Env.set_noise`."""
        return self._configure("set_noise", noise)

    @property
    def weight_names(self) -> Any:
        """The keys that :meth:`set_weights` takes."""
        return self._live().ask("weight_names", wire.dumps(((), {}))).result()

    def clear(self) -> Self:
        """Count trials from 0 again; every call starts at t = 0 in any case."""
        self._trials = itertools.count()
        return self

    # Calls

    def __call__(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        *,
        trial: int | None = None,
        **options: Any,
    ) -> list[Any] | None:
        """Run one call for each input and wait for all of them.

        Parameters
        ----------
        decoding
            A Decoding, or a duration in ms to get each Run whole.
        inputs
            A list with one input for each call; anything else is the one input of one
            call.
        encoding
            An Encoding or function that turns an input into a stimulus.
        trial
            Trial of the first call, counted on from there; by default the number of
            calls submitted since `init` or `clear`.
        **options
            Passed on to the environment's call.

        Returns
        -------
        list or None
            The responses in the order of the inputs; None on ranks that are not the
            controller.

        Raises
        ------
        CallError
            If a call failed; the calls that have not ended are cancelled.
        """
        if not self.is_root():
            return None
        futures = self._submit(
            decoding, _as_list(inputs), encoding, trial=trial, options=options
        )
        return self.gather(futures)

    def submit(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        *,
        trial: int | None = None,
        worker: int | None = None,
        priority: int = 0,
        **options: Any,
    ) -> CallFuture:
        """Submit one call and return at once.

        Parameters
        ----------
        decoding, inputs, encoding, trial, **options
            As for a call; `inputs` is the one input, even if it is a list.
        worker
            The only worker that may run it.
        priority
            Higher runs first.

        Returns
        -------
        CallFuture
            A handle with the methods of :class:`concurrent.futures.Future`; awaitable.
        """
        (future,) = self._submit(
            decoding,
            [inputs],
            encoding,
            trial=trial,
            options=options,
            worker=worker,
            priority=priority,
        )
        return future

    def map(
        self,
        decoding: Any,
        inputs: Iterable[Any],
        encoding: Any = None,
        *,
        trial: int | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Submit one call for each input; iterate over the responses in order.

        Works as :meth:`concurrent.futures.Executor.map`: all calls are submitted at
        once, and leaving the iteration early cancels those that have not ended.
        """
        futures = self._submit(
            decoding, list(inputs), encoding, trial=trial, options=options
        )

        def responses() -> Iterator[Any]:
            try:
                for future in futures:
                    yield future.result(timeout)
            finally:
                self._cancel(futures)

        return responses()

    @staticmethod
    def as_completed(
        futures: Iterable[CallFuture], timeout: float | None = None
    ) -> Iterator[CallFuture]:
        """Iterate over futures as they end."""
        return concurrent.futures.as_completed(futures, timeout)  # type: ignore[return-value]

    def gather(self, futures: Sequence[CallFuture]) -> list[Any]:
        """Wait for all futures and return their results in order.

        An error or an interrupt cancels those that have not ended.
        """
        try:
            return [future.result() for future in futures]
        finally:
            self._cancel(futures)

    def submit_call(
        self, decoding: Any, inputs: Any = None, encoding: Any = None, **options: Any
    ) -> int:
        """Submit one call and return its number, as livn does."""
        future = self.submit(decoding, inputs, encoding, **options)
        self._responses[future.id] = future
        return future.id

    def receive_response(self, task_id: int | None = None) -> list[Any]:
        """Wait for a call of :meth:`submit_call`; None means whichever ends first.

        Returns
        -------
        list
            The response, in a list as in livn.
        """
        if task_id is not None:
            return [self._response(task_id).result()]
        if not self._responses:
            raise ConfigError(
                "no call is waiting for its response; submit_call() first"
            )
        done, _ = concurrent.futures.wait(
            self._responses.values(), return_when=concurrent.futures.FIRST_COMPLETED
        )
        first = min(number for number, f in self._responses.items() if f in done)
        return [self._response(first).result()]

    def probe_response(self, task_id: int, default: Any = None) -> Any:
        """Return a call's response if it has ended, else `default`."""
        if task_id in self._responses and not self._responses[task_id].done():
            return default
        return self._response(task_id).result()

    # Inside

    def _response(self, task_id: int) -> CallFuture:
        future = self._responses.pop(task_id, None)
        if future is None:
            raise ConfigError(
                f"no response is waiting under {task_id}; "
                f"waiting: {sorted(self._responses) or 'none'}"
            )
        return future

    def _submit(
        self,
        decoding: Any,
        inputs: list[Any],
        encoding: Any,
        *,
        trial: int | None,
        options: dict[str, Any],
        worker: int | None = None,
        priority: int = 0,
    ) -> list[CallFuture]:
        dispatcher = self._live()
        if isinstance(decoding, (int, float)):
            decoding = GatherAndMerge(duration=decoding)
        content = wire.dumps((decoding, encoding), snapshot=True)
        state = getattr(decoding, "state", None)
        patch = wire.dumps(state, snapshot=True) if state else None
        extra = wire.dumps(options, snapshot=True) if options else None
        packed = [wire.dumps(value, snapshot=True) for value in inputs]
        trials = self._trials if trial is None else itertools.count(trial)
        calls = [
            CallSpec(next(trials), value, patch, extra, priority, worker)
            for value in packed
        ]
        return dispatcher.submit(_digest(content), content, calls)

    def _cancel(self, futures: Sequence[CallFuture]) -> None:
        unfinished = [future.id for future in futures if not future.done()]
        if unfinished and self._dispatcher is not None:
            self._dispatcher.cancel(*unfinished)

    def _configure(self, method: str, *args: Any, **kwargs: Any) -> Self:
        if not self.is_root():
            return self
        arguments = wire.dumps((args, kwargs), snapshot=True)
        self._live().configure(method, arguments).result()
        self._log.append((method, arguments))
        return self

    def _live(self) -> Dispatcher:
        if self._dispatcher is None:
            raise ConfigError(
                "this environment was shut down; build a new DistributedEnv"
                if self._ended
                else "call init() first, or use the environment in a with statement"
            )
        return self._dispatcher

    def _start(self, transport: Transport) -> None:
        dispatcher = Dispatcher(transport)
        try:
            dispatcher.start(self._factory)
        except BaseException:
            dispatcher.close()
            self.shutdown()
            raise
        self._dispatcher = dispatcher

    def _choose_transport(self) -> Transport:
        if self._world is not None:
            from livn_ipp.cluster.transports.mpi import MpiTransport

            return MpiTransport(self._world, self.subworld_size)
        if self._transport_name != "local":
            try:
                return self._ipp_transport()
            except PreflightError as error:
                if self._explicit:
                    raise
                reason = str(error).splitlines()[0]
                warnings.warn(
                    f"no cluster can be started here ({reason}); calls run one after "
                    "the other in this process",
                    RuntimeWarning,
                    stacklevel=4,
                )
        from livn_ipp.cluster.transports.local import LocalTransport

        return LocalTransport()

    def _ipp_transport(self) -> Transport:
        from livn_ipp.cluster.launch import Cluster
        from livn_ipp.cluster.transports.ipp import IppTransport

        if self.cluster is None:
            if any(value is not None for value in self._attach.values()):
                self.cluster = Cluster.attach(**self._attach)
            else:
                self.cluster = Cluster(
                    self._num_workers,
                    self.subworld_size,
                    workers_per_world=self._workers_per_world,
                    launcher=self._launcher,
                )
                self._owned = self.cluster
                self.cluster.start()
        return IppTransport(self.cluster, self.subworld_size)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a DistributedEnv stays with its controller and cannot be pickled; does an "
            "encoding, a decoding or an input refer to it? Inside a call, use the "
            "environment that the call is given"
        )

    def __repr__(self) -> str:
        if self._dispatcher is None:
            state = "shut down" if self._ended else "not initialised"
        else:
            workers = len(self._dispatcher.workers)
            state = (
                f"{workers} workers x {self.subworld_size} ranks over "
                f"{self._dispatcher.transport.name}, "
                f"{self._dispatcher.unfinished} calls unfinished"
            )
        return f"DistributedEnv({self.system.name}: {state})"


def _mpi_world(comm: Any) -> Any:
    """Return the world that mpirun started us in, or None if it did not."""
    started = any(name in os.environ for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))
    engine = "ipyparallel.engine" in sys.modules
    if comm is None and (not started or engine):
        return None
    if comm is None:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    return comm if comm.Get_size() > 1 else None


def _as_list(inputs: Any) -> list[Any]:
    return inputs if isinstance(inputs, list) else [inputs]


def _digest(frames: wire.Frames) -> str:
    content = hashlib.sha256()
    for frame in frames:
        content.update(frame if isinstance(frame, bytes) else memoryview(frame))
    return content.hexdigest()[:32]


def _shutdown_at_exit(reference: "weakref.ref[DistributedEnv]") -> None:
    env = reference()
    if env is not None:
        env.shutdown()
