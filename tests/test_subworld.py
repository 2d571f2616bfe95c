"""Ranks agree: nobody waits for a rank that failed."""

import operator
import threading
import time

import pytest
from ranks import run_on_ranks

from livn_ipp.subworld import Course, Late, PeerFailed, Stopped, Subworld

RANKS = 3


def test_a_single_process_needs_no_mpi():
    alone = Subworld()
    assert (alone.rank, alone.size, alone.mpi) == (0, 1, None)
    comm = alone.comm
    assert (comm.rank, comm.size, comm.Get_rank(), comm.Get_size()) == (0, 1, 0, 1)
    assert comm.gather("a") == comm.allgather("a") == ["a"]
    assert comm.bcast("a") == comm.scatter(["a"]) == comm.reduce("a") == "a"
    assert comm.allreduce(3) == 3
    comm.barrier()


@pytest.mark.parametrize("values", [None, [], [1, 2]])
def test_scatter_needs_one_object_per_rank(values):
    with pytest.raises(ValueError, match="one object for each of 1 ranks"):
        Subworld().comm.scatter(values)


def test_stop_is_seen_once():
    alone = Subworld()
    alone.request_stop()
    with pytest.raises(Stopped):
        alone.agree()
    alone.agree()


def test_reset_forgets_a_stop():
    alone = Subworld()
    alone.request_stop()
    alone.reset()
    alone.agree()


def test_stop_can_be_asked_for_from_another_thread():
    alone = Subworld()
    thread = threading.Thread(target=alone.request_stop)
    thread.start()
    thread.join(5)
    with pytest.raises(Stopped):
        alone.agree()


def test_a_stop_can_be_polled_for():
    alone = Subworld()
    wishes = iter([False, True, False])
    alone.poll = lambda: next(wishes)
    alone.agree()
    with pytest.raises(Stopped):
        alone.agree()
    alone.agree()


class Listening:
    """Telemetry that keeps what it hears."""

    def __init__(self, due=False):
        self.heard = []
        self.wants = due

    def due(self, time, course):
        return self.wants

    def collect(self, time, course):
        self.heard.append(("collect", time, course))

    def report(self, time):
        self.heard.append(("report", time))

    def alive(self):
        self.heard.append(("alive",))


def test_progress_goes_to_whoever_listens():
    alone = Subworld()
    alone.report(1.0)
    alone.telemetry = Listening()
    alone.report(2.5)
    alone.agree()
    assert alone.telemetry.heard == [("report", 2.5), ("alive",)]


COURSE = Course(0.0, 10.0, lambda: (None, None))


def test_what_is_due_at_a_chunk_s_end_is_collected():
    alone = Subworld()
    alone.checkpoint(1.0, COURSE)
    alone.telemetry = Listening(due=True)
    alone.checkpoint(2.0, COURSE)
    alone.telemetry.wants = False
    alone.checkpoint(3.0, COURSE)
    assert alone.telemetry.heard == [("collect", 2.0, COURSE)]


def test_a_stop_is_not_kept_waiting_by_what_is_due():
    alone = Subworld()
    alone.telemetry = Listening(due=True)
    alone.request_stop()
    with pytest.raises(Stopped):
        alone.checkpoint(2.0, COURSE)
    assert alone.telemetry.heard == []


def test_a_deadline_ends_a_run_once_and_what_it_reached_is_collected():
    alone = Subworld()
    alone.telemetry = Listening()
    alone.deadline = time.perf_counter() + 3600
    alone.checkpoint(1.0, COURSE)
    alone.deadline = time.perf_counter()
    with pytest.raises(Late):
        alone.checkpoint(2.0, COURSE)
    alone.checkpoint(3.0, COURSE)
    assert alone.telemetry.heard == [("collect", 2.0, COURSE)]
    alone.deadline = time.perf_counter()
    with pytest.raises(Late):
        alone.agree()


def test_repr():
    assert repr(Subworld()) == "Subworld(rank 0 of 1)"
    assert repr(Subworld().comm) == "Communicator(rank 0 of 1)"


def collectives(subworld):
    comm, rank = subworld.comm, subworld.rank
    return {
        "gather": comm.gather(rank * 10, root=1),
        "allgather": comm.allgather(str(rank)),
        "bcast": comm.bcast({"from": rank}, root=2),
        "scatter": comm.scatter([7, 8, 9] if rank == 1 else None, root=1),
        "reduce": comm.reduce([rank], root=0),
        "allreduce": comm.allreduce(rank + 1, operator.mul),
        "barrier": comm.barrier(),
    }


