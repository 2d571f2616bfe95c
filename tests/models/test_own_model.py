"""A user's own cells: shown by the example, identical for any number of ranks."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.models.booth_rinzel_kiehn import BoothRinzelKiehn
from livn_ipp.models.two_compartment import Depression
from livn_ipp.run import Run
from livn_ipp.stimulus import Stimulus

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model.py"


def own_model():
    specification = importlib.util.spec_from_file_location("own_model", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    sys.modules["own_model"] = module
    specification.loader.exec_module(module)
    return module


MODELS = {
    "motoneurons": lambda: BoothRinzelKiehn(depression=Depression()),
    "own": lambda: own_model().FastSpiking(),
}


def activity(model, comm=None, size=None):
    """Spikes, potentials, last voltages of a culture driven in volleys, with ties."""
    from livn_ipp.env import Env

    env = Env("EI2", model, comm=comm, subworld_size=size).init()
    env.record_spikes().record_potential(1.0)
    for connection in env._simulation.network._keep:
        connection.delay = 1.5
    commands = np.zeros((100, 16))
    commands[20:60, [1, 4]] = 40.0
    # Volleys of connections that differ in what they have left to release.
    volleys = np.zeros((100, env.system.num_cells))
    volleys[40::20] = 10.0
    run = env.run(100, env.cell_stimulus(commands))
    first = Run.merge(env.comm.allgather(run))
    run = env.run(100, Stimulus(volleys, input_mode="current"))
    second = Run.merge(env.comm.allgather(run))
    network = env._simulation.network
    mine = [  # a difference shows here before spikes move
        (gid, *(section(0.5).v for section in cell.sections.values()))
        for gid, cell in zip(network.gids.tolist(), network.cells, strict=True)
    ]
    state = sorted(row for rows in env.comm.allgather(mine) for row in rows)
    env.close()
    parts = [(run.digest(), run.potential.values.tobytes()) for run in (first, second)]
    return parts, state, len(first.spikes) + len(second.spikes)


def partitions(name):
    def program(_subworld):
        from mpi4py import MPI

        return [activity(MODELS[name](), MPI.COMM_WORLD, size) for size in (3, 2, 1)]

    return program


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", MODELS)
def test_every_partition_gives_the_same(name):
    alone = activity(MODELS[name]())
    assert alone[-1] > 50, "too few spikes to compare"
    for result in run_on_ranks(partitions(name), 3, timeout=150):
        assert not isinstance(result, Exception), result
        assert all(found == alone for found in result)


@pytest.mark.neuron
def test_own_states_and_parameters_reach_neuron():
    from livn_ipp.env import Env

    module = own_model()
    env = Env("EI1", module.FastSpiking()).init()
    cell = env._simulation.network.cells[-1]
    segment = cell.sections["soma"](0.5)
    assert segment.gna_wang_buzsaki == pytest.approx(0.105)
    cell.assign("gna", 50.0)
    assert segment.gna_wang_buzsaki == pytest.approx(0.05)
    assert cell.states.keys() == module.FastSpiking().states("INH").keys()
    env.close()


@pytest.mark.cluster
@pytest.mark.slow
def test_the_example_runs():
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    rates = dict(line.split()[:2] for line in done.stdout.splitlines()[:2])
    assert float(rates["EXC"]) > 0.5
    assert float(rates["INH"]) > 2
    assert "a worker of two ranks heard" in done.stdout
