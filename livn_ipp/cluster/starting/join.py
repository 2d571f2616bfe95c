"""A process that joins a running cluster: one more world, on this machine."""

import contextlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from livn_ipp.cluster.launchers import MPILauncher
from livn_ipp.cluster.machine.environment import one_host
from livn_ipp.cluster.machine.lease import Lease
from livn_ipp.cluster.machine.preflight import require
from livn_ipp.cluster.machine.processes import CLUSTER, WORLD, tail
from livn_ipp.cluster.reaching.cluster_file import ClusterFile, engine_connection
from livn_ipp.cluster.reaching.probe import REFUSAL, software
from livn_ipp.cluster.reaching.profile import listens, profile_directory
from livn_ipp.cluster.reaching.security import is_loopback
from livn_ipp.cluster.starting.shape import check_count
from livn_ipp.cluster.topology import differences
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError, VersionMismatch

__all__ = ["JoinedWorld", "await_controller", "back_off", "join"]

_FIRST_PAUSE: Final = 0.5  # s
_LONGEST_PAUSE: Final = 30.0  # s
_LOOK: Final = 1.0  # s
_SILENCE: Final = 5.0  # s without a controller after which it is gone


def back_off() -> Iterator[float]:
    """Count the seconds to wait between attempts.

    Examples
    --------
    >>> import itertools
    >>> list(itertools.islice(back_off(), 8))
    [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    """
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def await_controller(
    path: Path, wait: float | None, tell: Callable[[str], None]
) -> tuple[dict[str, Any], ClusterFile | None]:
    """Wait until the controller that a file tells of can be reached.

    Parameters
    ----------
    path
        A cluster file, or ipyparallel's connection file for engines. It may come later.
    wait
        Seconds to wait at most; None for ever.
    tell
        Is told in words why it waits.

    Returns
    -------
    tuple
        As :func:`livn_ipp.cluster.reaching.cluster_file.engine_connection` reads it.

    Raises
    ------
    ClusterLost
        If it cannot be reached in time.
    """
    deadline = None if wait is None else time.monotonic() + wait
    for pause in back_off():
        try:
            connection, file = engine_connection(path)
            if listens(connection):
                return connection, file
            reason = f"{path} is there, but nobody listens where it says"
        except ConfigError as error:
            reason = str(error).partition(". ")[0]
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ClusterLost(
                    f"No cluster to join within {wait:g} s: {reason}. Start one with "
                    f"`livn-ipp start --file {path}`, or wait longer"
                )
            pause = min(pause, left)  # noqa: PLW2901 - not beyond the deadline
        tell(f"{reason}; trying again in {pause:.2g} s")
        time.sleep(pause)
    raise AssertionError  # back_off has no end


@dataclass(frozen=True)
class _Place:
    """Where a joined world leaves its traces on this machine."""

    name: str
    marks: dict[str, str]
    refusal: Path
    log: Path


