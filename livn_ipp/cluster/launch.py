"""Cluster: start the ranks of workers, or reach those that a user started."""

import contextlib
import itertools
import json
import platform
import time
import uuid
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from livn_ipp.cluster import topology
from livn_ipp.cluster.launchers import launcher as choose_launcher
from livn_ipp.cluster.machine.environment import usable_cores
from livn_ipp.cluster.reaching.cluster_file import ClusterFile, default_path
from livn_ipp.cluster.reaching.connect import Connection, connection_of
from livn_ipp.cluster.reaching.probe import software
from livn_ipp.cluster.reaching.profile import (
    checked_id,
    claim,
    listens,
    profile_directory,
    read_connection,
)
from livn_ipp.cluster.reaching.security import checked_interface, is_loopback
from livn_ipp.cluster.starting.arrivals import Arrivals
from livn_ipp.cluster.starting.owned import Heartbeat, OwnedProcesses, PortTaken
from livn_ipp.cluster.starting.shape import Shape
from livn_ipp.cluster.starting.worlds import Worlds
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError

__all__ = ["Cluster"]

_STARTS = 3  # times that a controller may miss its ports


class Cluster(Worlds):
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
        How ranks are started: "mpi" by mpiexec, on this machine or on those of the
        allocation that this process is in; "slurm", "pbs", "sge" or "lsf" as a job for
        each world.
    launcher_options
        Of a batch system: queue, time limit and so on; see
        :class:`livn_ipp.cluster.launchers.options.BatchOptions`.
    cluster_id
        Name of the cluster; unique by default.
    profile
        Name of the IPython profile that holds connection files and logs; the current
        session's by default.
    mpi_args
        Further arguments of mpiexec.
    interface
        Address of this machine that the cluster listens on, "*" for all; by default
        what the launcher needs, for "mpi" the loopback address, which no other machine
        reaches.
    start_timeout
        Seconds that controller and ranks have to come up; the time that jobs wait in
        a queue does not count.
    min_workers
        Workers to begin with: the others may come later, or not at all. By default all
        have to come.
    detach
        Leave the cluster running when this process ends; find it again by
        :meth:`from_file`. Otherwise it ends with this process, even if that is killed.
    file
        Where to write the cluster file, which tells other processes how to find, join
        or end the cluster; by default in the profile's directory. It holds keys, so
        only its owner can read it, and goes with the cluster.
    heartbeat_interval
        Seconds between looks whether a rank still answers.
    heartbeat_timeout
        Seconds without an answer after which it counts as lost. A rank whose process
        ends is noticed at once in any case.

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
        launcher_options: Mapping[str, Any] | None = None,
        mpi_args: Sequence[str] = (),
        interface: str | None = None,
        start_timeout: float = 120.0,
        min_workers: int | None = None,
        detach: bool = False,
        file: str | Path | None = None,
        heartbeat_interval: float = 1.0,
        heartbeat_timeout: float = 5.0,
    ) -> None:
        self._heartbeat = Heartbeat(heartbeat_interval, heartbeat_timeout)
        self._launcher = choose_launcher(launcher, mpi_args, launcher_options)
        if num_workers is None and launcher != "mpi":
            raise ConfigError(
                f"launcher={launcher!r} needs num_workers: this machine's cores do not "
                f"tell how many there should be elsewhere"
            )
        shape = Shape.of(num_workers, subworld_size, workers_per_world)
        self._min_worlds = shape.worlds_of(min_workers)
        name = checked_id(cluster_id or f"livn-{uuid.uuid4().hex[:8]}")
        super().__init__(name, shape, start_timeout)
        self._interface = interface and checked_interface(interface)
        self._profile = profile
        self._detach = detach
        self._wanted_file = None if file is None else Path(file).absolute()
        self._started_by = (launcher, tuple(mpi_args), dict(launcher_options or {}))
        self._finalizer: Any = None
        self._arrivals: Arrivals | None = None

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
        self = cls(1, subworld_size, start_timeout=start_timeout)
        self.owned = False
        if client is not None:
            # Only a client that an ipyparallel.Cluster opened knows its name.
            self.cluster_id = str(getattr(client.cluster, "cluster_id", ""))
            information = connection_of(client)
        else:
            self.cluster_id = cluster_id or ""
            directory = profile_directory(profile, create=False)
            information = read_connection(directory, self.cluster_id)
        try:
            self._connection = Connection(information, self.cluster_id, client)
            self._find(start_timeout)
        except BaseException:
            self.stop()
            raise
        return self

    @classmethod
    def from_file(cls, file: str | Path, *, start_timeout: float = 30.0) -> Self:
        """Find a cluster that another process started, by its cluster file.

        Parameters
        ----------
        file
            Path of the file; :attr:`file` of the cluster.
        start_timeout
            Seconds that engines have to register, in case they still start.

        Returns
        -------
        Cluster
            Not owned: :meth:`stop` leaves it running, :meth:`shutdown` ends it. On the
            machine where it was started it can start and end worlds as well.

        Raises
        ------
        ConfigError
            If there is no such file.
        ClusterLost
            If the cluster has ended, and left the file behind.
        VersionMismatch
            If engines run other software than this process.
        """
        path = Path(file).absolute()
        told = ClusterFile.read(path)
        if not listens(dict(told.client)):
            if told.host != platform.node():
                raise ClusterLost(
                    f"The controller of {told.describe()} cannot be reached from "
                    f"{platform.node()}: it has ended, or listens to nobody else. "
                    f"Cluster(..., interface='*') lets it listen to all"
                )
            raise ClusterLost(
                f"The controller of {told.describe()} has ended; {path} is a leftover. "
                f"Remove it and start another cluster"
            )
        self = cls(
            told.num_workers,
            told.subworld_size,
            workers_per_world=told.workers_per_world,
            launcher=told.launcher,
            launcher_options=told.options or None,
            mpi_args=told.arguments,
            cluster_id=told.cluster_id,
            file=path,
        )
        self.owned, self.file = False, path
        try:
            self._connection = Connection(
                dict(told.client), self.cluster_id, known=self._remembered()
            )
            self._find(start_timeout)
            if told.host == platform.node():
                self._adopt(told)
        except BaseException:
            self.stop()
            raise
        return self

    def _find(self, timeout: float) -> None:
        """Take in the ranks that are there."""
        connection = self._connected()
        connection.await_complete(time.monotonic() + timeout)
        ranks = connection.ranks()
        topology.check_versions(ranks, software())
        self._members |= topology.worlds(ranks)
        self._arrivals = Arrivals(self, connection)
        connection.activate()

    def _remembered(self) -> list[topology.Rank]:
        try:
            ranks = self.past().ranks
        except ConfigError:  # no environment was ever built
            return []
        return [rank for members in ranks.values() for rank in members]

    def _adopt(self, told: ClusterFile) -> None:
        self._processes = OwnedProcesses(
            self.cluster_id,
            Path(told.profile_dir),
            self._launcher,
            lease=False,
            interface=told.interface,
            files=(self.file, self.journal) if self.file else (),
            marks=told.marks,
        )
        self._processes.adopt(self._members)
        first = self._processes.next_world()
        self._world_names = (f"w{number}" for number in itertools.count(first))

    def _write_file(self, directory: Path) -> None:
        processes = self._own()
        launcher, arguments, options = self._started_by
        assert self.file is not None
        self.journal.unlink(missing_ok=True)  # of a former cluster of this name
        ClusterFile(
            cluster_id=self.cluster_id,
            num_workers=self._shape.num_workers,
            subworld_size=self._shape.subworld_size,
            workers_per_world=self._shape.workers_per_world,
            launcher=launcher,
            arguments=arguments,
            options=options,
            interface=self._interface or self._launcher.address,
            profile_dir=str(directory),
            marks=processes.marks,
            client=json.loads(processes.client_file.read_text()),
            engine=json.loads(processes.engine_file.read_text()),
            software=software(),
            detached=self._detach,
        ).write(self.file)

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
        ConfigError
            If a cluster of this name is running already.
        """
        if self._stopped:
            raise ClusterLost(f"{self!r} was stopped; make another Cluster")
        if self._processes is not None or not self.owned:
            return self
        self._launcher.require(self._shape.num_ranks)
        deadline = time.monotonic() + self._start_timeout
        directory = profile_directory(self._profile, create=True)
        claim(directory, self.cluster_id)
        for again in reversed(range(_STARTS)):
            try:
                self._start(directory, deadline)
                return self
            except PortTaken:
                # The controller looks for free ports some time before it uses them.
                if not again:
                    self.stop()
                    raise
                self._end()
                self.launching.clear()
            except PreflightError as error:
                self.stop()
                raise self._explained(error) from error
            except BaseException:
                self.stop()
                raise
        return self

    def _explained(self, error: PreflightError) -> PreflightError:
        """Tell of what may be behind a failed start, where the log does not."""
        ranks, cores = self._shape.num_ranks, usable_cores()
        if ranks <= cores or not is_loopback(self._launcher.address):
            return error
        return PreflightError(
            f"{error}\n{ranks} ranks were to share the {cores} cores that this process "
            f"may use; try with fewer workers"
        )

    def _start(self, directory: Path, deadline: float) -> None:
        self.file = self._wanted_file or default_path(directory, self.cluster_id)
        self._processes = OwnedProcesses(
            self.cluster_id,
            directory,
            self._launcher,
            lease=not self._detach,
            interface=self._interface or self._launcher.address,
            files=(self.file, self.journal),
            heartbeat=self._heartbeat,
        )
        if not self._detach:
            self._finalizer = weakref.finalize(self, self._processes.end)
        self._processes.start_controller(deadline)
        names = [self.launch_world() for _ in range(self._shape.num_worlds)]
        information = read_connection(directory, self.cluster_id)
        # It was started a moment ago, maybe on a machine that is very busy.
        self._connection = Connection(
            information, self.cluster_id, patience=self._start_timeout
        )
        if self._min_worlds is None:
            self._await_worlds(names, deadline, tell=True)
        else:
            self._await_some(names, deadline, self._min_worlds)
        topology.check_versions(self.ranks(), software())
        self._arrivals = Arrivals(self, self._connection)
        self._connection.activate()
        self._write_file(directory)

    def stop(self) -> None:
        """End the cluster if this process started it, else disconnect from it.

        May be called at any time, also after a start that failed, and again.
        """
        self._stopped = True
        self._end()

    def _end(self) -> None:
        if self._arrivals is not None:
            self._arrivals.close()
        if self._connection is not None:
            self._connection.close()
        if self._processes is not None and self.owned:
            self._processes.end()
        if self._finalizer is not None:
            self._finalizer.detach()

    def shutdown(self) -> None:
        """End the cluster and all its processes, whoever started it."""
        if self._processes is None and not self._stopped:
            with contextlib.suppress(Exception):  # it is gone already
                self.client.shutdown(hub=True)
        self.stop()
        if self._processes is not None:
            self._processes.end()

    def disown(self) -> None:
        """Leave the cluster to another process."""
        self.owned, self._processes = False, None
        if self._finalizer is not None:
            self._finalizer.detach()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether its controller runs; cheap enough to look at every second."""
        if self._stopped or self._connection is None:
            return False
        if self._processes is not None and self.owned:
            return self._processes.controller_runs
        return self._connection.answers
