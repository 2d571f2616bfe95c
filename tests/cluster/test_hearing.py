"""Replies are read by whoever waits for one, or else by a thread, and none is lost."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from watched import PATIENCE, until

from livn_ipp.cluster.transports.hearing import Hearing
from livn_ipp.cluster.transports.stream import Stream


class Line:
    """Asks a thread at the other end, which answers; futures as a dispatcher's."""

    def __init__(self, hearing):
        self.hearing = hearing
        self.stream, self._far = map(Stream, socket.socketpair())
        self.futures, self.readers = {}, []
        hearing.add(self.stream, self._heard)

    def ask(self, number):
        future = self.futures[number] = Future()
        return future

    def answer(self, number):
        self._far.send(b"r", [b"%d" % number])

    def wait(self, future, timeout=PATIENCE):
        began = time.monotonic()
        self.hearing.help(future, timeout)
        return future.result(max(0, timeout - (time.monotonic() - began)))

    def _heard(self, _kind, frames):
        self.readers.append(threading.get_ident())
        number = int(frames[0])
        self.futures.pop(number).set_result(number)

    def close(self):
        self.hearing.remove(self.stream)
        self.stream.close()
        self._far.close()


@pytest.fixture
def hearing():
    hearing = Hearing()
    yield hearing
    hearing.close()
    until(lambda: hearing._bell.fileno() < 0, what="the end of its thread")


@pytest.fixture
def line(hearing):
    line = Line(hearing)
    yield line
    line.close()


def later(action, *arguments, seconds=0.1):
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    timer.start()


def test_what_nobody_waits_for_is_heard(line):
    future = line.ask(1)
    line.answer(1)
    assert future.result(PATIENCE) == 1
    assert line.readers != [threading.get_ident()]


def test_who_waits_hears_it_himself(line):
    future = line.ask(1)
    later(line.answer, 1)
    assert line.wait(future) == 1
    assert line.readers == [threading.get_ident()]
    # And not for longer than that.
    until(lambda: not line.hearing._aside, what="the thread")
    future = line.ask(2)
    line.answer(2)
    assert future.result(PATIENCE) == 2
    assert line.readers[1] != threading.get_ident()


def test_a_future_that_ends_in_another_way_ends_the_wait(line):
    future = Future()
    later(future.set_result, 7)
    began = time.monotonic()
    assert line.wait(future) == 7
    assert time.monotonic() - began < 5


def test_a_wait_has_an_end(line):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        line.wait(line.ask(1), timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 5
    line.answer(1)  # late, and heard in spite of that
    until(lambda: not line.futures, what="the late answer")


def test_waiting_ends_with_the_hearing(line):
    future = line.ask(1)
    later(line.hearing.close)
    began = time.monotonic()
    line.hearing.help(future, PATIENCE)
    assert time.monotonic() - began < 5


def test_other_ends_that_close_disturb_nobody(hearing, line):
    other = Line(hearing)
    other._far.close()
    until(lambda: other.stream not in hearing._streams, what="its end")
    future = line.ask(1)
    line.answer(1)
    assert line.wait(future) == 1
    other.close()


@pytest.mark.parametrize("helped", [True, False])
def test_a_callback_may_wait_for_another_answer(line, helped):
    first, second, seen = line.ask(1), line.ask(2), Future()

    def go_on(_):
        line.answer(2)
        seen.set_result(line.wait(second))

    first.add_done_callback(go_on)
    line.answer(1)
    if helped:
        assert line.wait(first) == 1
    assert seen.result(PATIENCE) == 2


def test_many_callers_at_once(hearing):
    lines = [Line(hearing) for _ in range(3)]

    def ask(place):
        for number in range(place, 2000, 6):
            line = lines[number % 3]
            future = line.ask(number)
            line.answer(number)
            line.hearing.help(future, PATIENCE)  # or another caller does
            assert future.result(PATIENCE) == number

    with ThreadPoolExecutor(6) as callers:
        list(callers.map(ask, range(6)))
    for line in lines:
        assert not line.futures
        line.close()


def test_an_interrupt_ends_the_wait_and_loses_nothing(line):
    future = line.ask(1)
    later(os.kill, os.getpid(), signal.SIGINT)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        line.wait(future)
    assert time.monotonic() - began < 5
    line.answer(1)
    assert future.result(PATIENCE) == 1


def test_an_interrupt_waits_for_what_is_being_handled(line):
    handled = []

    def handle(_):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            time.sleep(0)
        handled.append("all of it")

    first = line.ask(1)
    first.add_done_callback(handle)
    line.ask(2)
    later(line.answer, 1)
    later(line.answer, 2, seconds=0.3)
    with pytest.raises(KeyboardInterrupt):
        line.wait(first)
    assert handled == ["all of it"]
    until(lambda: not line.futures, what="the answer that came after it")


def test_an_interrupt_meets_who_waits_and_not_the_thread_that_reads(line):
    first, second, here = line.ask(1), line.ask(2), []

    def wait(_):
        here.append(threading.get_ident())
        line.wait(second)

    first.add_done_callback(wait)
    line.answer(1)
    until(lambda: here, what="the thread's callback")
    later(os.kill, os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        line.wait(Future())
    assert here != [threading.get_ident()]
    line.answer(2)
    assert second.result(PATIENCE) == 2
    third = line.ask(3)
    line.answer(3)
    assert third.result(PATIENCE) == 3


def test_an_interrupt_ends_a_wait_inside_a_callback(line):
    first, never = line.ask(1), line.ask(2)
    first.add_done_callback(lambda _: line.wait(never))
    later(line.answer, 1)
    later(os.kill, os.getpid(), signal.SIGINT, seconds=0.5)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        line.wait(first)
    assert time.monotonic() - began < 5
    line.answer(2)
    assert never.result(PATIENCE) == 2
