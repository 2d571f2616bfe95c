"""What a way to start worlds has to offer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

__all__ = ["ENGINE", "Launcher", "WorldProcess"]

ENGINE = ("-m", "ipyparallel.engine", "--mpi")
"""Arguments that make Python an engine that is a rank."""


class WorldProcess(Protocol):
    """The one process, here or in a job, that a world lives and dies with.

    Attributes
    ----------
    command
        What starts the ranks.
    log
        Where their output goes.
    job
        The batch system's name for it, if there is one.
    """

    command: tuple[str, ...]
    log: Path
    job: str | None

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while it runs or waits to run."""

    @property
    def status(self) -> str:
        """What it does, in words."""

    @property
    def pending(self) -> bool:
        """Whether it waits to run, which is nobody's fault."""

    @property
    def trouble(self) -> str:
        """Why it will not come up, to follow a subject; empty while it may."""

    @property
    def why(self) -> str:
        """Why it ended, where the log does not tell; may ask, and wait for, others."""

    def end(self, marks: Mapping[str, str], grace: float = 3.0) -> None:
        """End it and all processes with these marks, by force after the grace."""

    def reap(self, timeout: float = 5.0) -> None:
        """Wait for the end of one that was ended."""


class Launcher(Protocol):
    """One way to start worlds.

    Attributes
    ----------
    address
        Where the controller has to listen for ranks to reach it.
    """

    address: str

    def require(self, ranks: int, /) -> None:
        """Refuse, by a PreflightError, what cannot come up."""

    def environment(
        self, environ: Mapping[str, str], marks: Mapping[str, str]
    ) -> dict[str, str]:
        """Build the environment that engines have to have."""

    def start(
        self, size: int, environment: Mapping[str, str], log: Path
    ) -> WorldProcess:
        """Start `size` engines in one MPI world; returns before they have."""

    def end_all(self, marks: Mapping[str, str], /) -> bool:
        """End worlds where marks are not found, elsewhere; tells if they will end."""

    def last_will(self, marks: Mapping[str, str], /) -> tuple[tuple[str, ...], ...]:
        """Name the commands that end those worlds once this process is gone."""

    def files(self, profile_dir: Path, cluster_id: str, /) -> tuple[Path, ...]:
        """Name the files that it leaves for the worlds of a cluster."""
