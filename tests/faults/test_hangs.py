"""Workers that hang, calls that take too long."""

import signal
import time

import pytest
from watched import PATIENCE

from livn_ipp.errors import CallTimeout, WorkerLost
from livn_ipp.testing import Compute, Deadlock, Fault, Kill, Sleep, kill_rank

pytestmark = pytest.mark.cluster


def number(run, env):
    return env.trial


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_process_is_found_by_its_heart(watch, record, rank):
    """F5, and F17 as seen from here: nobody answers any more."""
    watched = watch()
    calls = [watched.submit(100, trial=w, worker=w, pace=0.02) for w in (0, 1)]
    watched.under_way(*calls)
    stopped = kill_rank(watched.env, 0, rank, signal=signal.SIGSTOP).time
    noticed = watched.noticed(stopped)
    for call in calls:
        call.result(PATIENCE)
    assert [call.attempts for call in calls] == [2, 1]
    record("F5", stopped=noticed - stopped, stopped_result=time.monotonic() - stopped)


@pytest.mark.parametrize(
    ("action", "ranks"),
    [
        (Sleep(), None),
        (Sleep(hold_gil=True), [1]),
        (Compute(), [0]),
        (Deadlock(), [1]),
    ],
    ids=str,
)
def test_a_call_without_a_sign_of_life(watch, record, tmp_path, action, ranks):
    """F5: an endless loop, a collective that one rank does not come to."""
    watched = watch(stall_timeout=3.0)
    once = Fault(action, ranks=ranks, attempts=[1], counter=tmp_path)
    began = time.monotonic()
    call = watched.submit(number, once, trial=6)
    noticed = watched.noticed(began)
    assert call.result(PATIENCE) == 6
    assert call.attempts == 2
    record("F5", stalled=noticed - began)


def test_a_call_that_always_hangs_ends_with_its_history(watch):
    """F5."""
    watched = watch(stall_timeout=1.0, max_retries=1)
    call = watched.submit(10, Fault(Sleep(hold_gil=True), ranks=[1]))
    with pytest.raises(WorkerLost, match="sign of life"):
        call.result(2 * PATIENCE)
    assert call.attempts == 2


def test_a_long_call_is_not_taken_for_a_hung_one(watch):
    """F5: it shows signs of life."""
    watched = watch(stall_timeout=3.0)
    call = watched.submit(100, trial=2, pace=0.05)
    call.result(PATIENCE)
    assert call.attempts == 1
    assert not watched.lost


def test_a_call_that_exceeds_its_time_stops_at_a_chunk_end(watch, record):
    """F6."""
    watched = watch()
    began = time.monotonic()
    call = watched.submit(10_000, timeout=1.0, pace=0.005, worker=0)
    with pytest.raises(CallTimeout) as caught:
        call.result(PATIENCE)
    ended = time.monotonic()
    assert 0 < caught.value.time < 1000
    assert watched.submit(number, trial=1, worker=0).result(PATIENCE) == 1
    record("F6", late=ended - began - 1.0, usable=time.monotonic() - ended)
    assert not watched.lost


def test_what_ran_before_the_time_was_over_is_kept(watch, record):
    """F6: streamed calls keep their spikes."""
    watched = watch()
    watched.env.record_spikes()
    whole = watched.submit(2000, trial=4).result(PATIENCE)
    call = watched.submit(2000, trial=4, timeout=1.0, pace=0.005, stream=True)
    with pytest.raises(CallTimeout) as caught:
        call.result(PATIENCE)
    reached, partial = caught.value.time, caught.value.partial
    assert 0 < reached < 2000
    assert partial.digest() == whole.slice(0, reached).digest()
    record("F6", partial_ms=reached)


def test_a_call_that_exceeds_its_time_and_does_not_stop(watch, record):
    """F6: its worker is replaced after the grace."""
    watched = watch(grace=1.0)
    began = time.monotonic()
    endless = Fault(Sleep(hold_gil=True), ranks=[1])
    call = watched.submit(10, endless, worker=0, timeout=1.0)
    with pytest.raises(CallTimeout):
        call.result(PATIENCE)
    record("F6", late_forced=time.monotonic() - began - 1.0)
    assert call.attempts == 1
    assert watched.submit(number, trial=1, worker=0).result(PATIENCE) == 1
    assert len(watched.lost) == 1


def test_calls_with_time_to_spare_are_not_touched(watch):
    """F6: waiting in the queue does not count."""
    watched = watch(task_timeout=5.0)
    calls = [watched.submit(100, trial=i, pace=0.01) for i in range(14)]
    for call in calls:
        call.result(PATIENCE)
        assert call.attempts == 1


def test_a_process_that_stops_itself_in_a_call(watch, tmp_path):
    """F5: SIGSTOP in user code."""
    watched = watch()
    once = Fault(Kill(signal.SIGSTOP), ranks=[1], attempts=[1], counter=tmp_path)
    call = watched.submit(number, once, trial=9)
    assert call.result(PATIENCE) == 9
    assert call.attempts == 2
