"""Program for mpiexec: digests of one culture under many partitions and chunks.

Usage: mpiexec -n N python first_law.py SIZE [SIZE ...]

Prints one JSON object on rank 0: digest by "partition/size/subworld/variant".
"""

import json
import sys

import numpy as np
from mpi4py import MPI

from livn_ipp.env import Env
from livn_ipp.run import Events, Run

DURATION = 500.0


def pulses() -> np.ndarray:
    """Drive channels 1, 4 and 10 with 20 uA every 100 ms."""
    inputs = np.zeros((int(DURATION), 16))
    for start in range(20, int(DURATION), 100):
        inputs[start : start + 20, [1, 4]] = 20.0
        inputs[start + 5 : start + 8, 10] = -40.0
    return inputs


def whole(env: Env, run: Run) -> Run:
    """Put together what the ranks recorded, on every rank."""
    return Run.merge(env.comm.allgather(run))


def joined(runs: list[Run]) -> str:
    """Digest of runs that follow each other, counted from the first's start."""
    origin = runs[0].t0
    ids = np.concatenate([run.spikes.ids for run in runs])
    times = np.concatenate([run.t0 - origin + run.spikes.times for run in runs])
    total = sum(run.duration for run in runs)
    return Run(origin, total, Events.of(ids, np.round(times, 6))).digest()


def digests(env: Env) -> dict[str, str]:
    """Digest of each way to simulate the same 500 ms."""
    field = env.cell_stimulus(pulses())
    found = {}
    for chunk in (0.1, 1.0, 10.0):
        env.clear(trial=3)
        run = whole(env, env.run(DURATION, field, chunk=chunk))
        found[f"chunk {chunk}"] = run.digest()
    found["potential"] = str(float(np.abs(run.potential.values).sum()))
    env.clear(trial=3)
    halves = np.split(field.array, 2)
    parts = [
        whole(env, env.run(DURATION / 2, (half, 1.0, field.gids, field.sections)))
        for half in halves
    ]
    found["halves"] = joined(parts)
    found["other trial"] = whole(env, env.clear(trial=4).run(DURATION, field)).digest()
    found["spikes"] = str(len(run.spikes))
    return found


def main() -> None:
    """Go through the partitions in the given order, in one process."""
    world = MPI.COMM_WORLD
    result = {}
    for turn, size in enumerate(map(int, sys.argv[1:])):
        env = Env("EI2", comm=world, subworld_size=size)
        env.init().record_spikes().record_potential(1.0)
        for connection in env._simulation.network._keep:
            connection.delay = 1.5  # ties: many events at the same instant
        mine = digests(env)
        for worker, (subworld_size, found) in enumerate(
            world.allgather((env.subworld.size, mine))
        ):
            result[f"{turn}/{size}/{worker}/{subworld_size}"] = found
        env.close()
    if world.Get_rank() == 0:
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
