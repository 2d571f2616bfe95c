"""Clusters on a real Slurm of one machine, which the tests start themselves."""

import contextlib
import inspect
import os
import signal
import subprocess
import sys
import threading
import time

import ipyparallel
import pytest
from kernels import Notebook
from slurm import Slurm, Unavailable
from watched import until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.launchers.jobs import Job, Jobs
from livn_ipp.cluster.launchers.schedulers import SCHEDULERS
from livn_ipp.decoding import GatherAndMerge
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import LivnError, PreflightError

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SOON = 30.0  # s, for Slurm and this machine to do what they were told


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    previous = os.environ.get("SLURM_CONF")
    try:
        with Slurm(tmp_path_factory.mktemp("slurm")) as slurm:
            os.environ["SLURM_CONF"] = slurm.variables["SLURM_CONF"]
            yield slurm
    except Unavailable as error:
        pytest.skip(str(error))
    finally:
        os.environ.pop("SLURM_CONF", None)
        if previous is not None:
            os.environ["SLURM_CONF"] = previous


@pytest.fixture(scope="module", autouse=True)
def timed(slurm, tmp_path_factory):
    """A job with the shortest time limit there is: what takes long begins early."""
    log = tmp_path_factory.mktemp("timed") / "job.log"
    jobs = Jobs(SCHEDULERS["slurm"], "livn-timed")
    script = f"#!/bin/sh\n#SBATCH -J livn-timed -t 1 -o {log}\nexec sleep 300\n"
    job = Job(jobs, jobs.submit(script), ["sleep"], log, None)
    slurm.background.add(job.job)
    assert job.why == ""
    return job


@pytest.fixture
def quiet(slurm):
    """A Slurm that runs no job before a test nor after it."""
    slurm.await_jobs(lambda jobs: not jobs)
    yield slurm
    left = slurm.jobs()
    for job in left:
        slurm.run("scancel", job)
    assert not left, "jobs were left"


class Starting:
    """A cluster that is being started on a thread."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.error = None
        self._thread = threading.Thread(target=self._start)
        self._thread.start()

    def _start(self):
        try:
            self.cluster.start()
        except LivnError as error:
            self.error = error

    def join(self):
        self._thread.join(SOON)
        assert not self._thread.is_alive()

    @property
    def job(self):
        """Id of its first job."""
        return until(lambda: self.cluster.jobs.get("w0"), SOON, "a submission")

    def says(self, words):
        until(lambda: words in self.cluster.status.get("w0", ""), SOON, words)


@pytest.fixture
def starting():
    with contextlib.ExitStack() as stack:

        def start(*args, **options):
            cluster = Cluster(*args, **options)
            started = Starting(cluster)
            stack.callback(started.join)
            stack.callback(cluster.stop)
            return started

        yield start


def spikes(env, trials):
    """Submit one call for each trial; the returned function waits for the spikes."""
    calls = [env.submit(GatherAndMerge(duration=500), trial=trial) for trial in trials]

    def results():
        runs = [call.result(90) for call in calls]
        return [(run.spikes.ids.tolist(), run.spikes.times.tolist()) for run in runs]

    return calls, results


@pytest.mark.neuron
@pytest.mark.timeout(300)
def test_a_world_whose_rank_is_killed_is_replaced_by_a_new_job(quiet, cluster_2x2):
    trials = range(6)
    with DistributedEnv("EI1", cluster=cluster_2x2, subworld_size=2) as env:
        env.record_spikes()
        expected = spikes(env, trials)[1]()
    assert sum(len(ids) for ids, _ in expected) > 50
    with DistributedEnv(
        "EI1", num_workers=2, subworld_size=2, launcher="slurm",
        launcher_options={"queue": "debug", "time_limit": "0:30:00"},
    ) as env:  # fmt: skip
        env.record_spikes()
        cluster = env.cluster
        before = cluster.jobs
        assert sorted(before) == ["w0", "w1"]
        assert quiet.jobs() == dict.fromkeys(before.values(), "RUNNING")
        assert all("running on" in status for status in cluster.status.values())
        assert all(job in repr(cluster) for job in before.values())
        assert spikes(env, trials)[1]() == expected

        calls, results = spikes(env, trials)
        until(lambda: all(call.attempts for call in calls[:2]), SOON, "a start")
        os.kill(cluster.worlds["w0"][1].pid, signal.SIGKILL)
        assert results() == expected
        assert max(call.attempts for call in calls) == 2
        until(lambda: len(env._dispatcher.workers) == 2, 60, "the replacement")
        after = cluster.jobs
        assert sorted(after) == ["w1", "w2"]
        assert after["w1"] == before["w1"]
        assert set(quiet.jobs()) == set(after.values())

        # What Slurm does to a job is told by its name.
        world = cluster.worlds["w2"]
        quiet.run("scancel", after["w2"])
        why = f"job {after['w2']} was cancelled"
        until(lambda: cluster.why_ended("w2") == why or "w2" not in cluster.jobs, SOON)
        until(lambda: "w3" in cluster.worlds, 60, "another replacement")
        assert not {rank.pid for rank in cluster.worlds["w3"]} & {r.pid for r in world}
        assert spikes(env, trials)[1]() == expected
    quiet.await_jobs(lambda jobs: not jobs)


BEGIN = """
from livn_ipp import DistributedEnv
from livn_ipp.testing import kill_rank

