"""Runs: order, windows, merging, fingerprints."""

import pickle
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run, Series


def voltage(ids=(0, 1), samples=100, dt=0.1, sections=("soma", "soma")):
    values = np.arange(len(ids) * samples, dtype=np.float32).reshape(len(ids), samples)
    return Series(np.array(ids), values, dt, dt, "mV", sections)


spike_lists = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 400).map(lambda k: k * 0.025)),
    max_size=40,
    unique=True,
)


def events(pairs):
    return Events.of([i for i, _ in pairs], [t for _, t in pairs])


def test_events_are_ordered_by_time_then_id():
    spikes = Events.of([5, 3, 1], [2.0, 1.0, 2.0])
    assert spikes.ids.tolist() == [3, 1, 5]
    assert spikes.times.tolist() == [1.0, 2.0, 2.0]
    assert (spikes.ids.dtype, spikes.times.dtype) == (np.uint32, np.float64)
    assert len(spikes) == 3


def test_series_times_start_at_start():
    assert voltage(samples=3).times.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_series_select_keeps_sections_beside_rows():
    series = voltage(ids=(4, 4), sections=("soma", "dend")).select(np.array([1]))
    assert (series.ids.tolist(), series.sections) == ([4], ("dend",))


def test_six_tuple_holds_none_for_what_was_not_recorded():
    assert list(Run(0, 10)) == [None] * 6
    run = Run(0, 10, Events.of([1], [2.0]), {"voltage": voltage()})
    ids, times, voltage_ids, values, current_ids, current = run
    assert (ids.tolist(), times.tolist()) == ([1], [2.0])
    assert voltage_ids.tolist() == [0, 1]
    assert values.shape == (2, 100)
    assert current_ids is None
    assert current is None


def test_named_channels():
    series = voltage()
    run = Run(5, 10, None, {"voltage": series, "current": series, "potential": series})
    assert run.voltage is run.current is run.potential is series
    assert run.t1 == 15
    with pytest.raises(TypeError):
        run.channels["voltage"] = None


def test_run_is_detached_from_the_mapping_it_was_given():
    channels = {"voltage": voltage()}
    run = Run(0, 10, None, channels)
    channels.clear()
    assert run.voltage is not None


def test_slice_is_half_open_and_counts_from_its_start():
    run = Run(100, 10, Events.of([1, 2, 3, 4], [1.9, 2.0, 3.9, 4.0]))
    window = run.slice(2, 4)
    assert (window.t0, window.duration) == (102, 2)
    assert window.spikes.ids.tolist() == [2, 3]
    assert window.spikes.times.tolist() == pytest.approx([0.0, 1.9])


def test_slice_cuts_samples():
    run = Run(0, 10, None, {"voltage": voltage()})
    window = run.slice(2, 4).voltage
    assert window.values[0].tolist() == list(range(20, 40))
    assert (window.start, window.dt) == (0.1, 0.1)


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (6, 5), (0, 11)])
def test_slice_outside_the_run(start, stop):
    with pytest.raises(ConfigError, match="does not fit a run of 10 ms"):
        Run(0, 10).slice(start, stop)


def test_slice_between_samples():
    run = Run(0, 10, None, {"voltage": voltage()})
    with pytest.raises(ConfigError, match=r"align with voltage's recording dt of 0\.1"):
        run.slice(0.05)


@given(spike_lists, st.integers(1, 9))
def test_slices_hold_every_spike_once(pairs, cut):
    run = Run(0, 10.001, events(pairs))
    first, second = run.slice(0, cut).spikes, run.slice(cut).spikes
    assert len(first) + len(second) == len(pairs)
    assert (first.times < cut).all()
    assert (second.times >= 0).all()


@given(spike_lists, st.integers(1, 5))
def test_merge_does_not_depend_on_how_spikes_were_shared_out(pairs, ranks):
    parts = [Run(0, 10, events(pairs[rank::ranks])) for rank in range(ranks)]
    assert Run.merge(parts).digest() == Run(0, 10, events(pairs)).digest()


def test_merge_orders_rows_by_cell_and_keeps_section_order():
    parts = [
        Run(0, 10, None, {"voltage": voltage((3, 3), sections=("soma", "dend"))}),
        Run(0, 10, None, {"voltage": voltage((1, 1), sections=("soma", "dend"))}),
    ]
    merged = Run.merge(parts).voltage
    assert merged.ids.tolist() == [1, 1, 3, 3]
    assert merged.sections == ("soma", "dend", "soma", "dend")
    assert merged.values[0, 0] == 0
    assert merged.values[3, 0] == 100


