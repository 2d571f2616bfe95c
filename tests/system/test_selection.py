"""Selections: which cells, the same everywhere, and what a selected culture shows."""

import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.system import ParallelSystem, System, shipped

PLACES = np.random.default_rng(1).uniform(0, 100, (14, 3))
FOURTEEN = ParallelSystem({"EXC": 10, "INH": 4}, PLACES)


def chosen(select, **how):
    found = FOURTEEN.selection(select, **how)
    return {name: gids.tolist() for name, gids in found.items()}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        # as livn 2.0 chooses of the same cells
        (1, {"EXC": [0], "INH": []}),
        (3, {"EXC": [0, 1], "INH": [10]}),
        (4, {"EXC": [0, 1, 2], "INH": [10]}),
        (7, {"EXC": [0, 1, 2, 3, 4], "INH": [10, 11]}),
        (0.5, {"EXC": [0, 1, 2, 3, 4], "INH": [10, 11]}),
        (1.0, {"EXC": list(range(10)), "INH": [10, 11, 12, 13]}),
        ({"EXC": 3}, {"EXC": [0, 1, 2], "INH": []}),
        ({"EXC": 0.5, "INH": 2}, {"EXC": [0, 1, 2, 3, 4], "INH": [10, 11]}),
        ({"EXC": [7, 2, 2], "INH": [13]}, {"EXC": [2, 7], "INH": [13]}),
        (None, {"EXC": list(range(10)), "INH": [10, 11, 12, 13]}),
    ],
)
def test_first(select, expected):
    assert chosen(select) == expected


@given(count=st.integers(1, 14), seed=st.integers(0, 2**32 - 1))
def test_numbers_are_met_and_shared_out(count, seed):
    for method in ("first", "random", "patch"):
        kept = FOURTEEN.select(count, method, seed=seed)
        assert kept.num_cells == count
        if method != "patch":
            exact = count * 10 / 14
            assert abs(kept.population_counts["EXC"] - exact) < 1


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 13))
def test_a_larger_random_selection_contains_the_smaller(seed, count):
    less, more = (
        FOURTEEN.select({"EXC": min(n, 10)}, "random", seed=seed).gids
        for n in (min(count, 9), min(count, 9) + 1)
    )
    assert set(less) < set(more)


def test_random_is_keyed_by_the_seed():
    big = System("EI3")
    one = big.select(100, "random", seed=1).gids
    assert np.array_equal(one, big.select(100, "random", seed=1).gids)
    assert not np.array_equal(one, big.select(100, "random", seed=2).gids)
    # spread over the culture rather than its first cells
    assert one[:80].max() > 700


@pytest.mark.parametrize(
    ("select", "exc", "inh"),
    [
        # as livn 2.0 chooses in EI2
        (
            20,
            [0, 8, 10, 14, 17, 24, 28, 30, 38, 43, 44, 45, 60, 64, 67, 68, 73, 75],
            [83, 88],
        ),
        (
            0.25,
            [
                *[0, 7, 8, 10, 12, 14, 17, 24, 28, 30, 38, 43, 44, 45, 55, 60, 64],
                *[67, 68, 73, 75, 78],
            ],
            [83, 88, 92],
        ),
    ],
)
def test_a_patch_lies_around_the_centre(select, exc, inh):
    chosen = System("EI2").selection(select, "patch")
    assert (chosen["EXC"].tolist(), chosen["INH"].tolist()) == (exc, inh)


def test_a_patch_takes_the_nearest_cells_or_a_part_of_the_area():
    big = System("EI3")
    offsets = big.coordinates()[:, 1:3] - 800.0
    apart = np.hypot(*offsets.T)
    near = big.select(100, "patch").gids
    assert apart[near].max() < np.delete(apart, near).min()
    quarter = big.select(0.25, "patch").gids
    assert np.array_equal(
        quarter, np.flatnonzero((np.abs(offsets) <= 400.0).all(axis=1))
    )


def test_a_patch_by_its_bounds():
    inside = chosen(None, method="patch", bounds=[[20, 20], [80, 80]])
    places = PLACES[:, :2]
    expected = np.flatnonzero(((places >= 20) & (places <= 80)).all(axis=1))
    assert inside["EXC"] + inside["INH"] == expected.tolist()
    assert inside == chosen(5, method="patch", bounds=[[20, 20], [80, 80]])


@pytest.mark.parametrize(
    ("select", "how", "problem"),
    [
        (15, {}, "15 cells are asked for; unconnected has 14"),
        (0, {}, "chooses no cell"),
        (-1, {}, "-1 cells"),
        (True, {}, "not by True"),
        (1.5, {}, "fraction"),
        (0.0, {}, "fraction"),
        ([1, 2], {}, "not by"),
        ({"PV": 1}, {}, "no population 'PV'"),
        ({"EXC": 11}, {}, "EXC has 10"),
        ({"EXC": [10]}, {}, r"EXC of unconnected has no cells \[10\]"),
        ({"EXC": [0.5]}, {}, "list of gids"),
        ({}, {}, "chooses no cell"),
        ("core", {}, "stores no selection 'core'"),
        (3, {"method": "last"}, "unknown method 'last'"),
        (3, {"bounds": [[0, 0], [1, 1]]}, "bounds go with"),
        ({"EXC": 3}, {"method": "patch"}, "one region for all populations"),
        (None, {"method": "patch", "bounds": [[1, 1], [0, 0]]}, "x0 < x1"),
        (None, {"method": "patch", "bounds": [[500, 500], [600, 600]]}, "no cell"),
    ],
)
def test_what_cannot_be_chosen_is_refused(select, how, problem):
    with pytest.raises(ConfigError, match=problem):
        FOURTEEN.select(select, **how)


