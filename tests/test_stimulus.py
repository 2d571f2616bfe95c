"""Stimuli refuse what cannot be driven."""

import pickle

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.stimulus import UNITS, Stimulus


def test_defaults():
    stimulus = Stimulus(np.zeros((20, 3)))
    assert stimulus.array.dtype == np.float64
    assert (stimulus.dt, stimulus.gids, stimulus.sections) == (1.0, None, None)
    assert (stimulus.input_mode, stimulus.units) == ("extracellular", "mV")
    assert stimulus.duration == 20.0


@pytest.mark.parametrize(("mode", "unit"), UNITS.items())
def test_each_mode_has_its_unit(mode, unit):
    assert Stimulus([[1.0]], input_mode=mode).units == unit


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"array": np.zeros((2, 2, 2))}, r"\[time, columns\]"),
        ({"array": np.zeros(5)}, r"\[time, columns\]"),
        ({"array": [["a"]]}, "numbers"),
        ({"array": [[1.0], [1.0, 2.0]]}, "numbers"),
        ({"array": [[1.0]], "dt": 0}, "dt must be positive"),
        ({"array": [[1.0]], "dt": -1.0}, "dt must be positive"),
        ({"array": [[1.0]], "dt": float("nan")}, "dt must be positive"),
        ({"array": [[1.0]], "dt": float("inf")}, "dt must be positive"),
        ({"array": [[1.0]], "dt": "fast"}, "dt must be positive"),
        ({"array": [[1.0]], "input_mode": "light"}, "'light'; choose from"),
        ({"array": [[np.nan]]}, "not finite"),
        ({"array": [[np.inf]]}, "not finite"),
        ({"array": [[1.0]], "gids": [1, 2]}, "1 columns but 2 gids"),
        ({"array": [[1.0, 2.0]], "gids": [1.5, 2]}, "gids must be"),
        ({"array": [[1.0]], "gids": [-1]}, "gids must be"),
        ({"array": [[1.0]], "gids": [2**32]}, "gids must be"),
        ({"array": [[1.0]], "gids": [[1]]}, "gids must be"),
        ({"array": [[1.0]], "sections": ["soma", "dend"]}, "1 columns but 2 sections"),
        ({"array": np.zeros((1, 4)), "sections": "soma"}, "sequence of names"),
    ],
)
def test_unusable_values_are_named(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        Stimulus(**kwargs)


def test_a_rank_without_cells():
    stimulus = Stimulus(np.zeros((5, 0)), gids=[], sections=[])
    assert (stimulus.duration, len(stimulus.gids)) == (5.0, 0)


def test_from_arg():
    assert Stimulus.from_arg(None) is None
    given = Stimulus([[1.0]])
    assert Stimulus.from_arg(given) is given
    assert Stimulus.from_arg(np.ones((2, 3))).array.shape == (2, 3)
    assert Stimulus.from_arg([[1.0], [2.0]]).array.shape == (2, 1)
    assert Stimulus.from_arg(([[1.0]], 0.5)).dt == 0.5
    assert Stimulus.from_arg({"array": [[1.0]], "input_mode": "current"}).units == "nA"


@pytest.mark.parametrize("value", [3, "pulse", object()])
def test_from_arg_refuses_what_is_no_stimulus(value):
    with pytest.raises(ConfigError, match=r"env\.cell_stimulus"):
        Stimulus.from_arg(value)


@pytest.mark.parametrize("value", [{"array": [[1.0]], "speed": 1}, (1, 2, 3, 4, 5, 6)])
def test_from_arg_with_arguments_that_do_not_exist(value):
    with pytest.raises(ConfigError, match="Stimulus"):
        Stimulus.from_arg(value)


def test_pickling():
    stimulus = Stimulus([[1.0, 2.0]], 0.5, [3, 4], ["soma", "dend"], "current")
    copy = pickle.loads(pickle.dumps(stimulus))
    assert copy.array.tolist() == [[1.0, 2.0]]
    assert (copy.dt, copy.gids.tolist()) == (0.5, [3, 4])
    assert (copy.sections, copy.input_mode) == (("soma", "dend"), "current")


def test_repr():
    assert repr(Stimulus(np.zeros((20, 3)), 0.5)) == (
        "Stimulus(extracellular, 20 x 0.5 ms, 3 columns)"
    )
