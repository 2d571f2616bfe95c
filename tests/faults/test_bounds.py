"""Thousands of calls, large results, random mistakes: nothing is kept or leaked."""

import contextlib
import ctypes
import gc
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from watched import PATIENCE, until

from livn_ipp.cluster.machine.processes import marked
from livn_ipp.errors import CallCancelled
from livn_ipp.testing import Fault, Raise
from livn_ipp.types import Decoding

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MEGABYTE = 1 << 20
CALLS = int(os.environ.get("LIVN_IPP_FAULTS_CALLS", "10000"))


class Nothing(Decoding):
    """Answer with the trial, without simulating anything."""

    duration: float = 1e-9

    def __call__(self, run, env=None):
        return env.trial


class Ones(Decoding):
    duration: float = 1e-9
    size: int

    def __call__(self, run, env=None):
        return np.ones(self.size, np.uint8)


def resident():
    """Bytes that this process holds, after giving back what it can."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def possessions(cluster):
    """Threads and files of this process, processes of the cluster, by name."""
    found = Counter(f"thread {each.name}" for each in threading.enumerate())
    found.update(f"process {each.pid}" for each in marked(cluster._processes.marks))
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # of the directory itself
            found[f"file {each.readlink()}"] += 1
    return found


@pytest.mark.timeout(120 + CALLS // 100)
def test_many_calls_with_cancels_and_errors(watch, cluster, record):
    """F22: what this process holds does not grow, and nothing is left open."""
    env = watch().env
    choice = random.Random(1)
    rounds = max(1, CALLS // 1000)
    ends = {"right": 0, "failed": 0, "cancelled": 0}

    def some():
        faulty = Fault(Raise(ValueError, "by chance"))
        inputs = [faulty if choice.random() < 0.01 else None for _ in range(1000)]
        calls = [env.submit(Nothing(), each, trial=i) for i, each in enumerate(inputs)]
        for call in choice.sample(calls, 20):
            call.cancel()
        for trial, (call, each) in enumerate(zip(calls, inputs, strict=True)):
            try:
                assert call.result(PATIENCE) == trial
                assert each is None
                ends["right"] += 1
            except CallCancelled:
                ends["cancelled"] += 1
            except ValueError:
                assert each is faulty
                ends["failed"] += 1

    some()
    some()
    before, held = resident(), possessions(cluster)
    began = time.monotonic()
    ends = dict.fromkeys(ends, 0)
    for _ in range(rounds):
        some()
    took = time.monotonic() - began
    assert sum(ends.values()) == 1000 * rounds
    assert all(ends.values())
    until(lambda: resident() - before < 20 * MEGABYTE, 10, "giving memory back")
    # What others left behind before may end meanwhile; what is new is to be closed.
    left = lambda: sorted(possessions(cluster) - held)
    until(lambda: not left(), 10, lambda: f"closing {left()}")
    record(
        "F22",
        calls_number=1000 * rounds,
        growth_mb=(resident() - before) / MEGABYTE,
        took=took,
    )


@pytest.mark.timeout(300)
def test_large_results_are_not_kept(watch, cluster, record):
    """F22: neither here nor in the cluster's controller."""
    env = watch().env
    large = Ones(size=80_000_000)

    def controller():
        first = psutil.Process(cluster._processes._controller.pid)
        parts = [first, *first.children(recursive=True)]
        return sum(part.memory_info().rss for part in parts)

    assert env.submit(large).result(PATIENCE).sum() == 80_000_000
    before, hub_before = resident(), controller()
    for _ in range(5):
        assert env.submit(large).result(PATIENCE).sum() == 80_000_000
    until(lambda: resident() - before < 20 * MEGABYTE, 10, "giving memory back")
    until(lambda: controller() - hub_before < 40 * MEGABYTE, 10, "the hub forgetting")
    record(
        "F22",
        large_growth_mb=(resident() - before) / MEGABYTE,
        hub_growth_mb=(controller() - hub_before) / MEGABYTE,
    )
