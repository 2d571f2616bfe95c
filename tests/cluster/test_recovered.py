import pytest

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.journal import Sent
from livn_ipp.cluster.keeping.recovered import Recovered
from livn_ipp.cluster.keeping.results import Results
from livn_ipp.cluster.keeping.succession import Succession, Turn
from livn_ipp.errors import CallCancelled, CallError, RankFailure, WorkerLost
from livn_ipp.subworld import Subworld

SENT = [Sent(7, 1, (14, 15)), Sent(4, 0, (11,)), Sent(8, 1, (16,))]
BROKEN = wire.Failed((RankFailure(0, "here", 1, "builtins", "KeyError", "'x'", ""),))


def kept(parcel, answers):
    """What a leader has kept of a parcel: an answer for each call by its id."""
    leader = Succession(Subworld(), epoch=1)
    items = [wire.Call(call, "p", 0, wire.dumps(None)) for call in answers]
    reply = wire.pack(wire.Reply(parcel, tuple(answers.values())))
    leader.keep(Turn(1, parcel, -1), items, reply)
    return list(leader.succeed(2, (), ()).replies.values())


@pytest.fixture
def stopped():
    return []


@pytest.fixture
def recovered(stopped):
    stop = lambda worker, call: stopped.append((worker, call))
    return Recovered(SENT, stop, Results(1 << 20))


def done(value):
    return wire.Done(wire.dumps(value), 0.1)


def test_futures_keep_their_ids_and_end_as_their_workers_answer(recovered):
    assert list(recovered.futures) == [11, 14, 15, 16]
    assert all(future.running() for future in recovered.futures.values())
    known = {14: done("a"), 15: BROKEN, 99: done("of no concern")}
    recovered.found(1, kept(7, known) + kept(8, {16: wire.StoppedCall()}))
    assert recovered.futures[14].result(0) == "a"
    with pytest.raises(KeyError, match="worker 1"):
        recovered.futures[15].result(0)
    with pytest.raises(WorkerLost, match="submit it again"):
        recovered.futures[16].result(0)
    assert not recovered.futures[11].done()
    recovered.found(0, kept(4, {11: done("b")}))
    assert recovered.futures[11].result(0) == "b"


def test_what_was_never_received_or_is_lost_says_so(recovered):
    recovered.found(1, kept(7, {14: done(1), 15: done(2)}))
    with pytest.raises(WorkerLost, match="had not reached its worker"):
        recovered.futures[16].result(0)
    recovered.gone(0, "world w0 ended while no kernel was there")
    with pytest.raises(WorkerLost, match="world w0 ended"):
        recovered.futures[11].result(0)
    assert recovered.futures[15].result(0) == 2


def test_a_recovered_call_can_be_cancelled_once(recovered, stopped):
    future = recovered.futures[11]
    assert future.cancel()
    assert stopped == [(0, 11)]
    with pytest.raises(CallCancelled):
        future.result(0)
    recovered.found(0, kept(4, {11: done("late")}))
    assert future.cancelled()
    recovered.close("the environment was shut down")
    for other in (14, 15, 16):
        with pytest.raises(CallError, match="shut down"):
            recovered.futures[other].result(0)
    assert not recovered.futures[14].cancel()
    assert stopped == [(0, 11)]
