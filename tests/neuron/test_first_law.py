"""Spikes and potentials are one, bit for bit, however they are computed."""

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.policy import BiphasicPulsePolicy
from livn_ipp.run import Events, Run
from livn_ipp.stimulus import Stimulus

DURATION = 500.0


def pulses():
    """Pulses on some electrodes, and twice on all, for volleys of spikes."""
    inputs = np.zeros((int(DURATION), 16))
    for start in range(20, int(DURATION), 100):
        inputs[start : start + 20, [1, 4]] = 20.0
        inputs[start + 5 : start + 8, 10] = -40.0
    inputs[130:140] = 50.0
    inputs[330:340] = -50.0
    return inputs


def tie_delays(env):
    """Let many events arrive at the same instant."""
    network = env._simulation.network
    for connection in network._keep:
        connection.delay = 1.5
    for connections in network.connections.values():
        connections.delays[:] = 1.5


def state(env):
    """All voltages to the last bit: a difference shows here before spikes move."""
    network = env._simulation.network
    mine = [
        (gid, *(cell.sections[name](0.5).v for name in ("soma", "dend")))
        for gid, cell in zip(network.gids.tolist(), network.cells, strict=True)
    ]
    return sorted(row for rows in env.comm.allgather(mine) for row in rows)


def whole(env, run):
    """What all ranks recorded together."""
    merged = Run.merge(env.comm.allgather(run))
    potential = merged.potential.values.tobytes()
    return merged.digest(), potential, len(merged.spikes), state(env)


def joined(env, runs):
    """As `whole`, of runs that follow each other."""
    parts = [Run.merge(env.comm.allgather(run)) for run in runs]
    origin = parts[0].t0
    ids = np.concatenate([part.spikes.ids for part in parts])
    times = [part.t0 - origin + part.spikes.times for part in parts]
    spikes = Events.of(ids, np.round(np.concatenate(times), 6))
    digest = Run(origin, sum(part.duration for part in parts), spikes).digest()
    potential = np.concatenate([part.potential.values for part in parts], axis=1)
    return digest, np.ascontiguousarray(potential).tobytes(), len(ids), state(env)


def ways(env):
    """Simulate the same 500 ms in many ways; and once another trial."""
    env.init().record_spikes().record_potential(1.0)
    tie_delays(env)
    field = env.cell_stimulus(pulses())
    found = {}
    for chunk in (0.1, 1.0, 10.0):
        env.clear(trial=3)
        found[f"chunks of {chunk} ms"] = whole(
            env, env.run(DURATION, field, chunk=chunk)
        )
    env.clear(trial=3)
    runs = [
        env.run(DURATION / 2, (half, 1.0, field.gids, field.sections))
        for half in np.split(field.array, 2)
    ]
    found["two halves"] = joined(env, runs)
    found["another trial"] = whole(env, env.clear(trial=4).run(DURATION, field))
    env.close()
    return found


LEARNING = {"A_ltp": 0.4, "A_ltd": 0.2, "w_max": 4.0}
SELECTED = ({"EXC": 0.6, "INH": 0.5}, "random")
BRIEF = 200.0


def drives(env):
    """One stimulus of each kind, as a user makes them on every rank alike."""
    gids = env.system.gids[::3]
    steps = np.zeros((20, len(gids)))
    steps[2:6], steps[9] = 1.0, np.linspace(-1.0, 1.0, len(gids))
    pulses_of_policy = BiphasicPulsePolicy(
        channels=(1, 4, 10), amplitude=20.0, pulse_times=(20.0, 60.05, 120.0)
    )
    return {
        "policy": pulses_of_policy,
        "field": Stimulus.from_extracellular(
            20 * steps, 5.0, gids, ["dend"] * len(gids)
        ),
        "current": Stimulus.from_current(0.05 * steps, 5.0, gids),
        "density": Stimulus.from_current_density(5e-3 * steps, 5.0, gids),
        "conductance": Stimulus.from_conductance(
            2e-3 * np.abs(steps), 5.0, gids, ["dend"] * len(gids), reversal=0.0
        ),
    }


def everything(run, env):
    """Bytes of all that was recorded and learned, by name."""
    merged = Run.merge(env.comm.allgather(run))
    learned = {}
    for part in env.comm.allgather(env.get_weights()):
        learned |= part
    found = {
        name: (series.ids.tobytes(), np.ascontiguousarray(series.values).tobytes())
        for name, series in merged.channels.items()
    }
    order = np.array([learned[key] for key in sorted(learned)])
    return found | {
        "spikes": (merged.digest(), len(merged.spikes)),
        "learned": (len(learned), order.tobytes()),
    }


