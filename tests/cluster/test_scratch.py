"""Directories that go with whoever holds them."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from livn_ipp.cluster.keeping.scratch import Scratch, sweep
from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.mpi import identify_mpiexec


def test_a_directory_that_was_handed_over_stays_until_its_heir_ends(tmp_path):
    directory = Scratch(tmp_path)
    heir = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        pass_fds=[directory.fileno()],
    )
    try:
        directory.hand_over()
        directory.hand_over()
        del directory
        gc.collect()
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        heir.communicate(b"\n", timeout=20)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
def test_a_killed_mpiexec_leaves_no_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Cluster(num_workers=1) as cluster:
        (directory,) = tmp_path.iterdir()
        world = cluster._processes.worlds["w0"]
        mpiexec = Path(world.command[0])
        if identify_mpiexec(mpiexec).name == "Open MPI":
            assert [path.name for path in directory.glob("ompi.*")]
        os.kill(world.pid, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []
