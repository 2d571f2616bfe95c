"""The processes of a cluster that this process started: a controller and worlds."""

import contextlib
import json
import math
import os
import re
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livn_ipp.cluster.keeping.scratch import sweep
from livn_ipp.cluster.launchers import Launcher, WorldProcess
from livn_ipp.cluster.limits import check_limit
from livn_ipp.cluster.machine.environment import engine_environment, one_host
from livn_ipp.cluster.machine.lease import Lease
from livn_ipp.cluster.machine.processes import CLUSTER, WORLD, Started, end, tail
from livn_ipp.cluster.reaching.profile import connection_file
from livn_ipp.cluster.reaching.security import LOOPBACK, is_loopback
from livn_ipp.cluster.starting.found import FoundWorld
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError

__all__ = ["Heartbeat", "OwnedProcesses", "PortTaken"]

_CONTROLLER_ARGUMENTS = (
    "--IPController.enable_curve=True",  # encrypted; only who has the file gets in
    "--nodb",  # the default one keeps a copy of every message
)

_TAKEN = re.compile(r"Address already in use.*")
_GRACE = 3.0  # s, between asking and forcing
_RECENT = 1 << 16  # bytes
_FORCED_GRACE = 0.3  # s, in which nannies tell the hub


@dataclass(frozen=True)
class Heartbeat:
    """How a rank is noticed that does nothing any more, as when it is frozen.

    Attributes
    ----------
    interval
        Seconds between looks.
    timeout
        Seconds without an answer after which it is lost.
    """

    interval: float = 1.0
    timeout: float = 5.0

    def __post_init__(self) -> None:
        check_limit("heartbeat_interval", self.interval, optional=False)
        check_limit("heartbeat_timeout", self.timeout, optional=False)
        if self.timeout < self.interval:
            raise ConfigError(
                f"heartbeat_timeout={self.timeout!r} is less than "
                f"heartbeat_interval={self.interval!r}; it must be at least as long"
            )

    def arguments(self) -> tuple[str, ...]:
        """Say it to a controller.

        Examples
        --------
        >>> Heartbeat(0.5, 2).arguments()[1]
        '--HeartMonitor.max_heartmonitor_misses=4'
        """
        misses = math.ceil(self.timeout / self.interval)
        return (
            f"--HeartMonitor.period={max(1, round(1000 * self.interval))}",  # ms
            f"--HeartMonitor.max_heartmonitor_misses={misses}",
        )


class PortTaken(PreflightError):
    """A port that the controller was to listen on is in use."""


