import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from living import commands

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.lease import Lease
from livn_ipp.cluster.machine.processes import CLUSTER, marked
from livn_ipp.errors import ClusterLost

PATIENCE = 35  # s, the promise; it takes a few

OWNER_OF_A_SLEEPER = """
import os, subprocess, sys, time
from pathlib import Path
from livn_ipp.cluster.machine.lease import Lease
marks = {"LIVN_IPP_CLUSTER": sys.argv[1] if sys.argv[1:] else "sleeper"}
lease = Lease(marks, [Path(os.environ["LIVN_IPP_FILE"])])
sleeper = subprocess.Popen(["sleep", "300"], env={**os.environ, **marks},
                           start_new_session=True)
if os.environ.get("LIVN_IPP_FORK") and os.fork() == 0:
    time.sleep(300)  # holds a copy of the pipe
print(lease.pid, sleeper.pid, flush=True)
time.sleep(300)
"""


def start_owner(case, tmp_path, **variables):
    file = tmp_path / "connection.json"
    file.write_text("{}")
    case.environment |= {"LIVN_IPP_FILE": str(file), **variables}
    owner = case.start(OWNER_OF_A_SLEEPER)
    lease, sleeper = map(int, owner.stdout.readline().split())
    return owner, lease, sleeper, file


# Sent to the whole group, as a terminal or a notebook server does.
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_owners_group_is_signalled_everything_ends(case, tmp_path, number):
    owner, _, _, file = start_owner(case, tmp_path)
    assert len(marked(case.mark)) == 3
    os.killpg(owner.pid, number)
    owner.communicate(timeout=10)
    assert not case.left(PATIENCE)
    assert not file.exists()


def test_a_forked_child_with_the_pipe_does_not_keep_the_lease(case, tmp_path):
    owner, lease, sleeper, _ = start_owner(case, tmp_path, LIVN_IPP_FORK="1")
    assert len(marked(case.mark)) == 4
    time.sleep(1.5)  # the supervisor has seen its owner alive
    owner.kill()
    owner.wait(10)
    deadline = time.monotonic() + PATIENCE
    while {lease, sleeper} & {process.pid for process in marked(case.mark)}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(marked(case.mark)) == 1  # the fork is none of the lease's business
    owner.stdout.close()
    owner.stderr.close()


def test_the_supervisor_ignores_interrupts_and_hangups(case, tmp_path):
    owner, lease, _, _ = start_owner(case, tmp_path)
    time.sleep(0.5)  # until it has said so to the kernel
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(lease, number)
    time.sleep(0.2)
    assert len(marked(case.mark)) == 3
    owner.kill()
    owner.communicate(timeout=10)
    assert not case.left(PATIENCE)


def test_a_released_lease_ends_and_leaves_the_processes_alone(tmp_path):
    file = tmp_path / "connection.json"
    file.write_text("{}")
    marks = {CLUSTER: f"released-{os.getpid()}"}
    sleeper = subprocess.Popen(["sleep", "300"], env={**os.environ, **marks})
    try:
        lease = Lease(marks, [file])
        lease.release()
        lease.release()
        assert not psutil.pid_exists(lease.pid)
        assert file.exists()
        assert [process.pid for process in marked(marks)] == [sleeper.pid]
    finally:
        sleeper.kill()
        sleeper.wait(10)


START = """
import os, sys, time
from livn_ipp.cluster.launch import Cluster
cluster = Cluster(1, 2, cluster_id=os.environ["LIVN_IPP_NAME"]).start()
"""


@pytest.mark.cluster
def test_a_killed_owner_leaves_nothing_even_during_a_call(case):
    case.environment["LIVN_IPP_NAME"] = "killed"
    owner = case.start(
        START
        + "def spin():\n"
        + "    from mpi4py import MPI\n"
        + "    while True: MPI.COMM_WORLD.barrier()\n"
        + "cluster.client[:].apply_async(spin)\n"
        + "print('running', flush=True)\n"
        + "time.sleep(300)\n"
    )
    assert owner.stdout.readline() == "running\n"
    running = " ".join(commands(marked(case.mark)))
    for part in ("ipyparallel.controller", "ipyparallel.engine", "nanny", "lease"):
        assert part in running
    assert "mpiexec" in running or "prterun" in running
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate(timeout=10)
    assert not case.left(PATIENCE)


@pytest.mark.cluster
def test_a_script_that_forgets_to_stop_ends_cleanly(case):
    case.environment["LIVN_IPP_NAME"] = "forgotten"
    # As from an IDE or cron: the environment's bin directory is not on PATH.
    case.environment["PATH"] = "/usr/bin:/bin"
    code, out, err = case.run(
        START
        + "child = os.fork()\n"
        + "if child == 0: sys.exit(0)  # must not end its parent's cluster\n"
        + "assert os.waitpid(child, 0)[1] == 0\n"
        + "print(cluster.alive, [rank.rank for rank in cluster.ranks()])\n"
    )
    assert (code, out, err) == (0, "True [0, 1]\n", "")
    assert not case.left(5)


@pytest.mark.cluster
def test_a_detached_cluster_outlives_its_script(case):
    case.environment["LIVN_IPP_NAME"] = "detached"
    code, _, err = case.run(START.replace("cluster_id", "detach=True, cluster_id"))
    assert (code, err) == (0, "")
    assert not any("machine.lease" in each for each in commands(marked(case.mark)))
    assert case.left(1)
    cluster = Cluster.attach(cluster_id="detached", subworld_size=2)
    assert len(cluster.workers) == 1
    cluster.client.shutdown(hub=True)
    assert not case.left(20)
    assert not cluster.alive
    with pytest.raises(ClusterLost, match="has ended"):
        cluster.ranks()
    cluster.stop()


@pytest.mark.cluster
@pytest.mark.mpi
def test_a_rank_of_an_mpirun_can_own_a_cluster(case):
    from livn_ipp.cluster.machine.environment import engine_environment
    from livn_ipp.cluster.machine.mpi import matching_mpiexec

    case.environment = engine_environment(case.environment, {"LIVN_IPP_NAME": "inner"})
    code, out, err = case.run(
        "from mpi4py import MPI\n"
        + START
        + "print(MPI.COMM_WORLD.size, [rank.size for rank in cluster.ranks()])\n"
        + "cluster.stop()\n",
        before=[str(matching_mpiexec()), "-n", "1"],
    )
    assert (code, out) == (0, "1 [2, 2]\n"), err
    assert not case.left(5)


def test_the_supervisor_refuses_to_run_without_a_mark():
    answer = subprocess.run(
        [sys.executable, "-m", "livn_ipp.cluster.machine.lease", str(os.getpid())],
        timeout=30,
    )
    assert answer.returncode == 0
