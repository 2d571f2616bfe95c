"""Cluster: start the ranks of workers, or reach those that a user started."""

import contextlib
import re
import threading
import time
import uuid
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from livn_ipp.cluster import topology
from livn_ipp.cluster.connect import (
    activate,
    connect,
    connection_of,
    profile_directory,
    read_connection,
)
from livn_ipp.cluster.environment import usable_cores
from livn_ipp.cluster.launchers import launcher as choose_launcher
from livn_ipp.cluster.owned import OwnedProcesses
from livn_ipp.cluster.preflight import require
from livn_ipp.cluster.probe import ask, registered, software
from livn_ipp.cluster.topology import Rank, WorkerPlace
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError

__all__ = ["Cluster"]

_ANSWER_TIMEOUT = 30.0  # s, for an idle engine to tell its rank


class Cluster:
    """The MPI ranks that workers are made of, each an ipyparallel engine.

    Nothing starts before :meth:`start`, or before the cluster is used as a context
    manager.

    Parameters
    ----------
    num_workers
        How many subworlds of ranks; by default as many as the cores that this process
        may use allow, at least 1.
    subworld_size
        Ranks per worker.
    workers_per_world
        How many workers share one MPI job, and its fate when a rank dies; "all" for a
        single job.
    launcher
        How ranks are started: "mpi".
    cluster_id
        Name of the cluster; unique by default.
    profile
        Name of the IPython profile that holds connection files and logs; the current
        session's by default.
    mpi_args
        Further arguments of mpiexec.
    start_timeout
        Seconds that controller and ranks have to come up.
    detach
        Leave the cluster running when this process ends. Otherwise it ends with it,
        even if this process is killed.

    Examples
    --------
    >>> with Cluster(num_workers=2, subworld_size=3) as cluster:  # doctest: +SKIP
    ...     [place.engines for place in cluster.workers]
    [(0, 1, 2), (3, 4, 5)]
    """

    def __init__(
        self,
        num_workers: int | None = None,
        subworld_size: int = 1,
        *,
        workers_per_world: int | Literal["all"] = 1,
        launcher: str = "mpi",
        cluster_id: str | None = None,
        profile: str | None = None,
        mpi_args: Sequence[str] = (),
        start_timeout: float = 120.0,
        detach: bool = False,
    ) -> None:
        _check_count("subworld_size", subworld_size)
        if num_workers is None:
            num_workers = max(1, usable_cores() // subworld_size)
        _check_count("num_workers", num_workers)
        self._worlds_wanted = _count_worlds(num_workers, workers_per_world)
        self._world_size = num_workers * subworld_size // self._worlds_wanted
        self._launcher = choose_launcher(launcher, mpi_args)
        self._subworld_size = subworld_size
        self.cluster_id = _checked_id(cluster_id or f"livn-{uuid.uuid4().hex[:8]}")
        self.start_timeout = start_timeout
        self.owned = True
        self._profile = profile
        self._detach = detach
        self._prepare()

    def _prepare(self) -> None:
        self._owned: OwnedProcesses | None = None
        self._finalizer: Any = None
        self._stopped = False
        self._world_number = 0
        self._connection: dict[str, Any] = {}
        self._control: Any = None  # our own client; the user may close theirs
        self._client: Any = None
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._known: dict[str, Rank] = {}
        self._ended: set[str] = set()
        self._ask_lock = threading.Lock()

    @classmethod
    def attach(
        cls,
        client: Any = None,
        *,
        profile: str | None = None,
        cluster_id: str | None = None,
        subworld_size: int = 1,
        start_timeout: float = 30.0,
    ) -> Self:
        """Reach a cluster that the user started, as by ``ipcluster start``.

        Parameters
        ----------
        client
            A connected ``ipyparallel.Client``; or name the cluster:
        profile
            Name of the IPython profile.
        cluster_id
            Name of the cluster; that of the profile's default cluster is empty.
        subworld_size
            Ranks per worker.
        start_timeout
            Seconds that engines have to register, in case they still start.

        Returns
        -------
        Cluster
            Not owned: :meth:`stop` leaves it running.

        Raises
        ------
        ConfigError
            If there is no such cluster, or its engines do not make complete worlds.
        ClusterLost
            If the cluster does not answer.
        VersionMismatch
            If engines run other software than this process.
        """
        _check_count("subworld_size", subworld_size)
        self = cls.__new__(cls)
        self._subworld_size = subworld_size
        self.owned = False
        self.start_timeout = start_timeout
        self._prepare()
        if client is not None:
            self.cluster_id = str(client.cluster_id or "")
            self._connection = connection_of(client)
            self._client = client
        else:
            self.cluster_id = cluster_id or ""
            directory = profile_directory(profile, create=False)
            self._connection = read_connection(directory, self.cluster_id)
        try:
            self._control = self.connect()
            self._await_complete(time.monotonic() + start_timeout)
            topology.check_versions(self.ranks(), software())
        except BaseException:
            self.stop()
            raise
        activate(self.client)
        return self

    def start(self) -> Self:
        """Start controller and worlds, and wait until every rank is registered.

        Returns
        -------
        Cluster
            This one; starting again does nothing.

        Raises
        ------
        PreflightError
            If something is missing on this machine, or a process ended while it
            started; shows the end of its log. Nothing is left running.
        """
        if self._owned is not None or not self.owned:
            return self
        if self._stopped:
            raise ClusterLost(f"{self!r} was stopped; make another Cluster")
        require(self._worlds_wanted * self._world_size)
        deadline = time.monotonic() + self.start_timeout
        directory = profile_directory(self._profile, create=True)
        self._owned = OwnedProcesses(
            self.cluster_id, directory, self._launcher, lease=not self._detach
        )
        if not self._detach:
            self._finalizer = weakref.finalize(self, self._owned.end)
        try:
            self._owned.start_controller(deadline)
            names = [self._launch_world() for _ in range(self._worlds_wanted)]
            self._connection = read_connection(directory, self.cluster_id)
            self._control = self.connect()
            self._await_worlds(names, deadline)
            topology.check_versions(self.ranks(), software())
        except BaseException:
            self.stop()
            raise
        activate(self.client)
        return self

    def stop(self) -> None:
        """End the cluster if this process started it, else disconnect from it.

        May be called at any time, also after a start that failed, and again.
        """
        self._stopped = True
        for client in list(self._clients):
            with contextlib.suppress(Exception):
                client.close(linger=0)
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._owned is not None:
            self._owned.end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def client(self) -> Any:
        """An ``ipyparallel.Client`` for the user; ``%%px`` uses it."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self) -> Any:
        """Open a further client with sockets of its own; closed by :meth:`stop`.

        Returns
        -------
        ipyparallel.Client
            A new one for each call.

        Raises
        ------
        ClusterLost
            If the cluster does not answer or was stopped.
        """
        if self._stopped or not self._connection:
            state = "was stopped" if self._stopped else "is not started"
            raise ClusterLost(f"{self!r} {state}: no client can connect")
        client = connect(self._connection, self.cluster_id)
        self._clients.add(client)
        return client

    def ranks(self) -> tuple[Rank, ...]:
        """Tell the place in MPI of every engine that is registered now.

        Only engines that are new since the last call are asked.

        Returns
        -------
        tuple of Rank
            Ordered by world and rank.

        Raises
        ------
        ClusterLost
            If the cluster is gone or an engine does not answer.
        """
        if self._control is None or self._control._closed:  # noqa: SLF001
            raise ClusterLost(f"{self!r} is not running")
        with self._ask_lock:
            now = registered(self._control)
            new = {name: id_ for name, id_ in now.items() if name not in self._known}
            self._known.update(ask(self._control, new, _ANSWER_TIMEOUT))
            found = [self._known[name] for name in now if name in self._known]
        # The hub may take a moment to notice that a world was ended.
        found = [rank for rank in found if rank.world not in self._ended]
        key = lambda rank: (len(rank.world), rank.world, rank.rank)
        return tuple(sorted(found, key=key))

    @property
    def worlds(self) -> dict[str, tuple[Rank, ...]]:
        """Ranks by world, ordered by rank."""
        return topology.worlds(self.ranks())

    @property
    def workers(self) -> tuple[WorkerPlace, ...]:
        """The places of the workers."""
        return topology.workers(self.ranks(), self._subworld_size)

    @property
    def num_workers(self) -> int:
        """How many workers the cluster was asked for; of an attached one, has."""
        if self.owned:
            return self._worlds_wanted * self._world_size // self._subworld_size
        return len(self._known) // self._subworld_size

    @property
    def subworld_size(self) -> int:
        """Ranks per worker."""
        return self._subworld_size

    def start_world(self) -> str:
        """Start one more world, as large as the others, and wait for its ranks.

        Returns
        -------
        str
            Name of the world.

        Raises
        ------
        PreflightError
            If it does not come up; it is ended then.
        """
        self._own("start a world of")
        name = self._launch_world()
        try:
            self._await_worlds([name], time.monotonic() + self.start_timeout)
        except BaseException:
            with contextlib.suppress(ConfigError):
                self.stop_world(name)
            raise
        return name

    def stop_world(self, name: str) -> None:
        """End one MPI job and all its processes, by force if need be.

        Parameters
        ----------
        name
            Name of the world.
        """
        self._own("stop a world of").end_world(name)
        self._ended.add(name)

    def log_tail(self, world: str | None = None, lines: int = 30) -> str:
        """Read the end of the log of a world, or of the controller and every world.

        Parameters
        ----------
        world
            Name of the world, or "controller".
        lines
            Lines per log.

        Returns
        -------
        str
            Empty for a cluster that this process did not start.
        """
        return "" if self._owned is None else self._owned.log_tail(world, lines)

    def __repr__(self) -> str:
        if self._stopped:
            state = "stopped" if self.owned else "disconnected"
        else:
            state = "running" if self._control is not None else "not started"
        size = f"{self.num_workers} x {self.subworld_size} ranks"
        return f"<Cluster {self.cluster_id or 'default'}: {size}, {state}>"

    def _own(self, what: str) -> OwnedProcesses:
        if self._owned is None or self._stopped:
            raise ConfigError(
                f"Cannot {what} {self!r}: only a running cluster that this process "
                f"started can do so"
            )
        return self._owned

    def _launch_world(self) -> str:
        name = f"w{self._world_number}"
        self._world_number += 1
        self._own("start a world of").start_world(name, self._world_size)
        return name

    def _await_worlds(self, names: list[str], deadline: float) -> None:
        owned = self._own("wait for a world of")
        wanted = len(names) * self._world_size
        while True:
            owned.check(names)
            # Asked only when all may have come, so that few questions interrupt
            # engines that are still starting.
            if len(registered(self._control).keys() - self._known.keys()) >= wanted:
                ranks = [rank for rank in self.ranks() if rank.world in names]
                if len(ranks) == wanted:
                    topology.worlds(ranks)
                    return
            if time.monotonic() > deadline:
                raise PreflightError(
                    f"Engines did not register within {self.start_timeout:g} s. "
                    f"Their logs end:\n"
                    + "\n".join(owned.log_tail(name, 30) for name in names)
                )
            time.sleep(0.05)

    def _await_complete(self, deadline: float) -> None:
        while True:
            try:
                if self.worlds:
                    return
                raise ConfigError(
                    f"{self!r} has no engines; start them with "
                    f"`ipcluster start --engines=mpi -n 6`"
                )
            except ConfigError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")


def _checked_id(cluster_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", cluster_id):
        raise ConfigError(
            f"cluster_id must consist of letters, digits, '_', '.' and '-', "
            f"got {cluster_id!r}"
        )
    return cluster_id


def _count_worlds(num_workers: int, workers_per_world: int | Literal["all"]) -> int:
    if workers_per_world == "all":
        return 1
    _check_count("workers_per_world", workers_per_world)
    if num_workers % workers_per_world:
        fitting = [n for n in range(1, num_workers + 1) if num_workers % n == 0]
        raise ConfigError(
            f"workers_per_world={workers_per_world} does not divide "
            f"num_workers={num_workers}; use 'all' or one of {fitting}"
        )
    return num_workers // workers_per_world