def test_merge_sums_potentials():
    share = Series(np.array([7]), np.array([[1.0, 2.0]]), 1.0, 1.0, "uV")
    parts = [Run(0, 2, None, {"potential": share}) for _ in range(3)]
    merged = Run.merge(parts).potential
    assert (merged.ids.tolist(), merged.values.tolist()) == ([7], [[3.0, 6.0]])


def test_merge_takes_a_rank_without_cells():
    empty = voltage(ids=(), sections=())
    parts = [
        Run(0, 10, Events.of([], []), {"voltage": empty}),
        Run(0, 10, Events.of([1], [3.0]), {"voltage": voltage()}),
    ]
    merged = Run.merge(parts)
    assert merged.spikes.ids.tolist() == [1]
    assert merged.voltage.values.shape == (2, 100)


def test_merge_of_nothing_or_of_different_windows():
    with pytest.raises(ConfigError, match="at least one run"):
        Run.merge([])
    with pytest.raises(ConfigError, match="one time window"):
        Run.merge([Run(0, 10), Run(10, 10)])


def test_merge_of_signals_sampled_differently():
    parts = [
        Run(0, 10, None, {"voltage": voltage()}),
        Run(0, 10, None, {"voltage": voltage(samples=50, dt=0.2)}),
    ]
    with pytest.raises(ConfigError, match="voltage was sampled differently"):
        Run.merge(parts)


def test_merge_refuses_to_count_a_spike_twice():
    whole = Run(0, 10, Events.of([1, 2, 2], [1.0, 1.0, 3.0]))
    share = Run(0, 10, Events.of([2], [3.0]))
    with pytest.raises(ConfigError, match=r"cell 2 at 3\.0 ms"):
        Run.merge([whole, share])


def test_digest_tells_any_difference():
    base = Run(0, 10, Events.of([1, 2], [1.0, 2.0])).digest()
    assert Run(0, 10, Events.of([2, 1], [2.0, 1.0])).digest() == base
    assert Run(0, 10, Events.of([1, 2], [1.0, np.nextafter(2.0, 3)])).digest() != base
    assert Run(0, 10, Events.of([1, 3], [1.0, 2.0])).digest() != base
    assert Run(0, 10, Events.of([1], [1.0])).digest() != base


def test_digest_of_a_known_run():
    assert Run(0, 10, Events.of([1, 2], [1.0, 2.0])).digest() == "f189f8b90220c9ab"


def test_digest_needs_spikes():
    with pytest.raises(ConfigError, match="record_spikes"):
        Run(0, 10).digest()


def test_run_survives_pickling():
    run = Run(5, 10, Events.of([1], [2.0]), {"voltage": voltage()})
    copy = pickle.loads(pickle.dumps(run))
    assert (copy.t0, copy.duration) == (5, 10)
    assert copy.digest() == run.digest()
    assert copy.voltage.sections == ("soma", "soma")
    np.testing.assert_array_equal(copy.voltage.values, run.voltage.values)


def test_repr_tells_window_and_content():
    run = Run(5, 10, Events.of([1], [2.0]), {"voltage": voltage()})
    assert repr(run) == "Run(5-15 ms: 1 spikes, voltage 2x100)"
    assert repr(Run(0, 1)) == "Run(0-1 ms: no spikes recorded)"


def whole(duration=20.0):
    """20 ms, spikes on the simulation's grid."""
    pairs = [(k % 3, round(k * 0.35, 6)) for k in range(57)]
    return Run(0.0, duration, events(pairs), {"voltage": voltage(samples=200)})


def same(a, b):
    assert (a.t0, a.duration) == (b.t0, b.duration)
    assert a.spikes.ids.tobytes() == b.spikes.ids.tobytes()
    assert a.spikes.times.tobytes() == b.spikes.times.tobytes()
    assert a.channels.keys() == b.channels.keys()
    for name, series in a.channels.items():
        assert series.values.tobytes() == b.channels[name].values.tobytes()
        assert np.array_equal(series.ids, b.channels[name].ids)
    return True


@given(st.lists(st.integers(1, 199), max_size=4, unique=True))
def test_a_run_cut_and_joined_has_the_same_bits(cuts):
    bounds = [0, *(round(cut * 0.1, 6) for cut in sorted(cuts)), 20.0]
    parts = [whole().slice(a, b) for a, b in pairwise(bounds)]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.concat(part)
    assert same(joined, whole())


def test_times_of_a_slice_are_exact():
    spikes = Run(0, 1, Events.of([1], [0.3])).slice(0.1, 0.9).spikes
    assert spikes.times.tolist() == [0.2]  # 0.3 - 0.1 is 0.19999999999999998
    assert Run(0.1, 1).slice(0.2, 1).t0 == 0.3


