import signal
import time

import pytest

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.testing import FaultyEnv, WorkerKiller, kill_rank, killer


class Killings:
    """A cluster of two workers of three ranks, none of which is a process."""

    def __init__(self, monkeypatch):
        self.killed = []
        self.takes = 0.0
        monkeypatch.setattr(killer, "_ranks", self.ranks)
        monkeypatch.setattr(killer, "kill_rank", self.kill)

    def ranks(self, target):
        return {0: "abc", 1: "def"}

    def kill(self, target, worker, rank, *, signal):
        time.sleep(self.takes)
        self.killed.append((worker, rank, signal))
        return self.killed[-1]


@pytest.fixture
def killings(monkeypatch):
    return Killings(monkeypatch)


def run(killings, seconds, **options):
    killings.killed.clear()
    with WorkerKiller(None, 0.02, **options) as killer:
        time.sleep(seconds)
    assert killer.kills == killings.killed
    count = len(killer.kills)
    time.sleep(0.1 + killings.takes)
    assert len(killer.kills) == count
    return killer.kills


def test_each_worker_is_killed_again_and_again(killings):
    kills = run(killings, 1.0)
    for worker in (0, 1):
        ranks = [rank for w, rank, _ in kills if w == worker]
        assert set(ranks) == {0, 1, 2}
    assert {number for *_, number in kills} == {signal.SIGKILL}


def test_the_same_seed_kills_the_same_ranks_in_the_same_order(killings):
    def order(seed):
        kills = run(killings, 0.5, seed=seed)
        return [[rank for w, rank, _ in kills if w == worker][:5] for worker in (0, 1)]

    assert order(1) == order(1) != order(2)


def test_nobody_is_killed_after_the_block(killings):
    killings.takes = 0.2
    run(killings, 0.3)


def test_only_some_ranks_are_exposed(killings):
    kills = run(killings, 0.5, ranks=[1], signal=signal.SIGSTOP)
    assert {kill[1:] for kill in kills} == {(1, signal.SIGSTOP)}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mean_seconds": 0}, "positive"), ({"ranks": "leader"}, "'any' or a list")],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        WorkerKiller(None, **{"mean_seconds": 1, **options})


def test_without_a_cluster_there_is_nobody_to_kill():
    with (
        DistributedEnv("EI1", backend=FaultyEnv, transport="local") as env,
        pytest.raises(ConfigError, match="no cluster"),
    ):
        kill_rank(env, 0)


@pytest.mark.cluster
def test_ranks_of_a_cluster_are_killed():
    with (
        DistributedEnv("EI1", backend=FaultyEnv, num_workers=2) as env,
    ):
        with pytest.raises(ConfigError, match="no rank 1 of worker 0"):
            kill_rank(env, 0, 1)
        with pytest.raises(ConfigError, match="no rank 0 of worker 7"):
            kill_rank(env.cluster, 7)
        pids = [rank.pid for rank in env.cluster.ranks()]
        assert kill_rank(env, 1).pid == pids[1]
        assert kill_rank(env.cluster, 0).pid in pids
        calls = [env.submit(lambda run, env: env.trial, trial=t) for t in range(4)]
        assert [call.result(60) for call in calls] == [0, 1, 2, 3]
