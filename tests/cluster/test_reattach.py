"""A kernel is killed, and another one goes on with its cluster."""

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import promises
import pytest
from watched import until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import WORLD, end, marked
from livn_ipp.cluster.transports import takeover
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ClusterLost, ConfigError, WorkerLost

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

BEGIN = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import promises
from livn_ipp.cluster.launch import Cluster
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ClusterLost

def nap(run, env):
    import time
    time.sleep(run[0])
    return env.comm.bcast(env.trial), sorted(env.weights), env.comm.allreduce(1)

cluster = Cluster(2, 2, detach=True, file=os.environ["LIVN_IPP_FILE"]).start()
"""
TALLY = """
env = promises.environment(cluster=cluster, subworld_size=2).init()
env.set_weights({"a": 1})
"""
CALLS = """
calls = [env.submit(nap, seconds) for seconds in (0.5, 4, 0.5, 0.5, 0.5, 0.5)]
while not (calls[0].done() and calls[1].running()):
    time.sleep(0.005)
time.sleep(0.2)  # until they are on their way
print([call.id for call in calls], flush=True)
time.sleep(300)
"""


@pytest.fixture
def left(case, tmp_path):
    """Where a killed kernel's cluster file is; the cluster is ended afterwards."""
    file = tmp_path / "cluster.json"
    case.environment["LIVN_IPP_FILE"] = str(file)
    yield file
    if file.exists():
        end(Cluster.from_file(file)._processes.marks)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    return process.communicate(timeout=10)


def started(case, text):
    process = case.start(BEGIN + text)
    line = process.stdout.readline()
    assert line, process.communicate(timeout=10)
    return process, line


def test_what_was_handed_out_is_there_and_the_rest_goes_on(case, left):
    kernel, line = started(case, TALLY + CALLS)
    ids = eval(line)
    kill(kernel)
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    env = DistributedEnv.attach(left)
    try:
        recovered = env.recovered
        # The long call ran; what was sent behind it or beside it may be there too.
        assert ids[1] in recovered
        assert set(recovered) <= set(ids)
        expected = {ids[trial]: (trial, ["a"], 2) for trial in range(6)}
        for number, future in recovered.items():
            assert future.result(30) == expected[number]
        env.set_weights({"b": 2})
        more = [env.submit(lambda run, env: sorted(env.weights), n) for n in range(4)]
        assert not {future.id for future in more} & set(recovered)
        assert [future.result(30) for future in more] == [["a", "b"]] * 4
        assert env.subworld_size == 2
        pids = [rank.pid for rank in env.cluster.ranks()]
    finally:
        env.shutdown()
    # Shut down on purpose, it cannot be found again; the cluster is there for another.
    with pytest.raises(ConfigError, match="no DistributedEnv runs on this cluster"):
        DistributedEnv.attach(left)
    cluster = Cluster.from_file(left)
    assert [rank.pid for rank in cluster.ranks()] == pids
    assert not cluster.owned
    with promises.environment(cluster=cluster, subworld_size=2) as env:
        assert env(promises.Echo(), inputs=[1, 2, 3]) == [1, 2, 3]
        assert env.recovered == {}
    cluster.shutdown()
    assert not left.exists()
    assert not case.left(10)


@pytest.mark.neuron
def test_the_results_of_a_culture_are_the_same(case, left):
    simulate = """
env = DistributedEnv("EI1", cluster=cluster, subworld_size=2).init()
env.record_spikes()
calls = [env.submit(300) for _ in range(6)]
while sum(call.running() for call in calls) < 2:
    time.sleep(0.005)
time.sleep(0.2)  # until they are on their way
print([call.id for call in calls], flush=True)
time.sleep(300)
"""
    kernel, line = started(case, simulate)
    ids = eval(line)
    kill(kernel)
    env = DistributedEnv.attach(left)
    try:
        found = {ids.index(n): f.result(60) for n, f in env.recovered.items()}
        assert len(found) >= 2
        for trial, run in found.items():
            (again,) = env(300, trial=trial)
            assert run.spike_times.tolist() == again.spike_times.tolist()
            assert run.spike_ids.tolist() == again.spike_ids.tolist()
            assert len(again.spike_times)
        assert env.system.name == "EI1"
        assert env.seed == 123
        name = env.weight_names[0]
        env.set_weights({name: 0.0})
        assert len(env(50, inputs=[None, None])) == 2
    finally:
        env.shutdown()
        env.cluster.shutdown()


def test_two_kernels_do_not_share_workers_by_accident(case, left):
    first = TALLY + (
        "print('ready', flush=True)\n"
        "while not os.path.exists(cluster.file.with_name('go')): time.sleep(0.05)\n"
        "try:\n"
        "    print(env(promises.Echo(), inputs=list(range(50))), flush=True)\n"
        "except ClusterLost as error:\n"
        "    print('lost:', error, flush=True)\n"
        "env.shutdown()\n"
        "cluster.stop()\n"
    )
    kernel = case.start(BEGIN + first)
    assert kernel.stdout.readline() == "ready\n", kernel.communicate(timeout=10)
    with pytest.raises(ClusterLost, match=r"Process \d+ on .* takeover=True"):
        DistributedEnv.attach(left)
    cluster = Cluster.from_file(left)
    with pytest.raises(ClusterLost, match=f"Process {kernel.pid} on"):
        promises.environment(cluster=cluster, subworld_size=2).init()
    env = DistributedEnv.attach(cluster, takeover=True)
    try:
        env.set_weights({"b": 1})
        left.with_name("go").touch()
        out, err = kernel.communicate(timeout=60)
        assert "another controller took over" in out, (out, err)
        assert kernel.returncode == 0
        # It did not take the cluster along.
        answers = env(lambda run, env: sorted(env.weights), inputs=[1, 2, 3])
        assert answers == [["a", "b"]] * 3
    finally:
        env.shutdown()
        cluster.shutdown()
    assert not case.left(10)


