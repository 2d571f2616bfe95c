"""What happens to calls when the ranks that run them are killed."""

import os
import signal
import time

import promises
import pytest

from livn_ipp.cluster.launch import Cluster
from livn_ipp.errors import ClusterLost, ConfigError

pytestmark = pytest.mark.cluster


def test_a_killed_rank_costs_its_worker_and_no_call():
    with (
        Cluster(num_workers=2, subworld_size=2) as cluster,
        promises.environment(cluster=cluster, subworld_size=2) as env,
    ):
        env.set_weights({"a": 1})
        first, second = cluster.worlds.values()

        def nap(run, env):
            time.sleep(run[0])
            return env.comm.bcast(env.trial), sorted(env.weights)

        calls = [env.submit(nap, 1.0, trial=trial) for trial in (7, 8)]
        while not all(call.attempts for call in calls):
            time.sleep(0.01)
        os.kill(first[1].pid, signal.SIGKILL)
        assert [call.result(60) for call in calls] == [(7, ["a"]), (8, ["a"])]
        assert sorted(call.attempts for call in calls) == [1, 2]
        assert len(env._dispatcher.workers) == 1
        with pytest.raises(ConfigError, match="there is no worker 0"):
            env.submit(nap, 0.0, worker=0).result(5)
        env.set_weights({"b": 1})
        assert env(nap, [0.0], trial=3) == [(3, ["a", "b"])]

        last = env.submit(nap, 60.0)
        waiting = env.submit(nap, 60.0)
        while not last.attempts:
            time.sleep(0.01)
        os.kill(second[0].pid, signal.SIGKILL)
        for call in (last, waiting):
            with pytest.raises(ClusterLost, match="no worker is left"):
                call.result(30)
        with pytest.raises(ClusterLost, match="no worker is left"):
            env(nap, [0.0])
        with pytest.raises(ClusterLost, match="no worker is left"):
            env.set_weights({"c": 1})


def test_a_connected_client_is_all_that_is_needed(cluster_2x2):
    with promises.environment(client=cluster_2x2.client, subworld_size=1) as env:
        assert len(env._dispatcher.workers) == 4
        assert env(promises.Echo(), inputs=list(range(8))) == list(range(8))
    assert len(cluster_2x2.client) == 4
