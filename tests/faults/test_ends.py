"""Calls that are cancelled or interrupted, environments that are shut down."""

import random
import signal
import threading
import time

import pytest
from watched import PATIENCE, until

from livn_ipp.errors import CallCancelled, ClusterLost
from livn_ipp.testing import Fault, Sleep

pytestmark = pytest.mark.cluster


def number(run, env):
    return env.trial


# F12: interrupts


def test_an_interrupt_gives_control_back_at_once(watch, record):
    """F12."""
    watched = watch()
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        watched.env(10, inputs=[Fault(Sleep(votes=True))] * 3)
    control = time.monotonic()
    timer.join()
    assert watched.env(number, inputs=[1, 2], trial=4) == [4, 5]
    record("F12", control=control - sent[0], usable=time.monotonic() - sent[0])
    assert not watched.lost


def test_an_interrupt_while_a_future_is_waited_for_leaves_the_call(watch):
    """F12: who waits for a future goes on later."""
    watched = watch()
    call = watched.submit(100, trial=3, pace=0.01)
    timer = threading.Timer(
        0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    )
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call.result(PATIENCE)
    timer.join()
    call.result(PATIENCE)
    assert call.attempts == 1


@pytest.fixture(autouse=True)
def _heed_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# F13: cancel


def test_a_queued_and_a_running_call_are_cancelled(watch, record):
    """F13."""
    watched = watch()
    running = [watched.submit(10, Fault(Sleep(votes=True)), worker=w) for w in (0, 1)]
    queued = watched.submit(number)
    watched.under_way(*running)
    began = time.monotonic()
    assert queued.cancel()
    assert all(call.cancel() for call in running)
    for call in (queued, *running):
        assert call.cancelled()
        with pytest.raises(CallCancelled):
            call.result(0)
    for worker in (0, 1):
        assert watched.submit(number, trial=4, worker=worker).result(PATIENCE) == 4
    record("F13", usable=time.monotonic() - began)
    assert not watched.lost


def test_the_race_of_cancel_and_completion_has_one_winner(watch, record):
    """F13."""
    watched = watch()
    choice = random.Random(3)
    outcomes = []
    for _ in range(10):
        calls = [
            watched.submit(50, trial=trial, pace=choice.uniform(0, 0.001))
            for trial in range(20)
        ]
        for call in choice.sample(calls, 12):
            time.sleep(choice.uniform(0, 0.03))
            won = call.cancel()
            assert won == call.cancelled()
            outcomes.append(won)
        for call in calls:
            if not call.cancelled():
                call.result(PATIENCE)
            assert call.done()
    assert True in outcomes
    assert len(watched.ends) == len(watched.calls) == 200
    record("F13", cancelled_number=sum(outcomes), too_late_number=outcomes.count(False))
    assert not watched.lost


def test_all_calls_are_cancelled_at_once(watch):
    """F13."""
    watched = watch()
    calls = [watched.submit(10, Fault(Sleep(votes=True))) for _ in range(100)]
    watched.under_way(calls[0])
    watched.env.cancel_all()
    assert all(call.cancelled() for call in calls)


def test_a_cancelled_call_that_does_not_stop_is_ended(watch, record):
    """F13: its worker is replaced after the grace."""
    watched = watch(grace=1.0)
    call = watched.submit(10, Fault(Sleep(hold_gil=True)), worker=0)
    watched.running(call)
    time.sleep(0.5)
    began = time.monotonic()
    assert call.cancel()
    noticed = watched.noticed(began)
    assert watched.submit(number, trial=4, worker=0).result(PATIENCE) == 4
    record("F13", given_up=noticed - began)


# F19: the end


def test_shutting_down_twice_and_with_running_calls(watch, record, cluster):
    """F19."""
    from livn_ipp.env.distributed import DistributedEnv
    from livn_ipp.testing import FaultyEnv

    env = DistributedEnv("EI1", backend=FaultyEnv, cluster=cluster, subworld_size=2)
    env.init()
    calls = [env.submit(10, Fault(Sleep(votes=True))) for _ in range(5)]
    until(lambda: calls[0].progress)
    began = time.monotonic()
    env.shutdown()
    env.shutdown()
    took = time.monotonic() - began
    for call in calls:
        with pytest.raises(ClusterLost, match="shut down"):
            call.result(1)
    record("F19", shutdown=took)
    assert took < 30
    watch()  # the cluster lives on, and is checked


ENDS = """
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import Fault, FaultyEnv, Sleep
env = DistributedEnv("EI1", backend=FaultyEnv, num_workers=1, subworld_size=2)
{use}
"""


@pytest.mark.parametrize(
    ("use", "code", "error"),
    [
        ("env.init().submit(10, Fault(Sleep(votes=True)))", 0, ""),
        ("env.init().submit(10, Fault(Sleep(hold_gil=True)))", 0, ""),
        ("with env:\n    env.submit(10, Fault(Sleep()))\n    1 / 0", 1, "ZeroDivision"),
    ],
)
def test_a_program_that_ends_with_running_calls(case, record, use, code, error):
    """F19: nothing is left, and the exit code is that of the program."""
    process = case.start(
        ENDS.format(use=use) + "\nimport time; print(time.monotonic())"
        if not code
        else ENDS.format(use=use)
    )
    out, err = process.communicate(timeout=PATIENCE)
    if out:
        record("F19", exit=time.monotonic() - float(out))
    assert process.returncode == code, err
    assert error in err
    assert bool(err) == bool(code)
    assert not case.left(10)


# F15: the owner is killed


OWNER = """
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import Fault, FaultyEnv, Sleep
env = DistributedEnv("EI1", backend=FaultyEnv, num_workers=1, subworld_size=2).init()
print("ready", flush=True)
env(10, inputs=[Fault(Sleep(hold_gil=True))])
"""


def test_a_killed_owner_leaves_nothing(case, record):
    """F15."""
    process = case.start(OWNER)
    assert process.stdout.readline() == "ready\n", process.communicate(timeout=5)
    time.sleep(1)
    killed = time.monotonic()
    process.kill()
    process.communicate(timeout=10)
    assert not case.left(45)
    record("F15", gone=time.monotonic() - killed)
