"""How the ranks of a world are started; one small class for each way."""

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from livn_ipp.cluster.environment import engine_environment
from livn_ipp.cluster.mpi import matching_mpiexec
from livn_ipp.cluster.security import LOOPBACK
from livn_ipp.errors import ConfigError

__all__ = ["LAUNCHERS", "Launcher", "MPILauncher", "launcher"]

_ENGINE = ("-m", "ipyparallel.engine", "--mpi")


class Launcher(Protocol):
    """Builds the one process that starts a world and lives as long as it."""

    @property
    def address(self) -> str:
        """Address where the controller must listen for its ranks."""

    def command(self, size: int) -> list[str]:
        """Build the command that starts `size` engines in one MPI world."""

    def environment(
        self, environ: Mapping[str, str], marks: Mapping[str, str]
    ) -> dict[str, str]:
        """Build its environment, which the engines inherit."""


class MPILauncher:
    """Starts ranks on this machine by mpiexec.

    Parameters
    ----------
    arguments
        Further arguments of mpiexec.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.arguments = tuple(arguments)
        self.address = LOOPBACK

    @functools.cached_property
    def _mpiexec(self) -> Path:
        return matching_mpiexec()

    def command(self, size: int) -> list[str]:
        """Build the command that starts `size` engines in one MPI world."""
        program = [str(self._mpiexec), "-n", str(size), *self.arguments]
        return [*program, sys.executable, *_ENGINE]

    def environment(
        self, environ: Mapping[str, str], marks: Mapping[str, str]
    ) -> dict[str, str]:
        """Build its environment, which the engines inherit."""
        return engine_environment(environ, marks)


LAUNCHERS = {"mpi": MPILauncher}
"""Every way to start a world, by name."""


def launcher(name: str, arguments: Sequence[str] = ()) -> Launcher:
    """Choose how worlds are started.

    Parameters
    ----------
    name
        A key of :data:`LAUNCHERS`.
    arguments
        Further arguments of the program that starts ranks.

    Returns
    -------
    Launcher
        The chosen way.

    Raises
    ------
    ConfigError
        If there is no such way.

    Examples
    --------
    >>> launcher("carrier pigeon")
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: launcher='carrier pigeon' is not available; choose mpi
    """
    if name not in LAUNCHERS:
        raise ConfigError(
            f"launcher={name!r} is not available; choose {' or '.join(LAUNCHERS)}"
        )
    return LAUNCHERS[name](arguments)
