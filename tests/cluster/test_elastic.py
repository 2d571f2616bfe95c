"""Clusters that grow and shrink, alone and while calls run on them."""

import os
import signal
import time

import promises
import pytest
from watched import until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.errors import ConfigError, PreflightError

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def nap(run, env):
    time.sleep(run[0])
    return env.comm.allreduce(1), sorted(env.weights)


def test_a_cluster_alone_grows_and_shrinks():
    with Cluster(num_workers=1, subworld_size=2) as cluster:
        first = cluster.workers[0].world
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=1)
        assert len(cluster.worlds) == 2
        assert cluster.num_workers == 2
        cluster.restart_worker(0)
        assert first not in cluster.worlds
        assert len(cluster.workers) == 2
        cluster.remove_workers([0])
        cluster.scale(1)  # changes nothing
        assert len(cluster.workers) == 1
        few = r"Only 1 of 2 workers came within 0\.2"
        with pytest.raises(PreflightError, match=few):
            cluster.wait_for_workers(2, timeout=0.2)
        with pytest.raises(ConfigError, match="cannot remove all 1 workers"):
            cluster.remove_workers(1)
        with pytest.raises(ConfigError, match=r"no worker 7; there are \[0\]"):
            cluster.remove_workers([7])
        with pytest.raises(ConfigError, match="whole number of at least 1"):
            cluster.scale(0)


@pytest.fixture(scope="module")
def env():
    with (
        Cluster(num_workers=1, subworld_size=2) as cluster,
        promises.environment(cluster=cluster, subworld_size=2) as env,
    ):
        env.set_weights({"a": 1})
        yield env


def well(env):
    """What a call of `nap` returns wherever all is well."""
    return 2, env.weight_names


def ready(env):
    return env._dispatcher.workers


def test_new_workers_share_the_work_and_know_the_configuration(env):
    calls = [env.submit(nap, 2.0) for _ in range(12)]
    env.scale(2)
    assert env._dispatcher.expected
    env.set_weights({"b": 1})  # while the new one starts
    env.wait_for_workers(2)
    later = [env.submit(nap, 0.5) for _ in range(6)]
    assert [call.result(60) for call in calls] == [(2, ["a"])] * 12
    assert [call.result(60) for call in later] == [(2, ["a", "b"])] * 6
    assert {call.worker for call in later} == {0, 1}
    assert all(call.attempts == 1 for call in calls + later)
    assert env.cluster.num_workers == 2


def test_a_worker_that_is_drained_finishes_and_gets_nothing_more(env):
    env.scale(2).wait_for_workers(2)
    calls = [env.submit(nap, 2.0, worker=worker) for worker in ready(env)]
    waiting = [env.submit(nap, 0.1) for _ in range(4)]
    until(lambda: all(call.attempts for call in calls), what="a start")
    leaving = ready(env)[1]
    world = env.cluster._slots()[leaving]
    env.remove_workers([leaving])
    assert [call.result(30) for call in calls] == [well(env)] * 2
    assert [call.attempts for call in calls] == [1, 1]
    assert [call.result(30) for call in waiting] == [well(env)] * 4
    until(lambda: world not in env.cluster.worlds, 30, "the end of its world")
    assert len(ready(env)) == 1
    assert env._dispatcher.expected == ()  # nobody takes its place
    with pytest.raises(ConfigError, match=f"there is no worker {leaving}"):
        env.submit(nap, 0.0, worker=leaving).result(5)


def test_a_worker_that_is_removed_at_once_loses_no_call(env):
    env.scale(2).wait_for_workers(2)
    calls = [env.submit(nap, 3.0) for _ in range(2)]
    until(lambda: all(call.attempts for call in calls), what="a start")
    env.scale(1, drain=False)
    assert [call.result(60) for call in calls] == [well(env)] * 2
    assert sorted(call.attempts for call in calls) == [1, 2]
    assert len(ready(env)) == 1


