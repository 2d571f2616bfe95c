"""System: what it reads, and how it names what is broken."""

import json
import pickle
import shutil

import h5py
import numpy as np
import pytest

from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.system import System
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.generate import generate
from livn_ipp.system.layout import ANGLE, FACTOR

EXC_X = "Populations/EXC/Generated Coordinates/X Coordinate"
EDGES = "Projections/INH/EXC/Edges"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("systems")
    return generate(folder / "small", CultureSpec(cells=20, side=300.0, seed=5))


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "small")


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replace(path, field, values):
    with h5py.File(path, "a") as file:
        del file[field]
        file[field] = values


def remove(path, field):
    with h5py.File(path, "a") as file:
        del file[field]


def test_populations_and_cells(folder):
    system = System(folder)
    assert system.name == "small"
    assert system.populations == ("EXC", "INH")
    assert system.population_ranges == {"EXC": (0, 16), "INH": (16, 4)}
    assert system.gids.tolist() == list(range(20))
    assert system.gids.dtype == np.uint32
    assert system.num_cells == system.num_neurons == 20
    assert system.population_of([15, 16, 0]).tolist() == ["EXC", "INH", "EXC"]
    assert repr(system) == "System(small: 16 EXC, 4 INH)"
    assert system.bounding_box.tolist() == [[0, 0, 0], [300, 300, 20]]


def test_coordinates_by_gid(folder):
    system = System(folder)
    everything = system.coordinates()
    assert everything.dtype == np.float64
    assert everything[:, 0].tolist() == list(range(20))
    assert np.array_equal(system.coordinates("INH"), everything[16:])
    low, high = system.bounding_box
    assert np.all((everything[:, 1:] >= low) & (everything[:, 1:] <= high))
    with pytest.raises(ValueError, match="read-only"):
        everything[0, 1] = 0  # it is shared


def test_cells_in_another_order_are_sorted(folder):
    before = System(folder).coordinates()
    field = f"{EXC_X}/Attribute Value"
    replace(folder / "cells.h5", f"{EXC_X}/Cell Index", np.arange(16, dtype="u4")[::-1])
    replace(folder / "cells.h5", field, before[:16, 1].astype("f4")[::-1])
    assert np.array_equal(System(folder).coordinates(), before)


def test_orientations_are_stored_or_hashed_from_the_gid(folder):
    stored = System(folder).orientations()
    for name in ("EXC", "INH"):
        remove(folder / "cells.h5", f"Populations/{name}/{'/'.join(ANGLE)}")
    hashed = System(folder).orientations()
    assert len(stored) == len(hashed) == 20
    assert not np.array_equal(stored, hashed)
    assert np.all((hashed >= 0) & (hashed < 2 * np.pi))
    assert len(np.unique(hashed)) == 20
    # SplitMix64's first output for seed 0 is 0xE220A8397B1DCDAF
    assert hashed[0] == 2 * np.pi * (0xE220A8397B1DCDAF >> 11) / 2**53


def test_projections_are_sorted_and_agree_with_positions(folder):
    system = System(folder)
    assert sorted(system.projections) == [
        ("EXC", "EXC"),
        ("EXC", "INH"),
        ("INH", "EXC"),
        ("INH", "INH"),
    ]
    projection = system.projection("EXC", "INH")
    assert len(projection) == 4 * 16  # in-degree 20 capped by 16 candidates
    assert projection.pre_gids.dtype == projection.post_gids.dtype == np.uint32
    pairs = list(zip(projection.post_gids, projection.pre_gids, strict=True))
    assert pairs == sorted(pairs)
    assert set(projection.post_gids.tolist()) == {16, 17, 18, 19}
    places = system.coordinates()[:, 1:]
    apart = np.linalg.norm(
        places[projection.pre_gids] - places[projection.post_gids], axis=1
    )
    assert np.allclose(projection.distance, 250 + apart, rtol=1e-6)
    assert projection.distance.dtype == projection.factor.dtype == np.float64


