"""Every promise over every transport."""

import os
import subprocess
import sys
from pathlib import Path

import promises
import pytest
from ranks import MPI_SETTINGS, mpiexec

BY_NAME = pytest.mark.parametrize(
    "promise",
    promises.PROMISES,
    ids=[promise.__name__ for promise in promises.PROMISES],
)


@BY_NAME
def test_in_process(promise):
    with promises.environment(transport="local") as env:
        promise(env)


@pytest.mark.cluster
@BY_NAME
def test_over_ipyparallel(promise, cluster_2x2):
    with promises.environment(cluster=cluster_2x2, subworld_size=2) as env:
        promise(env)


@pytest.mark.mpi
@pytest.mark.parametrize(("ranks", "subworld_size"), [(3, 1), (5, 2)])
def test_under_mpirun(ranks, subworld_size):
    script = Path(promises.__file__).with_name("mpirun_promises.py")
    job = subprocess.run(
        [mpiexec(), "-n", str(ranks), sys.executable, str(script), str(subworld_size)],
        env={**os.environ, **MPI_SETTINGS, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert job.returncode == 0, job.stdout
    kept = [line for line in job.stdout.splitlines() if line.startswith("kept ")]
    assert len(kept) == len(promises.PROMISES), job.stdout
    assert job.stdout.count("left") == ranks, job.stdout
