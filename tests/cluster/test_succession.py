"""Whose parcels the ranks of a worker serve, whatever order they come in."""

import time

import pytest
from ranks import run_on_ranks

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.succession import Succession, Turn, answers, fingerprint
from livn_ipp.subworld import Subworld

INSTALL = wire.Install("p", wire.dumps(None))
CALL = wire.Call(17, "p", 0, wire.dumps(None))
APPLY = wire.Apply(wire.Entry(1, "set_weights", wire.dumps(2.0)))


def test_a_new_controller_finds_what_was_not_acknowledged():
    alone = Succession(Subworld(), epoch=1)
    for parcel in range(4):
        turn = Turn(1, parcel, parcel - 3)
        assert alone.admits(turn)
        items = [INSTALL, APPLY, CALL] if parcel else [APPLY]
        done = wire.Done(wire.dumps(parcel), 0.1)
        reply = wire.Reply(parcel, (wire.Answer(), done)[: len(items)])
        alone.keep(turn, items, wire.pack(reply))
    found = alone.succeed(2, ("a", "b"), ("p",))
    assert found.applied == ("a", "b")
    assert found.pipelines == ("p",)
    assert list(found.replies) == [1, 2, 3]
    for parcel, kept in found.replies.items():
        ((call, done),) = answers(kept).items()
        assert (call, wire.loads(done.result)) == (CALL.id, parcel)
    assert not alone.admits(Turn(1, 4, 3))  # and acknowledges nothing
    assert alone.admits(Turn(2, 4, 2))
    assert list(alone.succeed(3, (), ()).replies) == [3]


def test_fingerprints_tell_entries_apart_whatever_their_number():
    entries = [
        wire.Entry(1, "set_weights", wire.dumps(2.0)),
        wire.Entry(1, "set_noise", wire.dumps(2.0)),
        wire.Entry(1, "set_weights", wire.dumps(3.0)),
    ]
    assert len(set(map(fingerprint, entries))) == 3
    again = wire.Entry(7, "set_weights", wire.dumps(2.0))
    assert fingerprint(again) == fingerprint(entries[0])


def serve(subworld, turns, change=None):
    """Serve turns in this order; on the leader, another controller comes at one."""
    mine = Succession(subworld, epoch=1)
    served = []
    for position, turn in enumerate(turns):
        if position == change:
            mine.succeed(2, (), ())
        if mine.admits(turn):
            served.append(tuple(turn[:2]))
            subworld.agree()  # as the parcel would
    return served


OLD = [Turn(1, n, -1) for n in range(3)]
NEW = [Turn(2, n, -1) for n in (10, 11)]


def leader_changes_early(subworld):
    """The leader refuses what the others got before the new controller's parcels."""
    return serve(subworld, [*OLD, *NEW], change=1 if subworld.rank == 0 else None)


def others_get_the_new_ones_first(subworld):
    if subworld.rank == 0:
        return serve(subworld, [OLD[0], OLD[1], NEW[0], OLD[2], NEW[1]], change=1)
    return serve(subworld, [OLD[0], NEW[0], NEW[1], OLD[1], OLD[2]])


@pytest.mark.mpi
@pytest.mark.parametrize("order", [leader_changes_early, others_get_the_new_ones_first])
def test_all_ranks_serve_the_same_parcels(order):
    served = run_on_ranks(order, 3)
    assert served == [[(1, 0), (2, 10), (2, 11)]] * 3


def one_rank_never_got_a_parcel(subworld):
    if subworld.rank == 0:
        return serve(subworld, [OLD[0], OLD[1], NEW[0]], change=2)
    try:
        return serve(subworld, [OLD[0], NEW[0]])  # ends this rank
    finally:
        time.sleep(30)


@pytest.mark.mpi
def test_a_rank_out_of_step_ends_its_world_and_serves_nothing():
    with pytest.raises(AssertionError, match="was sent parcel") as caught:
        run_on_ranks(one_rank_never_got_a_parcel, 2)
    assert "hung" not in str(caught.value)
