"""Potentials of point sources: literal values, and grids on which sums are exact."""

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.volume_conductor import (
    PointSource,
    distance,
    round_currents,
    round_gains,
)

ORIGIN = np.zeros((1, 3))
ALONG_X = np.array([[0.0, 0, 0], [30.0, 40.0, 0], [0, 0, 100.0]])


def test_distance():
    assert distance(ORIGIN, ALONG_X).tolist() == [[0, 50, 100]]


def test_transfer_is_finite_on_the_electrode():
    field = PointSource().transfer(ORIGIN, ALONG_X)[0]
    assert field[0] == pytest.approx(278.5211 / 52.2015, rel=1e-6)
    assert field[2] == pytest.approx(278.5211 / np.sqrt(1e4 + 2725), rel=1e-6)


def test_lead_field_is_finite_at_the_electrode():
    gains = PointSource().lead_field(ORIGIN, ALONG_X)[0]
    assert gains[0] == pytest.approx(53.0516, abs=5e-5)
    assert gains[1] == pytest.approx(265.2582 / 55)
    assert gains[2] == pytest.approx(265.2582 / 105)


@pytest.mark.parametrize(
    ("medium", "field", "gain"),
    [
        # livn 2.0's figures at 0 and 100 um, in mV/uA and uV/uA
        ({}, [5.33549758, 2.46904659], [53051.6476973, 2526.26893797]),
        ({"culture_height_um": 100.0}, [5.33549758, 3.7936942], None),
        ({"stimulation_gain": 1.0}, [1.0, 0.46275845], None),
        ({"min_distance_um": 20.0}, None, [53051.6476973, 8841.94128288]),
        ({"recording_gain": 1.0}, None, [1.0, 0.04761905]),
    ],
)
def test_parameters_act_as_in_livn(medium, field, gain):
    points = np.array([[0.0, 0, 0], [100.0, 0, 0]])
    source = PointSource(**medium)
    if field:
        assert np.allclose(source.transfer(ORIGIN, points), [field])
    if gain:
        assert np.allclose(1000 * source.lead_field(ORIGIN, points), [gain])


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, "much", None])
def test_media_that_cannot_be_are_refused(value):
    with pytest.raises(ConfigError, match="recording_gain must be a positive number"):
        PointSource(recording_gain=value)


def test_gains_are_whole_steps():
    steps = round_gains(np.array([1 / 3])) * 2**18
    assert np.array_equal(steps, np.round(steps))


def test_currents_are_whole_steps():
    currents = round_currents(np.array([1.0, 1 / 3, -1e-7]))
    steps = currents * 2**20
    assert np.array_equal(steps, np.round(steps))
    assert currents[0] == 1
    assert abs(currents[1] - 1 / 3) <= 2**-21
    assert currents[2] == 0
