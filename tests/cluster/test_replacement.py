"""Worlds that cannot be replaced, controllers that end, and leaving in the middle."""

import os
import shutil
import signal
import textwrap
import threading
import time
from pathlib import Path

import promises
import psutil
import pytest
from living import of_living
from watched import PATIENCE, Watched, until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import CLUSTER, WORLD, marked
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import CallError, ClusterLost, WorkerLost

pytestmark = pytest.mark.cluster

SYSTEMS = Path(__file__).parents[2] / "systems" / "graphs"


def nap(run, env):
    time.sleep(run[0])
    return env.trial


def processes_of(cluster):
    return marked({CLUSTER: cluster._processes.marks[CLUSTER]})


def worlds_of(cluster):
    marks = of_living(psutil.Process.environ, processes_of(cluster))
    return {each[WORLD] for each in marks if WORLD in each}


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
        assert worlds_of(cluster) == {kept}
        with promises.environment(cluster=cluster, subworld_size=2) as env:
            assert env(nap, [0.0], trial=4) == [4]


def test_a_stop_reaches_nobody_but_whom_it_was_meant_for():
    with Cluster(num_workers=1, subworld_size=2) as cluster:
        with promises.environment(cluster=cluster, subworld_size=2) as env:
            leader = psutil.Process(env._dispatcher.transport.ranks[0][0].pid)
            (nanny,) = leader.children()  # which relays signals
            Watched(env).running(env.submit(nap, 0.5))
            nanny.suspend()
            late = threading.Timer(2.0, nanny.resume)
            late.start()
        assert nanny.status() != psutil.STATUS_STOPPED
        late.join()
        with promises.environment(cluster=cluster, subworld_size=2) as env:
            call = env.submit(nap, 0.0, trial=4)
            assert call.result(PATIENCE) == 4
            assert call.attempts == 1


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
    ("number", "limit"), [(signal.SIGKILL, 15), (signal.SIGSTOP, 60)]
)
def test_a_controller_that_ends_or_freezes_ends_all(number, limit):
    with (
        Cluster(num_workers=2, subworld_size=1) as cluster,
        promises.environment(cluster=cluster) as env,
    ):
        watched = Watched(env)
        calls = [
            *(watched.submit(nap, 600.0) for _ in range(5)),
            *(watched.submit(nap, 600.0, worker=worker) for worker in (0, 1)),
        ]
        watched.running(calls[0])
        controller = psutil.Process(cluster._processes._controller.pid)
        began = time.monotonic()
        parts = [controller, *controller.children(recursive=True)]
        of_living(lambda process: process.send_signal(number), parts)
        for call in calls:
            with pytest.raises(ClusterLost, match=cluster.cluster_id):
                call.result(limit)
        assert time.monotonic() - began < limit
        with pytest.raises(ClusterLost):
            env(nap, [0.0])
        until(lambda: not processes_of(cluster), 15, "the end of every process")


# What Python runs first on the ranks of further worlds.
FAILS = """
print('the licence has expired', flush=True)
os._exit(7)
"""
DIFFERS = """
import importlib.metadata
true = importlib.metadata.version
told = lambda name: '999' if name == 'livn_ipp' else true(name)
importlib.metadata.version = told
"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (FAILS, r"no replacement: [\s\S]*exit code 7[\s\S]*the licence has expired"),
        (DIFFERS, r"no replacement: [\s\S]*livn_ipp: .*999 on rank 0 of world w2"),
    ],
    ids=["fails", "differs"],
)
def test_a_world_that_cannot_be_replaced_is_abandoned(
    tmp_path, monkeypatch, text, cause
):
    with (
        Cluster(num_workers=2, subworld_size=1) as cluster,
        promises.environment(cluster=cluster, max_retries=1) as env,
    ):
        watched = Watched(env)
        world = env._dispatcher.transport.places[0].world
        (tmp_path / "sitecustomize.py").write_text(
            "import os\nif 'LIVN_IPP_WORLD' in os.environ:\n"
            + textwrap.indent(text, "    ")
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        os.kill(cluster.worlds[world][0].pid, signal.SIGKILL)
        pinned = watched.submit(nap, 0.0, worker=0)
        with pytest.raises(WorkerLost, match=cause):
            pinned.result(PATIENCE)
        # What any worker can do, the other one did.
        assert list(cluster.worlds) == ["w1" if world == "w0" else "w0"]
        assert env(nap, [0.0, 0.0], trial=3) == [3, 4]
        assert len(env._dispatcher.workers) == 1
        assert worlds_of(cluster) == set(cluster.worlds)


def test_what_others_started_is_not_replaced():
    with (
        Cluster(num_workers=2, subworld_size=1) as cluster,
        promises.environment(cluster_id=cluster.cluster_id) as env,
    ):
        watched = Watched(env)
        ranks = env.cluster.ranks()
        running = [watched.submit(nap, 1.0, worker=worker) for worker in (0, 1)]
        watched.running(*running)
        os.kill(ranks[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match=f"rank 0 on {ranks[0].host} ended"):
            running[0].result(10)
        assert env(nap, [0.0, 0.0], trial=7) == [7, 8]
        assert env._dispatcher.workers == (1,)
        last = watched.submit(nap, 60.0)
        watched.running(last)
        cluster._processes._controller._process.kill()
        with pytest.raises(ClusterLost, match="its controller"):
            last.result(10)


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
