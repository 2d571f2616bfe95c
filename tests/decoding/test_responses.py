"""Responses to pulses, worked out by hand."""

import math

import numpy as np
import pytest
from dish import Dish

from livn_ipp.decoding import (
    ExtracellularRecruitment,
    PeriStimulusHistogram,
    RecruitmentCurve,
    StimulusResponse,
)
from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run, Series


def decode(decoding, spikes, duration, voltage=None):
    pairs = [(cell, time) for cell, times in spikes.items() for time in times]
    dish = Dish(spikes=pairs, duration=duration)
    channels = {} if voltage is None else {"voltage": voltage}
    return decoding(Run(0, duration, dish.run("spikes").spikes, channels), dish)


def response(**kwargs):
    short = {"onset_ms": 200, "pre_ms": 100, "post_ms": 50, "tail_ms": 100}
    return StimulusResponse(**{"duration": 400, **short, **kwargs})


# One spike in every bin of 10 ms before; then bins 0, 6, 5, 0, 0 and 0, 0, 0, 0, 0.
BEFORE = [105.0 + 10 * k for k in range(10)]
ANSWER = {
    0: [*BEFORE, 211.0, 212.0],
    1: [211.0, 213.0, 221.0],
    2: [214.0, 215.0, 222.0],
    3: [222.5, 223.0, 224.0],
}


def test_a_response():
    result = decode(response(), ANSWER, 400)
    before, after = 10 / 0.1 / 4, 11 / 0.05 / 4
    assert result == {
        "evoked_rate_hz": after - before,
        "response_gain": after / before,
        "response_peak_hz": 6 / 0.01 / 4,
        "response_latency_ms": 15.0,
        "response_duration_ms": 20.0,  # from bin 1 to 3, where three quiet bins begin
        "response_probability": 0.75,  # cell 0 has 2 spikes, not more than 5 + 1
    }


def test_no_response():
    result = decode(response(), {0: BEFORE}, 400)
    assert result["evoked_rate_hz"] == -25.0
    assert result["response_probability"] == 0.0
    assert math.isnan(result["response_latency_ms"])
    assert math.isnan(result["response_duration_ms"])


def test_a_response_after_silence():
    result = decode(response(), {1: [201.0, 202.0, 203.0, 204.0]}, 400)
    assert math.isnan(result["response_gain"])
    assert result["response_latency_ms"] == 5.0  # 4 spikes exceed 0 + 3 * 1


def test_few_spikes_after_silence_are_no_response():
    result = decode(response(), {1: [201.0, 202.0, 203.0]}, 400)
    assert math.isnan(result["response_latency_ms"])  # 3 spikes do not exceed 3


def test_a_response_that_goes_on():
    lasting = {0: BEFORE, 1: [200.0 + 2 * k for k in range(50)]}
    assert math.isnan(decode(response(), lasting, 400)["response_duration_ms"])


@pytest.mark.parametrize("onset", [99, 351])
def test_a_pulse_without_room_around_it_has_no_response(onset):
    assert decode(response(onset_ms=onset), ANSWER, 400) == {}


SCHEDULE = [(100, 2.0), (200, 4.0), (300, 4.0), (400, 4.0)]


def recruitment(kind=RecruitmentCurve, **kwargs):
    around = {"pre_ms": 50, "post_ms": 50, "schedule": SCHEDULE}
    return kind(**{"duration": 500, **around, **kwargs})


def volley(time, cells, number=2):
    return {cell: [time + 1 + k for k in range(number)] for cell in cells}


def together(*volleys):
    cells = {cell for each in volleys for cell in each}
    return {cell: [t for v in volleys for t in v.get(cell, [])] for cell in cells}


def test_a_recruitment_curve():
    spikes = together(
        volley(100, [0]),
        volley(200, [0, 1]),
        volley(300, [0, 1, 2, 3]),
        volley(400, [0, 1, 2]),
        volley(400, [3], number=1),  # one spike is no answer
        {1: [60.0, 61.0]},
    )
    assert decode(recruitment(), spikes, 500) == {
        "curve": {2.0: 0.25, 4.0: 0.75},  # the median of 2, 4 and 3 of 4 cells
        "censored": None,
        "below_mv": 2.0,
        "above_mv": 4.0,
        "highest_tested_mv": 4.0,
        "probability_at_highest": 0.75,
        "amplitudes_mv": [2.0, 4.0],
        "probabilities": [0.25, 0.75],
        "recruited": 0.5,
    }


@pytest.mark.parametrize(
    ("recruited", "censored", "below", "above"),
    [(0.1, "below", None, 2.0), (0.9, "above", None, None)],
)
def test_a_threshold_outside_the_sweep(recruited, censored, below, above):
    spikes = together(volley(100, [0]), *(volley(t, [0, 1]) for t in (200, 300, 400)))
    result = decode(recruitment(recruited=recruited), spikes, 500)
    found = [result[name] for name in ("censored", "below_mv", "above_mv")]
    assert found == [censored, below, above]


