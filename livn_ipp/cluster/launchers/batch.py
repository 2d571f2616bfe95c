"""Worlds as jobs of a batch system, whose script calls mpiexec inside the job."""

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livn_ipp.cluster.launchers.address import own_address
from livn_ipp.cluster.launchers.base import ENGINE
from livn_ipp.cluster.launchers.jobs import Job, Jobs
from livn_ipp.cluster.launchers.options import BatchOptions
from livn_ipp.cluster.launchers.schedulers import SCHEDULERS
from livn_ipp.cluster.launchers.script import (
    batch_script,
    shipped_template,
    write_environment,
)
from livn_ipp.cluster.machine.environment import engine_environment
from livn_ipp.cluster.machine.mpi import matching_mpiexec
from livn_ipp.cluster.machine.preflight import require_packages
from livn_ipp.cluster.machine.processes import CLUSTER, WORLD
from livn_ipp.errors import PreflightError

__all__ = ["BatchLauncher"]


class BatchLauncher:
    """Starts each world as a job.

    Compute nodes have to see this machine's files: the profile directory, where logs
    and the key are, and the Python environment.

    Parameters
    ----------
    name
        The batch system: "slurm", "pbs", "sge" or "lsf".
    arguments
        Further arguments of mpiexec.
    options
        As :class:`livn_ipp.cluster.launchers.options.BatchOptions` has them.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._name = name
        self._scheduler = SCHEDULERS[name]
        self._arguments = tuple(arguments)
        self._options = BatchOptions.of(options or {})
        self.address = own_address()

    @functools.cached_property
    def _mpiexec(self) -> list[str]:
        chosen = self._options.mpiexec
        return [str(matching_mpiexec())] if chosen is None else shlex.split(chosen)

    def require(self, _ranks: int) -> None:
        """Refuse to submit without the commands for it; memory is not ours to know."""
        require_packages()
        program = self._scheduler.submit[0]
        if shutil.which(program) is None:
            raise PreflightError(
                f"The cluster was not started. {self._scheduler.title}: no {program} "
                f"on PATH. Run this on a login node, load the module that has it, or "
                f"choose another launcher."
            )
        _ = self._mpiexec

    def environment(
        self, environ: Mapping[str, str], marks: Mapping[str, str]
    ) -> dict[str, str]:
        """Build the environment that engines have to have."""
        return engine_environment(environ, marks)

    def start(self, size: int, environment: Mapping[str, str], log: Path) -> Job:
        """Submit a job of `size` engines in one MPI world."""
        # What differs from this process's variables; those the batch system copies.
        added = {
            name: value
            for name, value in environment.items()
            if os.environ.get(name) != value and name != WORLD
        }
        [file] = self.files(
            Path(environment["IPP_PROFILE_DIR"]), environment["IPP_CLUSTER_ID"]
        )
        write_environment(file, added)
        # Once for mpiexec, and once for ranks on nodes that it reaches by other ways.
        become = ["/bin/sh", str(file), f"{WORLD}={environment[WORLD]}"]
        command = [
            *(*become, *self._mpiexec, "-n", str(size), *self._arguments),
            *(*become, sys.executable, *ENGINE),
        ]
        log.parent.mkdir(parents=True, exist_ok=True)
        jobs = self._jobs(environment)
        script = batch_script(
            self._scheduler,
            self._options,
            self._template,
            name=jobs.name,
            ranks=size,
            log=log,
            command=command,
        )
        overruling = self._scheduler.overruling.items()
        without = [
            name for option, name in overruling if getattr(self._options, option)
        ]
        job = jobs.submit(script, without)
        return Job(jobs, job, command, log, self._options.queue_timeout)

    def end_all(self, marks: Mapping[str, str]) -> bool:
        """Cancel the jobs of a cluster; tells if the batch system will."""
        return self._jobs(marks).cancel_all()

    def last_will(self, marks: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
        """Name the command that cancels the jobs of a cluster."""
        return (self._jobs(marks).last_will,)

    def files(self, profile_dir: Path, cluster_id: str) -> tuple[Path, ...]:
        """Name the file with the variables of ranks."""
        return (profile_dir / "security" / f"{cluster_id}-ranks.sh",)

    @functools.cached_property
    def _template(self) -> str:
        chosen = self._options.template
        return shipped_template(self._name) if chosen is None else chosen.read_text()

    def _jobs(self, marks: Mapping[str, str]) -> Jobs:
        # At most 15 characters, which is all that some versions of PBS take.
        return self._named(f"livn-{marks[CLUSTER].rpartition('/')[2][:8]}")

    @functools.cache  # noqa: B019 - a launcher serves one cluster
    def _named(self, name: str) -> Jobs:
        return Jobs(self._scheduler, name)
