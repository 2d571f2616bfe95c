"""Ranks that die in the middle of a call."""

import os
import signal
import time

import pytest
from watched import PATIENCE

from livn_ipp.decoding import GatherAndMerge
from livn_ipp.errors import SessionLost, WorkerLost
from livn_ipp.testing import (
    Abort,
    Die,
    Fault,
    FaultyInput,
    Kill,
    Segfault,
    Sleep,
    kill_rank,
)

pytestmark = pytest.mark.cluster

FIVE_SECONDS = {"pace": 0.005}  # of a call of 1000 ms


@pytest.mark.parametrize(("fault", "rank"), [("F1", 0), ("F2", 1)])
def test_a_killed_rank_costs_no_call(watch, record, fault, rank):
    """F1: the leader; F2: another rank, while its peer waits in a collective."""
    watched = watch()
    watched.env.record_spikes()
    watched.env.set_weights({"a": 1})
    calm = watched.submit(1000, trial=5).result(PATIENCE).digest()

    hit = watched.submit(1000, trial=5, worker=0, **FIVE_SECONDS)
    other = watched.submit(1000, trial=5, worker=1, **FIVE_SECONDS)
    watched.under_way(hit, other)
    killed = kill_rank(watched.env, 0, rank).time
    noticed = watched.noticed(killed)
    anywhere = watched.submit(1000, trial=5)
    assert other.result(PATIENCE).digest() == calm
    assert anywhere.result(PATIENCE).digest() == calm
    whole = watched.whole()
    assert hit.result(PATIENCE).digest() == calm
    result = time.monotonic()
    assert (hit.attempts, other.attempts, anywhere.attempts) == (2, 1, 1)
    record(
        fault, noticed=noticed - killed, whole=whole - killed, result=result - killed
    )
    assert noticed - killed < 20


def test_a_call_that_is_not_pinned_moves_to_another_worker(watch, record):
    """F1: its result comes before the replacement does."""
    watched = watch()
    call = watched.submit(1000, trial=5, pace=0.003)
    watched.under_way(call)
    killed = kill_rank(watched.env, call.worker).time
    watched.noticed(killed)
    call.result(PATIENCE)
    record("F1", moved=time.monotonic() - killed)
    assert call.attempts == 2


CAUSES = [
    (Die(3), "code 3"),
    (Segfault(), r"signal 11|segmentation"),
    (Kill(signal.SIGKILL), r"signal 9|killed"),
    (Kill(signal.SIGABRT), r"signal 6|abort"),
    (Abort(7), r"(?i)abort|code 7"),
]


def quit_neuron(env):
    from neuron import h

    h.quit()


