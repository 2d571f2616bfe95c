"""How often cells fire."""

import pytest
from dish import Dish
from ranks import run_on_ranks

from livn_ipp.decoding import MeanFiringRate, Slice
from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run

EXPECTED = {
    "rate_hz": 125.0,  # 5 spikes / (4 cells * 0.01 s)
    "total_spikes": 5,
    "n_units": 4,
    "duration_s": 0.01,
}


def rate(subworld=None):
    dish = Dish(subworld)
    return MeanFiringRate(duration=10)(dish.run("spikes"), dish)


def test_worked_example():
    assert rate() == EXPECTED


def test_the_window_decides_not_the_call():
    dish = Dish()
    window = Slice(start=2, stop=7)(dish.run("spikes"))
    assert MeanFiringRate(duration=10)(window, dish) == {
        "rate_hz": 3 / (3 * 0.005),
        "total_spikes": 3,
        "n_units": 3,
        "duration_s": 0.005,
    }


def test_silence():
    silent = MeanFiringRate(duration=10)(Run(0, 10, Events.of([], [])), Dish())
    assert (silent["rate_hz"], silent["total_spikes"], silent["n_units"]) == (0, 0, 1)


def test_without_spikes_there_is_no_rate():
    with pytest.raises(ConfigError, match="record_spikes"):
        MeanFiringRate(duration=10)(Run(0, 10), Dish())


@pytest.mark.mpi
def test_every_rank_returns_the_rate_of_the_whole():
    assert run_on_ranks(rate, 3) == [EXPECTED] * 3


def rate_of_copies(subworld):
    dish = Dish()  # every rank holds all cells
    dish.comm = subworld.comm
    try:
        return MeanFiringRate(duration=10)(dish.run("spikes"), dish)
    except ConfigError as error:
        return str(error)


@pytest.mark.mpi
def test_cells_held_by_several_ranks_are_not_counted_twice():
    for message in run_on_ranks(rate_of_copies, 2):
        assert "several ranks hold spikes of the same cell" in message