def test_a_selected_culture_is_the_culture_of_its_cells():
    whole = System("EI2")
    kept = whole.select({"EXC": [3, 5, 8, 40], "INH": [81, 90]})
    assert repr(kept) == "System(EI2: 4 of 80 EXC, 2 of 20 INH)"
    assert kept.num_cells == 6
    assert kept.gids.tolist() == [3, 5, 8, 40, 81, 90]
    assert kept.populations == whole.populations
    assert kept.population_ranges == whole.population_ranges
    assert kept.population_counts == {"EXC": 4, "INH": 2}
    assert kept.population_of([40, 81]).tolist() == ["EXC", "INH"]
    assert np.array_equal(kept.coordinates(), whole.coordinates()[kept.gids])
    assert np.array_equal(kept.coordinates("INH"), whole.coordinates()[[81, 90]])
    assert np.array_equal(kept.orientations(), whole.orientations()[kept.gids])
    with pytest.raises(ConfigError, match="no cell 4"):
        kept.population_of([4])


def test_connections_from_and_onto_other_cells_vanish():
    whole = System("EI2")
    kept = whole.select(0.3, "random")
    for pre, post in whole.projections:
        edges = whole.projection(pre, post)
        inside = np.isin(edges.pre_gids, kept.gids) & np.isin(
            edges.post_gids, kept.gids
        )
        found = kept.projection(pre, post)
        assert 0 < len(found) < len(edges)
        for name in ("pre_gids", "post_gids", "distance", "factor"):
            assert np.array_equal(getattr(found, name), getattr(edges, name)[inside])
        mine = kept.gids[::2]
        part = kept.projection(pre, post, mine)
        assert np.array_equal(part.factor, found.factor[np.isin(found.post_gids, mine)])
        # a rank may pass cells that are not there
        everyone = kept.projection(pre, post, whole.gids)
        assert np.array_equal(everyone.post_gids, found.post_gids)


def test_selections_travel_and_can_be_undone():
    whole = System("EI2")
    kept = whole.select(10)
    copy = pickle.loads(pickle.dumps(kept))
    assert np.array_equal(copy.gids, kept.gids)
    assert copy.digest() == kept.digest() != whole.digest()
    assert kept.whole.digest() == whole.digest()
    assert kept.select({"EXC": 4}).whole.num_cells == 100
    assert kept.select({"EXC": 4}).num_cells == 4


@pytest.fixture
def culture(tmp_path):
    folder = shutil.copytree(shipped("EI1"), tmp_path / "mine")
    (folder / "selection").mkdir()
    return folder


def store(folder, content, name="core"):
    path = folder / "selection" / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def uuid_of(folder):
    return json.loads((folder / "graph.json").read_text())["architecture"]["uuid"]


def test_a_stored_selection(culture):
    meta = {"graph": uuid_of(culture)}
    store(culture, {"gids": {"EXC": [1, 4], "INH": [9]}, "meta": meta})
    system = System(culture).validate()
    assert system.selections == ["core"]
    kept = system.select("core")
    assert kept.gids.tolist() == [1, 4, 9]
    assert kept.selection_name == "core"
    assert system.selection_name is None


def test_a_selection_for_another_culture_is_refused(culture):
    store(culture, {"gids": {"EXC": [1]}, "meta": {"graph": "someone-else"}})
    with pytest.raises(SystemFormatError, match="another one") as info:
        System(culture).select("core")
    assert info.value.field == "meta.graph"


@pytest.mark.parametrize(
    "gids", [None, [1], {"EXC": [99]}, {"EXC": "a"}, {"PV": [1]}, {"EXC": [[1], [2]]}]
)
def test_a_broken_selection_names_its_file(culture, gids):
    path = store(culture, {"gids": gids})
    with pytest.raises(SystemFormatError) as info:
        System(culture).select("core")
    assert (info.value.path, info.value.field) == (path, "gids")


def test_a_stored_selection_brings_its_own_parameters(culture):
    store(culture, {"gids": {"EXC": [1]}})
    store(culture, {"gids": {"EXC": [2]}}, "edge")
    own = {"PinskyRinzel": {"default": {"params": {"EXC-std_e": 1e-3}, "meta": {}}}}
    (culture / "params" / "core.json").write_text(json.dumps(own))
    system = System(culture)
    default = system.default_params()
    assert set(default["PinskyRinzel"]) == {"default", "calm"}
    assert system.select("core").default_params() == own
    assert system.select("core").default_params("default") == default
    assert system.select("edge").default_params() == default
    assert system.select(3).default_params() == default
    assert system.default_params("none") == {}