@pytest.mark.mpi
def test_collectives_over_ranks():
    results = run_on_ranks(collectives, RANKS)
    assert [r["gather"] for r in results] == [None, [0, 10, 20], None]
    assert [r["allgather"] for r in results] == [["0", "1", "2"]] * 3
    assert [r["bcast"] for r in results] == [{"from": 2}] * 3
    assert [r["scatter"] for r in results] == [7, 8, 9]
    assert [r["reduce"] for r in results] == [[0, 1, 2], None, None]
    assert [r["allreduce"] for r in results] == [6] * 3


def offering(subworld):
    agree, rank = subworld.agree, subworld.rank
    return [agree(offers=rank in who) for who in ({1, 2}, {2}, {0, 1}, set())]


@pytest.mark.mpi
def test_ranks_agree_who_brings_what_only_some_of_them_have():
    assert run_on_ranks(offering, RANKS) == [[1, 2, 0, 0]] * 3


def gather_what_cannot_be_pickled(subworld):
    value = threading.Lock() if subworld.rank == 1 else "fine"
    try:
        subworld.comm.gather(value)
        outcome = "gathered"
    except PeerFailed:
        outcome = "peer failed"
    except TypeError:
        subworld.fail()
        outcome = "raised"
    # The subworld must be usable after it.
    return outcome, subworld.comm.allgather(subworld.rank)


@pytest.mark.mpi
def test_one_rank_gathers_what_cannot_be_pickled():
    results = run_on_ranks(gather_what_cannot_be_pickled, RANKS)
    assert [outcome for outcome, _ in results] == [
        "peer failed",
        "raised",
        "peer failed",
    ]
    assert [after for _, after in results] == [[0, 1, 2]] * 3


def scatter_too_few(subworld):
    try:
        subworld.comm.scatter([1, 2] if subworld.rank == 0 else None)
    except PeerFailed:
        return "peer failed"
    except ValueError as error:
        subworld.fail()
        return str(error)
    return "scattered"


@pytest.mark.mpi
def test_scatter_of_too_few_objects_fails_everywhere():
    assert run_on_ranks(scatter_too_few, RANKS) == [
        "scatter needs one object for each of 3 ranks",
        "peer failed",
        "peer failed",
    ]


def stop_asked_of_one(subworld):
    if subworld.rank == 2:
        subworld.request_stop()
    for chunk in range(5):
        try:
            subworld.agree()
        except Stopped:
            return chunk, subworld.comm.allgather("usable")
    return None


@pytest.mark.mpi
def test_all_ranks_stop_at_the_same_vote():
    assert run_on_ranks(stop_asked_of_one, RANKS) == [(0, ["usable"] * 3)] * 3


def failure_beats_stop(subworld):
    if subworld.rank == 0:
        subworld.fail()
        return "failed"
    subworld.request_stop()
    try:
        subworld.agree()
    except PeerFailed:
        return "peer failed"
    return "went on"


@pytest.mark.mpi
def test_a_failure_wins_over_a_stop():
    assert run_on_ranks(failure_beats_stop, RANKS) == [
        "failed",
        "peer failed",
        "peer failed",
    ]


def chunk_ends(subworld):
    """What every rank does at a chunk's end, whatever one of them wants."""

    def ends_in(subworld, due=False):
        subworld.telemetry = heard = Listening(due=due and subworld.rank == 0)
        try:
            subworld.checkpoint(1.0, COURSE)
            outcome = "going"
        except Exception as error:
            outcome = type(error).__name__
        return outcome, len(heard.heard)

    found = {"nothing": ends_in(subworld), "due": ends_in(subworld, due=True)}
    if subworld.rank == 1:
        subworld.deadline = 0.0
    found["late"] = ends_in(subworld, due=True)
    found["late no more"] = ends_in(subworld)
    if subworld.rank == 1:
        subworld.deadline = 0.0
    if subworld.rank == 2:
        subworld.request_stop()
    found["stop"] = ends_in(subworld, due=True)
    subworld.deadline = None
    if subworld.rank == 2:
        subworld.fail()
    else:
        found["failed"] = ends_in(subworld, due=True)
    found["usable"] = ends_in(subworld, due=True)
    return found


@pytest.mark.mpi
def test_ranks_agree_at_a_chunk_s_end_on_what_comes_first():
    first, second, third = run_on_ranks(chunk_ends, RANKS)
    assert first == second == third | {"failed": ("PeerFailed", 0)}
    assert third == {
        "nothing": ("going", 0),
        "due": ("going", 1),
        "late": ("Late", 1),
        "late no more": ("going", 0),
        "stop": ("Stopped", 0),
        "usable": ("going", 1),
    }