env = DistributedEnv(
    "EI1", num_workers=2, subworld_size=2, launcher="slurm",
    launcher_options={"queue": "debug", "time_limit": "0:30:00"},
).init().record_spikes()
first = [run.digest() for run in env.map(500, [None] * 6, trial=0)]
print(len(set(first)), *env.cluster.jobs.values())
"""
LOSE = """
calls = [env.submit(500, trial=trial) for trial in range(6)]
while not calls[0].attempts:
    pass
killed = kill_rank(env, calls[0].worker, 1)
print([call.result(120).digest() for call in calls] == first)
env.wait_for_workers(2, timeout=120)
print(*env.cluster.jobs.values())
"""


@pytest.mark.neuron
@pytest.mark.timeout(300)
def test_a_notebook_has_workers_in_jobs_and_loses_no_call_with_one(quiet, case):
    notebook = Notebook({**case.environment, "SLURM_CONF": os.environ["SLURM_CONF"]})
    try:
        different, *before = notebook.run(BEGIN, 150).split()
        assert different == "6", before
        assert set(quiet.jobs()) == set(before)
        same, *after = notebook.run(LOSE, 250).split()
        assert same == "True", after
        assert len(set(before) & set(after)) == 1
        assert set(quiet.jobs()) == set(after)
        notebook.run("env.shutdown()")
    finally:
        notebook.close()
    quiet.await_jobs(lambda jobs: not jobs)
    assert not case.left(15)


def test_time_in_the_queue_is_told_and_does_not_count(quiet, starting, capfd):
    start = starting(
        1, 2, launcher="slurm", launcher_options={"directives": ["--hold"]}
    )
    start.says("pending (JobHeldUser)")
    told = ""
    deadline = time.monotonic() + SOON
    while "waiting for job" not in told and time.monotonic() < deadline:
        told += capfd.readouterr().err
        time.sleep(0.05)
    assert f"waiting for job {start.job} pending (JobHeldUser)\n" in told
    quiet.run("scontrol", "release", start.job)
    start.join()
    assert start.error is None
    assert [rank.size for rank in start.cluster.ranks()] == [2, 2]


def test_a_pending_job_that_is_cancelled_ends_the_start(quiet, starting):
    start = starting(
        1, 2, launcher="slurm", launcher_options={"directives": ["--hold"]}
    )
    start.says("pending (JobHeldUser)")
    quiet.run("scancel", start.job)
    start.join()
    assert "world w0 ended: job" in str(start.error)
    assert "was cancelled while the cluster started" in str(start.error)


def test_a_job_waits_no_longer_than_asked_for(quiet):
    # A node that does not exist in this size: Slurm lets such a job wait for ever.
    with pytest.raises(PreflightError) as refusal:
        Cluster(
            1, 2, launcher="slurm",
            launcher_options={"queue": "closed", "queue_timeout": 1.5},
        ).start()  # fmt: skip
    text = str(refusal.value)
    assert "did not run within queue_timeout=1.5 s: job" in text
    assert "pending (PartitionDown)" in text


def test_stopping_cancels_pending_jobs(quiet, starting):
    start = starting(
        1, 2, launcher="slurm", launcher_options={"directives": ["--hold"]}
    )
    assert set(quiet.await_jobs(bool).values()) == {"PENDING"}
    start.cluster.stop()
    quiet.await_jobs(lambda jobs: not jobs)


def test_what_slurm_refuses_is_told_at_once_in_its_words(quiet):
    began = time.monotonic()
    with pytest.raises(PreflightError) as refusal:
        Cluster(1, 2, launcher="slurm", launcher_options={"queue": "nowhere"}).start()
    assert time.monotonic() - began < SOON
    text = str(refusal.value)
    assert "Slurm refused the job" in text
    assert "Invalid partition name specified" in text
    assert "#SBATCH --partition=nowhere" in text


def test_a_job_that_fails_shows_the_end_of_its_log(quiet):
    with pytest.raises(PreflightError) as failure:
        Cluster(
            1, 2, launcher="slurm",
            launcher_options={"setup": ["echo no such module >&2; exit 3"]},
        ).start()  # fmt: skip
    text = str(failure.value)
    assert "ended with exit code 3 while the cluster started" in text
    assert text.endswith("no such module")


START = """
import threading, time
from livn_ipp.cluster.launch import Cluster
running = Cluster(1, 2, launcher="slurm").start()
held = Cluster(1, 2, launcher="slurm", launcher_options={"directives": ["--hold"]})
threading.Thread(target=held.start, daemon=True).start()
while not held.jobs:
    time.sleep(0.05)
