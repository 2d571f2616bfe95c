"""The window as the electrodes see it."""

import numpy as np
import pytest
from dish import Dish
from ranks import run_on_ranks

from livn_ipp.decoding import ChannelRecording
from livn_ipp.errors import ConfigError

EVERYTHING = ("spikes", "voltage", "current")


def record(*signals, **flags):
    dish = Dish()
    return ChannelRecording(duration=10, **flags)(dish.run(*signals), dish)


def test_worked_example():
    cells, times, *_ = record("spikes")
    assert {channel: ids.tolist() for channel, ids in cells.items()} == {
        7: [0, 1, 1],
        8: [2, 1, 1],
    }
    assert {channel: t.tolist() for channel, t in times.items()} == {
        7: [2.0, 2.0, 7.0],
        8: [1.0, 2.0, 7.0],
    }


def test_what_was_not_recorded_is_none():
    cells, times, voltage_ids, voltage, channel_ids, potential = record()
    assert cells is times is voltage_ids is voltage is potential is None
    assert channel_ids.tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("flag", "places"),
    [("spikes", (0, 1)), ("voltages", (2, 3)), ("membrane_currents", (5,))],
)
def test_what_is_not_asked_for_is_none(flag, places):
    recording = record(*EVERYTHING, **{flag: False})
    for place in range(6):
        assert (recording[place] is None) == (place in places)


def test_voltage_has_a_row_per_section():
    _, _, ids, voltage, _, _ = record("voltage")
    assert ids.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(voltage, Dish().run("voltage").voltage.values)


def test_potentials_come_from_membrane_currents():
    potential = record("current")[5]
    dish = Dish()
    current = dish.run("current").current
    np.testing.assert_array_equal(
        potential, dish.potential_recording(current.values, current.ids)
    )
    assert potential.shape == (3, 10)
    assert potential[0].any()
    assert not potential[2].any()


def test_recorded_potentials_are_taken_as_they_are():
    dish = Dish()
    run = dish.run("current", "potential")
    run.potential.values[:] = 42.0
    potential = ChannelRecording(duration=10)(run, dish)[5]
    assert (potential == 42.0).all()


def test_a_silent_culture_has_channels_without_spikes():
    dish = Dish()
    dish.gids = dish.gids[:0]
    cells, times, *_ = ChannelRecording(duration=10)(dish.run("spikes"), dish)
    assert {channel: len(ids) for channel, ids in cells.items()} == {7: 0, 8: 0}
    assert set(times) == {7, 8}


def test_no_electrodes():
    dish = Dish()
    dish.io = None
    with pytest.raises(ConfigError, match="io=MEA"):
        ChannelRecording(duration=10).setup(dish)
    assert ChannelRecording(duration=10).setup(Dish()) is None


def on_ranks(subworld):
    dish = Dish(subworld)
    return ChannelRecording(duration=10)(dish.run("spikes", "voltage", "current"), dish)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_recording_has_the_same_bits_for_any_number_of_ranks(ranks):
    first, *others = run_on_ranks(on_ranks, ranks)
    assert others == [None] * (ranks - 1)
    for part, serial in zip(first, record(*EVERYTHING), strict=True):
        assert same(part, serial)
