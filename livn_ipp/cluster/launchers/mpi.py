"""Worlds on this machine, or on those of an allocation, started by mpiexec."""

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livn_ipp.cluster.environment import engine_environment
from livn_ipp.cluster.launchers.base import ENGINE
from livn_ipp.cluster.mpi import matching_mpiexec
from livn_ipp.cluster.preflight import require
from livn_ipp.cluster.processes import Started
from livn_ipp.cluster.security import LOOPBACK
from livn_ipp.errors import ConfigError

__all__ = ["MPILauncher"]


class MPILauncher:
    """Starts each world by a mpiexec of its own.

    Parameters
    ----------
    arguments
        Further arguments of mpiexec.
    options
        There are none.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if options:
            raise ConfigError(
                f"launcher='mpi' has no launcher_options, got {', '.join(options)}; "
                f"further arguments of mpiexec go into mpi_args"
            )
        self.arguments = tuple(arguments)
        self.address = LOOPBACK

    @functools.cached_property
    def _mpiexec(self) -> Path:
        return matching_mpiexec()

    def require(self, ranks: int) -> None:
        """Refuse to start ranks on a machine that lacks something."""
        require(ranks)

    def command(self, size: int) -> list[str]:
        """Build the command that starts `size` engines in one MPI world."""
        program = [str(self._mpiexec), "-n", str(size), *self.arguments]
        return [*program, sys.executable, *ENGINE]

    def environment(
        self, environ: Mapping[str, str], marks: Mapping[str, str]
    ) -> dict[str, str]:
        """Build the environment that engines have to have."""
        return engine_environment(environ, marks)

    def start(self, size: int, environment: Mapping[str, str], log: Path) -> Started:
        """Start `size` engines in one MPI world; returns before they have."""
        return Started(self.command(size), environment, log)

    def end_all(self, _marks: Mapping[str, str]) -> bool:
        """Do nothing: the marks are found on this machine."""
        return True

    def last_will(self, _marks: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
        """Name nothing: the marks are found on this machine."""
        return ()

    def files(self, _profile_dir: Path, _cluster_id: str) -> tuple[Path, ...]:
        """Name no files: it leaves none."""
        return ()
