"""Recipes: whole, repeatable, and clear about what they cannot mean."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.system.culture import PRESETS, CultureSpec, PopulationSpec
from livn_ipp.system.recipe import read_recipe, recipe

names = st.text(min_size=1, max_size=8)
amounts = st.floats(1e-9, 1e9)


def written(tmp_path, text):
    path = tmp_path / "culture.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip(tmp_path, name):
    spec = CultureSpec.preset(name)
    assert read_recipe(written(tmp_path, recipe(spec))) == spec


@given(
    found=st.dictionaries(names, st.tuples(amounts, amounts), min_size=1, max_size=4),
    background=st.dictionaries(names, st.floats(-1e9, 1e9), max_size=3),
    cells=st.integers(1, 10**9),
    seed=st.integers(0, 2**62),
    side=amounts,
    pitch=st.none() | amounts,
)
def test_any_culture_round_trips(
    tmp_path_factory, found, background, cells, seed, side, pitch
):
    populations = tuple(
        PopulationSpec(name, 1 / len(found), *found[name], background)
        for name in sorted(found)
    )
    spec = CultureSpec(
        cells,
        side,
        seed,
        populations=populations,
        projections=(),
        electrode_pitch=pitch,
    )
    path = written(tmp_path_factory.mktemp("recipe"), recipe(spec))
    assert read_recipe(path) == spec


def test_what_is_not_given_is_as_usual(tmp_path):
    path = written(
        tmp_path,
        """
        preset = "EI2"
        seed = 9
        [[populations]]
        name = "EXC"
        share = 0.5
        [[populations]]
        name = "INH"
        share = 0.5
        [[projections]]
        pre = "INH"
        post = "EXC"
        in_degree = 4
        """,
    )
    usual = CultureSpec.preset("EI2")
    exc, inh = usual.populations
    inhibition = usual.projections[1]
    assert read_recipe(path) == replace(
        usual,
        seed=9,
        populations=(replace(exc, share=0.5), replace(inh, share=0.5)),
        projections=(replace(inhibition, in_degree=4),),
    )


def test_a_culture_of_one_kind_keeps_its_connections_only(tmp_path):
    path = written(
        tmp_path,
        'cells = 5\nside = 100.0\n[[populations]]\nname = "EXC"\nshare = 1.0\n',
    )
    spec = read_recipe(path)
    assert spec.counts == {"EXC": 5}
    assert [(p.pre, p.post) for p in spec.projections] == [("EXC", "EXC")]


def test_it_says_who_made_it():
    assert set(tomllib.loads(recipe(CultureSpec(1, 1.0)))["made_by"]) == {
        "generator",
        "version",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cells and side"),
        ("cells = 5", "cells and side"),
        ("cells = ", "cannot be read as TOML"),
        ('preset = "EI9"', "no preset is named 'EI9'"),
        ('preset = "EI1"\nsides = 4.0', "no entry 'sides'; did you mean side"),
        ('cells = 5\nside = "wide"', "side must be positive"),
        ('cells = "5"\nside = 4.0', "cells must be a positive whole number"),
        ('preset = "EI1"\npopulations = 3', "populations are due as tables"),
        (
            'preset = "EI1"\n[[populations]]\nname = "EXC"\nshares = 1.0',
            "no entry of populations named 'shares'; did you mean share",
        ),
        (
            'preset = "EI1"\n[[populations]]\nname = "PV"\nshare = 1.0',
            "lacks length_constant, weight_cap",
        ),
        ('preset = "EI1"\n[[projections]]\npre = "EXC"', "lacks post, in_degree"),
        ('preset = "EI1"\n[[populations]]\nname = "EXC"', "shares from 0 to 1"),
    ],
)
def test_what_a_recipe_cannot_mean_is_told(tmp_path, text, problem):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=problem) as info:
        read_recipe(path)
    assert str(path) in str(info.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
