"""Unconnected cells: how many, where, and what such a system shows."""

import pickle

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.system import ParallelSystem, System


def places(system):
    return system.coordinates()[:, 1:].tolist()


def test_a_number_is_of_excitatory_cells():
    system = System(3)
    assert system.population_ranges == {"EXC": (0, 3)}
    assert system.gids.tolist() == [0, 1, 2]
    assert repr(system) == "System(unconnected: 3 EXC)"
    assert repr(ParallelSystem(3)) == "ParallelSystem(unconnected: 3 EXC)"


def test_populations_get_gids_in_the_given_order():
    system = System({"INH": 2, "EXC": 3})
    assert system.population_ranges == {"INH": (0, 2), "EXC": (2, 3)}
    assert system.population_of([1, 2]).tolist() == ["INH", "EXC"]
    assert System(np.int64(2)).num_cells == 2


def test_nothing_is_connected():
    system = System({"EXC": 2, "INH": 2}).validate()
    assert system.projections == ()
    assert system.default_io() is None
    assert system.default_model() is None
    assert system.default_params() == {}
    assert system.selections == []
    assert not system.connectivity_matrix().any()
    assert system.connectivity_matrix().shape == (4, 4)
    with pytest.raises(ConfigError, match="no projection"):
        system.projection("EXC", "INH")
    with pytest.raises(ConfigError, match="no synapses"):
        system.synapses("EXC", "INH")
    with pytest.raises(ConfigError, match="made in memory"):
        _ = system.path


def test_cells_stand_on_a_grid_unless_told():
    assert places(System(5)) == [
        [0, 0, 0],
        [100, 0, 0],
        [200, 0, 0],
        [0, 100, 0],
        [100, 100, 0],
    ]


GIVEN = np.arange(12.0).reshape(4, 3)
SHUFFLED = np.column_stack([[2, 0, 3, 1], GIVEN])


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [
        (1.5, [[0, 0, 0], [1.5, 0, 0], [3, 0, 0], [4.5, 0, 0]]),
        (0, [[0, 0, 0]] * 4),
        (GIVEN, GIVEN.tolist()),
        (GIVEN.tolist(), GIVEN.tolist()),
        (SHUFFLED, GIVEN[[1, 3, 0, 2]].tolist()),
        (lambda n: GIVEN[:n] + 1, (GIVEN + 1).tolist()),
        (lambda n: 10.0 * n, [[0, 0, 0], [40, 0, 0], [80, 0, 0], [120, 0, 0]]),
        (
            {"EXC": GIVEN[:3], "INH": lambda n: 7 * np.ones((n, 3))},
            [*GIVEN[:3].tolist(), [7, 7, 7]],
        ),
    ],
)
def test_forms_of_coordinates(coordinates, expected):
    system = ParallelSystem({"EXC": 3, "INH": 1}, coordinates)
    assert places(system) == expected
    lowest, highest = np.array(expected).min(axis=0), np.array(expected).max(axis=0)
    assert np.array_equal(system.bounding_box, [lowest - 100, highest + 100])
    assert np.array_equal(system.center_point, (lowest + highest) / 2)


@pytest.mark.parametrize(
    ("coordinates", "problem"),
    [
        ("grid", "coordinates must be"),
        (np.nan, "coordinates must be"),
        (GIVEN[:3], r"for 4 cells they are of shape \(3, 3\)"),
        (GIVEN.T, r"shape \(3, 4\)"),
        (np.full((4, 3), np.inf), "finite"),
        (np.column_stack([[0, 1, 2, 4], GIVEN]), "each gid from 0 to 3 once"),
        (np.column_stack([[0, 1, 2, 2], GIVEN]), "each gid from 0 to 3 once"),
        ({"EXC": GIVEN[:3]}, "populations are"),
        ({"EXC": GIVEN[:3], "INH": None, "PV": None}, "populations are"),
        (lambda n: "x", "coordinates must be"),
    ],
)
def test_coordinates_that_cannot_be_used_are_refused(coordinates, problem):
    with pytest.raises(ConfigError, match=problem):
        ParallelSystem({"EXC": 3, "INH": 1}, coordinates)


@pytest.mark.parametrize(
    "populations", [0, -1, True, {}, {"EXC": 0}, {"EXC": 1.5}, {"EXC": -1}, {3: 1}]
)
def test_numbers_that_cannot_be_used_are_refused(populations):
    with pytest.raises(ConfigError):
        System(populations)


def test_a_population_may_be_empty():
    system = System({"EXC": 0, "INH": 2})
    assert system.population_of([0]).tolist() == ["INH"]
    assert len(system.coordinates("EXC")) == 0


def test_systems_travel_whatever_gave_the_coordinates():
    system = ParallelSystem(4, lambda n: GIVEN[:n], name="four")
    copy = pickle.loads(pickle.dumps(system))
    assert repr(copy) == repr(system) == "ParallelSystem(four: 4 EXC)"
    assert np.array_equal(copy.coordinates(), system.coordinates())
    assert np.array_equal(copy.orientations(), system.orientations())
    assert copy.digest() == system.digest() != ParallelSystem(4).digest()
    assert System(system).digest() == system.digest()


def test_cells_have_directions_by_their_gid():
    many, few = System(500).orientations(), System(20).orientations()
    assert np.array_equal(many[:20], few)
    assert many.min() < 0.1
    assert 6.2 < many.max() < 2 * np.pi