def test_one_amplitude_has_no_threshold():
    assert decode(recruitment(schedule=[(100, 1)]), {}, 500) == {"curve": {1.0: 0.0}}


@pytest.mark.parametrize("kind", [RecruitmentCurve, ExtracellularRecruitment])
def test_a_pulse_without_room_around_it_is_refused(kind):
    with pytest.raises(ValueError, match="the pulse at 460 ms needs 50 ms before"):
        recruitment(kind, schedule=[(460, 1)])
    part = Run(0, 300, Events.of([], []))
    with pytest.raises(ConfigError, match="within the 300 ms"):
        recruitment(kind)(part, Dish(duration=300))


def test_extracellular_recruitment():
    schedule = [(100, 1.0), (200, 2.0), (300, 4.0), (400, 8.0)]
    spikes = together(
        volley(100, [0]),
        volley(200, [0, 1], number=1),
        volley(300, [0, 1, 2, 3]),
        volley(400, [1]),
        {3: [60.0, 101.0]},  # no more than before
    )
    values = np.full((3, 500), -60.0, np.float32)
    values[0, 305] = 20.0
    values[1, 205] = 99.0  # the dendrite does not count
    values[2, 410] = 50.0
    voltage = Series(
        np.array([0, 0, 1]), values, 1.0, 1.0, "mV", ("soma", "dend", "soma")
    )
    decoding = recruitment(ExtracellularRecruitment, schedule=schedule, ceiling_mv=10)
    assert decode(decoding, spikes, 500, voltage) == {
        "curve": {1.0: 0.25, 2.0: 0.5, 4.0: 1.0, 8.0: 0.25},
        "peak_mv": {1.0: -60.0, 2.0: -60.0, 4.0: 20.0, 8.0: 50.0},
        "threshold_ua": 2.0,
        "block_ua": 8.0,
        "ceiling_ua": 4.0,
        "band": 2.0,
    }


def test_recruitment_without_a_ceiling_or_an_answer():
    open_end = decode(recruitment(ExtracellularRecruitment), volley(100, [0, 1]), 500)
    assert open_end["threshold_ua"] == 2.0
    assert open_end["block_ua"] == 4.0
    none = decode(recruitment(ExtracellularRecruitment), {}, 500)
    assert none["threshold_ua"] is None
    assert math.isnan(none["band"])
    all_answer = together(*(volley(t, [0, 1]) for t in (100, 200, 300, 400)))
    wide = decode(recruitment(ExtracellularRecruitment), all_answer, 500)
    assert wide["band"] == math.inf


def test_spikes_that_are_an_answer():
    spikes = together(volley(100, [0]), volley(100, [1], number=1))
    once = recruitment(ExtracellularRecruitment, schedule=[(100, 1)])
    twice = recruitment(ExtracellularRecruitment, schedule=[(100, 1)], min_spikes=2)
    assert decode(once, spikes, 500)["curve"] == {1.0: 0.5}
    assert decode(twice, spikes, 500)["curve"] == {1.0: 0.25}


def test_a_ceiling_needs_voltages():
    decoding = recruitment(ExtracellularRecruitment, ceiling_mv=10)
    with pytest.raises(ConfigError, match=r"record_voltage\(dt=0.025\)"):
        decode(decoding, {}, 500)


def test_a_peristimulus_histogram():
    spikes = {0: [95.0, 101.0, 213.0], 1: [104.9, 203.0], 3: [105.0, 250.0]}
    decoding = PeriStimulusHistogram(
        duration=300, onsets=[100, 200], pre_ms=10, post_ms=20, bin_size=5
    )
    result = decode(decoding, spikes, 300)
    assert result["edges"].tolist() == [-10, -5, 0, 5, 10, 15, 20]
    assert result["counts"]["all"].tolist() == [0, 0.5, 1.5, 0.5, 0.5, 0]
    assert (result["n_trials"], result["n_units"]) == (2, {"all": 4})
    assert result["spike_ids"].tolist() == [0, 0, 1, 3, 1, 0]
    assert result["spike_times"] == pytest.approx([-5, 1, 4.9, 5, 3, 13])


def test_a_peristimulus_histogram_by_population():
    decoding = PeriStimulusHistogram(
        duration=300, onsets=[100], populations=["INH", "EXC"], pre_ms=0, post_ms=10
    )
    result = decode(decoding, {0: [101.0], 3: [106.0, 107.0]}, 300)
    assert {name: c.tolist() for name, c in result["counts"].items()} == {
        "INH": [0, 2],
        "EXC": [1, 0],
    }
    assert result["n_units"] == {"INH": 1, "EXC": 3}
    wrong = PeriStimulusHistogram(duration=10, populations=["PYR"])
    with pytest.raises(ConfigError, match=r"\['PYR'\]"):
        decode(wrong, {}, 10)


def test_a_histogram_without_pulses():
    result = decode(PeriStimulusHistogram(duration=10), {0: [1.0]}, 10)
    assert not result["counts"]["all"].any()
