"""A stimulus as it meets a rank's cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.neuron.program import Program, whole_steps
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

SYSTEM = System("EI1")
OWN = np.array([1, 4, 7], np.uint32)


def program(*args, **kwargs):
    """10 ms in steps of 0.05 ms."""
    stimulus = Stimulus(*args, **kwargs)
    return Program(stimulus, SYSTEM, PinskyRinzel(), OWN, 0.05, 10.0)


@pytest.mark.parametrize(
    ("interval", "dt", "steps"),
    [(1.0, 0.05, 20), (0.15, 0.05, 3), (1000, 0.0125, 80000)],
)
def test_whole_steps(interval, dt, steps):
    assert whole_steps(interval, dt, "x") == steps


@pytest.mark.parametrize("interval", [0.0, -1.0, 0.02, 0.07, np.inf, np.nan])
def test_intervals_that_are_no_steps_are_refused(interval):
    with pytest.raises(ConfigError, match=r"multiple.*0\.05"):
        whole_steps(interval, 0.05, "the interval")


@given(st.integers(1, 10**7), st.sampled_from([0.05, 0.025, 0.0125, 0.00625]))
def test_whole_steps_bears_rounding(steps, dt):
    assert whole_steps(steps * dt, dt, "x") == steps


def test_columns_go_to_cells_and_sections_and_others_are_ignored():
    sections = ["dend", "soma", "soma", "dend"]
    drive = program([[1.0, 2.0, 3.0, 4.0]], 1.0, [7, 7, 0, 1], sections, "current")
    assert drive.at(0).tolist() == [[0, 4], [0, 0], [2, 1]]
    assert not drive.at(20).any()


def test_without_gids_columns_are_all_cells_in_order():
    drive = program(np.arange(10.0)[None], input_mode="current")
    assert drive.at(0)[:, 0].tolist() == [1, 4, 7]


def test_rows_hold_for_their_interval_and_only_changes_count():
    rows = np.zeros((6, 10))
    rows[2:4] = 1.0
    drive = program(rows, 0.2, input_mode="current")
    assert drive.changes.tolist() == [0, 8, 16, 24]
    assert [drive.at(s)[0, 0] for s in (0, 7, 8, 15, 16)] == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"array": np.ones((1, 16))}, "cell_stimulus"),
        ({"array": np.ones((1, 2)), "gids": [1, 10]}, "does not"),
        ({"array": np.ones((1, 2)), "gids": [2, 2]}, "two columns"),
        ({"array": np.ones((1, 1)), "gids": [1], "sections": ["axon"]}, "axon"),
        ({"array": np.ones((1, 10)), "dt": 0.12}, "multiple"),
        ({"array": np.ones((11, 10))}, "lasts 11 ms"),
        ({"array": np.full((1, 10), 1.1), "input_mode": "conductance"}, "0 to 1 uS"),
        ({"array": np.full((1, 10), -0.1), "input_mode": "conductance"}, "-0.1 uS"),
        ({"array": np.full((1, 10), 1000.1)}, "-1000 to 1000 mV"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        program(**arguments)


def test_silence_beyond_the_run_does_not_matter():
    rows = np.ones((12, 10))
    rows[10:] = 0
    assert program(rows).at(0).any()
