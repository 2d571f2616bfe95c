"""A search over a cluster: the same table, whatever becomes of the workers."""

import signal
import time
from pathlib import Path

import pytest
from cases import Case
from watched import until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import end
from livn_ipp.cluster.starting.owned import Heartbeat
from livn_ipp.decoding import GatherAndMerge
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError, LivnError
from livn_ipp.search import Search, State
from livn_ipp.testing import LightEnv, kill_rank

SPACE = {"x": (0, 1), "weights.a": (0, 1), "c": ["a", "b"]}
PATIENCE = 90


def objective(env, candidate, seed):
    """Takes 50 ms, and fails for some candidates."""
    run = env(GatherAndMerge(duration=50), pace=0.001)
    if candidate["x"] > 0.8:
        raise ValueError("too much")
    if run is None:  # not the leader
        return None
    return len(run.spike_ids) + sum(env.weights.values()) + candidate["x"] + seed % 3


def search(env, **options):
    options = {"population_size": 12, "seed": 5, "on_error": "skip", **options}
    space = options.pop("space", SPACE)
    return Search(env, space, options.pop("objective", objective), **options)


@pytest.fixture(scope="module")
def digest():
    """Of the table that one process finds."""
    here = search(LightEnv("EI1").init().record_spikes())
    here.run(3)
    states = {each.state for each in here.table}
    assert states == {State.COMPLETE, State.FAILED}
    return here.digest()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(2, heartbeat_interval=0.5, heartbeat_timeout=1.5) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def env(cluster):
    options = {"backend": LightEnv, "grace": 1.0}
    with DistributedEnv("EI1", cluster=cluster, **options) as env:
        env.set_weights({"b": 0.0})
        yield env.record_spikes()


@pytest.fixture
def two(env):
    env.scale(2)
    return env.wait_for_workers(2, PATIENCE)


@pytest.mark.cluster
def test_two_workers_find_the_same_table(two, digest):
    found = search(two, min_workers=2)
    reports = found.run(3)
    assert found.digest() == digest
    assert sum(report.evaluated for report in reports) == 36
    workers = {each.worker for each in found.table}
    assert workers == {0, 1}
    for report in reports:
        assert set(report.busy) == {0, 1}
        assert all(0 < share <= 1 for share in report.busy.values())
    assert two.submit(10).result(PATIENCE) is not None


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSTOP], ids=["kill", "stop"]
)
def test_a_worker_that_is_lost_in_the_middle_changes_nothing(two, digest, number):
    """A frozen one is found by the heartbeat that the cluster was given."""
    hit = []

    def strike(found, report):
        if not hit:
            hit.append(kill_rank(two, 0, 0, signal=number))

    found = search(two, batch_size=2)
    reports = found.run(3, callback=strike)
    if all(each.attempts == 1 for each in found.table):
        # The others had done it all before the loss showed.
        until(lambda: two._dispatcher.expected, PATIENCE, "the loss")
    assert found.digest() == digest
    assert sum(report.lost for report in reports) == 0


