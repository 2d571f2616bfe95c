"""Potentials of point sources: literal values, and grids on which sums are exact."""

import numpy as np
import pytest

from livn_ipp.volume_conductor import distance, gain, round_currents, transfer

ORIGIN = np.zeros((1, 3))
ALONG_X = np.array([[0.0, 0, 0], [30.0, 40.0, 0], [0, 0, 100.0]])


def test_distance():
    assert distance(ORIGIN, ALONG_X).tolist() == [[0, 50, 100]]


def test_transfer_is_finite_on_the_electrode():
    field = transfer(ORIGIN, ALONG_X)[0]
    assert field[0] == pytest.approx(278.5211 / 52.2015, rel=1e-6)
    assert field[2] == pytest.approx(278.5211 / np.sqrt(1e4 + 2725), rel=1e-6)


def test_gain_ends_at_its_reach():
    gains = gain(ORIGIN, ALONG_X, reach=50.0)[0]
    assert gains[0] == pytest.approx(53.0516, abs=2**-18 + 5e-5)
    assert gains[1] == pytest.approx(265.2582 / 55, abs=2**-18)
    assert gains[2] == 0


def test_currents_are_whole_steps():
    currents = round_currents(np.array([1.0, 1 / 3, -1e-7]))
    steps = currents * 2**20
    assert np.array_equal(steps, np.round(steps))
    assert currents[0] == 1
    assert abs(currents[1] - 1 / 3) <= 2**-21
    assert currents[2] == 0
