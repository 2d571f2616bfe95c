"""The electrode array: formulas, widths, hearing, sums that ignore order."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.io import MEA

ONE = MEA([[3, 0.0, 0.0, 0.0]], output_radius=100.0)


def at(*distances):
    """Points at these distances from the electrode of ONE."""
    return [[d, 0.0, 0.0] for d in distances]


def test_the_default_array_is_livns_grid():
    mea = MEA()
    assert mea.num_channels == 16
    assert mea.channel_ids.tolist() == list(range(16))
    assert mea.electrode_coordinates[0].tolist() == [0, 500, 500, 175]
    assert mea.electrode_coordinates[1].tolist() == [1, 1500, 500, 175]
    assert mea.electrode_coordinates[4].tolist() == [4, 500, 1500, 175]
    assert (mea.input_radius, mea.output_radius, mea.input_units) == (250, 250, "uA")
    assert repr(mea) == "MEA(16 channels, hears 250 um)"


def test_a_grid_is_centred_over_the_culture():
    mea = MEA.grid(400.0)
    assert mea.electrode_coordinates[5].tolist() == [5, 150, 150, 0]
    assert mea.electrode_coordinates[15].tolist() == [15, 350, 350, 0]
    assert (mea.input_radius, mea.output_radius) == (250, 125)
    assert MEA.grid(100.0, 2, 7.0).electrode_coordinates.tolist() == [
        [0, 25, 25, 7],
        [1, 75, 25, 7],
        [2, 25, 75, 7],
        [3, 75, 75, 7],
    ]
    with pytest.raises(ConfigError, match="positive side"):
        MEA.grid(-1.0)


def test_stimulation_field():
    # 1000 * 3.5 / (4 pi sqrt(r^2 + 15^2 + 50^2)) mV/uA
    field = ONE.transfer(at(0, 100, 1000))
    assert field.shape == (1, 3)
    assert field[0].round(4).tolist() == [5.3355, 2.469, 0.2781]


def test_recording_gain():
    # 1000 / (4 pi 0.3 (r + 5)) uV/nA
    gain = ONE.gain(at(0, 95, 100, 100.001))
    assert gain[0].round(3).tolist() == [53.052, 2.653, 2.526, 0.0]
    steps = gain * 2**18
    assert np.array_equal(steps, np.round(steps))


def test_field_of_all_channels_adds_up():
    mea = MEA.grid(400.0)
    points = np.random.default_rng(1).uniform(0, 400, (7, 3))
    inputs = np.zeros((3, 16))
    inputs[1, [1, 4]] = [1.5, -2.0]
    field = mea.cell_stimulus(inputs, points)
    assert field.shape == (3, 7)
    assert not field[[0, 2]].any()
    transfer = mea.transfer(points)
    assert np.allclose(field[1], 1.5 * transfer[1] - 2.0 * transfer[4], rtol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), points=st.integers(1, 40), ranks=st.integers(1, 5))
def test_the_field_at_a_point_does_not_depend_on_the_others(seed, points, ranks):
    random = np.random.default_rng(seed)
    mea = MEA.grid(800.0)
    places = random.uniform(0, 800, (points, 3))
    inputs = random.normal(size=(5, 16))
    whole = mea.cell_stimulus(inputs, places)
    for rank in range(ranks):
        part = mea.cell_stimulus(inputs, places[rank::ranks])
        assert np.array_equal(part, whole[:, rank::ranks])


@pytest.mark.parametrize("shape", [(5, 15), (5, 17), (3,), (2, 3, 16)])
def test_a_wrong_width_names_both_widths(shape):
    with pytest.raises(ConfigError) as info:
        MEA.grid(400.0).cell_stimulus(np.zeros(shape), [[0, 0, 0]])
    assert f"width of {shape[-1]}" in str(info.value)
    assert "16 channels" in str(info.value)


def test_inputs_that_are_not_numbers_are_refused():
    with pytest.raises(ConfigError, match="finite"):
        ONE.cell_stimulus([[np.nan]], at(0))
    with pytest.raises(ConfigError, match=r"\[n, 3\]"):
        ONE.cell_stimulus([[1.0]], [[0, 0, 0, 0]])


def test_distances_are_channel_major():
    mea = MEA([[7, 0, 0, 0], [2, 10, 0, 0]])
    rows = mea.distances([[5, 3, 4, 0], [6, 10, 0, 2]])
    expected = [
        [7, 5, 5],
        [7, 6, np.sqrt(104)],
        [2, 5, np.sqrt(65)],
        [2, 6, 2],
    ]
    assert np.allclose(rows, expected)


CELLS = [[10, 0, 0, 0], [11, 80, 0, 0], [12, 160, 0, 0], [13, 999, 0, 0]]
PAIR = MEA([[1, 0, 0, 0], [2, 160, 0, 0], [3, 0, 5000, 0]], output_radius=80.0)


def test_a_spike_goes_to_every_channel_that_hears_its_cell():
    ids, times = PAIR.channel_recording(
        CELLS, [12, 11, 13, 10, 11], [5.0, 1.0, 2.0, 3.0, 4.0]
    )
    assert {c: v.tolist() for c, v in ids.items()} == {1: [11, 10, 11], 2: [12, 11, 11]}
    assert {c: v.tolist() for c, v in times.items()} == {
        1: [1.0, 3.0, 4.0],
        2: [5.0, 1.0, 4.0],
    }


def test_ids_alone_give_one_dict_and_silence_gives_empty_channels():
    found = PAIR.channel_recording(CELLS, np.zeros(0, np.uint32))
    assert {channel: ids.tolist() for channel, ids in found.items()} == {1: [], 2: []}


def test_samples_are_sorted_by_row():
    _, samples = PAIR.channel_recording(CELLS, [10, 12], np.arange(6).reshape(2, 3))
    assert samples[1].tolist() == [[0, 1, 2]]
    assert samples[2].tolist() == [[3, 4, 5]]


def test_recordings_of_unknown_cells_and_uneven_arrays_are_refused():
    with pytest.raises(ConfigError, match=r"no coordinates .* \[14\]"):
        PAIR.channel_recording(CELLS, [10, 14])
    with pytest.raises(ConfigError, match=r"3 ids .* not \[2\]"):
        PAIR.channel_recording(CELLS, [10, 11, 12], [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"\[n, 4\]"):
        PAIR.channel_recording([[1, 2, 3]], [1])


def test_potential_of_one_current():
    potential = PAIR.potential_recording(CELLS, [11, 11], [[1.0, 0.0], [0.5, -2.0]])
    gain = PAIR.gain([[80, 0, 0]])
    assert np.array_equal(potential, gain * [[1.5, -2.0]])
    assert potential[0].round(2).tolist() == [4.68, -6.24]
    assert potential[2].tolist() == [0.0, 0.0]


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 60),
    ranks=st.integers(1, 6),
    scale=st.sampled_from([1e-3, 1.0, 10.0]),
)
def test_potentials_do_not_depend_on_order_or_ranks(seed, rows, ranks, scale):
    random = np.random.default_rng(seed)
    cells = np.column_stack([np.arange(30), random.uniform(0, 400, (30, 3))])
    gids = random.integers(0, 30, rows)
    currents = random.normal(scale=scale, size=(rows, 4))
    mea = MEA.grid(400.0)
    whole = mea.potential_recording(cells, gids, currents)
    order = random.permutation(rows)
    assert np.array_equal(
        mea.potential_recording(cells, gids[order], currents[order]), whole
    )
    owner = random.integers(0, ranks, rows)
    shares = [
        mea.potential_recording(cells, gids[owner == r], currents[owner == r])
        for r in range(ranks)
    ]
    assert np.array_equal(sum(shares), whole)
    exact = mea.gain(cells[:, 1:])[:, gids] @ currents
    assert np.allclose(whole, exact, atol=rows * 53.1 * 2**-20)


def test_currents_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="2 rows for 1 gids"):
        PAIR.potential_recording(CELLS, [10], [[1.0], [2.0]])
    with pytest.raises(ConfigError, match="finite"):
        PAIR.potential_recording(CELLS, [10], [[np.inf]])
    with pytest.raises(ConfigError, match="no coordinates"):
        PAIR.potential_recording(CELLS, [9], [[1.0]])


def test_an_array_without_own_cells_records_nothing():
    # a rank may hold no cell at all
    potential = PAIR.potential_recording(CELLS, [], np.zeros((0, 5)))
    assert potential.tolist() == [[0.0] * 5] * 3


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "shape"),
        (np.zeros((0, 4)), "empty"),
        ([[0, 1, 2]], "shape"),
        ([[0, 1, 2, np.nan]], "finite"),
        ([[0, 1, 2, 3], [0, 4, 5, 6]], "distinct"),
        ([[0.5, 1, 2, 3]], "whole numbers"),
        ([[-1, 1, 2, 3]], "whole numbers"),
        ([[0, 1, 2, 3], [1, 2]], "numbers"),
        ("abc", "numbers"),
    ],
)
def test_electrodes_that_cannot_be_used_are_refused(rows, problem):
    with pytest.raises(ConfigError, match=problem) as info:
        MEA(rows)
    assert "electrode_coordinates" in str(info.value)


@pytest.mark.parametrize("radius", [0, -1, np.inf, np.nan, "wide", None])
def test_radii_that_cannot_be_used_are_refused(radius):
    with pytest.raises(ConfigError, match="output_radius must be a positive number"):
        MEA(output_radius=radius)
    with pytest.raises(ConfigError, match="input_radius must be a positive number"):
        MEA(input_radius=radius)


def test_electrodes_do_not_change():
    rows = np.array([[0, 1.0, 2.0, 3.0]])
    mea = MEA(rows)
    rows[0, 1] = 99
    assert mea.electrode_coordinates[0, 1] == 1
    with pytest.raises(ValueError, match="read-only"):
        mea.electrode_coordinates[0, 1] = 5


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 10_000),
            *[st.floats(-1e6, 1e6) for _ in range(3)],
        ),
        min_size=1,
        max_size=9,
        unique_by=lambda row: row[0],
    ),
    radius=st.floats(1e-3, 1e6),
)
def test_files_round_trip(tmp_path_factory, rows, radius):
    path = tmp_path_factory.mktemp("mea") / "mea.json"
    mea = MEA(rows, output_radius=radius)
    mea.save(path)
    copy = MEA.load(path)
    assert np.array_equal(copy.electrode_coordinates, mea.electrode_coordinates)
    assert (copy.input_radius, copy.output_radius) == (250.0, radius)


GOOD = {"electrode_coordinates": [[0, 1, 2, 3]], "input_radius": 9, "output_radius": 9}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"electrode_coordinates": [[0, 1, 2]]}, "electrode_coordinates"),
        ({"electrode_coordinates": None}, "electrode_coordinates"),
        ({"electrode_coordinates": "none"}, "electrode_coordinates"),
        ({"output_radius": -4}, "output_radius"),
        ({"input_radius": "far"}, "input_radius"),
        ({"volume_conductor": {"sigma": 1}}, "volume_conductor"),
        ({"volume_conductor": 3}, "volume_conductor"),
        ({"volume_conductor": {"recording_gain": -1}}, "volume_conductor"),
    ],
)
def test_broken_files_name_the_field(tmp_path, change, field):
    path = tmp_path / "mea.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(SystemFormatError) as info:
        MEA.load(path)
    assert (info.value.path, info.value.field) == (path, field)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_missing_entries_are_named(tmp_path, field):
    path = tmp_path / "mea.json"
    path.write_text(json.dumps({k: v for k, v in GOOD.items() if k != field}))
    with pytest.raises(SystemFormatError, match="missing") as info:
        MEA.load(path)
    assert info.value.field == field


def test_a_volume_conductor_of_its_own_is_used(tmp_path):
    path = tmp_path / "mea.json"
    medium = {"recording_gain": 2000.0, "min_distance_um": 10.0}
    path.write_text(json.dumps(GOOD | {"volume_conductor": medium}))
    mea = MEA.load(path)
    assert mea.params["volume_conductor-recording_gain"] == 2000.0
    assert mea.params["volume_conductor-culture_height_um"] == 50.0
    mea.save(tmp_path / "again.json")
    assert MEA.load(tmp_path / "again.json").params == mea.params


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SystemFormatError, match="the file is missing"):
        MEA.load(tmp_path / "mea.json")
