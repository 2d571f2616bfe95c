"""The journal against a model of it, cut off anywhere."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping import journal as module
from livn_ipp.cluster.keeping.journal import Journal, Past, Sent
from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import ConfigError

OWNER = {"host": "here", "pid": 7, "began": 1.5}
SETTER = st.tuples(st.just("set"), st.sampled_from(["set_weights", "set_noise"]))
PARCEL = st.tuples(st.just("sent"), st.integers(0, 1), st.integers(0, 3))
SEATED = st.tuples(st.just("seated"), st.integers(0, 2), st.booleans())
ACKNOWLEDGED = st.tuples(st.just("acknowledge"), st.integers(0, 1))


class Kernel:
    """Does what a kernel does, in the journal and in a plain account of it."""

    def __init__(self, path):
        factory = wire.dumps({"system": "EI1"})
        self.path = path
        self.journal = Journal.create(path, 2, factory, OWNER)
        self.past = Past(2, factory, OWNER)
        self.received = {0: -1, 1: -1}
        self.parcel = self.call = 0

    def do(self, step):
        if step[0] == "set":
            arguments = wire.dumps((len(self.past.log), bytes(100_000)))
            self.journal.configured(step[1], arguments)
            entry = wire.Entry(len(self.past.log) + 1, step[1], arguments)
            self.past.log.append(entry)
        elif step[0] == "seated":
            _, world, there = step
            slots = (2 * world, 2 * world + 1) if there else ()
            ranks = [Rank(world, f"w{world}", 0, 1, "here", 7, {"neuron": "9"}, "u")]
            self.journal.seated(f"w{world}", slots, ranks)
            self.past.worlds.pop(f"w{world}", None)
            self.past.ranks.pop(f"w{world}", None)
            if slots:
                self.past.ranks[f"w{world}"] = tuple(ranks)
                self.past.worlds[f"w{world}"] = slots
        elif step[0] == "acknowledge":
            self.received[step[1]] = self.parcel
        else:
            _, worker, size = step
            self.parcel += 1
            calls = tuple(range(self.call + 1, self.call + 1 + size))
            self.call += size
            received = self.received[worker]
            self.journal.sends(self.parcel, worker, calls, received)
            for sent in list(self.past.sent.values()):
                if sent.worker == worker and sent.parcel <= received:
                    del self.past.sent[sent.parcel]
            if calls:
                self.past.sent[self.parcel] = Sent(self.parcel, worker, calls)
            self.past.last_call, self.past.last_parcel = self.call, self.parcel


def plain(past):
    """What counts of a past, comparable."""
    log = [(e.version, e.method, *map(bytes, e.arguments)) for e in past.log]
    numbers = (past.last_call, past.last_parcel)
    return (
        [*map(bytes, past.factory)],
        past.owner,
        log,
        past.worlds,
        past.ranks,
        past.sent,
        numbers,
    )


@given(
    steps=st.lists(SETTER | PARCEL | SEATED | ACKNOWLEDGED, max_size=25), data=st.data()
)
def test_what_is_read_is_what_was_written_up_to_a_torn_line(
    tmp_path_factory, monkeypatch_module, steps, data
):
    path = tmp_path_factory.mktemp("journal") / "journal"
    monkeypatch_module.setattr(module, "_LONGEST", data.draw(st.integers(0, 2000)))
    kernel = Kernel(path)
    for step in steps:
        kernel.do(step)
    kernel.journal.close()
    assert plain(Journal.read(path)) == plain(kernel.past)
    # The next kernel begins with what it found.
    Journal(path, Journal.read(path)).close()
    assert plain(Journal.read(path)) == plain(kernel.past)
    content = path.read_bytes()
    for torn in (b'{"sent": 99', b'{"set": "x", "arguments": []}'):
        path.write_bytes(content + torn)
        assert plain(Journal.read(path)) == plain(kernel.past)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_it_stays_small_and_private(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST", 1000)
    path = tmp_path / "journal"
    journal = Journal.create(path, 1, wire.dumps("factory"), OWNER)
    for number in range(1000):
        journal.sends(number, 0, [number], number - 2)
        assert path.stat().st_size < 2000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal.close()
    past = Journal.read(path)
    assert list(past.sent) == [998, 999]
    assert (past.last_call, past.last_parcel) == (999, 999)
    journal.close(remove=True)
    assert not path.exists()


def test_faults_are_named_with_the_fix(tmp_path):
    path = tmp_path / "journal"
    with pytest.raises(ConfigError, match="no DistributedEnv runs on this cluster"):
        Journal.read(path)
    for content in (
        b"",
        b"[]\n",
        b"{}\n",
        b'{"subworld_size": 1, "factory"',
        b"\xff\n",
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot read the journal"):
            Journal.read(path)


def test_a_full_disk_ends_the_journal_and_no_call(tmp_path, caplog):
    journal = Journal.create(tmp_path / "journal", 1, wire.dumps("factory"), OWNER)
    journal.sends(1, 0, [1], -1)
    journal._file.close()
    journal._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
    for number in range(2, 5):
        journal.sends(number, 0, [number], -1)
    assert caplog.text.count("cannot write the journal") == 1
    assert "No space left on device" in caplog.text
    assert list(Journal.read(tmp_path / "journal").sent) == [1]
    journal.close()
