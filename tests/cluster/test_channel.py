"""Steps of a session over a private channel, and what the channel must not disturb."""

import contextlib
import os
import stat
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq
from watched import until

from livn_ipp.cluster.keeping.shared import Inbox
from livn_ipp.cluster.transports import curve
from livn_ipp.cluster.transports.channel import Channel
from livn_ipp.cluster.transports.curve import CurveLink
from livn_ipp.cluster.transports.hearing import Hearing
from livn_ipp.cluster.transports.listening import Listening
from livn_ipp.cluster.transports.unix import UnixLink
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import LightEnv

PATIENCE = 60.0


@pytest.fixture(params=["on this machine", "as between machines"])
def env(cluster_2x2, request, monkeypatch):
    """An environment whose channels take either of the two ways."""
    if request.param != "on this machine":
        monkeypatch.setattr(Inbox, "path", "/nowhere")
    env = DistributedEnv("EI1", cluster=cluster_2x2, subworld_size=2, backend=LightEnv)
    env.way = UnixLink if request.param == "on this machine" else CurveLink
    with env:
        yield env.record_spikes()


def open_channel(session):
    """Return a session's channel when the next step goes over it."""
    transport = session._dispatcher.transport
    seat = transport._seats[session.worker]

    def found():
        channel = transport._channels.get(seat)
        return channel if channel is not None and channel.reached else None

    return until(found, what="a channel")


def bytes_through(channel):
    """Count the parcels that a channel takes from now on."""
    sent = []
    send = channel.send

    def note(parcel, frames):
        taken = send(parcel, frames)
        sent.append(taken)
        return taken

    channel.send = note
    return sent


@pytest.mark.cluster
def test_steps_take_the_channel_and_give_the_same_answers(env):
    whole = env.submit(300, trial=3).result(PATIENCE)
    with env.session(100, trial=3) as session:
        first = session.step()
        channel = open_channel(session)
        assert isinstance(channel._link, env.way)
        sent = bytes_through(channel)
        second = session.step()
        env.set_weights({"EE": 1.0})  # a setter takes the same way
        third = session.submit(pace=0.01)
        until(lambda: third.progress > 200, what="progress")
        steps = [first, second, third.result(PATIENCE)]
        assert sent == [True, True, True]
    assert [step.t0 for step in steps] == [0, 100, 200]
    assert steps[0].concat(steps[1]).concat(steps[2]).digest() == whole.digest()
    until(lambda: channel.closed, what="its end")
    assert env.submit(300, trial=3).result(PATIENCE).digest() == whole.digest()


@pytest.mark.cluster
def test_cells_on_the_ranks_run_while_a_session_is_open(env, cluster_2x2):
    with env.session(10) as session:
        channel = open_channel(session)

        def listening():  # which ends by itself on a machine with much to do
            session.step()
            return channel._listening

        until(listening, what="ranks that listen")
        seat = env._dispatcher.transport._seats[session.worker]
        client = cluster_2x2.client
        asked = client[list(seat.place.engines)].apply_async(time.time)
        assert len(asked.get(timeout=PATIENCE)) == 2
        assert session.step().t0 == 10 * (session.steps - 1)


@pytest.mark.cluster
def test_a_channel_is_where_only_this_user_may_enter(env):
    with env.session(10) as session:
        open_channel(session)
        directory = Path(env._dispatcher.transport._inbox.path)
        if env.way is UnixLink:
            assert any(path.is_socket() for path in directory.iterdir())
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    nothing_left = lambda: not any(path.is_socket() for path in directory.iterdir())
    until(lambda: not directory.exists() or nothing_left(), what="its end")


@pytest.mark.cluster
def test_without_a_way_steps_go_as_calls_do(env, monkeypatch):
    monkeypatch.setattr(Channel, "_connect", lambda *_: None)
    with env.session(100, trial=3) as session:
        steps = [session.step(), session.step()]
        transport = env._dispatcher.transport
        assert not any(held.reached for held in transport._channels.values())
    whole = env.submit(200, trial=3).result(PATIENCE)
    assert steps[0].concat(steps[1]).digest() == whole.digest()


@pytest.mark.cluster
def test_a_step_over_the_channel_overtakes_none_before_it(env):
    with env.session(10, trial=3) as session:
        assert session.step().t0 == 0
        channel, transport = open_channel(session), env._dispatcher.transport
        assert session.step().t0 == 10
        send, answered = channel.send, transport._answered

        def refuse(*_):
            channel.send = send
            return False

        def answered_late(*arguments):
            late.submit(time.sleep, 0.5)
            late.submit(answered, *arguments)

        # As if the channel had been reached between the two.
        channel.send, transport._answered = refuse, answered_late
        with ThreadPoolExecutor(1) as late:  # which keeps their order
            futures = [session.submit() for _ in range(4)]
            steps = [future.result(10) for future in futures]
        assert [step.t0 for step in steps] == [20, 30, 40, 50]


