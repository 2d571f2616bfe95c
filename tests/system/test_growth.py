"""Growth: positions, directions and connections follow their rules."""

from dataclasses import replace

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.growth import grow_angles, grow_inputs, grow_positions

# The culture that the default parameters were measured on: x, y, z (um), angle (deg).
EI1 = [
    (317.9, 28.3, 4.1, 73.0),
    (165.1, 21.5, 18.1, 98.1),
    (172.6, 182.2, 0.1, -6.7),
    (155.0, 295.0, 12.7, 99.8),
    (56.7, 309.5, 5.0, 69.9),
    (43.0, 233.4, 1.0, -101.1),
    (335.4, 228.4, 18.9, 165.3),
    (243.4, 268.0, 0.0, 11.9),
    (69.7, 49.4, 18.3, -80.1),
    (397.8, 329.5, 2.2, -68.1),
]
SPEC = CultureSpec(cells=200, side=700.0, seed=3)


@pytest.fixture(scope="module")
def positions():
    return grow_positions(SPEC)


def test_ei1_is_the_measured_culture():
    spec = CultureSpec.preset("EI1")
    angles = np.degrees(grow_angles(spec))
    angles = (angles + 180) % 360 - 180
    table = np.column_stack([grow_positions(spec), angles])
    assert np.allclose(table, EI1, atol=0.0501)


def test_cells_keep_their_distance_within_the_slab(positions):
    assert positions.dtype == np.float32
    assert np.all((positions >= 0) & (positions <= [700, 700, 20]))
    apart = np.hypot(*(positions[:, None, :2] - positions[None, :, :2]).T)
    apart[np.diag_indices(200)] = np.inf
    assert apart.min() >= 0.6 * 700 / np.sqrt(200) - 1e-3


def test_a_crowded_culture_is_refused():
    with pytest.raises(ConfigError, match="no room for cell"):
        grow_positions(replace(SPEC, spacing=2.0))


def test_seeds_make_different_cultures(positions):
    other = grow_positions(replace(SPEC, seed=4))
    assert not np.array_equal(positions, other)
    assert not np.array_equal(grow_angles(SPEC), grow_angles(replace(SPEC, seed=4)))


@pytest.mark.parametrize("index", range(4))
def test_inputs_do_not_depend_on_chunks(positions, index):
    projection = SPEC.projections[index]
    whole = grow_inputs(SPEC, projection, range(160), positions)
    parts = [
        grow_inputs(SPEC, projection, gids, positions)
        for gids in (range(7), range(7, 100), range(100, 160))
    ]
    for name in ("degrees", "sources", "distance", "factor"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(whole, name))


def test_sources_are_distinct_sorted_and_not_the_cell_itself(positions):
    gids = range(160)
    inputs = grow_inputs(SPEC, SPEC.projections[0], gids, positions)
    assert set(inputs.degrees) == {20}
    sources = inputs.sources.reshape(160, 20)
    assert np.all(np.diff(sources, axis=1) > 0)
    assert np.all((sources >= 0) & (sources < 160))
    assert not np.any(sources == np.arange(160)[:, None])


def test_sources_count_within_their_population(positions):
    inputs = grow_inputs(SPEC, SPEC.projections[1], [5], positions)  # INH to EXC
    assert np.all((inputs.sources >= 0) & (inputs.sources < 40))
    apart = np.linalg.norm(positions[160 + inputs.sources] - positions[5], axis=1)
    assert np.allclose(inputs.distance, apart, rtol=1e-5)


def test_nearer_cells_are_preferred(positions):
    narrow = replace(SPEC.populations[0], length_constant=50.0)
    spec = replace(SPEC, populations=(narrow, SPEC.populations[1]))
    near = grow_inputs(spec, spec.projections[0], range(160), positions)
    far = grow_inputs(SPEC, SPEC.projections[0], range(160), positions)
    assert near.distance.mean() < 0.6 * far.distance.mean()


def test_factors_have_mean_one_and_their_spread():
    spec = CultureSpec(cells=200, side=700.0, seed=3)
    inputs = grow_inputs(spec, spec.projections[0], range(160), grow_positions(spec))
    assert inputs.factor.mean() == pytest.approx(1, abs=0.02)
    assert np.log(inputs.factor).std() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("index", "degree", "scale"),
    [(0, 7, 1.6), (1, 2, 2.0), (2, 8, np.sqrt(20 / 8)), (3, 1, 2.0)],
)
def test_few_candidates_get_stronger_weights(index, degree, scale):
    spec = replace(CultureSpec.preset("EI1"), weight_sd=0.0)
    projection = spec.projections[index]
    post = range(8) if projection.post == "EXC" else range(8, 10)
    inputs = grow_inputs(spec, projection, post, grow_positions(spec))
    assert set(inputs.degrees) == {degree}
    assert np.allclose(inputs.factor, scale)


def test_no_candidate_is_no_connection():
    spec = CultureSpec(cells=5, side=100.0)  # one INH cell
    inputs = grow_inputs(spec, spec.projections[3], [4], grow_positions(spec))
    assert inputs.degrees.tolist() == [0]
    assert len(inputs.sources) == len(inputs.factor) == 0
