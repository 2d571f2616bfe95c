"""Worked examples: each figure can be checked by hand."""

import math

import numpy as np
import pytest
from dish import Dish

from livn_ipp.decoding import (
    ISICV,
    ActiveFraction,
    AvalancheAnalysis,
    BurstRate,
    PairwiseChannelCorrelation,
    PeakSynchrony,
    PerUnitFiringRate,
    PopulationActiveFraction,
    PopulationAutocorrTau,
    PopulationFiringRates,
    PopulationRateMetrics,
    PopulationSpikeDensity,
    Stability,
)
from livn_ipp.decoding.populations import baks
from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run

ALL = [
    ActiveFraction,
    AvalancheAnalysis,
    BurstRate,
    ISICV,
    PairwiseChannelCorrelation,
    PeakSynchrony,
    PerUnitFiringRate,
    PopulationActiveFraction,
    PopulationAutocorrTau,
    PopulationFiringRates,
    PopulationRateMetrics,
    PopulationSpikeDensity,
    Stability,
]


def decode(decoding, spikes, duration):
    """Decode spikes given as {cell: times}."""
    pairs = [(cell, time) for cell, times in spikes.items() for time in times]
    dish = Dish(spikes=pairs, duration=duration)
    return decoding(dish.run("spikes"), dish)


def test_active_fraction():
    spikes = {0: [1.0, 2.0], 1: [3.0], 3: [4.0, 5.0, 6.0]}
    assert decode(ActiveFraction(duration=10, min_spikes=2), spikes, 10) == {
        "active_fraction": 0.5,  # cells 0 and 3 of 4
        "active_units": 2,
        "total_units": 4,
        "silent_units": [1],
    }


