"""Run a test's function on the ranks of a real mpiexec, within a time limit."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import cloudpickle
import psutil
from living import of_living

MPI_SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "HYDRA_LAUNCHER": "fork",
}


def mpiexec():
    beside_python = Path(sys.executable).with_name("mpiexec")
    return str(beside_python) if beside_python.exists() else "mpiexec"


def run_on_ranks(function, ranks, timeout=60):
    """Call ``function(subworld)`` on each rank; return what each returned or raised."""
    cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "function").write_bytes(cloudpickle.dumps(function))
        output = _mpiexec(ranks, [__file__, folder], timeout)
        results = [Path(folder, f"result{rank}") for rank in range(ranks)]
        if not all(result.exists() for result in results):
            raise AssertionError(f"not all of {ranks} ranks came back:\n{output}")
        return [pickle.loads(result.read_bytes()) for result in results]


def _mpiexec(ranks, arguments, timeout):
    job = subprocess.Popen(
        [mpiexec(), "-n", str(ranks), sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **MPI_SETTINGS},
        text=True,
    )
    try:
        return job.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        family = psutil.Process(job.pid).children(recursive=True)
        of_living(psutil.Process.kill, family)
        job.kill()
        output = job.communicate()[0]
        raise AssertionError(f"{ranks} ranks hung for {timeout} s:\n{output}") from None


def _serve(folder):
    from mpi4py import MPI

    from livn_ipp.subworld import Subworld

    subworld = Subworld(MPI.COMM_WORLD)
    function = pickle.loads(Path(folder, "function").read_bytes())
    try:
        result = function(subworld)
    except Exception as error:
        result = error
    Path(folder, f"result{subworld.rank}").write_bytes(cloudpickle.dumps(result))


if __name__ == "__main__":
    _serve(sys.argv[1])