print("started", flush=True)
time.sleep(300)
"""


def test_a_killed_kernel_leaves_no_job(quiet, case):
    owner = case.start(START)
    assert owner.stdout.readline() == "started\n"
    states = quiet.await_jobs(lambda jobs: len(jobs) == 2)
    assert sorted(states.values()) == ["PENDING", "RUNNING"]
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate(timeout=10)
    quiet.await_jobs(lambda jobs: not jobs, 35.0)
    assert not case.left(10)


INSIDE = """
import json, os
from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.environment import usable_cores
with Cluster(subworld_size=2) as cluster:
    ranks = [(rank.world, rank.size, rank.host) for rank in cluster.ranks()]
print(json.dumps([usable_cores(), ranks]))
"""


def test_a_notebook_inside_an_allocation_uses_what_that_has(quiet, tmp_path):
    program, out = tmp_path / "inside.py", tmp_path / "out"
    program.write_text(INSIDE)
    quiet.run(
        *("sbatch", "--ntasks=4", f"--output={out}"),
        f"--wrap=exec {sys.executable} {program}",
    )
    quiet.await_jobs(lambda jobs: not jobs, 90)
    text = out.read_text()
    cores = min(4, len(os.sched_getaffinity(0)))
    host = quiet.host
    sizes = [(f"w{i}", 2, host) for i in range(max(1, cores // 2)) for _ in range(2)]
    assert text.splitlines()[-1] == str(
        [cores, [list(each) for each in sizes]]
    ).replace("'", '"'), text


def test_a_job_that_runs_out_of_time_says_so(slurm, timed):
    # Looked at as a supervisor does; asking Slurm only now and then.
    until(lambda: timed.exit_code is not None, 110, "the time limit")
    assert timed.why == f"job {timed.job} reached its time limit"


def test_all_workers_may_share_a_job_whose_end_has_a_reason(quiet):
    with Cluster(2, 2, workers_per_world="all", launcher="slurm") as cluster:
        [job] = cluster.jobs.values()
        assert [rank.size for rank in cluster.ranks()] == [4] * 4
        assert [len(place.engines) for place in cluster.workers] == [2, 2]
        quiet.run(
            "scontrol", "update", f"NodeName={quiet.host}", "State=DOWN", "Reason=test"
        )
        try:
            until(lambda: cluster.exit_code("w0") is not None, SOON, "the end")
            assert cluster.why_ended("w0") == f"job {job} lost its node"
        finally:
            with contextlib.suppress(AssertionError):  # it is back by itself
                quiet.run(
                    "scontrol", "update", f"NodeName={quiet.host}", "State=RESUME"
                )
            quiet.await_idle()
    quiet.await_jobs(lambda jobs: not jobs)


def node():
    """Runs on an engine: the world, and the node that it is on."""
    import os

    return os.environ["LIVN_IPP_WORLD"], os.environ["SLURMD_NODENAME"]


SPREAD = f"""
{inspect.getsource(node)}
from livn_ipp.cluster.launch import Cluster
with Cluster(subworld_size=2) as cluster:
    print(sorted(cluster.client[:].apply_sync(node)))
"""


def test_worlds_are_spread_over_the_nodes_that_they_are_given(tmp_path, monkeypatch):
    # Settings of this shell's may tell Open MPI to put all ranks on the first node.
    monkeypatch.delenv("PRTE_MCA_rmaps_default_mapping_policy", raising=False)
    program, out = tmp_path / "inside.py", tmp_path / "out"
    program.write_text(SPREAD)
    try:
        with Slurm(tmp_path / "slurm", nodes=["n1", "n2"]) as both:
            monkeypatch.setenv("SLURM_CONF", both.variables["SLURM_CONF"])
            # One world of two nodes ...
            wide = ["--nodes=2", "--ntasks-per-node=1"]
            with Cluster(
                1, 2, launcher="slurm", launcher_options={"directives": wide}
            ) as cluster:
                places = cluster.client[:].apply_sync(ipyparallel.interactive(node))
                assert sorted(places) == [("w0", "n1"), ("w0", "n2")]
            both.await_jobs(lambda jobs: not jobs)
            # ... and two worlds in a job that has two nodes, one each.
            both.run(
                *("sbatch", "--nodes=2", "--ntasks-per-node=2", f"--output={out}"),
                f"--wrap=exec {sys.executable} {program}",
            )
            both.await_jobs(lambda jobs: not jobs, 90)
    except Unavailable as error:
        pytest.skip(str(error))
    expected = [(f"w{world}", f"n{world + 1}") for world in (0, 0, 1, 1)]
    text = out.read_text()
    assert text.splitlines()[-1] == str(expected), text


def test_nothing_of_slurm_outlives_its_tests(tmp_path):
    try:
        with Slurm(tmp_path / "slurm") as other:
            assert other.jobs() == {}
            subprocess.run(
                ["sbatch", "--output=/dev/null", "--wrap=exec sleep 300"],
                env={**os.environ, **other.variables},
                timeout=SOON,
                check=True,
            )
            other.await_jobs(lambda jobs: "RUNNING" in jobs.values())
            raise ZeroDivisionError
    except Unavailable as error:
        pytest.skip(str(error))
    except ZeroDivisionError:
        assert not other.processes()
