"""Messages arrive whole and in order, however they are cut on their way."""

import os
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import until

from livn_ipp.cluster.transports.stream import Stream, admit, bind, reach

MESSAGES = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=1), st.lists(st.binary(max_size=50), max_size=4)
    ),
    max_size=8,
)


@pytest.fixture
def ends():
    first, second = map(Stream, socket.socketpair())
    yield first, second
    first.close()
    second.close()


def arrived(stream, count):
    found = []

    def take():
        while len(found) < count and (message := stream.receive()) is not None:
            found.append(message)
        return len(found) == count

    until(take, what=f"{count} messages")
    return found


@given(MESSAGES, st.integers(1, 40))
@settings(deadline=None)
def test_messages_that_come_in_pieces(messages, piece):
    ours, theirs = socket.socketpair()
    writer = Stream(ours)
    for kind, frames in messages:
        writer.send(kind, frames)
    writer.close()
    with theirs:
        sent = b""
        while more := theirs.recv(1 << 20):
            sent += more
    ours, theirs = socket.socketpair()
    reader, found = Stream(theirs), []
    with ours:
        for start in range(0, len(sent), piece):
            ours.sendall(sent[start : start + piece])
            while (message := reader.receive()) is not None:
                found.append(message)
    assert found == [[kind, *frames] for kind, frames in messages]
    with pytest.raises(EOFError):
        reader.receive()
    reader.close()


def test_sending_waits_for_nobody_and_loses_nothing(ends):
    first, second = ends
    large = os.urandom(5_000_000)
    frames = [[large, bytes([n])] for n in range(5)]
    began = time.monotonic()
    for number, each in enumerate(frames):
        first.send(b"%d" % number, each)
    assert time.monotonic() - began < 2  # nobody has read anything yet
    first.close()  # what is on its way arrives all the same
    assert arrived(second, 5) == [[b"%d" % n, *each] for n, each in enumerate(frames)]
    until(lambda: first.fileno() < 0, what="the end of its socket")


def test_more_frames_than_one_system_call_takes(ends):
    first, second = ends
    frames = [bytes([n % 256]) * (n % 3) for n in range(5000)]
    first.send(b"x", frames)
    assert arrived(second, 1) == [[b"x", *frames]]


def test_one_who_does_not_read_and_ends_is_noticed(ends):
    first, second = ends
    first.send(b"x", [bytes(5_000_000)])
    second.close()

    def refused():
        try:
            first.send(b"x", [b"more"])
        except OSError:
            return True
        return False

    until(refused, what="a refusal")
    with pytest.raises((EOFError, OSError)):
        first.receive()


@pytest.mark.parametrize("said", [b"", b"wrong", b"w" * 48, b"secret"])
def test_who_does_not_know_the_secret_is_not_let_in(tmp_path, monkeypatch, said):
    monkeypatch.setattr("livn_ipp.cluster.transports.stream._INTRODUCTION", 0.2)
    monkeypatch.chdir(tmp_path)  # the whole path may be too long
    with bind("socket") as server, socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect("socket")
        stranger.sendall(said)
        assert admit(server, b"s" * 40) is None
        friend = reach("socket", b"s" * 40, b"friend")
        name, stream = admit(server, b"s" * 40)
        assert name == b"friend"
        friend.close()
        stream.close()
