"""Waveforms of spikes that are drawn by hand."""

import numpy as np
import pytest
from dish import Dish

from livn_ipp.decoding import Waveforms
from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run, Series

SPIKE = [0.0, 40.0, 80.0, 40.0, -10.0, -5.0]  # mV above rest, one sample per ms
REST = -60.0


def traces(rows, duration=100):
    """Voltage of rows (cell, section, times of peaks)."""
    values = np.full((len(rows), duration), REST, np.float32)
    for row, (_, _, peaks) in enumerate(rows):
        for peak in peaks:  # sample k is at (k + 1) ms
            values[row, peak - 3 : peak - 3 + len(SPIKE)] = np.add(SPIKE, REST)
    ids = np.array([cell for cell, _, _ in rows])
    return Series(ids, values, 1.0, 1.0, "mV", tuple(s for _, s, _ in rows))


def decode(spikes, voltage, **kwargs):
    pairs = [(cell, time) for cell, times in spikes.items() for time in times]
    run = Run(0, 100, Events.of(*zip(*pairs, strict=True)), {"voltage": voltage})
    return Waveforms(duration=100, **kwargs)(run, Dish())


def test_a_waveform_is_aligned_at_its_peak():
    voltage = traces([(0, "soma", [20, 50])])
    result = decode({0: [18.5, 50.0]}, voltage)
    waves = result["waveforms"]["all"]
    assert waves.shape == (2, 14)
    assert waves.dtype == np.float32
    assert (waves.argmax(axis=1) == 4).all()
    assert np.array_equal(waves[0], waves[1])
    assert (result["dt"], result["pre_ms"]) == (1.0, 4.0)


def test_the_shape_of_the_mean():
    result = decode({0: [20.0]}, traces([(0, "soma", [20])]))
    assert result["shape"]["all"] == {
        "threshold_mV": REST,
        "peak_mV": 20.0,
        "amplitude_mV": 80.0,
        "half_width_ms": 2.0,  # from 1 ms before the peak to 1 ms behind
        "ahp_mV": -10.0,
        "n_spikes": 1,
    }


def test_waveforms_are_in_the_order_of_cells_and_times():
    voltage = traces([(2, "soma", [20, 50]), (0, "soma", [40])])
    voltage.values[0, 19], voltage.values[0, 49], voltage.values[1, 39] = 22, 25, 40
    waves = decode({2: [20.0, 50.0], 0: [40.0]}, voltage)["waveforms"]["all"]
    assert waves.max(axis=1).tolist() == [40, 22, 25]


def test_spikes_near_an_end_are_left_out():
    voltage = traces([(0, "soma", [5, 50, 95])])
    assert decode({0: [3.0, 50.0, 95.0]}, voltage)["shape"]["all"]["n_spikes"] == 1


def test_what_to_use():
    rows = [(cell, s, [20, 50]) for cell in (0, 3) for s in ("soma", "dend")]
    spikes = {0: [20.0, 50.0], 3: [20.0, 50.0]}

    def numbers(**kwargs):
        waveforms = decode(spikes, traces(rows), **kwargs)["waveforms"]
        return {name: len(waves) for name, waves in waveforms.items()}

    assert numbers() == {"all": 4}
    assert numbers(section=None) == {"all": 8}
    assert numbers(section="dend") == {"all": 4}
    assert numbers(populations=["EXC", "INH"]) == {"EXC": 2, "INH": 2}
    assert numbers(populations=["INH"], max_spikes=1) == {"INH": 1}
    assert numbers(voltage_gids=[3]) == {"all": 2}
    with pytest.raises(ConfigError, match=r"\['PYR'\]"):
        numbers(populations=["PYR"])


def test_spikes_and_voltages_must_have_been_recorded():
    with pytest.raises(ConfigError, match=r"record_voltage\(dt=0.025\)"):
        Waveforms(duration=10)(Run(0, 10, Events.of([], [])), Dish())
