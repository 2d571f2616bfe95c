"""Slices and merged runs."""

import numpy as np
import pytest
from dish import Dish
from pydantic import ValidationError
from ranks import run_on_ranks

from livn_ipp.decoding import GatherAndMerge, Slice
from livn_ipp.errors import ConfigError
from livn_ipp.subworld import PeerFailed


def test_slice_worked_example():
    window = Slice(start=2, stop=7)(Dish().run("spikes", "voltage"))
    assert (window.t0, window.duration) == (2, 5)
    assert window.spikes.ids.tolist() == [0, 1, 3]
    assert window.spikes.times.tolist() == [0.0, 0.0, 0.5]
    assert window.voltage.values.shape == (4, 5)


def test_slice_simulates_until_its_stop():
    assert Slice(start=5, stop=20).duration == 20
    assert Slice(stop=20).start == 0
    assert Slice(start=5, duration=20).stop == 20


def test_slice_is_its_content():
    assert Slice(start=5, stop=20) == Slice(start=5, duration=20)
    assert Slice(start=5, stop=20) != Slice(start=6, stop=20)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"start": -1, "stop": 5},
        {"start": 5, "stop": 5},
        {"start": 6, "stop": 5},
        {"start": 0, "stop": float("inf")},
        {"stop": 5, "duration": 6},
        {"stop": 5, "step": 1},
    ],
)
def test_slice_refuses_what_is_no_window(kwargs):
    with pytest.raises(ValidationError):
        Slice(**kwargs)


def test_slice_beyond_the_run():
    with pytest.raises(ConfigError, match="does not fit a run"):
        Slice(start=2, stop=11)(Dish().run("spikes"))


def test_gather_and_merge_keeps_what_is_asked_for():
    dish = Dish()
    run = dish.run("spikes", "voltage", "current", "potential")
    whole = GatherAndMerge(duration=10)(run, dish)
    assert whole.digest() == run.digest()
    assert set(whole.channels) == {"voltage", "current", "potential"}
    part = GatherAndMerge(
        duration=10,
        spikes=False,
        voltages=False,
        membrane_currents=False,
        potentials=False,
    )(run, dish)
    assert part.spikes is None
    assert not part.channels


def test_gather_and_merge_keeps_signals_it_does_not_know():
    dish = Dish()
    run = dish.run("voltage")
    calcium = type(run)(0.0, 10.0, None, {"calcium": run.voltage})
    assert set(GatherAndMerge(duration=10)(calcium, dish).channels) == {"calcium"}


def merge(subworld):
    dish = Dish(subworld)
    return GatherAndMerge(duration=10, root=1)(
        dish.run("spikes", "voltage", "current", "potential"), dish
    )


@pytest.mark.mpi
def test_gather_and_merge_over_ranks_is_the_serial_run():
    results = run_on_ranks(merge, 3)
    assert results[0] is None
    assert results[2] is None
    whole, serial = results[1], Dish().run("spikes", "voltage", "current", "potential")
    assert whole.digest() == serial.digest()
    for name, series in serial.channels.items():
        np.testing.assert_array_equal(whole.channels[name].values, series.values)
        np.testing.assert_array_equal(whole.channels[name].ids, series.ids)
    assert whole.voltage.sections == ("soma",) * 4


def one_rank_raises(subworld):
    dish = Dish(subworld)
    run = dish.run("spikes")
    try:
        if subworld.rank == 1:
            run = Slice(start=0, stop=99)(run)
        GatherAndMerge(duration=10)(run, dish)
        outcome = "gathered"
    except PeerFailed:
        outcome = "peer failed"
    except ConfigError:
        subworld.fail()
        outcome = "raised"
    return outcome, subworld.comm.allgather(subworld.rank)


@pytest.mark.mpi
def test_one_rank_raising_does_not_hang_the_others():
    assert run_on_ranks(one_rank_raises, 3) == [
        ("peer failed", [0, 1, 2]),
        ("raised", [0, 1, 2]),
        ("peer failed", [0, 1, 2]),
    ]
