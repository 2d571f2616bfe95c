import os
import time

import psutil
import pytest

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import CLUSTER, WORLD, marked
from livn_ipp.cluster.topology import worlds
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError

pytestmark = pytest.mark.cluster


def true_place():
    """What MPI says on an engine, by other means than the code under test."""
    import os

    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    return comm.rank, comm.allgather(os.getpid()), comm.allreduce(10**comm.rank)


def environment(*names):
    import os

    return [os.environ.get(name) for name in names]


def test_every_rank_is_known_by_what_mpi_says(cluster_2x2):
    found = cluster_2x2.worlds
    assert list(found) == ["w0", "w1"]
    assert [len(members) for members in found.values()] == [2, 2]
    client = cluster_2x2.client
    for members in found.values():
        pending = [client[each.engine].apply_async(true_place) for each in members]
        answers = [result.get(timeout=30) for result in pending]
        # Both ranks answered one collective, so they are in one world.
        pids = [member.pid for member in members]
        assert answers == [(0, pids, 11), (1, pids, 11)]


def test_workers_are_the_worlds(cluster_2x2):
    places = cluster_2x2.workers
    assert [place.index for place in places] == [0, 1]
    for place in places:
        members = cluster_2x2.worlds[place.world]
        assert place.engines == tuple(member.engine for member in members)
    assert cluster_2x2.num_workers == 2
    assert cluster_2x2.subworld_size == 2
    assert cluster_2x2.owned
    assert cluster_2x2.alive


def test_repr_is_one_line_that_tells_size_and_state(cluster_2x2):
    text = repr(cluster_2x2)
    assert "2 workers x 2 ranks, running" in text
    assert "\n" not in text


def test_engines_compute_with_one_thread_and_yield(cluster_2x2):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMPI_MCA_mpi_yield_when_idle")
    answers = cluster_2x2.client[:].apply_async(environment, *names).get(timeout=30)
    assert answers == [["1", "1", "1"]] * 4


def test_further_clients_have_their_own_life(cluster_2x2):
    first, second = cluster_2x2.connect(), cluster_2x2.connect()
    first.close()
    assert second[:].apply_async(os.getpid).get(timeout=30)
    second.close()
    assert len(cluster_2x2.ranks()) == 4


def test_ranks_are_told_while_an_engine_is_busy(cluster_2x2):
    busy = cluster_2x2.client[0].apply_async(time.sleep, 3)
    assert len(cluster_2x2.ranks()) == 4
    assert not busy.ready()
    busy.get(timeout=30)


def test_a_second_cluster_of_the_same_name_is_refused(cluster_2x2):
    twin = Cluster(1, cluster_id=cluster_2x2.cluster_id)
    with pytest.raises(ConfigError, match="running already"):
        twin.start()
    twin.stop()
    assert cluster_2x2.alive
    assert cluster_2x2.connect().ids


@pytest.fixture(scope="module")
def changing():
    with Cluster(num_workers=1, subworld_size=2) as cluster:
        yield cluster


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_worlds_come_and_go_and_ids_are_not_ranks(changing):
    old = changing.ranks()[0].world
    busy = changing.connect()[:].apply_async(time.sleep, 60)
    new = changing.start_world()
    assert set(changing.worlds) == {old, new}
    members = changing.worlds[new]
    assert [member.rank for member in members] == [0, 1]
    assert not {member.engine for member in members} & {0, 1}
    changing.stop_world(old)
    assert set(changing.worlds) == {new}
    assert not marked({**changing._processes.marks, WORLD: old})
    # Told by the nannies at once, not by missed heartbeats after six seconds.
    wait_until(lambda: len(changing.client.ids) == 2, seconds=5)
    assert not busy.successful()
    with pytest.raises(ConfigError, match=f"No world '{old}'; there are {new}"):
        changing.stop_world(old)
    client = changing.client
    for member in members:
        pid = client[member.engine].apply_async(os.getpid).get(timeout=30)
        assert pid == member.pid


def test_a_killed_rank_takes_its_world_and_another_starts(changing):
    (world, members), *_ = changing.worlds.items()
    os.kill(members[1].pid, 9)
    wait_until(lambda: not changing.ranks())
    new = changing.start_world()
    assert set(changing.worlds) == {new}
    changing.stop_world(world)
    assert set(changing.worlds) == {new}


