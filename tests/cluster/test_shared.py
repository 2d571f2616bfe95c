"""Large messages through shared memory: right, fast, and nothing left behind."""

import contextlib
import gc
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import promises
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipyparallel import Client

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping import shared
from livn_ipp.cluster.keeping.scratch import SHARED_MEMORY
from livn_ipp.cluster.keeping.shared import Inbox, offer
from livn_ipp.cluster.machine.processes import marked

LARGE = [b"head", bytes(300_000), memoryview(b"tail")]


def same(frames, others):
    return [bytes(f) for f in frames] == [bytes(f) for f in others]


def found(inbox):
    return [path for path in Path(inbox.path).iterdir() if path.name != "owner"]


@pytest.fixture
def inbox(tmp_path):
    inbox = Inbox(tmp_path)
    yield inbox
    inbox.close()
    assert list(tmp_path.iterdir()) == []


def test_a_large_message_takes_the_short_way(inbox):
    sent = offer(LARGE, inbox.path)
    assert wire.size(tuple(sent)) < 200
    (file,) = found(inbox)
    assert file.stat().st_mode & 0o777 == 0o600
    taken = inbox.take(sent)
    assert found(inbox) == []
    assert same(taken, LARGE)


def test_a_small_message_is_sent_as_it_is(inbox):
    assert offer([b"small"], inbox.path) == [b"small"]
    assert inbox.take([b"small"]) == [b"small"]
    assert found(inbox) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 150_000), min_size=1, max_size=6))
def test_any_message_arrives(sizes):
    message = [np.random.default_rng(n).bytes(n) for n in sizes]
    inbox = Inbox()
    assert same(inbox.take(offer(message, inbox.path)), message)
    assert found(inbox) == []
    inbox.close()


def test_objects_arrive_writable(inbox):
    value = {"v": np.arange(100_000.0)}
    message = wire.pack(wire.Reply(3, (wire.Done(wire.dumps(value), 0.1),)))
    reply = wire.unpack(inbox.take(offer(message, inbox.path)))
    back = wire.loads(reply.answers[0].result)
    back["v"][0] = 1
    np.testing.assert_array_equal(back["v"][1:], value["v"][1:])


def test_another_machine_sends_the_message_itself(tmp_path):
    assert offer(LARGE, str(tmp_path / "of another machine")) is LARGE
    assert offer(LARGE, "") is LARGE
    nowhere = Inbox(tmp_path / "missing")
    assert nowhere.path == ""
    assert nowhere.take(LARGE) is LARGE
    nowhere.close()


