"""Generating: the same bytes, whole directories, and what readers rely on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.system import System, shipped
from livn_ipp.system import generate as module
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.generate import generate
from livn_ipp.system.neuroh5 import reading
from livn_ipp.system.recipe import read_recipe

SPEC = CultureSpec(cells=30, side=300.0, seed=5)
FILES = (
    "cells.h5",
    "connections.h5",
    "graph.json",
    "mea.json",
    "params/default.json",
    "provenance.toml",
)


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def read(path):
    return json.loads(path.read_text())


def recipe_of(folder):
    lines = (folder / "provenance.toml").read_text().splitlines()
    return [line for line in lines if not line.startswith("version = ")]


def datasets(path):
    found = {}

    def visit(name, node):
        if isinstance(node, h5py.Dataset):
            found[name] = (node.dtype, node[()].tolist())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_the_same_spec_writes_the_same_bytes_anywhere(tmp_path, monkeypatch):
    one = generate(tmp_path / "here" / "one", SPEC)
    monkeypatch.chdir(tmp_path)
    two = generate("two", SPEC)
    assert set(contents(one)) == set(FILES)
    assert contents(one) == contents(two)


def test_chunks_do_not_show(tmp_path, monkeypatch):
    one = generate(tmp_path / "one", SPEC)
    monkeypatch.setattr(module, "_CHUNK", 7)
    two = generate(tmp_path / "two", SPEC)
    for name in ("cells.h5", "connections.h5"):
        assert datasets(one / name) == datasets(two / name)


@pytest.mark.parametrize("name", ["EI1", "EI2", "EI3"])
def test_shipped_cultures_are_what_their_command_makes(tmp_path, name):
    made = generate(tmp_path / name, CultureSpec.preset(name))
    for file in ("cells.h5", "connections.h5"):
        ours, theirs = datasets(made / file), datasets(shipped(name) / file)
        assert ours.keys() == theirs.keys()
        for field, (dtype, values) in ours.items():
            assert dtype == theirs[field][0]
            # exp and log may differ in the last digit between machines
            if dtype.kind == "f":
                assert np.allclose(values, theirs[field][1], rtol=1e-6, atol=0)
            else:
                assert values == theirs[field][1]
    for file in ("graph.json", "mea.json", "params/default.json"):
        ours, theirs = (read(folder / file) for folder in (made, shipped(name)))
        for content in (ours, theirs):
            content.get("provenance", {}).pop("livn_ipp", None)  # the maker's version
        assert ours == theirs
    for file in ("mea.json", "params/default.json"):
        assert (made / file).read_bytes() == (shipped(name) / file).read_bytes()
    assert recipe_of(made) == recipe_of(shipped(name))


def test_shipped_cultures_are_small():
    for name in ("EI1", "EI2", "EI3"):
        assert sum(map(len, contents(shipped(name)).values())) < 1e6


def test_nothing_of_the_machine_is_written(tmp_path):
    made = generate(tmp_path / "system", SPEC)
    for content in contents(made).values():
        assert str(tmp_path).encode() not in content
        assert str(Path.home()).encode() + b"/" not in content


def test_provenance_repeats_the_system(tmp_path):
    provenance = read(shipped("EI1") / "graph.json")["provenance"]
    assert provenance["command"] == "livn-ipp generate EI1 --out EI1"
    assert provenance["seed"] == 21
    spec = CultureSpec.preset("EI1").as_dict()
    assert provenance["spec"] == json.loads(json.dumps(spec))
    made = generate(tmp_path / "other", SPEC)
    assert "command" not in read(made / "graph.json")["provenance"]


def test_an_existing_directory_is_kept_unless_told(tmp_path):
    made = generate(tmp_path / "system", SPEC)
    before = contents(made)
    with pytest.raises(ConfigError, match="exists; pass overwrite=True"):
        generate(made, replace(SPEC, seed=6))
    assert contents(made) == before
    generate(made, replace(SPEC, seed=6), overwrite=True)
    assert contents(made) != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["system"]


def test_what_is_not_a_system_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("precious")
    with pytest.raises(ConfigError, match="not a system"):
        generate(tmp_path / "thesis", SPEC, overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "precious"


def test_a_failure_leaves_nothing_and_the_old_system(tmp_path):
    made = generate(tmp_path / "system", SPEC)
    before = contents(made)

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(made, replace(SPEC, seed=6), fail, overwrite=True)
    assert contents(made) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["system"]


def test_progress_counts_all_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 10)
    seen = []
    generate(tmp_path / "system", SPEC, lambda done, total: seen.append((done, total)))
    assert seen == [(10, 30), (20, 30), (24, 30), (30, 30)]


@pytest.mark.parametrize(("post", "count"), [("EXC", 24), ("INH", 6)])
def test_every_edge_ends_on_its_own_synapse(tmp_path, post, count):
    made = generate(tmp_path / "system", SPEC)
    values = {}
    with reading(made / "cells.h5") as file:
        for name in ("syn_ids", "syn_types", "syn_secs"):
            ragged = file.attribute(post, "Synapse Attributes", name, count)
            values[name] = ragged.values
        begins = ragged.pointer[:-1]
    taken = []
    with reading(made / "connections.h5") as file:
        for pre, sources, kind in (("EXC", 24, 0), ("INH", 6, 1)):
            edges = file.edges(pre, post, sources, count, ["Synapses/syn_id"])
            ids = edges.columns["Synapses/syn_id"]
            at = begins[edges.destinations] + ids
            assert np.array_equal(values["syn_ids"][at], ids)
            assert set(values["syn_types"][at]) == {kind}
            assert set(values["syn_secs"][at]) == {1 - kind}  # dend, soma
            taken.extend(at.tolist())
    assert sorted(taken) == list(range(len(values["syn_ids"])))


def test_parameters_of_the_two_groups():
    groups = System("EI1").default_params()["PinskyRinzel"]
    lively, calm = (groups[name]["params"] for name in ("default", "calm"))
    weights = {key: value for key, value in lively.items() if key.endswith("-weight")}
    assert weights == {
        "EXC_EXC-dend-AMPA-weight": 1.1e-3,
        "EXC_EXC-dend-NMDA-weight": 1.1e-4,
        "INH_EXC-dend-AMPA-weight": 0.3e-3,
        "INH_EXC-dend-NMDA-weight": 6e-6,
        "EXC_INH-soma-GABA_A-weight": 2e-3,
        "INH_INH-soma-GABA_A-weight": 0.8e-3,
    }
    assert lively["EXC-std_e"] == 0.48e-3
    assert lively["INH-tau_i"] == 10.49
    assert {key for key in lively if lively[key] != calm[key]} == {
        "EXC_EXC-dend-AMPA-weight",
        "EXC_EXC-dend-NMDA-weight",
        "EXC-std_e",
    }
    assert calm["EXC_EXC-dend-AMPA-weight"] == 1.0e-3
    assert calm["EXC-std_e"] == 0.5e-3


def test_a_delay_rule_and_receptors_are_described():
    synapses = System("EI1").synapses("EXC", "EXC")
    assert synapses["delay"] == {"offset": 1.0, "velocity": 250.0}
    assert synapses["mechanisms"]["default"]["AMPA"]["weight"] == 1.1e-3


def test_electrodes_hear_cells():
    for name, least in (("EI1", 15), ("EI2", 16), ("EI3", 16)):
        system = System(name)
        array = system.default_io()
        rows = array.distances(system.coordinates())
        heard = np.unique(rows[rows[:, 2] <= array.output_radius, 0])
        assert len(heard) >= least
        assert {1, 4} <= set(heard)  # the channels that the examples drive


def test_electrodes_at_a_pitch(tmp_path):
    spec = replace(SPEC, electrode_pitch=100.0, electrode_height=5.0)
    made = generate(tmp_path / "system", spec)
    array = System(made).default_io()
    expected = MEA.for_area([[0, 0], [300, 300]], 100.0, 5.0, 250.0, 125.0)
    assert array.num_channels == 16
    assert np.array_equal(array.electrode_coordinates, expected.electrode_coordinates)
    assert array.params == expected.params
    assert read_recipe(made / "provenance.toml") == spec


def test_a_culture_of_one_kind_has_no_calm_group(tmp_path):
    exc = replace(SPEC.populations[0], share=1.0)
    spec = replace(SPEC, populations=(exc,), projections=())
    system = System(generate(tmp_path / "system", spec)).validate()
    assert system.projections == ()
    assert set(system.default_params()["PinskyRinzel"]) == {"default"}
    shutil.rmtree(system.path)
