"""An interrupt at any moment leaves nothing half done: no call hangs."""

import os
import random
import signal
import threading
import time
from concurrent.futures import Future

import promises
import pytest
from watched import PATIENCE, until

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import CallSpec, Dispatcher
from livn_ipp.cluster.machine.interrupts import InterruptsDeferred


# One that comes as an object is let go is dropped by Python itself.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("calls", [1, 300])
def test_interrupts_while_calls_are_submitted(calls):
    chance = random.Random(calls)
    with promises.environment(transport="local") as env:
        dispatcher = env._dispatcher
        content = wire.dumps((promises.Echo(), None))
        specs = [CallSpec(n, wire.dumps(n)) for n in range(calls)]
        interrupted, futures = 0, []

        def submit(timer):
            timer.start()
            while timer.is_alive():
                futures.extend(dispatcher.submit("echo", content, specs))
            time.sleep(0.1)

        for _ in range(60):
            pause = chance.uniform(0, 0.005)
            timer = threading.Timer(pause, os.kill, (os.getpid(), signal.SIGINT))
            # The loop is elsewhere: Python 3.13 may raise between two rounds of one
            # without looking for who catches it in the same function.
            try:
                submit(timer)
            except KeyboardInterrupt:
                interrupted += 1
            timer.join()
        assert interrupted > 30
        assert env(promises.Echo(), inputs=[1, 2, 3]) == [1, 2, 3]
        until(lambda: not dispatcher.unfinished, PATIENCE, "the end of all calls")
        assert not dispatcher._calls
        assert not dispatcher._controller._calls
        for future in futures:
            assert isinstance(future.result(PATIENCE), int)


def test_calls_whose_submission_is_interrupted_are_given_up(monkeypatch):
    with promises.environment(transport="local") as env:
        dispatcher, post = env._dispatcher, Dispatcher._post

        def interrupt(self, event):
            post(self, event)
            if type(event).__name__ == "CallsSubmitted":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0)

        monkeypatch.setattr(Dispatcher, "_post", interrupt)
        with pytest.raises(KeyboardInterrupt):
            env.submit(promises.until_stopped)
        monkeypatch.undo()
        until(lambda: not dispatcher.unfinished, PATIENCE, "its end")
        assert env(promises.Echo(), inputs=[1]) == [1]


def test_what_ends_together_ends_in_spite_of_an_interrupt():
    with promises.environment(transport="local") as env:
        calls = [env.submit(promises.until_stopped) for _ in range(5)]

        def interrupt(_):
            raise KeyboardInterrupt

        calls[1].add_done_callback(interrupt)
        with pytest.raises(KeyboardInterrupt):
            env.cancel_all()
        assert all(call.cancelled() for call in calls)


def test_a_result_that_cannot_be_kept_ends_its_call_and_no_other(monkeypatch):
    with promises.environment(transport="local") as env:
        results = env._dispatcher._results
        keep, refused = results.keep, []

        def refuse(frames):
            if wire.loads(frames) == 2:
                refused.append(frames)
                raise UserWarning("no room")
            return keep(frames)

        monkeypatch.setattr(results, "keep", refuse)
        calls = [env.submit(promises.Echo(), n) for n in (1, 2, 3)]
        assert isinstance(calls[1].exception(PATIENCE), UserWarning)
        assert [calls[n].result(PATIENCE) for n in (0, 2)] == [1, 3]
        assert len(refused) == 1


def test_deferring_inside_what_is_deferred():
    told = []

    def defer():
        with InterruptsDeferred(lambda: told.append("outer")) as outer:
            with InterruptsDeferred(lambda: told.append("inner")):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0)
            assert outer.came
            told.append("went on")
        told.append("not this")

    with pytest.raises(KeyboardInterrupt):
        defer()
    assert told == ["outer", "went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_defer_nothing():
    here = Future()

    def defer():
        with InterruptsDeferred(lambda: None):
            here.set_result(signal.getsignal(signal.SIGINT))

    threading.Thread(target=defer).start()
    assert here.result(PATIENCE) is signal.default_int_handler


def test_an_interrupt_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with InterruptsDeferred(lambda: pytest.fail("told")):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
