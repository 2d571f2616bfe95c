"""Start NEURON on every rank so that it and mpi4py see the same world."""

import ctypes
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from livn_ipp.errors import ConfigError, LivnError, PreflightError
from livn_ipp.neuron import mechanisms
from livn_ipp.neuron.partition import World
from livn_ipp.subworld import Subworld

__all__ = ["boot", "loaded_libmpi", "world"]

# NEURON is one interpreter per process, and so is what we know of it.
_worlds: list[World] = []


def boot(comm: Any = None, subworld_size: int | None = None) -> Subworld:
    """Start NEURON, or re-divide the ranks on which it runs.

    Collective over the world. Networks that live in it are closed.

    Parameters
    ----------
    comm
        mpi4py's ``COMM_WORLD``; None for a single process, which needs no MPI.
    subworld_size
        Ranks per subworld; by default all. If it does not divide the number of ranks,
        the last subworld is smaller.

    Returns
    -------
    Subworld
        The subworld that this process is in.

    Raises
    ------
    ConfigError
        If the arguments do not fit the world.
    PreflightError
        If MPI, NEURON or a compiler is missing or they do not work together.
    """
    if not _worlds:
        _worlds.append(_start(comm))
    elif _worlds[0].comm is None and comm is not None:
        _worlds[0].vacate()
        _worlds[0] = _start(comm)
    elif comm is None and _worlds[0].size > 1:
        raise ConfigError(
            f"this process is one of {_worlds[0].size} ranks under MPI; pass comm"
        )
    elif comm is not None:
        _check_world(comm)
    live = _worlds[0]
    return live.partition(live.size if subworld_size is None else subworld_size)


def world() -> World | None:
    """Return the world that this process was booted into, or None."""
    return _worlds[0] if _worlds else None


def loaded_libmpi() -> str:
    """Return the path of the MPI library that mpi4py uses.

    The dynamic linker is asked where one of mpi4py's own MPI functions comes from, so
    the answer is right with several MPIs on the machine.
    """
    from mpi4py import MPI

    class Info(ctypes.Structure):
        _fields_ = (
            ("path", ctypes.c_char_p),
            ("base", ctypes.c_void_p),
            ("symbol", ctypes.c_char_p),
            ("address", ctypes.c_void_p),
        )

    function = ctypes.CDLL(MPI.__file__).MPI_Init_thread
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(Info)]
    info = Info()
    if not dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(info)):
        raise PreflightError(f"cannot tell which MPI library {MPI.__file__} uses")
    return os.fsdecode(info.path)


def _start(comm: Any) -> World:
    # Numeric libraries must not start a thread per core in each rank.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui -nobanner")
    if comm is None:
        _prepare(None)
        h = _interpreter()
        mechanisms.load(h)
        return World(h)
    _check_world(comm)
    # Nothing below may fail on one rank alone: the others would wait in MPI for ever.
    _together(comm, lambda: _prepare(comm))
    h = _together(comm, _interpreter)
    with _silenced_stdout():
        h.nrnmpi_init()
    pc = h.ParallelContext()
    pc.mpiabort_on_error(0)  # an error must not end every rank of the world
    pc.timeout(0)  # nor must a slow peer
    _together(comm, lambda: _joined(pc, comm))
    _together(comm, lambda: mechanisms.load(h))
    return World(h, comm)


def _check_world(comm: Any) -> None:
    from mpi4py import MPI

    alike = (MPI.IDENT, MPI.CONGRUENT)
    if MPI.Comm.Compare(comm, MPI.COMM_WORLD) not in alike:
        raise ConfigError(
            f"comm must hold all {MPI.COMM_WORLD.Get_size()} ranks of the world in "
            f"order (NEURON allows no less), not {comm.Get_size()}; pass "
            f"MPI.COMM_WORLD and a subworld_size"
        )


def _prepare(comm: Any) -> None:
    if importlib.util.find_spec("neuron") is None:
        raise PreflightError(
            f"NEURON is not installed in {sys.prefix}; pip install neuron"
        )
    if comm is not None:
        # NEURON looks for an MPI library of its own accord and, if it finds none,
        # silently runs as if there were one rank.
        os.environ["MPI_LIB_NRN_PATH"] = loaded_libmpi()
    mechanisms.compiled()


def _interpreter() -> Any:
    with _silenced_stdout():
        from neuron import h
    return h


def _joined(pc: Any, comm: Any) -> None:
    if int(pc.nhost_world()) != comm.Get_size():
        raise PreflightError(
            f"NEURON sees {int(pc.nhost_world())} rank(s) where mpi4py sees "
            f"{comm.Get_size()}; it could not use {os.environ['MPI_LIB_NRN_PATH']}. "
            f"Open MPI and MPICH work"
        )


def _together(comm: Any, action: Any) -> Any:
    """Do something on every rank; if it fails on one, raise on all."""
    result, failure = None, None
    try:
        result = action()
    except Exception as error:
        failure = error
    report = failure and f"rank {comm.Get_rank()} on {platform.node()}: {failure}"
    reports = [r for r in comm.allgather(report) if r]
    if isinstance(failure, LivnError):
        raise failure
    if reports:
        raise PreflightError("; ".join(reports)) from failure
    return result


@contextmanager
def _silenced_stdout() -> Iterator[None]:
    """Keep what NEURON's C code prints at its start out of the program's output."""
    sys.stdout.flush()
    flush = ctypes.CDLL(None).fflush
    flush(None)
    kept = os.dup(1)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
        flush(None)
    finally:
        os.dup2(kept, 1)
        os.close(sink)
        os.close(kept)