def test_only_edges_onto_own_cells_are_read(folder):
    system = System(folder)
    full = system.projection("EXC", "EXC")
    own = [1, 4, 7, 17, 19]
    part = system.projection("EXC", "EXC", own)
    keep = np.isin(full.post_gids, own)
    for name in ("pre_gids", "post_gids", "distance", "factor"):
        assert np.array_equal(getattr(part, name), getattr(full, name)[keep])
    assert len(system.projection("EXC", "EXC", [])) == 0
    assert len(system.projection("EXC", "EXC", [17])) == 0
    assert len(system.projection("EXC", "INH", [12, 15])) == 0


def test_edges_in_another_order_are_sorted(folder):
    before = System(folder).projection("EXC", "INH")
    for field in ("Edges/Source Index", "Connections/distance", FACTOR):
        path = f"Projections/INH/EXC/{field}"
        with h5py.File(folder / "connections.h5") as file:
            values = file[path][()].reshape(4, 16)[:, ::-1].ravel()
        replace(folder / "connections.h5", path, values)
    after = System(folder).projection("EXC", "INH")
    for name in ("pre_gids", "post_gids", "distance", "factor"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_factor_is_one_where_the_file_has_none(folder):
    remove(folder / "connections.h5", f"Projections/INH/EXC/{FACTOR}")
    assert set(System(folder).projection("EXC", "INH").factor) == {1.0}


def test_synapses_params_and_array(folder):
    system = System(folder)
    assert system.synapses("INH", "EXC")["sections"] == ["soma"]
    assert system.default_io().num_channels == 16
    assert set(system.default_params()["PinskyRinzel"]) == {"default", "calm"}
    assert system.default_params("none") == {}
    (folder / "mea.json").unlink()
    assert System(folder).default_io() is None


def test_one_file_may_hold_cells_and_connections(folder):
    before = System(folder).validate()
    with h5py.File(folder / "graph.h5", "w") as graph:
        for name in ("cells.h5", "connections.h5"):
            with h5py.File(folder / name) as file:
                for key in file:
                    if key not in graph:
                        file.copy(key, graph)
            (folder / name).unlink()
    after = System(folder).validate()
    assert np.array_equal(after.coordinates(), before.coordinates())
    assert after.projections == before.projections


def test_digest_follows_content(folder, original):
    assert System(folder).digest() == System(original).digest()
    edit_json(folder / "mea.json", lambda mea: mea.update(output_radius=99))
    assert System(folder).digest() != System(original).digest()


def test_a_system_opens_from_a_system_and_from_a_pickle(folder):
    system = System(folder)
    assert System(system).path == system.path == folder
    system.coordinates()
    copy = pickle.loads(pickle.dumps(system))
    assert copy.path == folder
    assert len(pickle.dumps(system)) < 500  # the path, not the arrays


def test_a_relative_path_is_made_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert System(".").name == "small"


def test_wrong_requests_name_what_there_is(folder):
    system = System(folder)
    with pytest.raises(ConfigError, match=r"no population 'PV'.*EXC"):
        system.coordinates("PV")
    with pytest.raises(ConfigError, match="no projection from 'PV'"):
        system.projection("PV", "EXC")
    with pytest.raises(ConfigError, match="no cell 20"):
        system.population_of([3, 20])


@pytest.mark.parametrize("name", ["graph.json", "cells.h5", "connections.h5"])
def test_missing_files_are_named_at_once(folder, name):
    (folder / name).unlink()
    with pytest.raises(SystemFormatError, match="the file is missing") as info:
        System(folder)
    assert info.value.path == folder / name


@pytest.mark.parametrize(
    ("version", "problem"),
    [(2, "is 2"), ("1", "is '1'"), (-1, "is -1"), (1.5, "is 1.5")],
)
def test_other_versions_are_refused(folder, version, problem):
    edit_json(folder / "graph.json", lambda graph: graph.update(version=version))
    with pytest.raises(SystemFormatError, match=problem) as info:
        System(folder)
    assert info.value.field == "version"


@pytest.mark.parametrize(
    "change", [lambda g: g.pop("version"), lambda g: g.update(version=0)]
)
def test_a_missing_version_is_a_warning(folder, change):
    edit_json(folder / "graph.json", change)
    with pytest.warns(UserWarning, match=r"graph\.json: version is missing"):
        System(folder)


@pytest.mark.parametrize("text", ['{"version": 1', "[1, 2]", "", "\udcff"])
def test_bad_json_is_named(folder, text):
    (folder / "graph.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SystemFormatError, match="JSON") as info:
        System(folder)
    assert info.value.path == folder / "graph.json"


CELLS, CONNECTIONS, GRAPH = "cells.h5", "connections.h5", "graph.json"
U4 = np.uint32


@pytest.mark.parametrize(
    ("name", "field", "values", "problem"),
    [
        (CELLS, "H5Types/Populations", None, "missing"),
        (CELLS, f"{EXC_X}/Attribute Value", None, "missing"),
        (CELLS, f"{EXC_X}/Cell Index", None, "missing"),
        (CELLS, f"{EXC_X}/Attribute Value", np.arange(16), "int64; floating point"),
        (CELLS, f"{EXC_X}/Attribute Value", np.full(16, np.nan), "finite"),
        (CELLS, f"{EXC_X}/Attribute Value", np.zeros((16, 1)), "2 dimensions"),
        (
            CELLS,
            f"{EXC_X}/Cell Index",
            np.arange(1, 17, dtype=U4),
            "dangling gid: cell 16",
        ),
        (CELLS, f"{EXC_X}/Attribute Pointer", np.arange(17.0), "float64; integers"),
        (CELLS, f"{EXC_X}/Attribute Pointer", np.arange(16, dtype=U4), "one more"),
        (CONNECTIONS, f"{EDGES}/Source Index", None, "missing"),
        (CONNECTIONS, f"{EDGES}/Destination Pointer", None, "missing"),
        (CONNECTIONS, f"{EDGES}/Destination Block Index", None, "missing"),
        (
            CONNECTIONS,
            f"{EDGES}/Source Index",
            np.full(64, 16, U4),
            "dangling gid: cell 16",
        ),
        (
            CONNECTIONS,
            f"{EDGES}/Source Index",
            np.full(64, -1),
            "dangling gid: cell -1",
        ),
        (CONNECTIONS, f"{EDGES}/Source Index", np.zeros(64), "float64; integers"),
        (
            CONNECTIONS,
            f"{EDGES}/Destination Block Index",
            np.array([1], U4),
            "cell 4 is",
        ),
        (CONNECTIONS, "Projections/INH/EXC/Connections/distance", None, "missing"),
        (
            CONNECTIONS,
            "Projections/INH/EXC/Connections/distance",
            np.zeros(3),
            "3 values",
        ),
    ],
)
def test_broken_arrays_are_named(folder, name, field, values, problem):
    if values is None:
        remove(folder / name, field)
    else:
        replace(folder / name, field, values)
    with pytest.raises(SystemFormatError, match=problem) as info:
        System(folder).validate()
    assert info.value.path == folder / name
    assert field.startswith(info.value.field)
    assert info.value.field


def test_a_cell_without_coordinates_is_named(folder):
    with h5py.File(folder / "cells.h5", "a") as file:
        for axis in "XYZ":
            group = file[f"Populations/EXC/Generated Coordinates/{axis} Coordinate"]
            for dataset in group.values():
                dataset.resize(len(dataset) - 1, axis=0)
    with pytest.raises(SystemFormatError, match="each of 16 cells") as info:
        System(folder).coordinates()
    assert info.value.field == EXC_X


def test_a_projection_of_an_unknown_population_is_named(folder):
    with h5py.File(folder / "connections.h5", "a") as file:
        file.move("Projections/INH/EXC", "Projections/INH/PV")
    with pytest.raises(SystemFormatError, match="PV is not a population") as info:
        System(folder).validate()
    assert info.value.field == "Projections/INH/PV"


def test_two_files_of_different_cultures_are_refused(folder, tmp_path):
    other = generate(tmp_path / "other", CultureSpec(cells=21, side=300.0))
    shutil.copy(other / CONNECTIONS, folder / CONNECTIONS)
    with pytest.raises(SystemFormatError, match=r"is not that of cells\.h5") as info:
        System(folder).validate()
    assert info.value.path == folder / CONNECTIONS


@pytest.mark.parametrize("name", [CELLS, CONNECTIONS])
@pytest.mark.parametrize("part", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_hdf5_is_named(folder, name, part):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(SystemFormatError, match="truncated") as info:
        System(folder).validate()
    assert info.value.path == path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda g: g["architecture"]["config"].pop("layer_extents"), "architecture"),
        (
            lambda g: g["architecture"]["config"].update(
                layer_extents={"2D": [[0, 0]]}
            ),
            "architecture",
        ),
        (lambda g: g.update(connections={}), "connections"),
        (
            lambda g: g["connections"]["culture"]["config"]["synapses"].pop("INH"),
            "connections",
        ),
    ],
)
def test_broken_descriptions_are_named(folder, change, field):
    edit_json(folder / GRAPH, change)
    with pytest.raises(SystemFormatError) as info:
        System(folder).validate()
    assert info.value.path == folder / GRAPH
    assert info.value.field.startswith(field)