def test_a_worker_is_restarted_under_its_index(env):
    (index,) = ready(env)
    before = {rank.pid for rank in env.cluster.ranks()}
    call = env.submit(nap, 3.0)
    until(lambda: call.attempts, what="a start")
    env.restart_worker(index)
    assert call.result(60) == well(env)
    assert call.attempts == 2
    assert call.worker == index
    assert not before & {rank.pid for rank in env.cluster.ranks()}


def test_a_grown_worker_that_is_killed_is_replaced(env):
    env.scale(2).wait_for_workers(2)
    index = max(ready(env))
    world = env.cluster._slots()[index]
    os.kill(env.cluster.worlds[world][1].pid, signal.SIGKILL)
    until(lambda: env.cluster._slots()[index] not in {"", world}, 60, "a replacement")
    assert env.submit(nap, 0.0, worker=index).result(60) == well(env)
    env.scale(1)
    until(lambda: len(ready(env)) == 1, 30, "a drained worker's end")


def test_workers_that_share_a_world_come_and_go_together():
    with (
        Cluster(num_workers=2, workers_per_world=2) as cluster,
        promises.environment(cluster=cluster) as env,
    ):
        for refused in (lambda: env.scale(3), lambda: env.add_workers(1)):
            with pytest.raises(ConfigError, match="add a multiple of 2"):
                refused()
        env.scale(4).wait_for_workers(4)
        assert len(cluster.worlds) == 2
        with pytest.raises(ConfigError, match=r"workers \[0, 1\] share world w0"):
            env.remove_workers([0])
        with pytest.raises(ConfigError, match=r"share world"):
            env.remove_workers(3)
        env.remove_workers([0, 1])
        until(lambda: len(cluster.worlds) == 1, 30, "the end of a world")
        assert sorted(ready(env)) == [2, 3]
        assert env(promises.Echo(), inputs=[1, 2, 3]) == [1, 2, 3]


def delayed(cluster, world, prelude):
    """Have the launcher do something before it starts a world's mpiexec."""
    launcher = cluster._launcher
    command = launcher.command
    count = iter(range(100))

    def command_of(*arguments):
        usual = command(*arguments)
        if next(count) != world:
            return usual
        return ["/bin/sh", "-c", f'{prelude}; exec "$@"', "sh", *usual]

    launcher.command = command_of
    return cluster


def test_it_begins_with_some_workers_and_the_others_join():
    cluster = Cluster(num_workers=2, subworld_size=2, min_workers=1)
    with delayed(cluster, 1, "sleep 15").start():
        assert len(cluster.workers) == 1
        with promises.environment(cluster=cluster, subworld_size=2) as env:
            env.set_weights({"a": 1})
            assert env(nap, inputs=[0.0]) == [(2, ["a"])]
            assert len(ready(env)) == 1
            env.wait_for_workers(2, timeout=60)
            assert env(nap, inputs=[0.0] * 4) == [(2, ["a"])] * 4
            # It was started here, so it is replaced here.
            os.kill(cluster.worlds["w1"][0].pid, signal.SIGKILL)
            until(lambda: len(ready(env)) == 1, 20, "the loss")
            env.wait_for_workers(2, timeout=60)


def test_a_world_that_does_not_come_is_done_without():
    cluster = Cluster(num_workers=2, min_workers=1)
    with delayed(cluster, 0, "exit 7").start():
        assert [place.world for place in cluster.workers] == ["w1"]


def test_too_few_workers_are_told_with_the_log():
    cluster = Cluster(num_workers=2, min_workers=2)
    with pytest.raises(PreflightError, match=r"fewer than min_workers=2") as caught:
        delayed(cluster, 1, "echo no network; exit 7").start()
    assert "of 2 workers came" in str(caught.value)
    assert "no network" in str(caught.value)
    for least, problem in ((3, "more than num_workers=2"), (0, "at least 1")):
        with pytest.raises(ConfigError, match=problem):
            Cluster(num_workers=2, min_workers=least)


def test_without_engines_nothing_can_be_scaled():
    with (
        promises.environment(transport="local") as env,
        pytest.raises(ConfigError, match="over transport 'local'"),
    ):
        env.scale(2)
