"""Workers that join a cluster from another terminal."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import promises
import pytest
from watched import until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import end, marked
from livn_ipp.cluster.reaching.cluster_file import ClusterFile
from livn_ipp.cluster.starting import join as module
from livn_ipp.cluster.starting.join import await_controller, join
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ClusterLost, ConfigError, VersionMismatch
from livn_ipp.system import System

COMMAND = [sys.executable, "-c", "from livn_ipp.cli import main; main()"]
GRAPHS = Path(System("EI1").path)


def test_waiting_says_why_and_gives_up(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    told = []
    with pytest.raises(ClusterLost, match=r"within 0 s.*livn-ipp start --file"):
        await_controller(tmp_path / "cluster.json", 0, told.append)
    assert not told

    def tell(text):
        told.append(text)
        if len(told) == 5:
            file.write_text(json.dumps({"interface": "tcp://127.0.0.1"}))
        if len(told) == 6:
            raise KeyboardInterrupt

    file = tmp_path / "engine.json"
    with pytest.raises(KeyboardInterrupt):
        await_controller(file, None, tell)
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert "no cluster file" in told[0]
    assert "trying again in 8 s" in told[4]


class Terminal:
    """Another terminal, in which a user types ``livn-ipp``."""

    def __init__(self, case):
        self.case = case
        self.started = []

    def __call__(self, *arguments, **environment):
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env={**self.case.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=10)


@pytest.fixture
def livn_ipp(case):
    terminal = Terminal(case)
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(num_workers=1, subworld_size=2) as cluster:
        yield cluster


@pytest.fixture
def env(cluster):
    with promises.environment(cluster=cluster, subworld_size=2) as env:
        env.set_weights({"a": 1})
        yield env


def nap(run, env):
    time.sleep(run[0])
    return env.comm.allreduce(1), sorted(env.weights)


def ends(process, seconds=30):
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out


@pytest.mark.cluster
@pytest.mark.slow
def test_a_joined_worker_gets_calls_and_leaves_without_losing_any(
    cluster, env, livn_ipp, case
):
    joiner = livn_ipp("worker", "--connect", cluster.file)
    env.wait_for_workers(2, timeout=60)
    assert "joins with 2 ranks" in joiner.stdout.readline()
    (world,) = [name for name in cluster.worlds if name.startswith("j-")]
    assert env(nap, inputs=[0.0] * 4) == [(2, ["a"])] * 4
    calls = [env.submit(nap, 3.0) for _ in range(2)]
    until(lambda: all(call.attempts for call in calls), what="a start")
    assert {call.worker for call in calls} == {0, 1}
    joiner.send_signal(signal.SIGINT)
    assert [call.result(60) for call in calls] == [(2, ["a"])] * 2
    assert sorted(call.attempts for call in calls) == [1, 2]
    code, out = ends(joiner)
    assert (code, out) == (0, "left the cluster\n")
    assert world not in cluster.worlds
    assert not case.left(10)
    assert env.submit(nap, 0.0).result(30) == (2, ["a"])  # it is not missed
    assert len(env._dispatcher.workers) == 1
    assert env._dispatcher.expected == ()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_killed_joiner_takes_its_world_along(cluster, env, livn_ipp, case):
    joiner = livn_ipp("worker", "--connect", cluster.file, "--num-ranks", 4)
    env.wait_for_workers(3, timeout=60)  # two workers of two ranks came
    joiner.kill()
    until(lambda: len(env._dispatcher.workers) == 1, 40, "the loss")
    assert not case.left(35)
    assert env.submit(nap, 0.0).result(30) == (2, ["a"])


@pytest.mark.cluster
@pytest.mark.slow
def test_a_joiner_with_other_software_is_refused_and_told(
    cluster, env, livn_ipp, case, tmp_path, caplog
):
    # Another version of NEURON, as far as Python's own records tell.
    records = tmp_path / "neuron-8.2.7.dist-info"
    records.mkdir()
    (records / "METADATA").write_text("Name: neuron\nVersion: 8.2.7\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    told = ClusterFile.read(cluster.file)
    code, out = ends(livn_ipp("worker", "--connect", cluster.file, PYTHONPATH=path))
    assert code == 3
    ours = told.software["neuron"]
    assert "neuron: 8.2.7 on here" in out
    assert f"{ours} on the cluster" in out
    # A connection file of ipyparallel tells no versions: the cluster finds out.
    file = tmp_path / "engine.json"
    file.write_text(json.dumps(dict(told.engine)))
    joiner = livn_ipp("worker", "--connect", file, "--num-ranks", 2, PYTHONPATH=path)
    code, out = ends(joiner, 60)
    assert code == 3
    assert "neuron:" in out
    assert f"{ours} on the controller" in out
    assert "8.2.7 on rank 0 of world j-" in out
    assert "is not used: Ranks and controller run different software" in caplog.text
    assert len(cluster.worlds) == 1
    assert not case.left(15)
    code, out = ends(livn_ipp("worker", "--connect", cluster.file, "--num-ranks", 3))
    assert code == 1
    assert "use 2 or a multiple of it" in out


@pytest.mark.cluster
@pytest.mark.neuron
@pytest.mark.slow
def test_a_joiner_that_reads_another_system_is_refused(
    cluster, livn_ipp, case, tmp_path, caplog
):
    system = tmp_path / "EI1"
    shutil.copytree(GRAPHS, system)
    with DistributedEnv(system, cluster=cluster, subworld_size=2) as env:
        assert len(env(10, inputs=[None])) == 1
        graph = json.loads((system / "graph.json").read_text())
        (system / "graph.json").write_text(json.dumps(graph, indent=7))
        code, out = ends(livn_ipp("worker", "--connect", cluster.file), 60)
        assert code == 3, out
        assert "system:" in out
        assert "is not used" in caplog.text
        assert len(env(10, inputs=[None])) == 1
        assert len(env._dispatcher.workers) == 1
    assert not case.left(15)


@pytest.mark.cluster
@pytest.mark.slow
def test_start_join_and_stop_from_three_terminals(livn_ipp, case, tmp_path):
    file = tmp_path / "cluster.json"
    joiner = livn_ipp("worker", "--connect", file)  # before there is a cluster
    assert "no cluster file" in joiner.stdout.readline()
    starter = livn_ipp(
        "start", "--num-workers", 1, "--subworld-size", 1, "--file", file
    )
    assert "1 workers x 1 ranks" in starter.stdout.readline()
    assert str(file) in starter.stdout.readline()
    cluster = Cluster.from_file(file)
    with promises.environment(cluster=cluster) as env:
        env.wait_for_workers(2, timeout=60)
        assert env(promises.Echo(), inputs=[1, 2, 3, 4]) == [1, 2, 3, 4]
    cluster.stop()
    assert starter.poll() is None
    assert joiner.poll() is None
    code, out = ends(livn_ipp("stop", file))
    assert (code, out.splitlines()[-1].endswith("has ended")) == (0, True)
    code, out = ends(starter)
    assert code == 0, out
    code, out = ends(joiner)
    assert (code, out.splitlines()[-1]) == (0, "the cluster has ended")
    assert not file.exists()
    assert not case.left(10)
    code, out = ends(livn_ipp("stop", file))
    assert code == 1
    assert "There is no cluster file" in out


@pytest.mark.cluster
@pytest.mark.slow
def test_a_joiner_that_nobody_ends_sees_that_the_cluster_is_gone(
    livn_ipp, case, tmp_path
):
    with Cluster(num_workers=1) as cluster:
        # By this file it knows no more than a joiner on another machine would.
        file = tmp_path / "engine.json"
        file.write_text(json.dumps(dict(ClusterFile.read(cluster.file).engine)))
        joiner = livn_ipp("worker", "--connect", file)
        cluster.wait_for_workers(2, timeout=60)
        assert joiner.poll() is None
    code, out = ends(joiner)
    assert (code, out.splitlines()[-1]) == (0, "the cluster has ended")
    assert not case.left(10)


@pytest.mark.cluster
@pytest.mark.slow
def test_interrupting_start_ends_the_cluster(livn_ipp, case, tmp_path):
    file = tmp_path / "cluster.json"
    starter = livn_ipp("start", "--num-workers", 1, "--file", file)
    assert "runs" in starter.stdout.readline()
    starter.send_signal(signal.SIGTERM)
    code, out = ends(starter)
    assert (code, out.splitlines()[-1]) == (0, "ending the cluster")
    assert not file.exists()
    assert not case.left(10)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_detached_start_returns(livn_ipp, case, tmp_path):
    file = tmp_path / "cluster.json"
    code, out = ends(livn_ipp("start", "--num-workers", 1, "--detach", "--file", file))
    assert code == 0, out
    marks = dict(ClusterFile.read(file).marks)
    try:
        assert marked(marks)
        code, _ = ends(livn_ipp("stop", file))
        assert code == 0
        assert not case.left(10)
    finally:
        end(marks)


@pytest.mark.cluster
def test_ranks_and_versions_are_checked_before_anything_starts(
    cluster_2x2, monkeypatch
):
    with pytest.raises(ConfigError, match="use 2 or a multiple"):
        join(cluster_2x2.file, 3)
    with pytest.raises(ConfigError, match="num_ranks must be a whole number"):
        join(cluster_2x2.file, 0)
    monkeypatch.setattr(module, "software", lambda: {"python": "2.7"})
    with pytest.raises(VersionMismatch, match=r"python: .* on here"):
        join(cluster_2x2.file)