@pytest.mark.parametrize("name", ["mea.json", "params/default.json"])
def test_other_broken_json_is_named(folder, name):
    (folder / name).write_text("{")
    with pytest.raises(SystemFormatError) as info:
        System(folder).validate()
    assert info.value.path == folder / name


class Own:
    """A model of a user's own, as far as a system can tell."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def build(self):
        """Make cells."""


def name_model(folder, content):
    path = folder / "model.json"
    path.write_text(json.dumps(content))
    return path


def test_a_model_file_names_the_model(folder, monkeypatch):
    from livn_ipp.models.pinsky_rinzel import PinskyRinzel

    assert System(folder).default_model() is None
    name_model(folder, {"cls": "livn_ipp.models.pinsky_rinzel.PinskyRinzel"})
    assert isinstance(System(folder).validate().default_model(), PinskyRinzel)
    monkeypatch.setattr("livn_ipp.models.Own", Own, raising=False)
    name_model(folder, {"cls": "livn_ipp.models.Own", "kwargs": {"gain": 3.0}})
    assert System(folder).select(3).default_model().gain == 3.0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "a class as"),
        ({"cls": "PinskyRinzel"}, "a class as"),
        ({"cls": "a.B", "kwargs": 3}, "a class as"),
        ({"cls": "livn_nowhere.models.Cell"}, "cannot be made here .*pass model="),
        ({"cls": "livn_ipp.models.Nothing"}, "cannot be made here"),
        ({"cls": "builtins.dict", "kwargs": {"a": 1}}, "no model of livn_ipp"),
        ({"cls": "livn_ipp.io.MEA", "kwargs": {"pitch": 1}}, "cannot be made here"),
    ],
)
def test_a_model_that_cannot_be_made_is_named(folder, content, problem):
    path = name_model(folder, content)
    with pytest.raises(SystemFormatError, match=problem) as info:
        System(folder).default_model()
    assert (info.value.path, info.value.field) == (path, "cls")


def test_livns_names(folder):
    system = System(folder)
    assert system.num_neurons == 20
    assert system.population_count("INH") == 4
    assert system.select(5).population_count("EXC") == 4
    with pytest.raises(ConfigError, match="no population 'PV'"):
        system.population_count("PV")
    assert np.array_equal(system.neuron_coordinates, system.coordinates())
    assert system.summary()["num_connections"] == sum(
        len(system.projection(*pair)) for pair in system.projections
    )
