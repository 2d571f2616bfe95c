"""Spaces: what a user writes, and the way to the unit cube and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.search import Space
from livn_ipp.search.space import Choice, Integer, Real

numbers = st.floats(allow_nan=False, allow_infinity=False)
units = st.floats(0, 1)


@st.composite
def bounds(draw):
    low, high = sorted((draw(numbers), draw(numbers)))
    if not low < high:
        low, high = 0.0, 1.0
    return low, high


@st.composite
def ratios(draw):
    positive = st.floats(1e-300, 1e300)
    low, high = sorted((draw(positive), draw(positive)))
    if not math.log(low) < math.log(high):
        low, high = 1.0, 10.0
    return low, high, "log"


options = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
ranges = st.builds(
    lambda start, count, step: range(start, start + count * step, step),
    st.integers(-50, 50), st.integers(1, 40), st.integers(1, 5) | st.integers(-5, -1),
)  # fmt: skip
lists = st.lists(options, min_size=1, max_size=6, unique_by=lambda o: (type(o), o))
spaces = st.dictionaries(
    st.text(max_size=4), bounds() | ratios() | ranges | lists, min_size=1, max_size=5
)


@given(spaces, st.data())
def test_every_point_of_the_cube_is_a_candidate(parameters, data):
    space = Space(parameters)
    point = data.draw(st.lists(units, min_size=len(space), max_size=len(space)))
    candidate = space.from_unit(point)
    space.check(candidate)
    assert list(candidate) == list(parameters)
    back = space.to_unit(candidate)
    assert ((back >= 0) & (back <= 1)).all()
    again = space.from_unit(back)
    for name, parameter in space.items():
        if isinstance(parameter, Real):
            near = abs(again[name] / 2 - candidate[name] / 2)
            assert near <= 1e-9 * (parameter.high / 2 - parameter.low / 2)
        else:
            options = parameter.values
            assert options.index(again[name]) == options.index(candidate[name])


@given(bounds() | ratios(), units, units)
def test_numbers_keep_their_order(parameter, one, other):
    real = Space({"x": parameter})["x"]
    low, high = sorted((one, other))
    assert real.value(low) <= real.value(high)
    assert real.value(0.0) == real.low
    assert real.value(1.0) == real.high


@given(ranges | lists)
def test_equal_shares(parameter):
    counted = Space({"x": parameter})["x"]
    count = len(counted.values)
    places = [(n + 0.5) / count for n in range(count)]
    assert [counted.value(place) for place in places] == list(parameter)


def test_a_space_reads_what_is_written():
    space = Space({"a": (0, 1), "b": (1e-4, 1e-2, "log"), "c": range(3), "d": ["x", 2]})
    assert dict(space) == {
        "a": Real(0.0, 1.0),
        "b": Real(1e-4, 1e-2, log=True),
        "c": Integer(range(3)),
        "d": Choice(("x", 2)),
    }
    assert space.from_unit([0.5] * 4)["b"] == pytest.approx(1e-3)
    assert len(list(space.grid(3))) == 3 * 3 * 3 * 2
    assert next(space.grid(1)) == {"a": 0.5, "b": pytest.approx(1e-3), "c": 0, "d": "x"}


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        ((1, 0), "low < high"),
        ((0, 1, "log"), "0 < low < high"),
        ((0, math.inf), "finite"),
        ((0, "b"), "numbers"),
        ((0, 1, "exp"), "must be"),
        ([], "must be"),
        (range(0), "must be"),
        ([{1}], "texts, numbers"),
        (3.0, "must be"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_refused(parameter, why):
    with pytest.raises(ConfigError, match=why):
        Space({"x": parameter})


def test_an_empty_space_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        Space({})


@pytest.mark.parametrize("candidate", [{}, {"x": 2.0}, {"x": True}, {"y": 0.5}, [0.5]])
def test_what_is_no_candidate_is_refused(candidate):
    with pytest.raises(ConfigError):
        Space({"x": (0, 1)}).to_unit(candidate)
