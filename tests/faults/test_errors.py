"""Exceptions of every kind, results that cannot travel: the worker lives on."""

import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
from watched import PATIENCE

from livn_ipp.errors import CallError, ResultNotSerializable
from livn_ipp.testing import (
    Fault,
    Leave,
    Raise,
    Unpicklable,
    with_faults,
)
from livn_ipp.types import Decoding

pytestmark = pytest.mark.cluster


class TwoArguments(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Unreducible(ValueError):
    def __reduce__(self):
        raise TypeError("not to be pickled")


class Quiet(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def of_a_function():
    class Local(Exception):
        pass

    return Local("of a function")


@pytest.mark.neuron
def test_an_exception_on_one_rank_while_the_others_simulate(watch, record):
    """F7."""
    watched = watch(backend=with_faults("neuron"))
    watched.env.record_spikes()
    before = watched.submit(50, trial=3).result(PATIENCE).digest()
    began = time.monotonic()
    call = watched.submit(
        1000, Fault(Raise(KeyError, "electrode 99"), ranks=[1], at=50), worker=0
    )
    with pytest.raises(KeyError, match="electrode 99") as caught:
        call.result(PATIENCE)
    ended = time.monotonic()
    assert [failure.rank for failure in caught.value.failures] == [1]
    assert "electrode 99" in caught.value.tracebacks
    assert watched.submit(50, trial=3, worker=0).result(PATIENCE).digest() == before
    record("F7", result=ended - began, usable=time.monotonic() - ended)
    assert not watched.lost


@pytest.mark.neuron
def test_an_exception_inside_of_the_simulator(watch, record):
    """F7: the others wait in the simulator for ever, so the worker is replaced."""
    watched = watch(backend=with_faults("neuron"))

    def fail():
        raise KeyError("electrode 98")

    def at_the_start(env, t_end, inputs):
        if env.comm.rank == 1:
            from neuron import h

            handler = h.FInitializeHandler(lambda: h.CVode().event(25.0, fail))
            env.kept = handler

    began = time.monotonic()
    call = watched.submit(1000, None, at_the_start, worker=0)
    with pytest.raises(CallError, match="worker is replaced") as caught:
        call.result(PATIENCE)
    record("F7", inside=time.monotonic() - began)
    assert [failure.rank for failure in caught.value.failures] == [1]
    assert call.attempts == 1
    assert len(watched.lost) == 1


@pytest.mark.parametrize(
    ("action", "kind", "text"),
    [
        (Raise(TwoArguments, 1, 2), CallError, "TwoArguments: 1 and 2"),
        (Raise(Unreducible, "held"), ValueError, "Unreducible: held"),
        (Raise(Quiet), CallError, "Quiet"),
        (Raise(of_a_function), CallError, "of a function"),
        (
            Raise(ExceptionGroup, "two", [OSError(28, "full"), KeyError("x")]),
            CallError,
            "two",
        ),
        (Raise(ValueError, "x" * 50_000_000), ValueError, "characters left out"),
        (Raise(UnicodeDecodeError, "utf-8", b"\xff", 0, 1, "bad"), CallError, "bad"),
        (Raise(KeyboardInterrupt), CallError, "KeyboardInterrupt"),
        (Leave(3), CallError, "SystemExit: 3"),
    ],
    ids=lambda value: value.kind.__name__ if isinstance(value, Raise) else None,
)
def test_exceptions_of_every_kind(watch, record, action, kind, text):
    """F8."""
    watched = watch()
    for ranks in (None, [1]):
        began = time.monotonic()
        call = watched.submit(10, Fault(action, ranks=ranks), worker=0)
        with pytest.raises(kind) as caught:
            call.result(PATIENCE)
        record("F8", result=time.monotonic() - began)
        assert text in str(caught.value)
        assert len(str(caught.value)) < 1_000_000
        assert len(caught.value.failures) == (2 if ranks is None else 1)
    assert not watched.lost


class FromTheLast(Decoding):
    """The last rank answers."""

    duration: int = 10
    make: object

    def __call__(self, run, env=None):
        return self.make() if env.comm.rank == 1 else None


@pytest.mark.parametrize(
    "make",
    [
        lambda: (x for x in "abc"),
        threading.Lock,
        lambda: [sys._getframe()],
    ],
)
def test_results_that_cannot_be_pickled(watch, record, make):
    """F9."""
    watched = watch()
    for decoding in (lambda run, env: {"a": make()}, FromTheLast(make=make)):
        began = time.monotonic()
        with pytest.raises(ResultNotSerializable, match=r"generator|lock|frame"):
            watched.submit(decoding, worker=1).result(PATIENCE)
        record("F9", result=time.monotonic() - began)
    with pytest.raises(ResultNotSerializable, match="lock"):
        watched.submit(10, Fault(Unpicklable())).result(PATIENCE)
    assert not watched.lost


def test_large_results_arrive_whole(watch):
    """F9: what is large but not too large."""
    watched = watch()
    ones = partial(np.ones, 10_000_000)
    assert watched.submit(FromTheLast(make=ones)).result(PATIENCE).sum() == 10_000_000


def test_what_cannot_be_sent_is_refused_where_it_is_submitted(watch):
    """F9."""
    watched = watch()
    for options in ({"inputs": threading.Lock()}, {"encoding": threading.Lock()}):
        with pytest.raises(TypeError, match="lock"):
            watched.env.submit(10, **options)