@pytest.mark.parametrize(
    ("action", "cause"),
    [*CAUSES, (quit_neuron, r"rank 1 was told to end in a call")],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_a_process_that_ends_in_a_call(watch, record, action, cause):
    """F10: retried once, and the error names the cause when retries are used up."""
    watched = watch(max_retries=1)
    began = time.monotonic()
    call = watched.submit(10, Fault(action, ranks=[1]))
    watched.running(call)
    with pytest.raises(WorkerLost, match=cause) as caught:
        call.result(2 * PATIENCE)
    assert call.attempts == 2
    assert len(caught.value.attempts) == 2
    record("F10", noticed=watched.lost[0][0] - began)
    watched.whole()


def test_a_process_that_ends_in_the_first_attempt_only(watch, tmp_path):
    """F10."""
    watched = watch()
    once = Fault(Die(3), ranks=[0], attempts=[1], counter=tmp_path)
    call = watched.submit(lambda run, env: env.trial, once, trial=8)
    assert call.result(PATIENCE) == 8
    assert call.attempts == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_poison_call_ends_with_its_history(watch, record):
    """F4: it kills every worker that it meets; the others never see it."""
    watched = watch()
    began = time.monotonic()
    poison = watched.submit(10, Fault(Segfault(), ranks=[1]))
    innocent = [watched.submit(100, trial=i, pace=0.002) for i in range(20)]
    with pytest.raises(WorkerLost) as caught:
        poison.result(400)
    ended = time.monotonic()
    assert poison.attempts == 4
    assert len(caught.value.attempts) == 4
    assert len(watched.lost) == 4
    for call in innocent:
        call.result(PATIENCE)
    record("F4", result=ended - began, attempts_number=poison.attempts)


def test_a_session_is_lost_with_its_worker(watch, record):
    """F3: never continued with a fresh state."""
    watched = watch()
    watched.env.record_spikes()
    whole = watched.submit(400, trial=6).result(PATIENCE)
    with watched.env.session(100, trial=6) as session:
        steps = [session.step() for _ in range(3)]
        times = [step.spike_times + 100 * i for i, step in enumerate(steps)]
        assert sum(map(len, times)) == len(whole.slice(0, 300).spike_times)
        running = session.submit(pace=0.05)
        watched.running(running)
        queued = session.submit()
        killed = kill_rank(watched.env, session.worker, 1).time
        with pytest.raises(SessionLost) as caught:
            running.result(PATIENCE)
        record("F3", result=time.monotonic() - killed)
        assert caught.value.last_step == 3
        for step in (queued.result, session.step):
            with pytest.raises(SessionLost):
                step()
    with watched.env.session(100, trial=6, worker=session.worker) as another:
        assert another.step().digest() == steps[0].digest()


def test_the_other_worker_never_notices(watch):
    """F2: calls of the other worker go on, none is run again."""
    watched = watch()
    calls = [watched.submit(100, trial=i, worker=1, pace=0.001) for i in range(30)]
    hit = watched.submit(10, Fault(Sleep()), worker=0)
    watched.running(hit)
    kill_rank(watched.env, 0, 1)
    for call in calls:
        call.result(PATIENCE)
        assert call.attempts == 1
    hit.cancel()


def test_configuration_reaches_the_replacement(watch):
    """F1: the log of setters is replayed before anything runs."""
    watched = watch()
    for number in range(5):
        watched.env.set_weights({f"w{number}": number})
    before = [rank.pid for rank in watched.env.cluster.ranks()]
    kill_rank(watched.env, 0)
    watched.noticed(0)
    held = watched.submit(
        lambda run, env: env.comm.allgather((os.getpid(), sorted(env.weights))),
        worker=0,
    ).result(PATIENCE)
    assert [names for _, names in held] == [[f"w{i}" for i in range(5)]] * 2
    assert not {pid for pid, _ in held} & set(before)


def test_pipelines_reach_the_replacement(watch):
    """F1: what was installed on the lost worker is installed again on demand."""
    watched = watch()
    watched.env.record_spikes()
    decoding = GatherAndMerge(duration=100)
    first = watched.submit(decoding, trial=2, worker=0).result(PATIENCE)
    kill_rank(watched.env, 0, 1)
    watched.noticed(0)
    again = watched.submit(decoding, FaultyInput(None), trial=2, worker=0)
    assert again.result(PATIENCE).digest() == first.digest()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_session_that_recovers_only_takes_longer(watch, record, rank):
    """F3: the steps run again, to the state that was lost, and then what was lost."""
    watched = watch()
    watched.env.record_spikes()
    whole = watched.submit(600, trial=6).result(PATIENCE)
    with watched.env.session(100, trial=6, recover="replay") as session:
        steps = [session.step() for _ in range(3)]
        running = session.submit(pace=0.05)
        watched.running(running)
        queued = session.submit()
        killed = kill_rank(watched.env, session.worker, rank).time
        steps += [running.result(PATIENCE), queued.result(PATIENCE)]
        record("F3", replayed=time.monotonic() - killed)
        assert running.attempts == 2
        kill_rank(watched.env, session.worker, rank)  # between two steps
        steps.append(session.step())
    assert [step.t0 for step in steps] == [0, 100, 200, 300, 400, 500]
    joined = steps[0]
    for step in steps[1:]:
        joined = joined.concat(step)
    assert joined.digest() == whole.digest()


def test_a_step_that_kills_every_worker_ends_its_session(watch):
    """F4: recovery has its limit, and others are not harmed."""
    watched = watch(max_retries=1)
    with watched.env.session(10, recover="replay") as session:
        assert session.step().t0 == 0
        deadly = session.submit(Fault(Kill()))
        with pytest.raises(SessionLost) as caught:
            deadly.result(PATIENCE)
        assert caught.value.last_step == 1
