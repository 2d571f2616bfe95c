"""Encodings and decodings are their content."""

import pickle
import subprocess
import sys

import cloudpickle
import numpy as np
import pytest
from pydantic import PrivateAttr, ValidationError

from livn_ipp.types import Decoding, Encoding, Finding, content_digest


class Pulse(Encoding):
    gain: float = 1.0
    table: object = None

    def __call__(self, env, t_end, inputs):
        return inputs * self.gain


class OtherPulse(Pulse):
    pass


class Fitted(Decoding):
    weights: np.ndarray = np.zeros(2)
    _seen: int = PrivateAttr(0)


def test_equal_if_and_only_if_the_content_is():
    assert Pulse() == Pulse(gain=1.0)
    assert Pulse(gain=2.0) != Pulse()
    assert Pulse() != OtherPulse()
    assert Pulse() != "Pulse"


def test_array_fields_count_by_value():
    a, b = Pulse(table=np.arange(4.0)), Pulse(table=np.arange(4.0))
    assert a == b
    assert hash(a) == hash(b)
    b.table[2] = 9.0
    assert a != b


def test_a_fitted_decoding_changes_its_digest():
    decoding = Fitted(duration=10)
    before = content_digest(decoding)
    decoding.weights = np.ones(2)
    after = content_digest(decoding)
    assert after != before
    decoding._seen = 5
    assert content_digest(decoding) not in {before, after}


def test_hashable():
    assert len({Pulse(), Pulse(), Pulse(gain=2.0)}) == 2


def test_pickled_copy_is_equal():
    for value in (Pulse(table=np.arange(3)), Fitted(duration=3.5)):
        assert pickle.loads(pickle.dumps(value)) == value


def test_unknown_parameters_are_refused():
    with pytest.raises(ValidationError, match="gian"):
        Pulse(gian=2.0)


@pytest.mark.parametrize("duration", [0, -1, float("nan"), float("inf"), None, "long"])
def test_duration_is_a_positive_number_of_ms(duration):
    with pytest.raises(ValidationError, match="duration"):
        Decoding(duration=duration)


def test_a_whole_duration_stays_an_integer():
    assert isinstance(Decoding(duration=100).duration, int)
    assert Decoding(duration=0.5).duration == 0.5


def test_the_bases_do_nothing_by_themselves():
    with pytest.raises(NotImplementedError, match="Encoding must implement __call__"):
        Encoding()(None, 10, None)
    with pytest.raises(NotImplementedError, match="Decoding must implement __call__"):
        Decoding(duration=10)(None)
    assert Decoding(duration=10).setup(None) is None


def test_finding_is_well_unless_told_otherwise():
    assert Finding("compiler", "g++ 12") == Finding("compiler", "g++ 12", True, "")


NOTEBOOK = """
import sys
import cloudpickle
from livn_ipp.types import Encoding

GAIN = 3.0

class Constant(Encoding):
    level: float = 1.0

    def __call__(self, env, t_end, inputs):
        return GAIN * self.level * inputs

assert Constant() == Constant(level=1.0) != Constant(level=2.0)
sys.stdout.buffer.write(cloudpickle.dumps((Constant(level=2.0), lambda e, t, i: -i)))
"""


def test_what_a_notebook_defines_works_in_another_process():
    notebook = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, timeout=60, check=True
    )
    constant, negative = pickle.loads(notebook.stdout)
    assert constant(None, 10, 5) == 30.0
    assert negative(None, 10, 5) == -5
    assert pickle.loads(cloudpickle.dumps(constant)) == constant
