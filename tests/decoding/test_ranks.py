"""Every decoding gives the same bits for any number of ranks."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from dish import Dish
from ranks import run_on_ranks

from livn_ipp import decoding as decodings
from livn_ipp.run import Run, Series
from livn_ipp.types import Decoding

CELLS, DURATION = 30, 2000
SYSTEM = SimpleNamespace(
    gids=np.arange(CELLS, dtype=np.uint32),
    population_ranges={"EXC": (0, 24), "INH": (24, 6)},
)
PULSES = {"schedule": [(500, 1.0), (900, 2.0), (1300, 1.0)], "pre_ms": 100}
OPTIONS = {
    "ISICV": {"min_spikes_per_unit": 3},
    "LFP": {"lowpass_hz": 100, "compute_band_power": True, "nperseg": 64},
    "StimulusResponse": {"onset_ms": 1100},
    "RecruitmentCurve": PULSES,
    "ExtracellularRecruitment": {**PULSES, "ceiling_mv": 0.0},
    "PeriStimulusHistogram": {"onsets": [500, 1300], "populations": ["EXC", "INH"]},
    "Waveforms": {"populations": ["EXC", "INH"]},
}
OF_OTHER_TESTS = {"ArrowDataset", "ChannelRecording", "GatherAndMerge", "Pipe", "Slice"}


def activity():
    random = np.random.default_rng(5)
    cells = random.integers(0, CELLS, 1500)
    times = np.unique(np.round(random.uniform(0, DURATION, 1500), 2))
    return [(int(cell), float(time)) for cell, time in zip(cells, times, strict=False)]


def signals(dish):
    random = np.random.default_rng(6)
    voltage = random.normal(-60, 10, (CELLS, DURATION)).astype(np.float32)
    share = np.zeros((2, DURATION))
    for gid in dish.gids:  # on the grid on which sums are exact
        share += np.round(np.random.default_rng(gid).normal(0, 9, (2, DURATION)) * 1024)
    sections = ("soma",) * len(dish.gids)
    return {
        "voltage": Series(dish.gids, voltage[dish.gids], 1.0, 1.0, "mV", sections),
        "potential": Series(np.array([3, 4]), share / 1024, 1.0, 1.0, "uV"),
    }


def decode_all(subworld=None):
    dish = Dish(subworld, activity(), float(DURATION), SYSTEM)
    run = Run(0, DURATION, dish.run("spikes").spikes, signals(dish))
    results = {}
    for name in sorted(set(decodings.__all__) - OF_OTHER_TESTS):
        decoding = getattr(decodings, name)(duration=DURATION, **OPTIONS.get(name, {}))
        # Each figure on its own: a pickle of all tells which objects are shared.
        result = decoding(run, dish)
        results[name] = {key: pickle.dumps(value) for key, value in result.items()}
    return results


def test_every_decoding_is_tried():
    names = set(decodings.__all__)
    assert all(issubclass(getattr(decodings, name), Decoding) for name in names)
    assert names >= OF_OTHER_TESTS
    assert decode_all().keys() == names - OF_OTHER_TESTS


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_gives_the_same_bits_on_each(ranks):
    serial = decode_all()
    for results in run_on_ranks(decode_all, ranks):
        for name, result in serial.items():
            assert results[name] == result, name


def copies(subworld):
    dish = Dish(None, activity(), float(DURATION), SYSTEM)  # every rank holds all cells
    run = Run(0, DURATION, dish.run("spikes").spikes, signals(dish))
    dish.comm = subworld.comm
    refused = []
    for name in sorted(set(decodings.__all__) - OF_OTHER_TESTS - {"LFP"}):
        decoding = getattr(decodings, name)(duration=DURATION, **OPTIONS.get(name, {}))
        try:
            decoding(run, dish)
        except ValueError as error:
            refused.append((name, "several ranks hold" in str(error)))
    return refused


@pytest.mark.mpi
def test_cells_held_by_several_ranks_are_not_counted_twice():
    names = sorted(set(decodings.__all__) - OF_OTHER_TESTS - {"LFP"})
    assert run_on_ranks(copies, 2) == [[(name, True) for name in names]] * 2
