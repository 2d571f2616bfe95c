"""Worlds that cannot be replaced, controllers that end, and leaving in the middle."""

import os
import shutil
import signal
import time
from pathlib import Path

import promises
import psutil
import pytest
from watched import PATIENCE, Watched, until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.processes import CLUSTER, WORLD, marked
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import CallError, ClusterLost, WorkerLost

pytestmark = pytest.mark.cluster

SYSTEMS = Path(__file__).parents[2] / "systems" / "graphs"


def nap(run, env):
    time.sleep(run[0])
    return env.trial


def processes_of(cluster):
    return marked({CLUSTER: cluster._processes.marks[CLUSTER]})


def test_leaving_while_a_replacement_starts_leaves_nothing_behind():
    with Cluster(num_workers=2, subworld_size=2) as cluster:
        with promises.environment(cluster=cluster, subworld_size=2) as env:
            watched = Watched(env)
            call = watched.submit(nap, 0.0, worker=0)
            call.result(PATIENCE)
            lost = env._dispatcher.transport.places[0].world
            kept = env._dispatcher.transport.places[1].world
            os.kill(cluster.worlds[lost][0].pid, signal.SIGKILL)
            waiting = watched.submit(nap, 0.0, worker=0)
            watched.noticed(0)
            began = time.monotonic()
            env.shutdown()
            env.shutdown()
            assert time.monotonic() - began < 10
            with pytest.raises(ClusterLost):
                waiting.result(5)
        # What another environment finds: one whole world and nothing half started.
        assert list(cluster.worlds) == [kept]
        found = {process.environ().get(WORLD) for process in processes_of(cluster)}
        assert found - {None} == {kept}
        with promises.environment(cluster=cluster, subworld_size=2) as env:
            assert env(nap, [0.0], trial=4) == [4]


def test_a_cluster_that_is_stopped_ends_all_calls():
    with (
        Cluster(num_workers=1, subworld_size=1) as cluster,
        promises.environment(cluster=cluster) as env,
    ):
        watched = Watched(env, workers=1)
        calls = [watched.submit(nap, 60.0), watched.submit(nap, 60.0, worker=0)]
        watched.running(calls[0])
        cluster.stop()
        for call in calls:
            with pytest.raises(ClusterLost, match="stopped"):
                call.result(10)


@pytest.mark.parametrize(
    ("number", "limit"), [(signal.SIGKILL, 5), (signal.SIGSTOP, 20)]
)
def test_a_controller_that_ends_or_freezes_ends_all(number, limit):
    with (
        Cluster(num_workers=2, subworld_size=1) as cluster,
        promises.environment(cluster=cluster) as env,
    ):
        watched = Watched(env)
        calls = [
            *(watched.submit(nap, 60.0) for _ in range(5)),
            *(watched.submit(nap, 60.0, worker=worker) for worker in (0, 1)),
        ]
        watched.running(calls[0])
        controller = psutil.Process(cluster._processes._controller.pid)
        began = time.monotonic()
        for process in (controller, *controller.children(recursive=True)):
            process.send_signal(number)
        for call in calls:
            with pytest.raises(ClusterLost, match=cluster.cluster_id):
                call.result(limit)
        assert time.monotonic() - began < limit
        with pytest.raises(ClusterLost):
            env(nap, [0.0])
        until(lambda: not processes_of(cluster), 15, "the end of every process")


def test_a_world_that_cannot_be_replaced_is_abandoned(tmp_path, monkeypatch):
    with (
        Cluster(num_workers=2, subworld_size=1) as cluster,
        promises.environment(cluster=cluster, max_retries=1) as env,
    ):
        watched = Watched(env)
        world = env._dispatcher.transport.places[0].world
        # Python runs this first.
        (tmp_path / "sitecustomize.py").write_text(
            "import os, sys\n"
            "if 'LIVN_IPP_WORLD' in os.environ:\n"
            "    print('the licence has expired', flush=True)\n"
            "    os._exit(7)\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        os.kill(cluster.worlds[world][0].pid, signal.SIGKILL)
        pinned = watched.submit(nap, 0.0, worker=0)
        with pytest.raises(WorkerLost, match="the licence has expired"):
            pinned.result(PATIENCE)
        # Three worlds were tried; what any worker can do, the other one did.
        assert list(cluster.worlds) == ["w1" if world == "w0" else "w0"]
        assert env(nap, [0.0, 0.0], trial=3) == [3, 4]
        assert len(env._dispatcher.workers) == 1


@pytest.mark.neuron
def test_a_replacement_that_reads_another_system_is_not_used(tmp_path):
    system = tmp_path / "EI1"
    shutil.copytree(SYSTEMS / "EI1", system)
    with DistributedEnv(system, num_workers=2) as env:
        watched = Watched(env)
        transport = env._dispatcher.transport
        ranks = env.cluster.worlds[transport.places[1].world]
        graph = system / "graph.json"
        graph.write_text(graph.read_text() + "\n")
        os.kill(ranks[0].pid, signal.SIGKILL)
        pinned = watched.submit(1, worker=1)
        with pytest.raises(CallError, match=r"system: \w+ on the controller; \w+ on"):
            pinned.result(PATIENCE)
        assert watched.submit(1, worker=0).result(PATIENCE).duration == 1
        assert len(env.cluster.worlds) == 1
