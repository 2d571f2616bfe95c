"""DistributedEnv, the facade: an Env whose calls run on the workers of a cluster."""

import atexit
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import Dispatcher, Transport
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.limits import LimitOptions, Limits
from livn_ipp.display import Card, Shown
from livn_ipp.env.choose import Place
from livn_ipp.env.facade.calls import Calls
from livn_ipp.env.facade.cells import RemoteCells
from livn_ipp.env.facade.configuration import Configuration
from livn_ipp.env.facade.continued import Continued
from livn_ipp.env.facade.queries import Queries
from livn_ipp.env.facade.reports import Reports
from livn_ipp.env.facade.scaling import Scaling
from livn_ipp.env.facade.views import Views
from livn_ipp.env.factory import NeuronFactory, check_ranks, factory_for
from livn_ipp.env.left_running import warn_of_those_left_running
from livn_ipp.errors import ConfigError
from livn_ipp.system import System

__all__ = ["DistributedEnv"]


class DistributedEnv(
    Calls, Continued, Configuration, Queries, Reports, Scaling, Views, Shown
):
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
        A culture, as :class:`livn_ipp.env.Env` takes it. Each worker reads a system
        directory on its own.
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
        How engines are started: "mpi", or "slurm", "pbs", "sge" or "lsf" for a job of a
        batch system for each world.
    launcher_options
        Of a batch system: queue, time limit and so on; see
        :class:`livn_ipp.cluster.launchers.options.BatchOptions`.
    min_workers
        Workers of the cluster that is started to begin with; the others join when they
        are ready. By default all have to come.
    transport
        ``"ipp"``, ``"mpi"``, ``"local"`` (no cluster, serial) or ``"auto"``.
    backend
        ``"neuron"``; ``"livn"`` for livn's own Env on each worker; or a class as
        :class:`livn_ipp.types.Backend` describes.
    partition, sync_interval
        As :class:`livn_ipp.env.Env` takes them; results do not depend on them.
    strict
        Whether it is an error if no cluster can be started; else calls run in this
        process, after a :class:`livn_ipp.errors.DistributedFallbackWarning`. By default
        it is one if anything of the cluster was asked for.
    **limits
        Limits on time, memory and repetition by name, such as ``task_timeout=60``;
        :class:`livn_ipp.cluster.limits.Limits` lists them.

    Examples
    --------
    >>> with DistributedEnv("EI1", num_workers=2) as env:  # doctest: +SKIP
    ...     env.record_spikes()
    ...     runs = env(100, inputs=[None, None])
    """

    def __init__(
        self,
        system: System | str | Path | int | Mapping[str, int],
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
        launcher_options: Mapping[str, Any] | None = None,
        min_workers: int | None = None,
        transport: str = "auto",
        backend: str | Callable[..., Any] = "neuron",
        partition: str = "round_robin",
        sync_interval: float | None = None,
        strict: bool | None = None,
        **limits: Unpack[LimitOptions],
    ) -> None:
        self.limits = Limits.of(limits)
        self._place = Place(
            transport,
            comm,
            subworld_size,
            num_workers,
            cluster,
            {"client": client, "profile": profile, "cluster_id": cluster_id},
            workers_per_world,
            launcher,
            launcher_options,
            min_workers,
            strict,
        )
        self.subworld_size = 1 if subworld_size is None else subworld_size
        super().__init__()
        _refuse_directory(system)
        self.system = System(system)
        self.seed = seed
        self.cells = RemoteCells(lambda: self.system, self._configure, self._ask)
        self._factory = factory_for(
            backend, system, model, io, seed, partition, sync_interval
        )
        check_ranks(self._factory, self.subworld_size)
        self._dispatcher: Dispatcher | None = None
        self._since = 0.0
        self._ended = False

    @property
    def cluster(self) -> Any:
        """The cluster whose engines are the workers' ranks, or None."""
        return self._place.cluster

    @property
    def model(self) -> Any:
        """Dynamics of cells and synapses, as the workers have them."""
        if self._dispatcher is None:
            return self._factory.model
        return self._ask("model")

    @property
    def io(self) -> Any:
        """The electrodes, as the workers have them."""
        if self._dispatcher is None:
            return self._factory.io
        return self._ask("io")

    # Life

    def selection(self, select: Any, method: str = "first", bounds: Any = None) -> Self:
        """Simulate some of the culture's cells only; see the method of ``Env``.

        Raises
        ------
        ConfigError
            If the networks are built already, or the cells cannot be chosen.
        """
        if self._dispatcher is not None or self._ended:
            raise ConfigError(
                "the networks are built already; call selection() before init()"
            )
        self._factory = self._factory.select(select, method, bounds)
        if isinstance(self._factory, NeuronFactory):
            self.system = self._factory.system
        return self

    @property
    def selection_name(self) -> str | None:
        """Name of the stored selection in use, if any."""
        return self.system.selection_name

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
        return self._init()

    def _init(self) -> Self:
        if self._dispatcher is not None:
            return self
        if self._ended:
            raise ConfigError(
                "this environment was shut down; build a new DistributedEnv"
            )
        if not self.is_root():
            from livn_ipp.cluster.transports.mpi import serve

            serve(self._place.world, self.subworld_size, self._factory, self.limits)
            self._ended = True
            return self
        if not self._place.local:
            warn_of_those_left_running(self)
        transport = self._place.transport(self.subworld_size)
        if transport.name == "local":
            self.subworld_size = 1
        self._start(transport)
        atexit.register(_leave_at_exit, weakref.ref(self))
        return self

    @classmethod
    def attach(
        cls, cluster: Any, *, takeover: bool = False, **limits: Unpack[LimitOptions]
    ) -> Self:
        """Go on with the workers of a process that has ended, as they are.

        Nothing is built: workers keep their networks and their configuration. Calls
        that the former process had handed out are in :attr:`recovered`, ended or
        running. Those that still waited in its queue ended with it, and so did the
        results that it had received. Trials are counted from 0 again.

        Parameters
        ----------
        cluster
            A cluster that was started with ``detach=True``, or by ``livn-ipp start``:
            its cluster file, or what ``Cluster.from_file`` returned.
        takeover
            Whether a process that still uses the workers is to lose them; it gets
            ``ClusterLost``.
        **limits
            As :class:`DistributedEnv` takes them.

        Raises
        ------
        ConfigError
            If no environment runs on this cluster.
        ClusterLost
            If the cluster is gone, or another process uses its workers.

        Examples
        --------
        >>> env = DistributedEnv.attach("cluster.json")  # doctest: +SKIP
        >>> runs = [call.result() for call in env.recovered.values()]  # doctest: +SKIP
        """
        from livn_ipp.cluster.launch import Cluster
        from livn_ipp.cluster.transports.ipp import IppTransport

        given = isinstance(cluster, Cluster)
        found = cluster if given else Cluster.from_file(cluster)
        try:
            past = found.past()
            self = cls._of(wire.loads(past.factory), found, past.subworld_size, limits)
            transport = IppTransport(
                found, past.subworld_size, past=past, takeover=takeover
            )
            dispatcher = Dispatcher(
                transport,
                self.limits,
                log=past.log,
                first_call=past.last_call + 1,
                first_parcel=past.last_parcel + 1,
            )
            self._run(dispatcher)
        except BaseException:
            if not given:
                found.stop()
            raise
        atexit.register(_leave_at_exit, weakref.ref(self))
        return self

    @property
    def recovered(self) -> dict[int, CallFuture]:
        """The calls that a former process had handed out, by their ids.

        Empty unless this environment comes from :meth:`attach`.
        """
        return dict(getattr(self._live().transport, "recovered", {}))

    @property
    def running_since(self) -> float | None:
        """When the workers were ready, on the monotonic clock in s; None before."""
        return None if self._dispatcher is None else self._since

    def is_root(self) -> bool:
        """Tell whether this process is the controller."""
        return self._place.is_root()

    def shutdown(self) -> None:
        """Let the workers go, and end the cluster if this environment started it.

        May be called twice. Calls that have not ended are given up.
        """
        if self._dispatcher is not None:
            self._end_course()
        self._ended = True
        self._close_views()
        self._place.prepare_to_close()
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()
        self._place.close()

    def close(self) -> None:
        """End the environment, as :meth:`shutdown` does."""
        self.shutdown()

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

        check_ranks(self._factory, subworld_size)
        topology.workers(self.cluster.ranks(), subworld_size)
        log = self._live().log
        self._end_course()
        self._close_views()
        self._live().close()
        self.subworld_size = subworld_size
        self._start(self._place.engines(subworld_size))
        for entry in log:
            self._set(entry.method, entry.arguments)
        return self

    def __enter__(self) -> Self:
        return self._init()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    # Inside

    def _configure(self, method: str, *args: Any, **kwargs: Any) -> Self:
        if not self.is_root():
            return self
        self._set(method, wire.dumps((args, kwargs), snapshot=True))
        return self

    def _set(self, method: str, arguments: wire.Frames) -> None:
        dispatcher = self._live()
        dispatcher.configure(method, arguments).result()
        if note := getattr(dispatcher.transport, "configured", None):
            note(dispatcher.log)

    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        arguments = wire.dumps((args, kwargs), snapshot=True)
        return self._live().ask(name, arguments).result()

    def _ask_ranks(self, name: str, *args: Any) -> list[Any]:
        arguments = wire.dumps((args, {}), snapshot=True)
        answers = self._live().ask(name, arguments, all_ranks=True).result()
        return list(answers)

    def _electrodes(self) -> Any:
        return self._factory.io or self.system.default_io()

    def _give_up(self, calls: Sequence[int]) -> None:
        if self._dispatcher is not None:
            self._dispatcher.cancel(*calls)

    def _live(self) -> Dispatcher:
        if self._dispatcher is None:
            raise ConfigError(
                "this environment was shut down; build a new DistributedEnv"
                if self._ended
                else "call init() first, or use the environment in a with statement"
            )
        return self._dispatcher

    def _start(self, transport: Transport) -> None:
        self._run(Dispatcher(transport, self.limits))

    def _run(self, dispatcher: Dispatcher) -> None:
        try:
            dispatcher.start(self._factory)
        except BaseException:
            dispatcher.close()
            self.shutdown()
            raise
        self._dispatcher = dispatcher
        self._show_cluster()
        self._since = time.monotonic()

    def _like(self, cluster: Any, subworld_size: int) -> Self:
        return self._of(self._factory, cluster, subworld_size, {})

    @classmethod
    def _of(
        cls, factory: Any, cluster: Any, subworld_size: int, limits: LimitOptions
    ) -> Self:
        """Make the environment of a factory that another process chose."""
        system = factory.system
        if isinstance(system, System) and system.whole.source is system.source:
            system = system.source.path or system
        self = cls(
            system,
            seed=factory.seed,
            cluster=cluster,
            subworld_size=subworld_size,
            transport="ipp",
            **limits,
        )
        self._factory = factory
        if isinstance(factory.system, System):
            self.system = factory.system
        return self

    def _leave(self) -> None:
        """Shut down; workers that outlive this process stay as they are."""
        dispatcher = self._dispatcher
        if dispatcher is not None and (
            leave := getattr(dispatcher.transport, "leave", None)
        ):
            leave()
        self.shutdown()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a DistributedEnv stays with its controller and cannot be pickled; does an "
            "encoding, a decoding or an input refer to it? Inside a call, use the "
            "environment that the call is given"
        )

    def _card(self) -> Card:
        title = f"DistributedEnv of {self.system.name}"
        if self._dispatcher is None:
            state = "shut down" if self._ended else "not initialised"
            return Card(title, state, (("culture", self.system.told),))
        dispatcher = self._dispatcher
        workers = f"{len(dispatcher.workers)} x {self.subworld_size} ranks"
        facts = (
            ("culture", self.system.told),
            ("workers", f"{workers} over {dispatcher.transport.name}"),
            ("calls", f"{dispatcher.unfinished} unfinished"),
        )
        state = "busy" if dispatcher.unfinished else "idle"
        return Card(title, state, facts)

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


def _leave_at_exit(reference: "weakref.ref[DistributedEnv]") -> None:
    env = reference()
    if env is not None:
        env._leave()  # noqa: SLF001 - its own


def _refuse_directory(system: Any) -> None:
    """Refuse what is read from a directory in place of the directory."""
    if isinstance(system, System) and system.whole.source is system.source:
        path = system.source.path
        if path is not None:
            raise ConfigError(
                "system must be the path of a system directory, not a System: each "
                f"worker reads it from disk on its own; pass system.path, {path}"
            )