def dies_once(env, candidate, seed):
    """Kill this worker in the first evaluation that gets here, then never again."""
    import os

    try:
        os.close(os.open(candidate["marker"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return objective(env, candidate, seed)
    os.kill(os.getpid(), signal.SIGKILL)
    return None


@pytest.mark.cluster
@pytest.mark.slow
def test_a_lost_evaluation_is_tried_again_as_often_as_it_may(two, tmp_path):
    space = SPACE | {"x": (0, 0.5), "marker": [str(tmp_path / "once")]}
    found = search(two, objective=dies_once, space=space)
    (report,) = found.run(1)
    assert report.retried >= 1
    assert max(each.attempts for each in found.table) == 2
    assert {each.state for each in found.table} == {State.COMPLETE}
    space["marker"] = [str(tmp_path / "again")]
    found = search(two, objective=dies_once, space=space, max_retries=0)
    (report,) = found.run(1)
    lost = [each for each in found.table if each.state is State.LOST]
    assert len(lost) == report.lost >= 1
    for each in lost:
        assert (each.value, each.attempts) == (None, 1)
        assert "signal 9" in each.traceback or "killed" in each.traceback.lower()


def hangs(env, candidate, seed):
    if candidate["c"] == "b":
        time.sleep(1000)
    return 1.0


@pytest.mark.cluster
@pytest.mark.slow
def test_an_evaluation_that_hangs_costs_its_worker_and_no_more(two):
    options = {"algorithm": "grid", "population_size": 2, "task_timeout": 2}
    found = search(two, objective=hangs, space={"c": ["a", "b"]}, **options)
    (report,) = found.run(1)
    states = [(each.state, each.error) for each in found.table]
    late = "CallTimeout: it ran longer than it may"
    assert states == [(State.COMPLETE, ""), (State.FAILED, late)]
    assert report.failed == 1


@pytest.mark.cluster
@pytest.mark.slow
def test_three_workers_and_one_find_the_same_table(two, digest):
    two.add_workers(1)
    found = search(two, min_workers=3, connect_timeout=PATIENCE)
    found.run(3)
    assert found.num_workers == 3
    assert found.digest() == digest
    two.remove_workers([1, 2])
    until(lambda: two.num_workers == 1, PATIENCE, "the end of two workers")
    alone = search(two)
    alone.run(3)
    assert {each.worker for each in alone.table if each.source is None} == {0}
    assert alone.digest() == digest
    with pytest.raises(LivnError, match="2"):
        search(two, min_workers=2, connect_timeout=0.5).run(1)


BRINGS = """
from livn_ipp.search import Worker

def own(env, candidate, seed):
    return -1.0

Worker({file!r}, own, connect_timeout=60).start()
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_a_worker_joins_with_an_objective_of_its_own(two, cluster, tmp_path):
    before = set(two.ranks())
    case = Case(tmp_path)
    joiner = case.start(BRINGS.format(file=str(cluster.file)))
    try:
        two.wait_for_workers(len(before) + 1, PATIENCE)
        (joined,) = set(two.ranks()) - before
        found = search(two, population_size=30)
        found.run(1)
        own = {each.value == -1.0 for each in found.table if each.worker == joined}
        others = {each.value == -1.0 for each in found.table if each.worker in before}
        assert (own, others) == ({True}, {False})
        joiner.send_signal(signal.SIGINT)
        joiner.communicate(timeout=PATIENCE)
        until(lambda: two.num_workers == len(before), PATIENCE, "the joiner's leave")
    finally:
        end(case.mark, grace=0.5)
        joiner.communicate(timeout=PATIENCE)


def test_heartbeats_are_said_to_the_controller():
    assert Heartbeat().arguments() == (
        "--HeartMonitor.period=1000",
        "--HeartMonitor.max_heartmonitor_misses=5",
    )
    period, misses = Heartbeat(0.3, 1.0).arguments()
    assert (period[-3:], misses[-2:]) == ("300", "=4")
    for interval, timeout in ((0, 1), (2, 1), (1, None), ("1", 5)):
        with pytest.raises(ConfigError, match="heartbeat_"):
            Cluster(1, heartbeat_interval=interval, heartbeat_timeout=timeout)


def test_the_cluster_passes_its_heartbeat_on(monkeypatch):
    from livn_ipp.cluster.starting import owned

    class Started(Exception):
        pass

    said = []

    def start(command, environment, log):
        said.extend(command)
        raise Started

    monkeypatch.setattr(owned, "Started", start)
    with pytest.raises(Started):
        Cluster(1, heartbeat_interval=2, heartbeat_timeout=20).start()
    assert "--HeartMonitor.period=2000" in said
    assert "--HeartMonitor.max_heartmonitor_misses=10" in said
    assert Path(said[0]).name.startswith("python")
