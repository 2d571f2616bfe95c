"""Kernels that leave a cluster and come back, workers that join it late."""

import os
import signal
import subprocess
import sys
import time

import pytest
from watched import PATIENCE, until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import end
from livn_ipp.env.distributed import DistributedEnv

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LEAVES = """
import os, time
from livn_ipp.cluster.launch import Cluster
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import FaultyEnv
cluster = Cluster(1, 2, detach=True, file=os.environ["LIVN_IPP_FILE"]).start()
env = DistributedEnv("EI1", backend=FaultyEnv, cluster=cluster, subworld_size=2).init()
env.record_spikes()
env.set_weights({"a": 1})
call = env.submit(1000, trial=7, pace=0.003)
while not call.progress:
    time.sleep(0.01)
print(call.id, flush=True)
time.sleep(300)
"""


@pytest.fixture
def left(case, tmp_path):
    """Where the file of a cluster is whose kernel was killed."""
    file = tmp_path / "cluster.json"
    case.environment["LIVN_IPP_FILE"] = str(file)
    yield file
    if file.exists():
        end(Cluster.from_file(file)._processes.marks)


@pytest.mark.timeout(300)
def test_another_kernel_finds_what_the_first_one_left(case, left, record):
    """F16."""
    kernel = case.start(LEAVES)
    number = int(kernel.stdout.readline() or 0)
    assert number, kernel.communicate(timeout=5)
    kernel.kill()
    kernel.communicate(timeout=10)
    began = time.monotonic()
    env = DistributedEnv.attach(left)
    record("F16", attached=time.monotonic() - began)
    try:
        found = env.recovered[number].result(PATIENCE)
        again = env.submit(1000, trial=7).result(PATIENCE)
        assert found.digest() == again.digest()
        held = env.submit(lambda run, env: env.comm.allgather(env.weights))
        assert held.result(PATIENCE) == [{"a": 1}] * 2
    finally:
        env.shutdown()
        env.cluster.shutdown()
    assert not case.left(15)


SLEEPS = """
import os, signal, subprocess, sys, threading, time
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import FaultyEnv
env = DistributedEnv("EI1", backend=FaultyEnv, num_workers=1, subworld_size=2,
                     stall_timeout=5).init()
call = env.submit(1000, trial=7, pace=0.01)
while not call.progress:
    time.sleep(0.01)
print("asleep", flush=True)
call.result(60)
print(call.attempts, env.submit(10).result(60).duration, flush=True)
"""


def test_a_kernel_that_slept_goes_on(case):
    """F16: as a laptop's does; what it did not hear meanwhile is no silence."""
    kernel = case.start(SLEEPS)
    assert kernel.stdout.readline() == "asleep\n", kernel.communicate(timeout=5)
    kernel.send_signal(signal.SIGSTOP)
    time.sleep(12)
    kernel.send_signal(signal.SIGCONT)
    out, err = kernel.communicate(timeout=PATIENCE)
    assert (kernel.returncode, out, err) == (0, "1 10\n", "")
    assert not case.left(15)


@pytest.fixture
def join(case, cluster):
    """Join the shared cluster from another terminal."""
    started = []

    def join(**environment):
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from livn_ipp.cli import main; main()"),
                *("worker", "--connect", str(cluster.file)),
            ],
            env={**case.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield join
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


@pytest.mark.timeout(300)
def test_a_worker_joins_late_and_has_the_configuration(watch, join, record, case):
    """F18."""
    watched = watch()
    watched.env.set_weights({"a": 1})
    began = time.monotonic()
    joiner = join()
    until(lambda: len(watched.env._dispatcher.workers) == 3, what="joining")
    record("F18", joined=time.monotonic() - began)
    held = watched.submit(
        lambda run, env: env.comm.allgather((env.weights, os.getpid())), worker=2
    ).result(PATIENCE)
    assert [weights for weights, _ in held] == [{"a": 1}] * 2
    joiner.send_signal(signal.SIGINT)
    assert joiner.wait(30) == 0
    watched.whole()
    assert not case.left(15)


@pytest.mark.timeout(300)
def test_a_worker_with_other_software_is_refused(watch, join, record, tmp_path):
    """F18."""
    watched = watch()
    records = tmp_path / "neuron-8.2.7.dist-info"
    records.mkdir()
    (records / "METADATA").write_text("Name: neuron\nVersion: 8.2.7\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    began = time.monotonic()
    joiner = join(PYTHONPATH=path)
    out, _ = joiner.communicate(timeout=PATIENCE)
    record("F18", refused=time.monotonic() - began)
    assert joiner.returncode == 3
    assert "neuron: 8.2.7" in out
    assert len(watched.env._dispatcher.workers) == 2