def test_per_unit_firing_rate():
    spikes = {0: [100.0, 900.0], 2: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    assert decode(PerUnitFiringRate(duration=2000), spikes, 2000) == {
        "per_unit_rates_hz": {0: 1.0, 2: 3.0},
        "max_rate_hz": 3.0,
        "min_rate_hz": 1.0,
        "mean_rate_hz": 2.0,
        "rate_cv": 0.5,  # standard deviation 1 / mean 2
        "n_units": 2,
    }


def test_population_firing_rates_count_silent_cells():
    spikes = {0: [1.0, 2.0, 3.0], 3: [5.0]}
    rates = decode(PopulationFiringRates(duration=500), spikes, 500)
    assert rates == {"rates_hz": {"EXC": 2.0, "INH": 2.0}}  # 3/(3*.5), 1/(1*.5)


@pytest.mark.parametrize(
    ("late", "verdict"),
    [([], "quiescent"), ([1900.0], "stable"), (range(1000, 2000, 40), "runaway")],
)
def test_stability(late, verdict):
    result = decode(Stability(duration=2000, min_rate_hz=0.3), {1: late}, 2000)
    assert result["tail_mean_hz"] == pytest.approx(len(late))
    assert result["global_mean_hz"] == pytest.approx(len(late) / 2)
    for name in ("quiescent", "stable", "runaway"):
        assert result[f"is_{name}"] is (name == verdict)


def test_population_rate_metrics():
    spikes = {0: [10.0, 20.0, 30.0], 1: [110.0], 2: [320.0, 380.0]}
    counts = [3, 1, 0, 2]
    result = decode(PopulationRateMetrics(duration=400), spikes, 400)
    assert result["mean_count"] == 1.5
    assert result["std_count"] == pytest.approx(math.sqrt(1.25))
    assert result["coefficient_of_variation"] == pytest.approx(math.sqrt(1.25) / 1.5)
    assert result["fano_factor"] == pytest.approx(1.25 / 1.5)
    assert (result["bin_size"], result["n_bins"]) == (100.0, len(counts))


def test_bins_fill_a_window_that_they_do_not_divide():
    result = decode(PopulationRateMetrics(duration=290), {0: [289.0]}, 290)
    assert (result["n_bins"], result["mean_count"]) == (2, 0.5)
    tenths = PopulationRateMetrics(duration=1, bin_size=0.1)
    assert decode(tenths, {0: [0.05]}, 1.0)["n_bins"] == 10


def test_interval_variation():
    clock = [0.0, 10.0, 20.0, 30.0, 40.0]
    uneven = [0.0, 10.0, 40.0, 50.0, 80.0]  # intervals 10, 30, 10, 30: 10 / 20
    too_few = [1.0, 2.0, 90.0]
    result = decode(ISICV(duration=100), {0: clock, 1: uneven, 2: too_few}, 100)
    assert result == {"isi_cv": 0.25, "n_units_used": 2}


def test_autocorrelation_time():
    # Counts 1 1 1 0 0 0 0 0 0 0 0 0; deviations .75 three times, -.25 nine times.
    spikes = {0: [5.0, 15.0, 25.0]}
    r1 = (2 * 0.75**2 - 0.75 * 0.25 + 8 * 0.25**2) / (3 * 0.75**2 + 9 * 0.25**2)
    r2 = (0.75**2 - 2 * 0.75 * 0.25 + 7 * 0.25**2) / (3 * 0.75**2 + 9 * 0.25**2)
    result = decode(PopulationAutocorrTau(duration=120), spikes, 120)
    assert r1 > 0
    assert r2 > 0
    expected = 10 * (1 + 2 * (r1 + r2))  # r3 = (-3 * .1875 + 6 * .0625) / 2.25 < 0
    assert result["pop_autocorr_tau"] == pytest.approx(expected)
    capped = decode(PopulationAutocorrTau(duration=120, max_lag=12), spikes, 120)
    assert capped["pop_autocorr_tau"] == 12
    short = decode(PopulationAutocorrTau(duration=80), spikes, 80)
    assert short["pop_autocorr_tau"] == 10


def test_burst_rate():
    # Counts in bins of 50 ms: 1, 1, 12, 9, 1, 1, 1, 10, 1, 1.
    burst = {0: [*np.linspace(100, 145, 12), *np.linspace(150, 190, 9)]}
    burst[1] = [5.0, 55.0, 205.0, 255.0, 305.0, 405.0, 455.0]
    burst[2] = list(np.linspace(351, 399, 10))
    result = decode(BurstRate(duration=500), burst, 500)
    assert result["onsets"] == [100.0, 350.0]
    assert (result["n_bursts"], result["burst_rate_hz"]) == (2, 4.0)
    assert result["threshold"] == pytest.approx(1 + 5 * 1.4826)  # median 1, MAD 0 -> 1


def test_the_floor_of_a_burst():
    spikes = {cell: [10.0] for cell in range(4)}
    floor = BurstRate(duration=500, mad_k=0, min_floor=0, min_floor_fraction=0.5)
    assert decode(floor, spikes, 500)["threshold"] == 2.0
    assert decode(BurstRate(duration=500, mad_k=0), spikes, 500)["threshold"] == 3.0


def test_peak_synchrony():
    spikes = {0: [1.0, 5.0], 1: [1.5], 2: [0.5, 9.0], 3: [7.0]}
    assert decode(PeakSynchrony(duration=10), spikes, 10) == {
        "max_synchronous_peak": 0.75,  # 3 of 4 cells from 0 to 2 ms
        "max_bin_count": 3,
        "n_active_units": 4,
    }


def test_pairwise_correlation():
    # Counts 1 0 1 0, 1 0 1 0 and 0 1 0 1: correlations 1, -1, -1.
    spikes = {0: [5.0, 45.0], 1: [6.0, 46.0], 2: [25.0, 65.0], 3: [1, 21, 41, 61]}
    result = decode(PairwiseChannelCorrelation(duration=80), spikes, 80)
    assert result["n_pairs"] == 3  # cell 3 does not vary
    assert result["mean_pairwise_correlation"] == pytest.approx(-1 / 3)


def test_pairwise_correlation_is_pearsons():
    random = np.random.default_rng(2)
    spikes = {cell: random.uniform(0, 1000, 40).tolist() for cell in range(4)}
    result = decode(PairwiseChannelCorrelation(duration=1000), spikes, 1000)
    counts = [np.histogram(t, 50, (0, 1000))[0] for t in spikes.values()]
    expected = np.corrcoef(counts)[np.triu_indices(4, 1)].mean()
    assert result["mean_pairwise_correlation"] == pytest.approx(expected)


def test_avalanches():
    # Bins of 4 ms from 2 ms on: 1 2 1 | 0 | 3 | 0 | 1 1.
    spikes = {0: [2.0, 7.0, 10.0], 1: [8.0, 18.0, 26.0], 2: [19.0, 20.0], 3: [30.0]}
    result = decode(AvalancheAnalysis(duration=40), spikes, 40)
    assert result["n_avalanches"] == 3
    assert result["mean_size"] == 3.0  # (4 + 3 + 2) / 3
    assert result["mean_duration"] == 2.0  # (3 + 1 + 2) / 3
    assert result["branching_ratio"] == pytest.approx((2 / 1 + 1 / 2 + 1 / 1) / 3)
    assert result["size_power_law_exponent"] == 0.0


def test_a_power_law_of_avalanches():
    # 64 avalanches of size 1, 16 of size 4, 4 of size 16, 1 of size 64.
    times, at = [], 0.0
    for size, number in ((1, 64), (4, 16), (16, 4), (64, 1)):
        for _ in range(number):
            times += [at + 0.01 * k for k in range(size)]
            at += 40.0
    result = decode(AvalancheAnalysis(duration=at), {0: times}, at)
    assert result["n_avalanches"] == 85
    assert result["size_power_law_exponent"] == pytest.approx(1.0, abs=0.1)
    assert result["size_power_law_r2"] > 0.99


def test_population_active_fraction():
    # EXC: 2, 0, 1, 0 of 3 cells in bins of 50 ms; INH: 1, 1, 1, 0 of 1.
    spikes = {0: [1.0, 2.0, 110.0], 1: [49.0], 3: [10.0, 60.0, 140.0, 141.0]}
    result = decode(PopulationActiveFraction(duration=200), spikes, 200)
    exc, inh = np.array([2, 0, 1, 0]) / 3, np.array([1, 1, 1, 0])
    assert result["mean_active_fraction"] == {
        "EXC": pytest.approx(exc.mean()),
        "INH": inh.mean(),
    }
    assert result["std_active_fraction"]["EXC"] == pytest.approx(exc.std())
    assert (result["n_bins"], result["bin_size"]) == (4, 50.0)


def test_adaptive_kernels():
    # Two spikes 0.1 s apart; bandwidth and rate in the middle from the formula.
    rate, bandwidth = baks([0.45, 0.55], [0.5])
    q = 0.05**2 / 2 + 2.0**-0.42
    h = math.gamma(4.77) / math.gamma(5.27) * math.sqrt(q)
    assert bandwidth[0] == pytest.approx(h)
    expected = 2 * math.exp(-(0.05**2) / (2 * h**2)) / (math.sqrt(2 * math.pi) * h)
    assert rate[0] == pytest.approx(expected)
    assert baks([], [0.1, 0.2])[0].tolist() == [0.0, 0.0]


def test_adaptive_kernels_hold_every_spike():
    time = np.arange(-10, 12, 0.01)
    rate, _ = baks(np.linspace(0.1, 1.9, 30), time)
    # Widths differ from time to time, so the kernels do not quite add up to 1.
    assert rate.sum() * 0.01 == pytest.approx(30, rel=0.1)


def test_population_spike_density():
    spikes = {0: list(range(50, 1000, 50)), 1: [500.0], 3: [400.0, 600.0]}
    result = decode(PopulationSpikeDensity(duration=1000), spikes, 1000)
    assert result["n_total"] == {"EXC": 3, "INH": 1}
    assert result["n_active"] == {"EXC": 1, "INH": 1}  # one spike is not enough
    assert result["fraction_active"] == {"EXC": 1 / 3, "INH": 1.0}
    time = np.arange(0, 1000, 2.0)
    rate, _ = baks(np.array(spikes[0]) / 1000, time / 1000)
    assert result["mean_rate"]["EXC"] == pytest.approx(rate.mean())
    share = (np.interp(time + 1, time, rate) >= 0.01) / 3
    assert result["mean_fraction_active_per_bin"]["EXC"] == pytest.approx(share.mean())
    assert result["std_fraction_active_per_bin"]["EXC"] == pytest.approx(share.std())


def test_a_threshold_for_each_population():
    spikes = {0: [1.0, 500.0], 3: [1.0, 500.0]}
    high = PopulationSpikeDensity(duration=1000, active_threshold={"EXC": 1e6})
    shares = decode(high, spikes, 1000)["mean_fraction_active_per_bin"]
    assert shares == {"EXC": 0.0, "INH": 1.0}
    wrong = PopulationSpikeDensity(duration=1000, active_threshold={"PYR": 1.0})
    with pytest.raises(ConfigError, match=r"\['PYR'\]"):
        decode(wrong, spikes, 1000)


def test_a_window_too_short_for_densities():
    with pytest.raises(ConfigError, match="too short"):
        decode(PopulationSpikeDensity(duration=2), {}, 2)


@pytest.mark.parametrize("kind", ALL)
def test_silence_is_no_error(kind):
    result = decode(kind(duration=400), {}, 400)
    figures = [v for v in result.values() if isinstance(v, float)]
    assert not np.isnan(figures).any()


@pytest.mark.parametrize("kind", ALL)
def test_spikes_must_have_been_recorded(kind):
    with pytest.raises(ConfigError, match=rf"{kind.__name__} needs spikes"):
        kind(duration=10)(Run(0, 10), Dish())


@pytest.mark.parametrize("kind", ALL)
def test_the_window_decides_not_the_call(kind):
    spikes = [(0, 10.0), (1, 60.0), (0, 70.0), (3, 75.0), (0, 180.0)]
    dish = Dish(spikes=spikes, duration=200)
    part = dish.run("spikes").slice(50, 150)
    alone = Run(0, 100, Events.of([1, 0, 3], [10.0, 20.0, 25.0]))
    assert kind(duration=200)(part, dish) == kind(duration=100)(alone, dish)
