"""Spikes and potentials are one, bit for bit, however they are computed."""

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.run import Events, Run

DURATION = 500.0


def pulses():
    """Pulses on some electrodes, and twice on all, for volleys of spikes."""
    inputs = np.zeros((int(DURATION), 16))
    for start in range(20, int(DURATION), 100):
        inputs[start : start + 20, [1, 4]] = 20.0
        inputs[start + 5 : start + 8, 10] = -40.0
    inputs[130:140] = 300.0
    inputs[330:340] = -300.0
    return inputs


def tie_delays(env):
    """Let many events arrive at the same instant."""
    for connection in env._simulation.network._keep:
        connection.delay = 1.5


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


def partitions(sizes):
    """Return a program that goes through subworld sizes in one world."""

    def program(_subworld):
        from mpi4py import MPI

        from livn_ipp.env import Env

        return [
            (size, ways(Env("EI2", comm=MPI.COMM_WORLD, subworld_size=size)))
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
    results = run_on_ranks(partitions(sizes), ranks, timeout=240)
    for rank, result in enumerate(results):
        assert not isinstance(result, Exception), result
        for size, found in result:
            for way, outcome in found.items():
                assert outcome == alone[way], (rank, size, way)
