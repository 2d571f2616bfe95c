"""A selected culture simulates its cells only, alike on every number of ranks."""

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.errors import ConfigError
from livn_ipp.run import Run

FEW = {"EXC": [3], "INH": [9]}
SELECT = ({"EXC": 0.4, "INH": 0.5}, "random")


def simulated(env, *select):
    """What the ranks together saw of 300 ms with a pulse."""
    env.selection(*(select or SELECT)).init().record_spikes().record_potential(1.0)
    pulse = np.zeros((300, 16))
    pulse[50:60, [1, 4]] = 20.0
    run = env.run(300, env.cell_stimulus(pulse))
    merged = Run.merge(env.comm.allgather(run))
    cells = np.concatenate(env.comm.allgather(env.active_gids))
    env.close()
    return merged.digest(), merged.potential.values.tobytes(), sorted(cells.tolist())


def program(_subworld):
    from mpi4py import MPI

    from livn_ipp.env import Env

    found = [
        simulated(Env("EI2", comm=MPI.COMM_WORLD, subworld_size=ranks))
        for ranks in (3, 2)
    ]
    # a rank is left without a cell
    pair = simulated(Env("EI1", comm=MPI.COMM_WORLD, subworld_size=3), FEW)
    return [*found, pair]


@pytest.mark.neuron
def test_only_chosen_cells_spike():
    from livn_ipp.env import Env

    env = Env("EI2").selection(*SELECT).init().record_spikes()
    run = env.run(500)
    assert env.active_gids.tolist() == env.system.gids.tolist()
    assert env.system.population_counts == {"EXC": 32, "INH": 10}
    assert len(run.spikes) > 30
    assert set(run.spikes.ids) <= set(env.active_gids)
    with pytest.raises(ConfigError, match="before init"):
        env.selection(3)
    env.close()
    assert env.selection(3).system.num_cells == 3
    assert env.selection(None).system.num_cells == 100


@pytest.mark.neuron
def test_a_cell_without_neighbours_is_the_same_in_every_selection():
    from livn_ipp.env import Env

    voltages = []
    for select in ([7], [2, 7, 70]):
        env = Env("EI2").selection({"EXC": select}).init()
        # nothing may reach it from the others
        env.set_weights(dict.fromkeys(env.weight_names, 0.0))
        run = env.record_voltage().run(100)
        voltages.append(run.voltage.values[run.voltage.ids == 7])
        env.close()
    assert np.array_equal(*voltages)
    assert np.ptp(voltages[0]) > 1.0


@pytest.mark.neuron
def test_numbers_of_cells_are_systems():
    from livn_ipp.env import Env

    env = Env({"EXC": 3, "INH": 5}).init().record_spikes().record_voltage()
    run = env.run(200)
    assert env.system.projections == ()
    assert run.voltage.ids.tolist() == np.repeat(np.arange(8), 2).tolist()
    assert env.weight_names == []
    env.close()
    with pytest.raises(ConfigError, match="no mea"):
        Env(4).record_potential()


@pytest.mark.mpi
@pytest.mark.neuron
def test_selections_follow_the_first_law():
    from livn_ipp.env import Env

    alone, pair = simulated(Env("EI2")), simulated(Env("EI1"), FEW)
    for rank, found in enumerate(run_on_ranks(program, 3)):
        assert found == [alone, alone, pair], rank
