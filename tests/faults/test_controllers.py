"""The processes between the kernel and its workers, and the kernel itself."""

import contextlib
import os
import signal
import time

import psutil
import pytest
from watched import PATIENCE, Watched, until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import marked
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ClusterLost
from livn_ipp.testing import Fault, FaultyEnv, Sleep, kill_rank

pytestmark = pytest.mark.cluster


@pytest.fixture
def doomed():
    """An environment on a cluster of its own, of one worker of two ranks."""
    with (
        Cluster(num_workers=1, subworld_size=2) as cluster,
        DistributedEnv(
            "EI1", backend=FaultyEnv, cluster=cluster, subworld_size=2
        ) as env,
    ):
        yield Watched(env, workers=1)


def controller(cluster):
    """Return the processes of ipcontroller."""
    first = psutil.Process(cluster._processes._controller.pid)
    return [first, *first.children(recursive=True)]


def test_a_killed_controller_ends_every_call(doomed, record):
    """F14: nothing hangs, and nothing is left."""
    calls = [doomed.submit(10, Fault(Sleep())) for _ in range(3)]
    doomed.running(calls[0])
    mark = doomed.env.cluster._processes.marks
    parts = controller(doomed.env.cluster)
    killed = time.monotonic()
    for process in parts:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for call in calls:
        with pytest.raises(ClusterLost):
            call.result(PATIENCE)
    record("F14", result=time.monotonic() - killed)
    with pytest.raises(ClusterLost):
        doomed.env(10)
    with pytest.raises(ClusterLost):
        doomed.env.set_weights({"a": 1})
    assert "FaultyEnv" not in repr(doomed.env)  # it can be looked at
    doomed.env.shutdown()
    doomed.env.cluster.stop()
    until(lambda: not marked(mark), 20, "the end of the cluster")


def test_a_stopped_controller_is_noticed(doomed, record):
    """F17: it neither ends nor answers."""
    call = doomed.submit(10, Fault(Sleep()))
    doomed.running(call)
    parts = controller(doomed.env.cluster)
    stopped = time.monotonic()
    for process in parts:
        process.suspend()
    try:
        with pytest.raises(ClusterLost):
            call.result(PATIENCE)
        record("F17", controller=time.monotonic() - stopped)
    finally:
        for process in parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def test_late_results_of_a_worker_that_was_given_up_are_dropped(
    watch, record, tmp_path
):
    """F17: it answers after another has run its call."""
    watched = watch()
    slow = Fault(Sleep(20), attempts=[1], counter=tmp_path)
    call = watched.submit(lambda run, env: os.getpid(), slow, worker=0)
    watched.running(call)
    until(lambda: any(tmp_path.iterdir()), what="a start")
    frozen = [kill_rank(watched.env, 0, r, signal=signal.SIGSTOP) for r in (0, 1)]
    noticed = watched.noticed(frozen[0].time)
    record("F17", worker=noticed - frozen[0].time)
    for rank in frozen:  # it was ended, so this comes too late
        with contextlib.suppress(ProcessLookupError):
            os.kill(rank.pid, signal.SIGCONT)
    assert call.result(PATIENCE) not in {rank.pid for rank in frozen}
    until(lambda: not any(psutil.pid_exists(r.pid) for r in frozen), 20, "its end")
