"""Local field potentials of sines whose power is known."""

import numpy as np
import pytest
from dish import Dish

from livn_ipp.decoding import LFP
from livn_ipp.errors import ConfigError
from livn_ipp.run import Run, Series

DT = 0.1  # ms
DURATION = 4000.0
TIMES = DT * np.arange(1, 40_001) / 1000  # s


def sine(hertz, amplitude=1.0):
    return amplitude * np.sin(2 * np.pi * hertz * TIMES)


def decode(values, ids=(7, 8, 9), **kwargs):
    rows = np.broadcast_to(values, (len(ids), len(TIMES)))
    potential = Series(np.array(ids), np.array(rows), DT, DT, "uV")
    run = Run(0, DURATION, None, {"potential": potential})
    return LFP(duration=DURATION, **kwargs)(run, Dish())


def test_every_tenth_sample_is_kept():
    values = np.arange(3)[:, None] * 1e5 + np.arange(40_000)
    result = decode(values)
    assert (result["sample_rate_hz"], result["n_channels"]) == (1000.0, 3)
    assert result["n_samples"] == 4000
    assert result["lfp"].dtype == np.float32
    assert result["lfp"][1, :3].tolist() == [100000, 100010, 100020]
    assert decode(values, downsample_hz=4000)["n_samples"] == 20_000
    assert decode(values, downsample_hz=1e5)["n_samples"] == 40_000


def test_channels_are_chosen_by_id():
    values = np.arange(3.0)[:, None]
    assert decode(values, channels=[9, 7])["lfp"][:, 0].tolist() == [2.0, 0.0]
    with pytest.raises(ConfigError, match=r"no channels \[5\]; it has \[7, 8, 9\]"):
        decode(values, channels=[5])


def test_a_lowpass_keeps_what_is_slow_without_delay():
    inner = slice(500, -500)
    filtered = decode(sine(10) + sine(400), lowpass_hz=100)["lfp"][0]
    assert filtered[inner] == pytest.approx(sine(10)[::10][inner], abs=0.01)
    corner = decode(sine(100), lowpass_hz=100)["lfp"][0]
    # A Butterworth filter halves the power at its corner, twice if run both ways.
    assert corner[inner] == pytest.approx(sine(100, 0.5)[::10][inner], abs=0.02)


def test_a_filter_that_does_not_fit():
    with pytest.raises(ConfigError, match="below half the sampling rate"):
        decode(sine(10), lowpass_hz=5000)
    short = Run(0, 1, None, {"potential": Series([7], np.ones((1, 10)), DT, DT, "uV")})
    with pytest.raises(ConfigError, match="too few for a filter of order 4"):
        LFP(duration=1, lowpass_hz=100)(short, Dish())


def test_power_is_where_the_sine_is():
    # A sine of amplitude 2 uV has a power of 2 uV^2.
    result = decode(sine(20, 2.0), compute_band_power=True, nperseg=1000)
    assert result["beta"] == pytest.approx(2.0, rel=0.01)
    assert result["broadband"] == pytest.approx(2.0, rel=0.01)
    assert result["beta_relative"] == pytest.approx(1.0, abs=1e-3)
    for band in ("delta", "theta", "alpha", "gamma"):
        assert result[band] < 1e-3


def test_power_is_that_of_the_mean_of_the_channels():
    values = np.stack([sine(20), -sine(20), sine(6)])
    result = decode(values, compute_band_power=True, nperseg=1000)
    assert result["beta"] == pytest.approx(0.0, abs=1e-9)
    assert result["theta"] == pytest.approx(0.5 / 9, rel=0.01)


def test_bands_of_ones_own():
    bands = {"slow": (0.5, 8.0), "line": (50.0, 50.0), "none": (50.2, 50.3)}
    result = decode(sine(50), compute_band_power=bands, nperseg=1000, noverlap=0)
    assert result["line"] == pytest.approx(0.5 * 2 / 3, rel=0.01)  # of a Hann window
    assert (result["slow_relative"] < 1e-6, result["none"]) == (True, 0.0)


def test_potentials_may_come_from_currents():
    dish = Dish(duration=1000)
    recorded = LFP(duration=1000)(dish.run("potential"), dish)
    computed = LFP(duration=1000)(dish.run("current"), dish)
    assert np.array_equal(recorded["lfp"], computed["lfp"])


def test_something_must_have_been_recorded():
    with pytest.raises(ConfigError, match="record_potential"):
        LFP(duration=10)(Run(0, 10), Dish())
