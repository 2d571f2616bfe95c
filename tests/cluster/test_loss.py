"""What happens to calls when the ranks that run them are killed."""

import ctypes
import os
import signal
import time

import promises
import pytest
from watched import PATIENCE, Watched, until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.errors import WorkerLost

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster():
    with Cluster(num_workers=2, subworld_size=2) as cluster:
        yield cluster


@pytest.fixture
def watched(cluster):
    with promises.environment(cluster=cluster, subworld_size=2, max_retries=0) as env:
        watched = Watched(env)
        watched.whole()
        yield watched
        watched.whole()


def nap(run, env):
    time.sleep(run[0])
    return env.comm.bcast((env.trial, os.getpid())), sorted(env.weights)


def on_rank(number, action):
    """An action of one rank while the others wait for it."""

    def act(run, env):
        if env.comm.rank == number:
            action()
        env.comm.allreduce(1)

    return act


def abort():
    from mpi4py import MPI

    MPI.COMM_WORLD.Abort(3)


CAUSES = [
    (0, lambda: os._exit(3), r"rank 0 ended with exit code 3"),
    (1, lambda: ctypes.string_at(0), r"rank 1 was killed by signal 11 \(segm"),
    (1, abort, r"rank 1 called MPI_Abort\(3\)"),
    (0, lambda: os.kill(os.getpid(), 9), r"rank 0 was killed by signal 9 \(killed\)"),
]


@pytest.mark.parametrize("first", [0, 2])
def test_the_error_names_rank_and_cause(watched, first):
    chosen = CAUSES[first : first + 2]
    calls = [
        watched.submit(on_rank(rank, action), worker=worker)
        for worker, (rank, action, _) in enumerate(chosen)
    ]
    for worker, (call, (_, _, cause)) in enumerate(zip(calls, chosen, strict=True)):
        with pytest.raises(WorkerLost, match=cause) as caught:
            call.result(PATIENCE)
        assert caught.value.worker == worker


def test_a_lost_worker_comes_back_under_its_index(cluster):
    with promises.environment(cluster=cluster, subworld_size=2) as env:
        watched = Watched(env)
        env.set_weights({"a": 1})
        (world, ranks), _ = cluster.worlds.items()
        calls = [watched.submit(nap, 0.5, worker=w, trial=7 + w) for w in (0, 1)]
        waiting = watched.submit(nap, 0.0, worker=0, trial=9)
        watched.running(*calls)
        before = {rank.pid for rank in cluster.ranks()}
        os.kill(ranks[1].pid, signal.SIGKILL)
        watched.noticed(0)
        env.set_weights({"b": 1})  # waits for the replacement
        (lost, names), (other, _) = [call.result(PATIENCE) for call in calls]
        assert (lost[0], other[0]) == (7, 8)
        assert lost[1] not in before
        assert other[1] in before
        assert names == ["a"]
        assert waiting.result(PATIENCE) == ((9, lost[1]), ["a"])
        assert [call.attempts for call in (*calls, waiting)] == [2, 1, 1]
        assert env(nap, [0.0, 0.0], trial=3)[0][1] == ["a", "b"]
        assert world not in cluster.worlds
        assert len(cluster.worlds) == 2


def test_a_frozen_rank_is_found_and_replaced(cluster):
    with promises.environment(cluster=cluster, subworld_size=2) as env:
        watched = Watched(env)
        watched.whole()
        world = env._dispatcher.transport.places[1].world
        frozen = cluster.worlds[world][1]
        os.kill(frozen.pid, signal.SIGSTOP)
        call = watched.submit(nap, 0.0, worker=1, trial=5)
        assert call.result(PATIENCE)[0][0] == 5
        assert call.attempts == 2
        assert "does not answer" in watched.lost[0][2]
        until(lambda: not _runs(frozen.pid), 10, "the end of the frozen rank")


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_hung_rank_leaves_its_stack_in_the_log(cluster):
    def search_for_the_grail(run, env):
        if env.comm.rank == 1:
            # Holds the interpreter, as a hung simulation does.
            ctypes.PyDLL(None).sleep(300)
        env.comm.allreduce(1)

    with promises.environment(cluster=cluster, subworld_size=2, grace=0.5) as env:
        watched = Watched(env)
        watched.whole()
        world = env._dispatcher.transport.places[0].world
        call = watched.submit(search_for_the_grail, worker=0, timeout=0.5)
        with pytest.raises(TimeoutError):
            call.result(PATIENCE)
        told = lambda: "search_for_the_grail" in cluster.log_tail(world, lines=1000)
        until(told, 10, "a stack in the log")
        watched.whole()


def test_a_connected_client_is_all_that_is_needed(cluster_2x2):
    with promises.environment(client=cluster_2x2.client, subworld_size=1) as env:
        assert len(env._dispatcher.workers) == 4
        assert env(promises.Echo(), inputs=list(range(8))) == list(range(8))
    assert len(cluster_2x2.client) == 4