def test_too_little_room_sends_the_message_itself(inbox, monkeypatch):
    class Room:
        f_bavail, f_frsize = 150, 4096

    monkeypatch.setattr(shared.os, "statvfs", lambda _: Room)
    assert offer([bytes(310_000)], inbox.path)[0] == bytes(310_000)
    assert found(inbox) == []

    def full(file, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("livn_ipp.cluster.keeping.scratch.os.write", full)
    assert offer([bytes(300_000)], inbox.path)[0] == bytes(300_000)
    assert found(inbox) == []


def test_a_place_outside_of_the_inbox_is_not_looked_at(inbox, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    (message,) = offer(LARGE, inbox.path)
    name = found(inbox)[0].name.encode()
    with pytest.raises(OSError, match="No such file"):
        inbox.take([bytes(message).replace(name, b"../secret")])
    assert secret.exists()
    secret.unlink()


def test_what_a_writer_that_ended_left_is_removed(inbox):
    offer(LARGE, inbox.path)
    inbox.discard([os.getpid() + 1])
    assert len(found(inbox)) == 1
    inbox.discard([os.getpid()])
    assert found(inbox) == []


def test_a_cut_file_is_told(inbox):
    message = offer(LARGE, inbox.path)
    (file,) = found(inbox)
    os.truncate(file, 1000)
    with pytest.raises(OSError, match="has 1000 bytes"):
        inbox.take(message)


class Large(promises.Echo):
    """Answers with so many numbers."""

    def __call__(self, run, env):
        return np.ones(run[0]) if env.comm.rank == 0 else None


def resident(processes):
    sizes = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            sizes[process.pid] = process.memory_info().rss
    return sizes


def settled(ready, seconds=30):
    deadline = time.monotonic() + seconds
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)
    return ready()


@pytest.mark.cluster
def test_nothing_is_kept_of_results_that_were_read(cluster_2x2):
    with promises.environment(cluster=cluster_2x2, subworld_size=2) as env:
        transport = env._dispatcher.transport
        inbox, client = Path(transport._inbox.path), transport._client
        assert inbox.parent == SHARED_MEMORY
        env(Large(), [10**7, 10**7])  # memory that is set up once
        everyone = [psutil.Process(), *marked(cluster_2x2._processes.marks)]
        sizes = resident(everyone)
        for _ in range(5):
            (numbers,) = env(Large(), [10**7])
            assert numbers.sum() == 10**7
            numbers[0] = 2
        del numbers
        gc.collect()
        # One of its keys names no message.
        messages = lambda: client.metadata.keys() - {"submitted"}
        kept = lambda: (*client.history, *client.results, *messages())
        assert settled(lambda: not kept())
        assert [path.name for path in inbox.iterdir()] == ["owner"]
        grown = {
            pid: size - sizes.get(pid, size)
            for pid, size in resident(everyone).items()
            if size - sizes.get(pid, size) > 20e6
        }
        assert not grown
    assert not inbox.exists()


@pytest.mark.cluster
def test_nothing_is_kept_for_outputs_that_came_too_early(cluster_2x2, monkeypatch):
    dispatch, deaf = Client._dispatch_iopub, True

    def dispatch_later(client, message):
        if not deaf:
            dispatch(client, message)

    # As with a client whose subscription the hub has not seen yet.
    monkeypatch.setattr(Client, "_dispatch_iopub", dispatch_later)
    with promises.environment(cluster=cluster_2x2, subworld_size=2) as env:
        client = env._dispatcher.transport._client
        assert client.metadata.keys() - {"submitted"}
        deaf = False
        assert settled(lambda: not client.metadata.keys() - {"submitted"})


CLIENT = """
import os, signal, sys, time
import numpy as np
from livn_ipp.env.distributed import DistributedEnv
sys.path.insert(0, {tests!r})
import cloudpickle, promises
cloudpickle.register_pickle_by_value(promises)

class Large(promises.Echo):
    def __call__(self, run, env):
        return np.ones(run[0]) if env.comm.rank == 0 else None

env = promises.environment(num_workers=2, subworld_size=1).init()
inbox = env._dispatcher.transport._inbox
calls = [env.submit(Large(), 10**6) for _ in range(400)]
calls[3].result()
take, taken = inbox.take, []
inbox.take = lambda message: time.sleep(60)
time.sleep(0.3)
print(inbox.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.cluster
def test_nothing_is_left_when_the_client_is_killed(case):
    process = case.start(CLIENT.format(tests=str(Path(__file__).parents[1])))
    out, err = process.communicate(timeout=90)
    assert process.returncode == -9, err
    assert case.left(40) == []
    assert settled(lambda: not Path(out.strip()).exists())


def dies_while_it_sends(run, env):
    """Answers with so much that the leader's end finds it writing, the first time."""
    if env.comm.rank:
        return None
    numbers, first = np.ones(4 * 10**7), Path(run[0])
    if not first.exists():
        first.touch()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return numbers


@pytest.mark.cluster
def test_what_a_killed_leader_was_writing_goes(tmp_path):
    with promises.environment(num_workers=1, subworld_size=2) as env:
        inbox = Path(env._dispatcher.transport._inbox.path)
        call = env.submit(dies_while_it_sends, str(tmp_path / "first"))
        assert call.result(90).sum() == 4 * 10**7
        assert call.attempts == 2
        assert settled(lambda: [path.name for path in inbox.iterdir()] == ["owner"])
    assert not inbox.exists()
