"""Results that nobody has read: bounded in memory, safe on disk, gone when read."""

import gc
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import promises
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.results import Results
from livn_ipp.cluster.keeping.scratch import (
    Scratch,
    read_frames,
    sweep,
    take_frames,
    write_frames,
)
from livn_ipp.errors import ResultLost

FRAMES = st.lists(st.binary(max_size=200), min_size=1, max_size=5).map(tuple)
MODEST = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def files(directory):
    return [p for p in directory.rglob("*") if p.is_file() and p.name != "owner"]


def some(size=100):
    return (b"head", bytes(size))


def same(frames, others):
    return [bytes(f) for f in frames] == [bytes(f) for f in others]


def test_memory_comes_first_and_disk_after(tmp_path):
    results = Results(250, tmp_path)
    kept = [results.keep(some()) for _ in range(4)]
    assert len(files(tmp_path)) == 2
    assert results.in_memory == 208
    assert all(same(each.frames(), some()) for each in kept)
    kept[0].drop()
    assert results.in_memory == 104
    kept.append(results.keep(some()))
    assert len(files(tmp_path)) == 2
    for each in kept:
        each.drop()
        each.drop()
    assert results.in_memory == 0
    assert files(tmp_path) == []


def test_what_is_collected_unread_is_given_back(tmp_path):
    results = Results(250, tmp_path)
    kept = [results.keep(some()) for _ in range(4)]
    assert files(tmp_path)
    del kept
    gc.collect()
    assert results.in_memory == 0
    assert files(tmp_path) == []
    del results
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_result_outlives_the_store(tmp_path):
    kept = Results(0, tmp_path).keep(some())
    gc.collect()
    assert same(kept.frames(), some())
    kept.drop()
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_may_read_the_files(tmp_path):
    previous = os.umask(0)
    try:
        kept = Results(0, tmp_path).keep(some())
    finally:
        os.umask(previous)
    (file,) = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    kept.drop()


def test_arrays_come_back_writable(tmp_path):
    value = {"v": np.arange(50_000.0), "note": "x"}
    kept = Results(0, tmp_path).keep(wire.dumps(value))
    back = wire.loads(kept.frames())
    back["v"][0] = 7
    np.testing.assert_array_equal(wire.loads(kept.frames())["v"], value["v"])
    kept.drop()


@MODEST
@given(frames=FRAMES)
def test_frames_survive_a_file(tmp_path, frames):
    path = tmp_path / "frames"
    sizes = write_frames(path, frames)
    assert same(read_frames(path, sizes), frames)
    if sum(sizes):
        taken = take_frames(path, sizes)
        assert not path.exists()
        assert same(taken, frames)
    else:
        path.unlink()


@MODEST
@given(frames=FRAMES, data=st.data())
def test_a_damaged_file_is_told_and_never_read(tmp_path, frames, data):
    kept = Results(0, tmp_path).keep((*frames, b"x"))
    (file,) = files(tmp_path)
    content = bytearray(file.read_bytes())
    damage = data.draw(st.sampled_from(("flip", "cut", "grow", "gone", "swap")))
    if damage == "flip":
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
    elif damage == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif damage == "grow":
        content += b"\0"
    elif damage == "swap":
        content = content[::-1] if content != content[::-1] else content[:-1]
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(ResultLost, match=str(file)):
        kept.frames()
    kept.drop()
    assert files(tmp_path) == []


def test_a_disk_that_refuses_costs_no_result(tmp_path):
    missing = tmp_path / "unmounted"
    results = Results(50, missing)
    with pytest.warns(RuntimeWarning, match=f"{missing}.*stay in memory") as told:
        kept = [results.keep(some()) for _ in range(3)]
    assert len(told) == 1
    assert all(same(each.frames(), some()) for each in kept)
    assert results.in_memory == 312
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(Results(50, missing).keep(some()).frames(), some())


def test_a_full_disk_leaves_no_torn_file(tmp_path, monkeypatch):
    real = os.write
    room = [120]

    def write(file, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = min(room[0], len(data))
        room[0] -= count
        return real(file, data[:count])

    monkeypatch.setattr("livn_ipp.cluster.keeping.scratch.os.write", write)
    results = Results(0, tmp_path)
    with pytest.warns(RuntimeWarning, match=r"-1 \(No space left on device\)"):
        kept = [results.keep(some()) for _ in range(2)]
    assert len(files(tmp_path)) == 1
    assert all(same(each.frames(), some()) for each in kept)


OWNER = """
import os, signal, sys
from pathlib import Path
from livn_ipp.cluster.keeping.results import Results
kept = Results(0, Path(sys.argv[1])).keep((b"x" * 100,))
if sys.argv[2] == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "fork":
    if not os.fork():
        sys.exit()
    os.wait()
print("ready", flush=True)
sys.stdin.read()
"""


def owner(directory, how):
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nothing_is_left_when_python_exits(tmp_path):
    with owner(tmp_path, "exit") as process:
        assert process.stdout.readline() == "ready\n"
        assert files(tmp_path)
        process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_leaves_goes_with_the_next_start(tmp_path):
    with owner(tmp_path, "crash") as process:
        process.communicate(timeout=30)
    assert files(tmp_path)
    mine = Scratch(tmp_path)
    assert list(tmp_path.iterdir()) == [mine.path]
    mine.remove()


def test_what_others_use_is_left_alone(tmp_path):
    with owner(tmp_path, "fork") as process:
        assert process.stdout.readline() == "ready\n"
        before = files(tmp_path)
        assert len(before) == 1  # the fork took nothing with it
        Scratch(tmp_path).remove()
        assert files(tmp_path) == before
        process.communicate(timeout=30)


def test_a_directory_being_made_is_left_alone(tmp_path):
    young, old = tmp_path / "livn_ipp-young", tmp_path / "livn_ipp-old"
    other = tmp_path / "livn-else"
    for path in (young, old, other):
        path.mkdir()
    Path(tmp_path, "livn_ipp-file").touch()
    past = time.time() - 3600
    os.utime(old, (past, past))
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "livn-else",
        "livn_ipp-file",
        "livn_ipp-young",
    ]


def test_an_environment_keeps_its_unread_results_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = {"transport": "local", "result_memory": 100_000}
    with promises.environment(**options) as env:
        calls = [env.submit(promises.Echo(), bytes(60_000)) for _ in range(4)]
        while not all(call.done() for call in calls):
            time.sleep(0.01)
        assert len(files(tmp_path)) == 3
        assert calls[3].result() == bytes(60_000)
        assert len(files(tmp_path)) == 2
        files(tmp_path)[0].write_bytes(b"torn")
    # What was finished can be read after the end, too.
    ends = []
    for call in calls[:3]:
        try:
            ends.append(call.result() == bytes(60_000))
        except ResultLost as error:
            ends.append(str(tmp_path) in str(error))
    assert ends == [True, True, True]
    del calls, call, env
    gc.collect()
    assert list(tmp_path.iterdir()) == []
