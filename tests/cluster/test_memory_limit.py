"""Bounds on the memory of ranks, and on the size of what they send."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import promises
import pytest

from livn_ipp.cluster.keeping import results
from livn_ipp.cluster.keeping.results import check_size
from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine import memory, preflight
from livn_ipp.cluster.starting.causes import cause, last_words
from livn_ipp.errors import ConfigError, ResultTooLarge, WorkerLost, WorkerMemoryError

MB = 10**6

# C functions hold the interpreter, as a simulation does between two chunk ends.
HUNGRY = """
import ctypes, sys, time
from livn_ipp.cluster.machine.memory import MemoryWatch
watch = MemoryWatch(int(sys.argv[1]), rank=3)
print(time.time(), flush=True)
food = ctypes.create_string_buffer(int(sys.argv[2]))
ctypes.PyDLL(None).sleep(int(sys.argv[3]))
watch.close()
watch.close()
print("well", flush=True)
"""


def hungry(limit, food, seconds):
    began = [sys.executable, "-c", HUNGRY, *map(str, (limit, food, seconds))]
    process = subprocess.Popen(
        began, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = process.communicate(timeout=60)
    return process, out.split(), err, time.time()


def test_who_takes_too_much_ends_with_last_words_though_c_code_runs():
    process, out, err, ended = hungry(200 * MB, 300 * MB, 30)
    assert process.returncode == -9
    assert len(out) == 1
    assert ended - float(out[0]) < 2
    (words,) = last_words(err)
    assert words["kind"] == "memory"
    assert words["rank"] == 3
    assert words["pid"] == process.pid
    assert words["rss"] >= 190 * MB
    assert cause(err, None, {}) == "rank 3 used more memory than memory_limit allows"
    error = memory.memory_error(words, worker=1)
    assert isinstance(error, (WorkerLost, MemoryError))
    assert (error.rss, error.limit, error.worker) == (words["rss"], 200 * MB, 1)
    assert "rank 3" in str(error)


def test_who_stays_below_the_limit_is_left_alone():
    process, out, err, _ = hungry(400 * MB, 100 * MB, 1)
    assert process.returncode == 0, err
    assert out[-1] == "well"
    assert last_words(err) == []


def test_a_watch_ends_with_whom_it_watches():
    text = """
import os, signal
from livn_ipp.cluster.machine.memory import MemoryWatch
print(MemoryWatch(10**12, rank=0)._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60
    )
    watch = int(run.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(watch, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{watch}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            return  # ended; nobody reaps orphans in some containers
        time.sleep(0.05)
    raise AssertionError("the watch outlived its rank")


def test_a_result_may_not_exceed_what_was_said():
    check_size(1000, 1000)
    with pytest.raises(ResultTooLarge, match=r"has 0.001 MB, and max_result .* 0.001"):
        check_size(1001, 1000)


def test_by_default_a_result_may_have_a_third_of_the_memory(monkeypatch):
    monkeypatch.setattr(results, "available_memory", lambda: 600 * MB)
    check_size(200 * MB, None)
    with pytest.raises(ResultTooLarge, match=r"has 0.21 GB.* 0.60 GB of memory"):
        check_size(210 * MB, None)
    monkeypatch.setattr(results, "available_memory", lambda: 0)
    check_size(60 * MB, None)


def test_a_result_that_is_too_large_is_told_and_the_worker_lives_on():
    with promises.environment(transport="local", max_result=100_000) as env:
        assert len(env(promises.Echo(), [bytes(90_000)])[0]) == 90_000
        with pytest.raises(ResultTooLarge, match="and max_result allows"):
            env(promises.Echo(), [bytes(200_000)])
        assert env(promises.Echo(), [7]) == [7]


def eat(run, env):
    """Take memory on one rank, while C code keeps the interpreter."""
    if env.comm.rank == 1:
        Path(run[0]).write_text(str(time.time()))
        food = ctypes.create_string_buffer(600 * MB)
        ctypes.PyDLL(None).sleep(30)
        del food
    env.comm.barrier()


@pytest.mark.cluster
def test_a_call_that_takes_too_much_fails_once_and_its_worker_comes_back(tmp_path):
    note = tmp_path / "began"
    with (
        Cluster(num_workers=2, subworld_size=2) as cluster,
        promises.environment(
            cluster=cluster, subworld_size=2, memory_limit=400 * MB
        ) as env,
    ):
        call = env.submit(eat, str(note), worker=1)
        with pytest.raises(WorkerMemoryError, match=r"rank 1 .* memory_limit") as told:
            call.result(60)
        seconds = time.time() - float(note.read_text())
        print(f"from crossing to error: {seconds:.2f} s")
        assert seconds < 10
        assert call.attempts == 1
        assert told.value.rss >= 380 * MB
        assert told.value.limit == 400 * MB
        assert isinstance(told.value, (MemoryError, WorkerLost))
        assert env(promises.Echo(), [1, 2, 3]) == [1, 2, 3]
        # The worker that takes its place has the same index.
        assert env.submit(promises.Echo(), 4, worker=1).result(60) == 4


def test_a_limit_that_an_idle_rank_exceeds_is_refused():
    with pytest.raises(ConfigError, match="memory_limit=1000000 bytes is less than"):
        promises.environment(transport="local", memory_limit=MB)


def test_limits_that_exceed_the_machine_together_are_told(monkeypatch):
    monkeypatch.setattr(preflight, "available_memory", lambda: 8e9)
    preflight.warn_of_memory(2e9, ranks=4)
    with pytest.warns(RuntimeWarning, match=r"may take 9.0 GB, but 8.0 .* 2.7 GB"):
        preflight.warn_of_memory(3e9, ranks=3)
