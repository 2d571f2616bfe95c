"""How the ranks of a world are started: here, or as jobs of a batch system."""

from collections.abc import Mapping, Sequence
from typing import Any

from livn_ipp.cluster.launchers.base import Launcher, WorldProcess
from livn_ipp.cluster.launchers.batch import BatchLauncher
from livn_ipp.cluster.launchers.mpi import MPILauncher
from livn_ipp.cluster.launchers.schedulers import SCHEDULERS
from livn_ipp.errors import ConfigError

__all__ = [
    "LAUNCHERS",
    "BatchLauncher",
    "Launcher",
    "MPILauncher",
    "WorldProcess",
    "launcher",
]

LAUNCHERS = ("mpi", *SCHEDULERS)
"""Every way to start a world."""


def launcher(
    name: str,
    arguments: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Launcher:
    """Choose how worlds are started.

    Parameters
    ----------
    name
        One of :data:`LAUNCHERS`.
    arguments
        Further arguments of mpiexec.
    options
        What else that way takes; see
        :class:`livn_ipp.cluster.launchers.options.BatchOptions`.

    Returns
    -------
    Launcher
        The chosen way.

    Raises
    ------
    ConfigError
        If there is no such way, or it does not take these options.

    Examples
    --------
    >>> launcher("carrier pigeon")
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: launcher='carrier pigeon' is not available; choose
    mpi, slurm, pbs, sge or lsf
    """
    if name == "mpi":
        return MPILauncher(arguments, options)
    if name in SCHEDULERS:
        return BatchLauncher(name, arguments, options)
    *first, last = LAUNCHERS
    raise ConfigError(
        f"launcher={name!r} is not available; choose {', '.join(first)} or {last}"
    )