def test_a_frozen_world_is_ended(changing):
    (world, members), *_ = changing.worlds.items()
    mark = {**changing._processes.marks, WORLD: world}
    assert {member.pid for member in members} < {each.pid for each in marked(mark)}
    for process in marked(mark):
        process.suspend()
    changing.stop_world(world)
    assert not marked(mark)
    assert changing.ranks() == ()


def test_the_log_tail_shows_what_ranks_print(changing):
    world = changing.start_world()
    leader = changing.worlds[world][0].engine
    write = "import os; os.write(2, b'a line of C code\\n')"
    changing.client[leader].execute(write).get(timeout=30)
    wait_until(lambda: "a line of C code" in changing.log_tail(world))
    assert "a line of C code" in changing.log_tail()
    assert len(changing.log_tail("controller", lines=2).splitlines()) == 2


def test_a_lost_controller_shows(changing):
    assert changing.alive
    changing._processes._controller._process.kill()
    wait_until(lambda: not changing.alive)
    changing.stop()


def test_stopping_twice_leaves_nothing(tmp_path):
    cluster = Cluster(num_workers=2, workers_per_world="all", profile="stop")
    assert not cluster.alive
    cluster.start()
    assert [len(members) for members in cluster.worlds.values()] == [2]
    assert cluster.start() is cluster
    further = cluster.connect()
    files = [cluster._processes.client_file, cluster._processes.log("w0")]
    assert all(file.exists() for file in files)
    cluster.stop()
    cluster.stop()
    assert not marked({CLUSTER: cluster._processes.marks[CLUSTER]})
    assert not psutil.pid_exists(cluster._processes._lease.pid)
    assert not any(file.exists() for file in files)
    assert further._closed
    assert not cluster.alive
    assert "stopped" in repr(cluster)
    for refused in (cluster.connect, cluster.ranks, cluster.start):
        with pytest.raises(ClusterLost):
            refused()
    with pytest.raises(ConfigError, match="not a running cluster"):
        cluster.start_world()


def test_a_bad_option_of_mpiexec_is_shown_with_its_log():
    cluster = Cluster(1, 1, mpi_args=["--no-such-option"])
    with pytest.raises(PreflightError, match="no-such-option") as caught:
        cluster.start()
    assert "exit code" in str(caught.value)
    assert "fewer workers" not in str(caught.value)
    assert not marked(cluster._processes.marks)
    cluster.stop()


def test_a_start_that_fails_with_more_ranks_than_cores_tells_so(monkeypatch):
    monkeypatch.setattr("livn_ipp.cluster.launch.usable_cores", lambda: 1)
    cluster = Cluster(2, 1, mpi_args=["--no-such-option"])
    with pytest.raises(PreflightError, match=r"no-such-option[\s\S]*fewer workers"):
        cluster.start()
    assert not marked(cluster._processes.marks)


def test_engines_that_never_come_end_the_start(tmp_path, monkeypatch):
    # A rank that hangs before it registers; Python runs this first.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'LIVN_IPP_WORLD' in os.environ:\n"
        "    print('stuck in', os.environ['LIVN_IPP_WORLD'], flush=True)\n"
        "    time.sleep(300)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cluster = Cluster(1, 1, start_timeout=6)
    with pytest.raises(PreflightError, match=r"within 6 s[\s\S]*stuck in w0"):
        cluster.start()
    assert not marked(cluster._processes.marks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "num_workers must be .* at least 1, got 0"),
        ({"subworld_size": 2.0}, "subworld_size must be a whole number"),
        ({"num_workers": True}, "got True"),
        ({"num_workers": 4, "workers_per_world": 3}, r"one of \[1, 2, 4\]"),
        ({"workers_per_world": "some"}, "workers_per_world"),
        ({"launcher": "lava"}, "launcher='lava' is not available; choose mpi, slurm"),
        ({"cluster_id": "../up"}, "cluster_id must consist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Cluster(**arguments)


def test_worlds_of_a_stopped_cluster_are_not_invented():
    cluster = Cluster(1)
    assert "not started" in repr(cluster)
    with pytest.raises(ClusterLost, match="not started"):
        cluster.ranks()
    cluster.stop()
    assert worlds([]) == {}
