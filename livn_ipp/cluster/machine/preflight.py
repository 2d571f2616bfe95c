"""What a cluster needs of this machine, checked before anything starts."""

import importlib.metadata
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable

from livn_ipp.cluster.machine.environment import available_memory, usable_cores
from livn_ipp.cluster.machine.mpi import check_mpi
from livn_ipp.errors import PreflightError
from livn_ipp.types import Finding

__all__ = [
    "findings",
    "ranks_in_memory",
    "require",
    "require_packages",
    "warn_of_memory",
]

_RANK_MEMORY = 150e6  # bytes: an engine, its nanny, NEURON and a small network
_PACKAGES = ("mpi4py", "ipyparallel", "ipykernel")
_CONTROLLER_MEMORY = 150e6  # bytes, for its nine processes


def findings() -> list[Finding]:
    """Look at everything that a cluster needs.

    Returns
    -------
    list of Finding
        Also of what is all right.
    """
    return [
        _python(),
        *check_mpi()[1],
        *(_package(name) for name in _PACKAGES),
        Finding("cores", f"{usable_cores()} usable"),
        _memory(),
        _temporary_directory(),
    ]


def require(ranks: int) -> None:
    """Refuse to start ranks on a machine that lacks something.

    Parameters
    ----------
    ranks
        How many are to start.

    Raises
    ------
    PreflightError
        Naming all that is missing, and what to do about it.
    """
    _refuse([*findings(), _memory_for(ranks)])


def require_packages() -> None:
    """Refuse to control ranks on other machines from one that lacks something.

    Raises
    ------
    PreflightError
        As :func:`require` does; MPI and memory are the other machines' affair.
    """
    packages = [_package(name) for name in _PACKAGES]
    _refuse([_python(), *packages, _temporary_directory()])


def warn_of_memory(limit: float, ranks: int) -> None:
    """Warn if ranks may together take more memory than this machine has.

    Parameters
    ----------
    limit
        Bytes that each may take.
    ranks
        How many run on this machine.
    """
    available = available_memory()
    if limit * ranks > available:
        warnings.warn(
            f"{ranks} ranks with memory_limit={limit / 1e9:.1f} GB may take "
            f"{limit * ranks / 1e9:.1f} GB, but {available / 1e9:.1f} GB are "
            f"available: the system may end one before it reaches its limit, and its "
            f"call would be run again. {available / ranks / 1e9:.1f} GB each would fit",
            RuntimeWarning,
            stacklevel=2,
        )


def _refuse(found: Iterable[Finding]) -> None:
    missing = [finding for finding in found if not finding.ok]
    if missing:
        raise PreflightError(
            "The cluster was not started. "
            + " ".join(f"{each.name}: {each.found}. {each.fix}." for each in missing)
        )


def _python() -> Finding:
    version = sys.version.split()[0]
    return Finding(
        "Python",
        f"{version} ({sys.executable})",
        ok=sys.version_info >= (3, 11),
        fix="Install Python 3.11 or later",
    )


def _package(name: str) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", ok=False, fix=f"pip install {name}")
    # What threads print is lost in ipykernel 7.0, so engines' output is incomplete.
    if name == "ipykernel" and version.startswith("7.0."):
        return Finding(
            name,
            f"{version}, which loses output of engines",
            ok=False,
            fix='pip install --upgrade "ipykernel>=7.1"',
        )
    return Finding(name, version)


def ranks_in_memory() -> int:
    """Count the ranks that this machine's memory has room for, of small networks."""
    return max(0, int((available_memory() - _CONTROLLER_MEMORY) // _RANK_MEMORY))


def _memory() -> Finding:
    available = available_memory()
    ranks = ranks_in_memory()
    return Finding(
        "memory",
        f"{available / 1e9:.1f} GB available, enough for about {ranks} ranks",
        ok=ranks > 0,
        fix="Close other programs, or use a machine with more memory",
    )


def _memory_for(ranks: int) -> Finding:
    available = available_memory()
    needed = _CONTROLLER_MEMORY + ranks * _RANK_MEMORY
    return Finding(
        f"memory for {ranks} ranks",
        f"about {needed / 1e9:.1f} GB needed, {available / 1e9:.1f} GB available",
        ok=needed <= available,
        fix="Ask for fewer workers or ranks, or close other programs",
    )


def _temporary_directory() -> Finding:
    try:
        with tempfile.TemporaryFile():
            return Finding("temporary directory", tempfile.gettempdir())
    except OSError as error:
        return Finding(
            "temporary directory",
            f"cannot write to {os.environ.get('TMPDIR', 'any')}: {error}",
            ok=False,
            fix="Set TMPDIR to a directory with free space that you may write to",
        )
