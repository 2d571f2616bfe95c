import errno
import gc
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping import outbox
from livn_ipp.cluster.keeping.outbox import Outbox

LIMIT = 100


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever is kept and not acknowledged is there, whole and in order."""

    def __init__(self):
        super().__init__()
        self.outbox = Outbox(memory=LIMIT)
        self.kept = {}
        self.number = 0

    @rule(message=st.lists(st.binary(max_size=60), max_size=4), gap=st.integers(1, 5))
    def keep(self, message, gap):
        self.number += gap
        self.outbox.keep(self.number, [memoryview(part) for part in message])
        self.kept[self.number] = tuple(message)
        newest = sum(map(len, message))
        assert self.outbox.memory <= max(LIMIT, newest)

    @rule(back=st.integers(-1, 12))
    def acknowledge(self, back):
        number = self.number - back
        self.outbox.acknowledge(number)
        self.kept = {n: m for n, m in self.kept.items() if n > number}

    @invariant()
    def the_rest_is_there(self):
        assert len(self.outbox) == len(self.kept)
        found = {n: tuple(map(bytes, message)) for n, message in self.outbox}
        assert list(found.items()) == list(self.kept.items())

    def teardown(self):
        self.outbox.close()


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=50, deadline=None)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_spilled_files_have_no_name_and_go_when_they_are_acknowledged(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gc.collect()
    before = open_files()
    outbox = Outbox(memory=10)
    for number in range(4):
        outbox.keep(number, [bytes(8)])
    assert open_files() == before + 3
    assert not list(tmp_path.iterdir())
    outbox.acknowledge(1)
    assert open_files() == before + 1
    outbox.close()
    outbox.close()
    assert open_files() == before
    assert len(outbox) == 0


def test_on_a_full_disk_replies_stay_in_memory(monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(outbox.tempfile, "TemporaryFile", full)
    box = Outbox(memory=10)
    for number in range(3):
        box.keep(number, [bytes(8)])
    assert [number for number, _ in box] == [0, 1, 2]
    assert box.memory == 24


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_reply_is_read_back_as_it_was_sent(memory):
    box = Outbox(memory)
    done = wire.Done(wire.dumps({"voltage": list(range(100_000))}), 0.5)
    for number in (7, 8):
        box.keep(number, wire.pack(wire.Reply(number, (done,))))
    for number, frames in box:
        reply = wire.unpack(frames)
        assert reply.parcel == number
        assert wire.loads(reply.answers[0].result)["voltage"][-1] == 99_999
    box.close()