class OwnedProcesses:
    """Starts, watches and ends a controller and the worlds of a cluster.

    Parameters
    ----------
    cluster_id
        Name of the cluster.
    profile_dir
        Directory of the IPython profile, for connection files and logs.
    launcher
        How worlds are started.
    lease
        Whether to end everything when this process is gone.
    interface
        Address that the controller listens on; "*" for all that this machine has.
    files
        Further files to remove at the end.
    marks
        Those of a cluster that another process started.
    heartbeat
        How ranks are noticed that do nothing any more.
    """

    def __init__(
        self,
        cluster_id: str,
        profile_dir: Path,
        launcher: Launcher,
        *,
        lease: bool,
        interface: str = LOOPBACK,
        files: Sequence[Path] = (),
        marks: Mapping[str, str] | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.cluster_id = cluster_id
        self.profile_dir = profile_dir
        self.marks = dict(marks or {CLUSTER: f"{cluster_id}/{uuid.uuid4().hex}"})
        self._launcher = launcher
        self._interface = interface
        self._heartbeat = heartbeat or Heartbeat()
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._end_lock = threading.Lock()
        self._ended = False
        self._cleaned = False
        self._controller: Started | None = None
        self._worlds: dict[str, WorldProcess] = {}
        self._connection_files = [
            connection_file(profile_dir, cluster_id, role)
            for role in ("client", "engine")
        ]
        self._files = [
            *files,
            *self._connection_files,
            *launcher.files(profile_dir, cluster_id),
        ]
        last_will = launcher.last_will(self.marks)
        self._lease = Lease(self.marks, self._files, last_will) if lease else None

    @property
    def client_file(self) -> Path:
        """Where clients read how to reach the controller."""
        return self._connection_files[0]

    @property
    def engine_file(self) -> Path:
        """Where engines read how to reach the controller."""
        return self._connection_files[1]

    def adopt(self, worlds: Iterable[str]) -> None:
        """Look after worlds that another process started."""
        with self._lock:
            for name in worlds:
                marks = {**self.marks, WORLD: name}
                self._worlds[name] = FoundWorld(marks, self.log(name))

    def start_controller(self, deadline: float) -> None:
        """Start the controller and wait until it can be reached.

        Parameters
        ----------
        deadline
            On the monotonic clock, in s.
        """
        command = [
            *(sys.executable, "-m", "ipyparallel.controller"),
            f"--profile-dir={self.profile_dir}",
            f"--cluster-id={self.cluster_id}",
            f"--ip={self._interface}",
            *_CONTROLLER_ARGUMENTS,
            *self._heartbeat.arguments(),
        ]
        environment = engine_environment(os.environ, self.marks)
        # Signs messages as well, which ipyparallel leaves to CURVE by default.
        environment["IPP_SESSION_KEY"] = secrets.token_hex(32)
        with self._lock:
            self._refuse_if_ended()
            self._controller = Started(command, environment, self.log("controller"))
        while not all(map(_written, self._connection_files)):
            self.check()
            if time.monotonic() > deadline:
                raise PreflightError(
                    "The ipyparallel controller did not come up in time. Its log ends:"
                    f"\n{tail(self.log('controller'))}"
                )
            time.sleep(0.05)

    def start_world(self, name: str, size: int) -> None:
        """Start a world; returns before its engines are registered.

        Parameters
        ----------
        name
            Name of the world.
        size
            Number of ranks.
        """
        marks = {**self.marks, WORLD: name}
        environment = self._launcher.environment(os.environ, marks)
        if is_loopback(self._interface):  # no rank elsewhere could reach the controller
            environment = one_host(environment)
        environment["IPP_PROFILE_DIR"] = str(self.profile_dir)
        environment["IPP_CLUSTER_ID"] = self.cluster_id
        environment["IPP_CONNECTION_INFO"] = self._connection_files[1].read_text()
        with self._lock:
            self._refuse_if_ended()
            self._worlds[name] = self._launcher.start(size, environment, self.log(name))

    def next_world(self) -> int:
        """Tell a number larger than that of any world that there was."""
        names = (file.stem for file in self.log("w*").parent.glob(self.log("w*").name))
        numbers = [name.rpartition("-w")[2] for name in names]
        return 1 + max((int(each) for each in numbers if each.isdigit()), default=-1)

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise ClusterLost(f"Cluster {self.cluster_id} was stopped; start another")

    @property
    def controller_runs(self) -> bool:
        """Whether the controller was started and has not ended."""
        return self._controller is not None and self._controller.exit_code is None

    def check(self, worlds: Sequence[str] = ()) -> None:
        """See that the controller and some worlds are running.

        Parameters
        ----------
        worlds
            Names.

        Raises
        ------
        PreflightError
            If one ended by itself; shows the end of its log.
        ClusterLost
            If the cluster was stopped meanwhile.
        """
        self._refuse_if_ended()
        self._refuse_if_a_port_is_taken()
        for name, process in (
            ("controller", self._controller),
            *((name, self._world(name)) for name in worlds),
        ):
            if process is not None and (trouble := process.trouble):
                what = "controller" if name == "controller" else f"world {name}"
                raise PreflightError(
                    f"The {what} {trouble} while the cluster started. Its command was\n"
                    f"{' '.join(process.command)}\n"
                    f"and its log ends:\n{tail(process.log) or '(empty)'}"
                )

    def _refuse_if_a_port_is_taken(self) -> None:
        # Not all parts of a controller that miss their port end it.
        if taken := _TAKEN.search(self.recent_log("controller")):
            raise PortTaken(
                f"Another program has the port that the controller wants: {taken[0]}. "
                f"End that program, or choose other ports (IPController.ports) in "
                f"{self.profile_dir / 'ipcontroller_config.py'}; without that setting "
                f"free ones are found"
            )

    def _world(self, name: str) -> WorldProcess:
        process = self._worlds.get(name)
        if process is None:
            raise PreflightError(f"World {name} was ended while it started")
        return process

    @property
    def worlds(self) -> dict[str, WorldProcess]:
        """What starts the ranks of each world, by the worlds' names."""
        with self._lock:
            return dict(self._worlds)

    def exit_code(self, name: str) -> int | None:
        """Tell how a world ended by itself; None if it runs or is not known."""
        process = self._worlds.get(name)
        return None if process is None else process.exit_code

    def end_world(self, name: str, *, force: bool = False) -> None:
        """End all processes of one world.

        Parameters
        ----------
        name
            Name of the world.
        force
            Whether its ranks were killed already, or are not to be asked.

        Raises
        ------
        ConfigError
            If there is no such world.
        """
        with self._lock:
            if name not in self._worlds:
                raise ConfigError(
                    f"No world {name!r}; there are {', '.join(self._worlds) or 'none'}"
                )
            process = self._worlds.pop(name)
        grace = _FORCED_GRACE if force else _GRACE
        process.end({**self.marks, WORLD: name}, grace)

    def end(self) -> None:
        """End all processes; may be called at any time, and again."""
        if os.getpid() != self._owner:  # a forked child is not the owner
            return
        with self._lock:
            self._ended = True
        with self._end_lock:
            if not self._cleaned:
                self._clean_up()
                self._cleaned = True

    def _clean_up(self) -> None:
        ending = self._launcher.end_all(self.marks)
        gone = end(self.marks) and ending
        for process in (self._controller, *self._worlds.values()):
            if process is not None:
                process.reap()
        sweep()
        if gone and self._lease is not None:
            self._lease.release()
        directory = self.profile_dir / "log"
        logs = directory.glob(f"{self.cluster_id}-*.log")
        engines = directory / f"engines{self.cluster_id}.json"  # by ipyparallel
        for file in (*self._files, *logs, engines):
            with contextlib.suppress(OSError):
                file.unlink()

    def log_tail(self, name: str | None, lines: int) -> str:
        """Read the end of one log, or of all, each under its name.

        Parameters
        ----------
        name
            A world's, or "controller"; None for all.
        lines
            Lines per log.
        """
        if name is not None:
            return tail(self.log(name), lines)
        return "\n".join(
            f"--- {each}\n{tail(self.log(each), lines)}"
            for each in ("controller", *self._worlds)
        )

    def recent_log(self, name: str) -> str:
        """Read the last 64 kB of a world's log; empty if there is none."""
        try:
            with self.log(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _RECENT))
                return log.read().decode(errors="replace")
        except OSError:
            return ""

    def log(self, name: str) -> Path:
        """Tell where a world, or the "controller", writes its output."""
        return self.profile_dir / "log" / f"{self.cluster_id}-{name}.log"


def _written(file: Path) -> bool:
    try:
        content: Any = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return bool(content)
