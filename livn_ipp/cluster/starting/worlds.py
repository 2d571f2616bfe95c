"""The worlds of a cluster: started, watched and ended one by one."""

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Collection
from typing import Any

from livn_ipp.cluster import topology
from livn_ipp.cluster.reaching.probe import software
from livn_ipp.cluster.starting.causes import cause, last_words
from livn_ipp.cluster.starting.elastic import Elastic
from livn_ipp.cluster.starting.owned import OwnedProcesses
from livn_ipp.cluster.starting.shape import Shape
from livn_ipp.cluster.starting.waiting import Waiting
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError

__all__ = ["Worlds"]


class Worlds(Elastic):
    """A cluster whose worlds this process may start and end.

    Parameters
    ----------
    cluster_id
        Name of the cluster.
    shape
        How many worlds of how many ranks.
    start_timeout
        Seconds that a world has to come up.
    """

    def __init__(self, cluster_id: str, shape: Shape, start_timeout: float) -> None:
        super().__init__(cluster_id, shape.subworld_size, owned=True)
        self._shape = shape
        self._start_timeout = start_timeout
        self._processes: OwnedProcesses | None = None
        self._world_names = (f"w{number}" for number in itertools.count())

    @property
    def num_workers(self) -> int:
        """How many workers there are; before the start, how many were asked for."""
        if self._connection is None or self._stopped:
            return self._shape.num_workers
        try:
            return self._count()
        except ClusterLost:
            return self._shape.num_workers

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
        name = self.launch_world()
        try:
            self.await_world(name)
        except BaseException:
            with contextlib.suppress(ConfigError):
                self.stop_world(name)
            raise
        return name

    def launch_world(self) -> str:
        """Start one more world, as large as the others; returns its name at once."""
        name = next(self._world_names)
        self.launching.add(name)
        self._own().start_world(name, self._shape.world_size)
        return name

    def await_world(self, name: str) -> None:
        """Wait for the ranks of a world that was launched.

        Parameters
        ----------
        name
            Name of the world; it is left as it is, whatever is wrong with it.

        Raises
        ------
        PreflightError
            If it does not come up.
        VersionMismatch
            If its ranks run other software than this process.
        """
        self._await_worlds([name])
        topology.check_versions(self._members[name], software())

    def stop_world(self, name: str, *, force: bool = False) -> None:
        """End one MPI job and all its processes, by force if need be.

        Parameters
        ----------
        name
            Name of the world; a ConfigError tells which there are.
        force
            Whether to do without asking first.
        """
        processes = self._own()
        if name in processes.worlds:
            self._ended_worlds.add(name)
        self.launching.discard(name)
        processes.end_world(name, force=force)

    def started(self, world: str) -> bool:
        """Tell whether a world is looked after here, or came from elsewhere."""
        return self._processes is not None and world in self._processes.worlds

    def members(self, world: str) -> tuple[topology.Rank, ...]:
        """Tell the ranks of a world that was started here, whether or not they live."""
        return self._members.get(world, ())

    def __repr__(self) -> str:
        text = super().__repr__()
        jobs = ", ".join(self.jobs.values())
        return f"{text[:-1]}, jobs {jobs}>" if jobs and not self._stopped else text

    @property
    def jobs(self) -> dict[str, str]:
        """Ids of the batch system's jobs by world; empty if there are none."""
        worlds = {} if self._processes is None else self._processes.worlds
        return {name: each.job for name, each in worlds.items() if each.job}

    @property
    def status(self) -> dict[str, str]:
        """What each world that was started here does, as "job 17 pending (Priority)".

        Batch systems are not asked for this, so what they said may be 30 s old.
        """
        worlds = {} if self._processes is None else self._processes.worlds
        return {name: each.status for name, each in worlds.items()}

    @property
    def world_size(self) -> int:
        """Ranks of each world that it starts."""
        return self._shape.world_size

    @property
    def starts_worlds(self) -> bool:
        """Whether it can start further worlds."""
        return self._processes is not None and not self._stopped

    def exit_code(self, world: str) -> int | None:
        """Tell how a world ended by itself.

        Parameters
        ----------
        world
            Its name.

        Returns
        -------
        int or None
            Its launcher's exit code; None if it runs or was not started here.
        """
        return None if self._processes is None else self._processes.exit_code(world)

    def why_ended(self, world: str, struck: Collection[int] = ()) -> str:
        """Tell which rank of a world ended first, and how.

        Parameters
        ----------
        world
            Its name.
        struck
            Ranks that were killed since, because the world was lost.

        Returns
        -------
        str
            In plain words, as "rank 1 was killed by signal 9 (killed)"; empty if that
            is not known (yet), as while it runs or if it was not started here.
        """
        if self._processes is None:
            return ""
        log = self._processes.recent_log(world)
        pids = {rank.pid: rank.rank for rank in self.members(world)}
        process = self._processes.worlds.get(world)
        if process is not None and (why := process.why):
            return why
        why = cause(log, self.exit_code(world), pids, struck)
        return f"{why} (job {process.job})" if why and process and process.job else why

    def last_words(self, world: str) -> list[dict[str, Any]]:
        """Read what ranks of a world wrote before they ended themselves.

        Parameters
        ----------
        world
            Its name.

        Returns
        -------
        list of dict
            As :func:`livn_ipp.cluster.starting.causes.last_words` reads them.
        """
        if self._processes is None:
            return []
        return last_words(self._processes.recent_log(world))

    def log_tail(self, world: str | None = None, lines: int = 30) -> str:
        """Read the end of the logs of a cluster that this process started.

        Parameters
        ----------
        world
            Name of a world, or "controller"; all by default.
        lines
            Lines per log.

        Returns
        -------
        str
            Empty if there is no log.
        """
        if self._processes is None:
            return ""
        return self._processes.log_tail(world, lines)

    def _own(self) -> OwnedProcesses:
        if self._processes is None or self._stopped:
            raise ConfigError(
                f"{self!r} is not a running cluster that this process started, so its "
                f"worlds are not for it to start or stop"
            )
        return self._processes

    def _await_worlds(
        self, names: list[str], deadline: float | None = None, *, tell: bool = False
    ) -> None:
        processes = self._own()
        size = self._shape.world_size
        watch = Waiting(processes, names, self._start_timeout, deadline, tell=tell)
        if not self._connected().await_worlds(names, size, watch):
            raise PreflightError(
                f"Not all engines registered within {self._start_timeout:g} s. "
                f"{processes.log_tail(None, 30)}"
            )
        self._take_in(names)

    def _await_some(self, names: list[str], deadline: float, least: int) -> None:
        """Wait until some worlds are complete; the others may come later."""
        processes = self._own()
        coming = list(names)
        watch = Waiting(processes, coming, self._start_timeout, deadline, tell=True)
        while True:
            complete = self._complete(coming)
            if len(complete) >= least:
                self._take_in(complete)
                self.launching -= set(names)
                return
            try:
                deadline = watch()
            except PreflightError:
                coming = [n for n in coming if processes.exit_code(n) is None]
                watch = Waiting(processes, coming, self._start_timeout, deadline)
            if len(coming) < least or time.monotonic() > deadline:
                per_world = self._shape.workers_per_world
                raise PreflightError(
                    f"Only {len(complete) * per_world} of {len(names) * per_world} "
                    f"workers came, fewer than min_workers={least * per_world}, within "
                    f"{self._start_timeout:g} s. {processes.log_tail(None, 30)}"
                )
            time.sleep(0.1)

    def _complete(self, names: Collection[str]) -> list[str]:
        ranks = self._connected().ranks()
        counts = Counter(rank.world for rank in ranks)
        return [name for name in names if counts[name] == self._shape.world_size]

    def _take_in(self, names: Collection[str]) -> None:
        ours = (rank for rank in self._connected().ranks() if rank.world in names)
        self._members |= topology.worlds(ours)
        self.launching -= set(names)