class JoinedWorld:
    """A world of this machine that registers with a cluster.

    Parameters
    ----------
    connection
        What engines need to reach the controller.
    file
        The cluster file, if there is one.
    num_ranks
        Ranks of the world.
    variables
        Further environment variables of its ranks.
    """

    def __init__(
        self,
        connection: dict[str, Any],
        file: ClusterFile | None,
        num_ranks: int,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._place = place = _place(file)
        launcher = MPILauncher()
        environment = launcher.environment(os.environ, place.marks)
        if is_loopback(str(connection["interface"]).removeprefix("tcp://")):
            environment = one_host(environment)
        environment["IPP_CONNECTION_INFO"] = json.dumps(connection)
        environment["IPP_PROFILE_DIR"] = str(place.log.parents[1])
        environment[REFUSAL] = str(place.refusal)
        environment.update(variables or {})
        if file is not None:
            environment["IPP_CLUSTER_ID"] = file.cluster_id
        # Ends the world if this process is killed.
        self._lease = Lease(place.marks, [place.refusal])
        self._process = launcher.start(num_ranks, environment, place.log)

    @property
    def name(self) -> str:
        """Name of the world."""
        return self._place.name

    def serve(self) -> int:
        """Wait until the world or the cluster ends.

        Returns
        -------
        int
            0 if the cluster has ended.

        Raises
        ------
        VersionMismatch
            If the cluster refused the world.
        PreflightError
            If the world ended by itself; shows the end of its log.
        """
        seen = time.monotonic()
        while (code := self._process.exit_code) is None:
            if listens(self._connection):
                seen = time.monotonic()
            elif time.monotonic() - seen > _SILENCE:
                return 0
            time.sleep(_LOOK)
        if self._place.refusal.exists():
            raise VersionMismatch(self._place.refusal.read_text(encoding="utf-8"))
        # The cluster may be ending: then its controller is gone in a moment.
        deadline = time.monotonic() + _SILENCE
        while time.monotonic() < deadline:
            if not listens(self._connection):
                return 0
            time.sleep(_LOOK / 4)
        raise PreflightError(
            f"The world {self.name} ended with exit code {code} while the cluster "
            f"runs. Its log ends:\n{tail(self._place.log) or '(empty)'}"
        )

    def end(self) -> None:
        """End all processes; may be called again."""
        self._process.end(self._place.marks)
        self._lease.release()
        for file in (self._place.refusal, self._place.log):
            file.unlink(missing_ok=True)


def join(
    path: Path,
    num_ranks: int | None = None,
    wait: float | None = None,
    tell: Callable[[str], None] = print,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Join a cluster with one world of this machine, until one of them ends.

    Parameters
    ----------
    path
        A cluster file, or ipyparallel's connection file for engines.
    num_ranks
        Ranks of the world; by default the cluster's number per worker.
    wait
        Seconds to wait for the cluster; None for ever.
    tell
        Is told in words how it goes.
    variables
        Further environment variables of its ranks.

    Returns
    -------
    int
        0 once the cluster has ended.

    Raises
    ------
    ClusterLost
        If there is no cluster in time.
    ConfigError
        If the ranks do not fill workers of the cluster's size.
    VersionMismatch
        If this machine runs other software than the cluster.
    PreflightError
        If something is missing on this machine, or the world ended by itself.
    """
    if num_ranks is not None:
        check_count("num_ranks", num_ranks)
    connection, file = await_controller(path, wait, tell)
    if file is not None:
        check_software(file)
    ranks = _checked_ranks(num_ranks, file)
    require(ranks)
    world = JoinedWorld(connection, file, ranks, variables)
    try:
        tell(f"world {world.name} joins with {ranks} ranks; Ctrl-C ends it")
        code = world.serve()
        tell("the cluster has ended")
        return code
    finally:
        world.end()


def check_software(file: ClusterFile) -> None:
    """Compare this machine's software with a cluster's.

    Raises
    ------
    VersionMismatch
        Naming each item that differs.
    """
    here = f"here ({platform.node()})"
    if differing := differences({"the cluster": file.software, here: software()}):
        raise VersionMismatch(
            f"This machine cannot join {file.describe()}. {differing}. Install what "
            f"the cluster has"
        )


def _checked_ranks(num_ranks: int | None, file: ClusterFile | None) -> int:
    size = 1 if file is None else file.subworld_size
    if num_ranks is None:
        return size
    if num_ranks % size:
        raise ConfigError(
            f"--num-ranks {num_ranks} does not fill workers of {size} ranks, as the "
            f"cluster has; use {size} or a multiple of it"
        )
    return num_ranks


def _place(file: ClusterFile | None) -> _Place:
    name = f"j-{platform.node()}-{os.getpid()}"
    # Marked as the cluster's own, it ends with the cluster on the same machine.
    marks = {CLUSTER: f"join/{name}"} if file is None else dict(file.marks)
    profile = Path("" if file is None else file.profile_dir)
    if file is None or file.host != platform.node() or not profile.is_dir():
        profile = profile_directory(None, create=True)
    cluster_id = "joined" if file is None else file.cluster_id
    number, refusal = tempfile.mkstemp(prefix="livn_ipp-refusal-")
    os.close(number)
    with contextlib.suppress(OSError):
        Path(refusal).unlink()  # it is there only if there is something in it
    log = profile / "log" / f"{cluster_id}-{name}.log"
    return _Place(name, {**marks, WORLD: name}, Path(refusal), log)