def motoneurons(comm=None, size=None):
    """The other model, whose cells are made of separate mechanisms."""
    from livn_ipp.env import Env
    from livn_ipp.models.booth_rinzel_kiehn import BoothRinzelKiehn

    return Env("EI1", BoothRinzelKiehn(), comm=comm, subworld_size=size)


def of_motoneurons(env):
    """As `modes`, briefly."""
    env.init().enable_plasticity(LEARNING).record_spikes().record_potential(0.5)
    tie_delays(env)
    found = {
        name: everything(env.clear(trial=1).run(BRIEF, drives(env)[name]), env)
        for name in ("policy", "conductance")
    }
    env.close()
    return found


def modes(env):
    """Simulate a selection that learns, with each mode of drive and in short chunks."""
    env.selection(*SELECTED).init().enable_plasticity(LEARNING)
    env.record_spikes().record_potential(0.5).record_weights(50.0)
    env.record_voltage(dt=1.0, sections="soma").record_membrane_current(dt=2.0)
    env.record_state("h", dt=5.0).set_params({"cells-EXC:gahp": 1.0, "std_e": 2e-3})
    tie_delays(env)
    found = {}
    for name, stimulus in drives(env).items():
        found[name] = everything(env.clear(trial=1).run(BRIEF, stimulus), env)
        again = env.clear(trial=1).run(BRIEF, stimulus, chunk=0.15)
        found[name + ", chunks"] = everything(again, env)
    env.normalize_weights()
    found["normalized"] = everything(env.run(BRIEF), env)
    env.close()
    return found


def partitions(sizes, simulate):
    """Return a program that goes through subworld sizes in one world."""

    def program(_subworld):
        from mpi4py import MPI

        from livn_ipp.env import Env

        return [
            (size, simulate(Env("EI2", comm=MPI.COMM_WORLD, subworld_size=size)))
            for size in sizes
        ]

    return program


@pytest.fixture(scope="module")
def alone():
    """The answer of a process without MPI."""
    from livn_ipp.env import Env

    return ways(Env("EI2"))


@pytest.mark.neuron
def test_chunks_and_halves_agree_but_trials_differ(alone):
    other = alone["another trial"]
    same = [result for name, result in alone.items() if name != "another trial"]
    assert all(result == same[0] for result in same)
    assert other[0] != same[0][0]
    assert same[0][2] > 200, "too few spikes to compare"


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ranks", "sizes"),
    [
        (4, [2, 4, 1, 3]),  # growing and shrinking; 3 leaves a subworld of one
        (2, [1, 2, 1]),
    ],
)
def test_every_partition_gives_the_same(alone, ranks, sizes):
    results = run_on_ranks(partitions(sizes, ways), ranks, timeout=240)
    for rank, result in enumerate(results):
        assert not isinstance(result, Exception), result
        for size, found in result:
            for way, outcome in found.items():
                assert outcome == alone[way], (rank, size, way)


@pytest.fixture(scope="module")
def modes_alone():
    """What a process without MPI finds in each mode."""
    from livn_ipp.env import Env

    return modes(Env("EI2"))


@pytest.mark.neuron
def test_each_mode_drives_and_chunks_do_not_matter(modes_alone):
    names = [name for name in modes_alone if f"{name}, chunks" in modes_alone]
    assert len(names) == 5
    for name in names:
        assert modes_alone[name] == modes_alone[f"{name}, chunks"], name
    spikes = {modes_alone[name]["spikes"][0] for name in names}
    assert len(spikes) == len(names), "two modes did the same"
    assert min(modes_alone[name]["spikes"][1] for name in names) > 50
    for name in names:
        learned = np.frombuffer(modes_alone[name]["learned"][1])
        assert learned.std() > 1e-2, "nothing was learned"


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ranks", "sizes"), [(3, [3, 2, 1])])
def test_learning_selections_and_drives_are_the_same_on_every_partition(
    modes_alone, ranks, sizes
):
    results = run_on_ranks(partitions(sizes, modes), ranks, timeout=240)
    for rank, result in enumerate(results):
        assert not isinstance(result, Exception), result
        for size, found in result:
            for name, outcome in found.items():
                for what, value in outcome.items():
                    assert value == modes_alone[name][what], (rank, size, name, what)


@pytest.mark.mpi
@pytest.mark.timeout(120)
def test_the_other_model_is_the_same_on_every_partition():
    alone = of_motoneurons(motoneurons())
    results = run_on_ranks(other_model, 2, timeout=100)
    assert alone["policy"]["spikes"][1] > 5
    for result in results:
        assert not isinstance(result, Exception), result
        assert result == [alone, alone]


def other_model(_subworld):
    """Both partitions of two ranks."""
    from mpi4py import MPI

    return [of_motoneurons(motoneurons(MPI.COMM_WORLD, size)) for size in (2, 1)]