def test_times_off_the_grid_are_only_added():
    first, second = Run(0, 0.1, Events.of([], [])), Run(0.1, 1, Events.of([1], [1 / 3]))
    assert first.concat(second).spikes.times.tolist() == [0.1 + 1 / 3]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Run(21.0, 5.0, Events.of([], [])), "starts at 20 ms.*not at 21 ms"),
        (
            Run(20.0, 5.0, Events.of([], [])),
            r"\['spikes', 'voltage'\] and \['spikes'\]",
        ),
        (
            Run(20.0, 5.0, Events.of([], []), {"voltage": voltage(dt=0.2)}),
            "voltage differs",
        ),
        (
            Run(20.0, 5.0, Events.of([], []), {"voltage": voltage((0, 2))}),
            "voltage differs",
        ),
    ],
)
def test_what_does_not_follow_is_not_joined(other, message):
    with pytest.raises(ConfigError, match=message):
        whole().concat(other)


def test_select_cells():
    potential = Series(np.array([1, 2]), np.ones((2, 20)), 1.0, 1.0, "uV")
    run = whole().add("potential", potential).select([1, 5])
    assert set(run.spikes.ids.tolist()) == {1}
    assert run.voltage.ids.tolist() == [1]
    assert run.voltage.sections == ("soma",)
    assert run.potential.ids.tolist() == [1, 2]  # channels, not cells
    assert whole().select(2).spikes.ids.tolist() == [2] * 19


def test_select_a_population():
    ranges = {"EXC": (0, 2), "INH": (2, 1)}
    assert set(
        whole().select(population="EXC", population_ranges=ranges).spikes.ids
    ) == {
        0,
        1,
    }
    both = whole().select(population=["EXC", "INH"], population_ranges=ranges)
    assert same(both, whole())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "either gids or a population"),
        ({"gids": [1], "population": "EXC"}, "either gids or a population"),
        ({"population": "EXC"}, "system.population_ranges"),
        (
            {"population": "PYR", "population_ranges": {"EXC": (0, 2)}},
            r"no populations \['PYR'\]",
        ),
    ],
)
def test_a_selection_that_says_too_little(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        whole().select(**kwargs)


def test_gather():
    assert whole().gather() is not None
    parts = [whole().select([0, 2]), whole().select([1])]
    root = SimpleNamespace(gather=lambda run, root: parts)
    other = SimpleNamespace(gather=lambda run, root: None)
    assert same(parts[0].gather(root), whole())
    assert parts[1].gather(other, root=0) is None


def test_add_and_drop():
    run = Run(0, 10).add_spikes([2, 1], [3.0, 1.0])
    assert run.spikes.ids.tolist() == [1, 2]
    run = run.add_voltage([1], [[0.0] * 20], dt=0.5, sections=["soma"])
    run = run.add_current([1], [[0.0] * 10], dt=1.0)
    assert (run.voltage.unit, run.voltage.start, run.current.unit) == ("mV", 0.5, "uA")
    assert run.drop("voltage").voltage is None
    assert run.drop("spikes").spikes is None
    assert list(run.drop_spikes().drop_voltage().drop_current()) == [None] * 6
    assert Run(0, 10).drop_voltage().drop_current().drop_spikes().spikes is None
    with pytest.raises(ConfigError, match=r"no potential; it holds \['spikes', 'cur"):
        run.drop("potential")


def test_a_raster():
    spikes = Events.of([2, 0, 2], [0.15, 0.3, 0.35])
    raster = spikes.raster(0.05)
    assert raster.shape == (3, 8)
    assert np.argwhere(raster).tolist() == [[0, 6], [2, 3], [2, 7]]
    assert spikes.raster(0.1, n_cells=5, steps=10).shape == (5, 10)
    assert Events.of([], []).raster(1.0).shape == (0, 0)
    with pytest.raises(ConfigError, match=r"at least \(3, 4\)"):
        spikes.raster(0.1, n_cells=2)
    with pytest.raises(ConfigError, match="dt must be positive"):
        spikes.raster(0)


def test_what_was_recorded_by_name():
    run = whole()
    assert run.spike_ids is run.spikes.ids
    assert run.spike_times is run.spikes.times
    assert run.voltage_ids is run.voltage.ids
    assert (run.current_ids, Run(0, 1).voltage_ids, Run(0, 1).spike_ids) == (None,) * 3
    assert np.array_equal(np.asarray(run.voltage), run.voltage.values)
    assert np.asarray(run.voltage, np.float64).dtype == np.float64
