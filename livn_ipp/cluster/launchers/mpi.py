"""Worlds on this machine, or on those of an allocation, started by mpiexec."""

import functools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livn_ipp.cluster.keeping.scratch import Scratch
from livn_ipp.cluster.launchers.address import own_address
from livn_ipp.cluster.launchers.base import ENGINE
from livn_ipp.cluster.machine.allocation import allocation, elsewhere, place
from livn_ipp.cluster.machine.environment import engine_environment
from livn_ipp.cluster.machine.mpi import identify_mpiexec, matching_mpiexec
from livn_ipp.cluster.machine.preflight import require, require_packages
from livn_ipp.cluster.machine.processes import Started
from livn_ipp.cluster.reaching.security import LOOPBACK
from livn_ipp.errors import ConfigError

__all__ = ["MPILauncher"]


class MPILauncher:
    """Starts each world by a mpiexec of its own.

    Inside of a Slurm job that has several machines, worlds are spread over these: each
    mpiexec knows of no other and would begin with the first.

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
        self._machines = allocation(os.environ)
        self._spread = bool(elsewhere(self._machines))
        self._placed: list[tuple[Started, dict[str, int]]] = []
        self.address = own_address() if self._spread else LOOPBACK

    @functools.cached_property
    def _mpiexec(self) -> Path:
        return matching_mpiexec()

    def require(self, ranks: int) -> None:
        """Refuse to start ranks on machines that lack something."""
        if self._spread:
            require_packages()
            _ = self._mpiexec
        else:
            require(ranks)

    def command(self, size: int, hosts: Mapping[str, int] | None = None) -> list[str]:
        """Build the command that starts `size` engines in one MPI world.

        Parameters
        ----------
        size
            Ranks.
        hosts
            Ranks by machine; by default mpiexec chooses.
        """
        program = [str(self._mpiexec), "-n", str(size), *self.arguments]
        if hosts:
            open_mpi = identify_mpiexec(self._mpiexec).name == "Open MPI"
            told = ",".join(f"{name}:{ranks}" for name, ranks in hosts.items())
            program += ["--host" if open_mpi else "-hosts", told]
        return [*program, sys.executable, *ENGINE]

    def environment(
        self, environ: Mapping[str, str], marks: Mapping[str, str]
    ) -> dict[str, str]:
        """Build the environment that engines have to have."""
        return engine_environment(environ, marks)

    def start(self, size: int, environment: Mapping[str, str], log: Path) -> Started:
        """Start `size` engines in one MPI world; returns before they have."""
        hosts = place(size, self._free()) if self._spread else {}
        command = self.command(size, hosts)
        started = _in_a_directory_of_its_own(command, environment, log)
        self._placed.append((started, hosts))
        return started

    def _free(self) -> dict[str, int]:
        self._placed = [each for each in self._placed if each[0].exit_code is None]
        free = dict(self._machines)
        for _, hosts in self._placed:
            for name, ranks in hosts.items():
                free[name] -= ranks
        return free

    def end_all(self, _marks: Mapping[str, str]) -> bool:
        """Do nothing: the marks are found on this machine."""
        return True

    def last_will(self, _marks: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
        """Name nothing: the marks are found on this machine."""
        return ()

    def files(self, _profile_dir: Path, _cluster_id: str) -> tuple[Path, ...]:
        """Name no files: it leaves none."""
        return ()


def _in_a_directory_of_its_own(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Started:
    # Open MPI names its directory by mpiexec's process id and leaves it behind when it
    # is killed; the next mpiexec that gets this id refuses to start.
    try:
        directory = Scratch(Path(tempfile.gettempdir()))
    except OSError:  # it will say itself what it lacks
        return Started(command, environment, log)
    own = {"PRTE_MCA_prte_tmpdir_base": str(directory.path)}
    try:
        return Started(command, {**environment, **own}, log, [directory.fileno()])
    finally:
        directory.hand_over()