def test_a_world_that_ended_meanwhile_is_replaced(case, left):
    kernel, line = started(
        case,
        TALLY
        + "calls = [env.submit(nap, 12, worker=n) for n in (0, 1)]\n"
        + "time.sleep(1)\n"
        + "places = {p.index: p.world for p in env._dispatcher.transport.places}\n"
        + "print([call.id for call in calls], places[0], flush=True)\n"
        + "time.sleep(300)\n",
    )
    kill(kernel)
    *ids, world = line.replace("[", "").replace("]", "").replace(",", "").split()
    found = Cluster.from_file(left)
    marks = {**found._processes.marks, WORLD: world}
    found.stop()
    assert end(marks, grace=0)
    cluster = until(lambda: reached(left), what="the hub's word")
    env = DistributedEnv.attach(cluster)
    try:
        lost, running = (env.recovered[int(number)] for number in ids)
        with pytest.raises(WorkerLost, match="cannot be recovered"):
            lost.result(30)
        assert running.cancel()
        answers = [
            env.submit(lambda run, env: sorted(env.weights), worker=n).result(60)
            for n in (0, 1)
        ]
        assert answers == [["a"], ["a"]]
        assert world not in cluster.worlds
        assert len(cluster.worlds) == 2
    finally:
        env.shutdown()
        cluster.shutdown()
    assert not case.left(10)


def reached(file):
    """Attach once a lost world is not listed any more."""
    try:
        cluster = Cluster.from_file(file, start_timeout=0.5)
    except ConfigError:  # incomplete
        return None
    if len(cluster.worlds) == 1:
        return cluster
    cluster.stop()
    return None


def test_a_leader_whose_ranks_were_not_reached_is_replaced(case, left, monkeypatch):
    kernel, line = started(
        case,
        TALLY
        + "(first, *_) = env._dispatcher.transport._seats.values()\n"
        + "class Deaf:\n"
        + "    history = []\n"
        + "    def apply_async(self, *args): pass\n"
        + "object.__setattr__(first, 'others', (Deaf(),))\n"
        + "call = env.submit(nap, 0, worker=first.place.index)\n"
        + "time.sleep(1)\n"  # killed between two messages, as far as workers know
        + "print(call.id, first.place.index, first.place.world, flush=True)\n"
        + "time.sleep(300)\n",
    )
    kill(kernel)
    number, index, world = line.split()
    monkeypatch.setattr(takeover, "_ALONE", 3.0)
    env = DistributedEnv.attach(left)
    try:
        weights = lambda run, env: sorted(env.weights)
        assert env.submit(weights).result(30) == ["a"]  # the other one is well
        with pytest.raises(WorkerLost, match="cannot be recovered"):
            env.recovered[int(number)].result(60)
        assert env.submit(weights, worker=int(index)).result(60) == ["a"]
        assert world not in env.cluster.worlds
    finally:
        env.shutdown()
        env.cluster.shutdown()
    assert not case.left(10)


def test_a_file_that_is_left_over_says_what_to_do(case, left):
    kernel, _ = started(case, "print('there', flush=True)\n")
    kernel.communicate(timeout=20)
    assert kernel.returncode == 0  # detached, it leaves the cluster behind
    with pytest.raises(ConfigError, match="no DistributedEnv runs on this cluster"):
        DistributedEnv.attach(left)
    found = Cluster.from_file(left)
    marks = found._processes.marks
    found.stop()
    assert marked(marks)
    assert end(marks, grace=0)
    with pytest.raises(ClusterLost, match=r"leftover. Remove it") as caught:
        Cluster.from_file(left)
    assert str(left) in str(caught.value)
    left.unlink()
    with pytest.raises(ConfigError, match="There is no cluster file"):
        DistributedEnv.attach(left)


def test_leaving_the_kernel_keeps_the_results_of_a_detached_cluster(case, left):
    text = BEGIN + TALLY + "call = env.submit(nap, 2)\ntime.sleep(0.5)\n"
    code, _, err = case.run(text + "print(call.id)\n")
    assert (code, err) == (0, "")
    env = DistributedEnv.attach(left)
    try:
        ((_, call),) = env.recovered.items()
        assert call.result(30) == (0, ["a"], 2)
    finally:
        env.shutdown()
        env.cluster.shutdown()
    assert not case.left(10)


def test_a_client_that_slept_finds_its_results(case, left):
    text = TALLY + (
        "env.submit(nap, 0).result()\n"
        "calls = [env.submit(nap, 1.0, trial=n) for n in range(12)]\n"
        "print('running', flush=True)\n"
        "print([call.result(60) for call in calls], flush=True)\n"
        "print([call.attempts for call in calls], flush=True)\n"
        "print(env(promises.Echo(), inputs=[1, 2]), flush=True)\n"
        "env.shutdown()\n"
        "cluster.stop()\n"
    )
    kernel, _ = started(case, text)
    os.kill(kernel.pid, signal.SIGSTOP)
    time.sleep(20)
    os.kill(kernel.pid, signal.SIGCONT)
    try:
        out, err = kernel.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        kill(kernel)
        raise
    results, attempts, last = map(eval, out.splitlines())
    assert results == [(trial, ["a"], 2) for trial in range(12)], err
    assert attempts == [1] * 12
    assert last == [1, 2]
    assert kernel.returncode == 0
    assert not case.left(10)
