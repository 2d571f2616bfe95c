"""Ranks that take too much memory, results that are too large, disks that refuse."""

import ctypes
import time
from pathlib import Path

import numpy as np
import pytest
from watched import PATIENCE, until

from livn_ipp.errors import ResultLost, ResultTooLarge, WorkerLost, WorkerMemoryError
from livn_ipp.testing import Fault
from livn_ipp.types import Decoding

pytestmark = pytest.mark.cluster

MEGABYTE = 10**6


class Gluttony:
    """Take memory, and keep the interpreter while others might notice."""

    def __init__(self, note):
        self.note = note

    def __call__(self, env):
        Path(self.note).write_text(str(time.time()))
        food = ctypes.create_string_buffer(600 * MEGABYTE)
        ctypes.PyDLL(None).sleep(60)
        del food


class Ones(Decoding):
    """Answer with ones, on one rank."""

    duration: float = 1e-9
    size: int
    rank: int = 0

    def __call__(self, run, env=None):
        return np.ones(self.size) if env.comm.rank == self.rank else None


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_over_its_limit_ends_its_call_and_no_other(
    watch, record, tmp_path, rank
):
    """F11."""
    watched = watch(memory_limit=400 * MEGABYTE)
    note = tmp_path / "began"
    call = watched.submit(10, Fault(Gluttony(note), ranks=[rank]), worker=0)
    other = watched.submit(1000, worker=1, pace=0.003)
    with pytest.raises(WorkerMemoryError, match=f"rank {rank} .*memory_limit") as told:
        call.result(PATIENCE)
    record("F11", result=time.time() - float(note.read_text()))
    assert call.attempts == 1
    assert told.value.limit == 400 * MEGABYTE
    assert told.value.rss >= 380 * MEGABYTE
    assert isinstance(told.value, (MemoryError, WorkerLost))
    other.result(PATIENCE)
    assert other.attempts == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_result_that_is_too_large_is_told(watch, record, rank):
    """F9."""
    watched = watch(max_result=MEGABYTE)
    began = time.monotonic()
    with pytest.raises(ResultTooLarge, match="and max_result allows 1 MB"):
        watched.submit(Ones(size=200_000, rank=rank), worker=0).result(PATIENCE)
    record("F9", too_large=time.monotonic() - began)
    assert watched.submit(Ones(size=100, rank=rank)).result(PATIENCE).sum() == 100
    assert not watched.lost


def unread(watched, number):
    calls = [watched.submit(Ones(size=20_000), trial=i) for i in range(number)]
    until(lambda: all(call.done() for call in calls), what="the results")
    return calls


def test_a_disk_that_refuses_costs_no_result(watch, monkeypatch, tmp_path):
    """F23."""
    missing = tmp_path / "unmounted"
    monkeypatch.setattr("tempfile.tempdir", str(missing))
    watched = watch(result_memory=500_000)
    with pytest.warns(RuntimeWarning, match=f"cannot be written to {missing}"):
        calls = unread(watched, 8)
    assert all(call.result().sum() == 20_000 for call in calls)


def test_a_torn_file_is_told_and_the_others_are_whole(watch, monkeypatch, tmp_path):
    """F23."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    watched = watch(result_memory=500_000)
    calls = unread(watched, 8)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "owner"]
    assert len(files) == 5
    torn = files[2]
    torn.write_bytes(torn.read_bytes()[:-1])
    ends = []
    for call in calls:
        try:
            ends.append(call.result().sum())
        except ResultLost as error:
            ends.append(str(torn) in str(error))
    assert sorted(ends) == [True, *[20_000] * 7]
    torn.unlink()
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "owner"] == []
