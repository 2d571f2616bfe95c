"""Descriptions of cultures: presets, counts and values that cannot be used."""

import json
from dataclasses import replace

import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.system.culture import CultureSpec

SPEC = CultureSpec(cells=10, side=100.0)


@pytest.mark.parametrize(
    ("name", "seed", "side", "counts"),
    [
        ("EI1", 21, 400, {"EXC": 8, "INH": 2}),
        ("EI2", 1, 800, {"EXC": 80, "INH": 20}),
        ("EI3", 1, 1600, {"EXC": 800, "INH": 200}),
        ("EI4", 1, 4000, {"EXC": 8000, "INH": 2000}),
    ],
)
def test_presets(name, seed, side, counts):
    spec = CultureSpec.preset(name)
    assert (spec.seed, spec.side, spec.counts) == (seed, side, counts)
    assert spec.preset_name == name
    assert replace(spec, seed=99).preset_name is None


def test_an_unknown_preset_lists_the_others():
    with pytest.raises(ConfigError, match=r"'EI9'.*EI1.*EI4"):
        CultureSpec.preset("EI9")


@pytest.mark.parametrize("cells", range(1, 20))
def test_no_cell_is_lost_to_rounding(cells):
    assert sum(replace(SPEC, cells=cells).counts.values()) == cells


def test_a_spec_is_plain_data():
    assert json.loads(json.dumps(SPEC.as_dict()))["populations"][0]["name"] == "EXC"


def populations(**change):
    return (replace(SPEC.populations[0], **change), SPEC.populations[1])


def projections(**change):
    return (replace(SPEC.projections[0], **change),)


@pytest.mark.parametrize(
    "change",
    [
        {"cells": 0},
        {"cells": 2.5},
        {"side": 0.0},
        {"side": float("nan")},
        {"seed": -1},
        {"depth": -1.0},
        {"weight_sd": float("inf")},
        {"electrodes_per_side": 0},
        {"output_radius": 0.0},
        {"populations": ()},
        {"populations": SPEC.populations[::-1]},
        {"populations": populations(share=0.5)},
        {"populations": populations(share=-0.2)},
        {"populations": populations(name="INH")},
        {"populations": populations(length_constant=0.0)},
        {"projections": projections(pre="PV")},
        {"projections": projections(in_degree=-1)},
        {"projections": projections(reference_in_degree=0)},
        {"projections": projections(section="axon")},
        {"projections": projections(weights={"KAINATE": 1.0})},
    ],
)
def test_values_that_cannot_be_used_are_refused(change):
    with pytest.raises(ConfigError):
        replace(SPEC, **change)