@pytest.mark.cluster
def test_an_error_and_a_cancelled_step_over_the_channel(env):
    with env.session(lambda run, env: 1 / env.trial, trial=0) as session:
        open_channel(session)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                session.step()
    with env.session(10_000, recover="replay") as session:
        open_channel(session)
        first = session.step()
        running = session.submit(pace=0.005)
        until(lambda: running.progress > 10_000, what="progress")
        running.cancel()
        assert session.step().t0 == first.duration


class Ends:
    """Both ends of a channel in this process."""

    def __init__(self, directory):
        self.heard, self.broken, self.left = [], [], None
        self.asked = 0
        self.hearing = Hearing()
        self.channel = Channel(
            self.hearing,
            self.listen,
            lambda kind, frames: self.heard.append((kind, *map(bytes, frames))),
            self.broken.append,
            lambda: None,
        )
        invitation = (self.channel.public, self.channel.secret, directory)
        self.engine = Listening(None, "127.0.0.1", invitation)
        self.url, self.key = self.engine.opened

    def listen(self, left):
        self.asked += 1
        self.left = left

    def close(self):
        self.channel.close()
        self.hearing.close()
        self.engine.close()


class Left:
    def get(self, timeout):
        return None


@pytest.fixture(params=["on this machine", "between machines"])
def ends(request):
    here = request.param == "on this machine"
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory()) if here else ""
        ends = Ends(directory)
        assert ends.url.startswith("ipc:" if here else "tcp:")
        yield ends
        ends.close()


def connected(ends):
    ends.channel.connect(ends.url, ends.key)
    until(lambda: ends.channel.reached, what="a connection")
    return ends.channel


def test_a_stranger_is_not_let_in(ends, monkeypatch):
    stranger = Channel(ends.hearing, lambda left: None, None, None, None)
    monkeypatch.setattr(curve, "_HANDSHAKE", 500)
    if ends.url.startswith("ipc:"):
        stranger.connect(ends.url, ends.key)  # whoever it is may say something,
        stranger.send(1, [b"one"])  # which is not listened to
        ends.engine.listen(lambda frames: pytest.fail("a stranger was heard"))
    else:
        with pytest.raises(ConnectionRefusedError, match="not let this session in"):
            stranger._reach(ends.url, ends.key)
    assert connected(ends).send(1, [b"one"])
    ends.engine.listen(lambda frames: frames)
    until(lambda: ends.heard == [(b"r", b"one")], what="an answer")
    stranger.close()


def test_what_was_sent_as_ranks_left_is_heard_when_they_listen_again(ends):
    assert connected(ends).send(1, [b"one"])
    ends.left(Left())  # they listened too early
    assert ends.asked == 2
    ends.engine.listen(lambda frames: [b"answer to " + bytes(frames[0])])
    until(lambda: ends.heard, what="an answer")
    assert ends.heard == [(b"r", b"answer to one")]
    ends.channel.answered(1)
    ends.left(Left())
    assert ends.asked == 2
    assert not ends.broken


def test_a_channel_that_swallows_everything_is_given_up(ends):
    connected(ends).send(1, [b"one"])
    for _ in range(10):
        if not ends.broken:
            ends.left(Left())
    assert "does not arrive" in ends.broken[0]


def test_a_channel_closes_after_the_last_answer(ends):
    connected(ends).send(1, [b"one"])
    ends.channel.want(wanted=False)
    assert ends.channel.send(2, [b"two"])
    ends.channel.answered(1)
    assert not ends.channel.closed
    ends.channel.answered(2)
    assert ends.channel.closed
    assert not ends.channel.send(3, [b"three"])


def test_ranks_leave_when_their_controller_does(ends):
    connected(ends).close()
    began = time.monotonic()
    ends.engine.listen(lambda frames: pytest.fail("nothing was sent"))
    assert time.monotonic() - began < 0.4  # not after the time that nothing comes in


def test_a_parcel_larger_than_what_is_taken_at_once_blocks_nobody(ends):
    channel, large = connected(ends), os.urandom(30_000_000)
    assert channel.send(1, [large, b"", large[:10]])
    assert channel.send(2, [b"two"])
    served = []

    def serve(frames):
        served.append([bytes(frame) for frame in frames])
        return frames

    ends.engine.listen(serve)
    assert served == [[large, b"", large[:10]], [b"two"]]
    until(lambda: len(ends.heard) == 2, what="both answers")
    assert ends.heard == [(b"r", large, b"", large[:10]), (b"r", b"two")]


def test_nothing_is_left_of_a_socket():
    with tempfile.TemporaryDirectory() as directory:
        ends = Ends(directory)
        assert len(list(Path(directory).iterdir())) == 1
        ends.close()
        assert not list(Path(directory).iterdir())


def test_a_leader_that_cannot_listen_says_so():
    # Nobody's address, and no directory of this machine.
    engine = Listening(None, "192.0.2.1", (*zmq.curve_keypair(), "/nowhere"))
    assert engine.opened is None
    engine.close()
