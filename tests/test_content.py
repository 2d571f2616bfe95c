"""Content decides, not the way an object came about."""

import math
import pickle

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.content import content_digest, content_key
from livn_ipp.types import Encoding

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


class Table(Encoding):
    values: object = None


@given(plain)
def test_a_copy_has_the_same_content(value):
    copy = pickle.loads(pickle.dumps(value))
    assert content_digest(copy) == content_digest(value)
    assert content_key(copy) == content_key(value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", b"1"),
        ("ab", "a"),
        (["ab", "c"], ["a", "bc"]),
        ([1, 2], [2, 1]),
        ([1], (1,)),
        ([[], []], [[[]]]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(3), [0.0, 0.0, 0.0]),
        (Table(values=1), Table(values=2)),
        (math.sin, math.cos),
        (lambda: 1, lambda: 2),
    ],
)
def test_different_content(a, b):
    assert content_digest(a) != content_digest(b)
    assert content_key(a) != content_key(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({8, 16, 0}, {0, 16, 8}),
        (np.arange(8.0)[::2], np.array([0.0, 2.0, 4.0, 6.0])),
        ([str(12345)] * 2, [str(12345), str(12345)]),
        (Table(), Table(values=None)),
        (Table(values={"w": np.ones(2)}), Table(values={"w": np.ones(2)})),
        (np.array([None, "a"], object), np.array([None, "a"], object)),
    ],
)
def test_equal_content(a, b):
    assert content_digest(a) == content_digest(b)
    assert content_key(a) == content_key(b)


def test_code_that_only_the_notebook_has_counts_with_its_globals():
    namespace = {"__name__": "__main__", "AMPLITUDE": 1.5}
    exec("def drive(env, t_end, inputs):\n    return AMPLITUDE", namespace)
    drive = namespace["drive"]
    before = content_digest(drive)
    assert content_digest(drive) == before
    namespace["AMPLITUDE"] = 2.0
    assert content_digest(drive) != before


def test_unpickling_a_class_does_not_make_its_instances_differ():
    namespace = {"__name__": "__main__", "Encoding": Encoding}
    exec("class Pulse(Encoding):\n    gain: float = 1.0", namespace)
    pulse = namespace["Pulse"]()
    copy = pickle.loads(cloudpickle.dumps(pulse))
    assert copy == pulse
    assert hash(copy) == hash(pulse)


def test_what_cannot_be_pickled_has_no_digest():
    with pytest.raises(TypeError):
        content_digest(i for i in range(3))


def test_known_digest():
    assert content_digest([1, "a"]) == "09b42b868e0aa6a973b54769ff3c848b"
