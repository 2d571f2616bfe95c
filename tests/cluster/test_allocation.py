import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster.launchers import MPILauncher
from livn_ipp.cluster.launchers import mpi as mpi_launcher
from livn_ipp.cluster.machine import environment
from livn_ipp.cluster.machine.allocation import (
    allocation,
    elsewhere,
    hostnames,
    place,
    this_host,
)
from livn_ipp.cluster.machine.environment import usable_cores
from livn_ipp.cluster.machine.mpi import Implementation
from livn_ipp.cluster.reaching import security

IN_SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": f"{this_host()},n[08-09]",
    "SLURM_JOB_CPUS_PER_NODE": "2,4(x2)",
}


@pytest.fixture
def in_slurm(monkeypatch):
    for name, value in IN_SLURM.items():
        monkeypatch.setenv(name, value)


def test_outside_of_a_job_there_is_no_allocation():
    assert allocation({}) == {}
    assert allocation({"SLURM_JOB_NODELIST": "n1", "SLURM_CPUS_ON_NODE": "4"}) == {}
    garbled = {**IN_SLURM, "SLURM_JOB_CPUS_PER_NODE": "4"}
    assert allocation(garbled) == {}


def test_the_machines_of_a_job_and_their_cores():
    machines = allocation(IN_SLURM)
    assert machines == {this_host(): 2, "n08": 4, "n09": 4}
    assert elsewhere(machines) == {"n08": 4, "n09": 4}
    assert elsewhere({f"{this_host()}.example.org": 2}) == {}


@pytest.mark.parametrize(
    ("nodelist", "names"),
    [
        ("", []),
        ("n1", ["n1"]),
        ("gpu-a,n[1,3-4]", ["gpu-a", "n1", "n3", "n4"]),
        ("n[098-101]-ib", ["n098-ib", "n099-ib", "n100-ib", "n101-ib"]),
        ("r[1-2]n[01,03]", ["r1n01", "r1n03", "r2n01", "r2n03"]),
    ],
)
def test_slurms_lists_are_written_out(nodelist, names):
    assert hostnames(nodelist) == names


@given(st.lists(st.integers(0, 999), min_size=1, max_size=8, unique=True))
def test_a_list_of_single_numbers_is_the_list(numbers):
    text = ",".join(map(str, numbers))
    assert hostnames(f"n[{text}]") == [f"n{number}" for number in numbers]


@given(
    st.integers(1, 12),
    st.dictionaries(st.sampled_from("abcde"), st.integers(-2, 8), min_size=1),
)
def test_every_rank_has_a_place_and_no_core_is_shared_while_one_is_free(size, free):
    placed = place(size, free)
    assert sum(placed.values()) == size
    assert min(placed.values()) > 0
    if any(cores >= size for cores in free.values()):
        assert len(placed) == 1
    if size <= sum(cores for cores in free.values() if cores > 0):
        assert all(placed[name] <= free[name] for name in placed)


def test_cores_of_the_whole_allocation_can_be_used(in_slurm, monkeypatch):
    monkeypatch.setattr(environment, "_cores_here", lambda: 64)
    assert usable_cores() == 2 + 8  # of this machine only the share
    monkeypatch.setattr(environment, "_cores_here", lambda: 1)
    assert usable_cores() == 1 + 8  # or what a step of the job leaves of it
    # As with salloc, whose shell stays on the login node.
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[07-09]")
    assert usable_cores() == 10
    monkeypatch.delenv("SLURM_JOB_ID")
    assert usable_cores() == 1


@pytest.mark.parametrize(
    ("name", "option"), [("Open MPI", "--host"), ("MPICH", "-hosts")]
)
def test_worlds_are_spread_over_the_machines(
    in_slurm, monkeypatch, tmp_path, name, option
):
    sleep = tmp_path / "mpiexec"
    sleep.write_text("#!/bin/sh\nexec sleep 60\n")
    sleep.chmod(0o755)
    monkeypatch.setattr(mpi_launcher, "matching_mpiexec", lambda: sleep)
    found = lambda path: Implementation(name, "5", path)
    monkeypatch.setattr(mpi_launcher, "identify_mpiexec", found)
    launcher = MPILauncher(["--quiet"])
    started = []
    try:
        for number in range(3):
            log = tmp_path / f"w{number}.log"
            started.append(launcher.start(3, os.environ, log))
        chosen = [each.command[4:6] for each in started]
        assert chosen == [
            (option, "n08:3"),
            (option, "n09:3"),
            (option, f"{this_host()}:2,n08:1"),
        ]
        assert started[0].command[:4] == (str(sleep), "-n", "3", "--quiet")
        # The place of a world that ended is free again.
        started[1]._process.kill()
        started[1].reap()
        again = launcher.start(4, os.environ, tmp_path / "w3.log")
        started.append(again)
        assert again.command[4:6] == (option, "n09:4")
    finally:
        for each in started:
            each._process.kill()
            each.reap()


def test_the_controller_listens_to_others_only_if_ranks_are_there(
    in_slurm, monkeypatch
):
    monkeypatch.setattr(mpi_launcher, "own_address", lambda: "192.0.2.7")
    assert MPILauncher().address == "192.0.2.7"
    monkeypatch.setenv("SLURM_JOB_NODELIST", this_host())
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "2")
    assert MPILauncher().address == security.LOOPBACK
