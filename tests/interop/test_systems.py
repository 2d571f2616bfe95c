"""livn opens and runs what we write; we open and run what livn's generator writes."""

import numpy as np
import pytest
from livn_layout import Culture, write

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.system import System, shipped
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.generate import generate

pytest.importorskip("livn", reason="the extra livn is not installed")

CULTURE = Culture({"EXC": 14, "INH": 6}, seed=3)
OURS = ["EI1", "EI2", "EI3", "generated"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Directories by name: shipped ones, one of our generator, one of livn's layout."""
    folder = tmp_path_factory.mktemp("systems")
    spec = CultureSpec.preset("EI1")
    return {
        **{name: shipped(name) for name in ("EI1", "EI2", "EI3")},
        "generated": generate(folder / "generated", _other(spec)),
        "livn": write(folder / "livn", CULTURE),
    }


def _other(spec):
    from dataclasses import replace

    return replace(spec, seed=5)


def both(path):
    from livn.system import System as Theirs

    return System(path), Theirs(str(path))


def edges_of(theirs, pre, post):
    """Rows (post, pre, distance) as livn reads them, by post, then pre."""
    rows = [
        (post_gid, pre_gid, distance)
        for post_gid, (pre_gids, columns) in theirs.projection_array(pre, post)
        for pre_gid, distance in zip(
            pre_gids, columns["Connections"]["distance"], strict=True
        )
    ]
    return np.array(sorted(rows)).reshape(-1, 3)


@pytest.mark.parametrize("name", [*OURS, "livn"])
def test_both_systems_read_the_same(directories, name):
    ours, theirs = both(directories[name])
    assert ours.name == theirs.name
    assert list(ours.populations) == list(theirs.populations)
    assert ours.population_ranges == theirs.population_ranges
    assert ours.num_neurons == theirs.num_neurons
    assert np.array_equal(ours.gids, theirs.gids)
    for population in ours.populations:
        assert np.array_equal(
            ours.coordinates(population), theirs.coordinate_array(population)
        )
    assert np.array_equal(ours.bounding_box, theirs.bounding_box)
    described = theirs.connections_config["synapses"]
    connected = {(pre, post) for post in described for pre in described[post]}
    assert set(ours.projections) == connected
    for pre, post in ours.projections:
        mine = ours.projection(pre, post)
        rows = np.column_stack([mine.post_gids, mine.pre_gids, mine.distance])
        assert len(rows) > 0
        assert np.array_equal(rows, edges_of(theirs, pre, post))


def test_both_systems_read_what_was_written(directories):
    ours, theirs = both(directories["livn"])
    for (pre, post), pairs in CULTURE.edges.items():
        sources, targets = pairs.T
        starts = ours.population_ranges
        rows = np.column_stack(
            [
                targets + starts[post][0],
                sources + starts[pre][0],
                CULTURE.distances(pre, post),
            ]
        )
        assert np.array_equal(rows, edges_of(theirs, pre, post))
        mine = ours.projection(pre, post)
        assert np.array_equal(rows[:, 0], mine.post_gids)
        assert np.array_equal(rows[:, 1], mine.pre_gids)


@pytest.mark.parametrize("name", OURS)
def test_both_read_the_same_electrodes(directories, name):
    ours, theirs = (system.default_io() for system in both(directories[name]))
    assert np.array_equal(ours.electrode_coordinates, theirs.electrode_coordinates)
    assert ours.input_radius == theirs.input_radius
    assert ours.output_radius == theirs.output_radius


def test_electrodes_hear_and_stimulate_the_same(directories):
    ours, theirs = both(directories["EI2"])
    cells = ours.coordinates()
    mine, other = ours.default_io(), theirs.default_io()
    ids = np.array([0, 5, 99, 7, 5], np.uint32)
    heard, expected = (
        {int(c): v.tolist() for c, v in found.items() if len(v)}
        for found in (
            mine.channel_recording(cells, ids),
            other.channel_recording(cells, ids),
        )
    )
    assert heard == expected != {}
    commands = np.random.default_rng(1).normal(size=(5, 16))
    field = mine.cell_stimulus(commands, cells[:, 1:])
    theirs_field = other.cell_stimulus(cells, commands).array
    assert np.allclose(field, theirs_field, rtol=1e-5)
    currents = np.random.default_rng(2).normal(0, 1e-3, (len(cells), 7))  # uA
    potential = mine.potential_recording(cells, ours.gids, 1000 * currents)
    expected = other.potential_recording(other.distances(cells), currents)
    # Ours are rounded to a grid, so that they do not depend on the number of ranks.
    assert np.allclose(potential, expected, rtol=1e-4, atol=1e-4)


def _delays(path):
    """The (presynaptic gid, delay in ms) of all connections, as livn simulates them."""
    from livn.env import Env

    env = Env(str(path)).init()
    table = env.conn
    found = set(zip(table.pre_gid.tolist(), table.delay.round(4).tolist(), strict=True))
    env.close()
    return found


@pytest.mark.neuron
@pytest.mark.parametrize("name", ["EI1", "generated", "livn"])
def test_both_simulators_have_the_same_delays(directories, name):
    from livn_ipp.env import Env

    env = Env(directories[name]).init()
    ours = {
        (int(connection.srcgid()), round(connection.delay, 4))
        for connection in env._simulation.network._keep
    }
    env.close()
    assert ours == _delays(directories[name])


@pytest.mark.neuron
@pytest.mark.parametrize("name", ["EI1", "generated", "livn"])
def test_both_simulate_it(directories, name):
    system = System(directories[name])
    for backend in ("neuron", "livn"):
        env = DistributedEnv(directories[name], transport="local", backend=backend)
        with env:
            env.apply_model_defaults().record_spikes()
            env.set_noise({"g_e0": 0.05 if backend == "neuron" else 3.0})
            (run,) = env(200)
            assert len(run.spikes) > 0, backend
            assert np.isin(run.spikes.ids, system.gids).all()
