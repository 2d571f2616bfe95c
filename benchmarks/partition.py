"""What the keys of ``distributed_config`` change, in figures; results never.

    python benchmarks/partition.py

Prints the cost of a compartment and of an event, from which
:func:`livn_ipp.neuron.shares.cell_costs` takes its ratio; the balance of each partition
of a clustered culture; what a vote costs; and what compression saves.
"""

import time

import numpy as np

from livn_ipp import System, make
from livn_ipp.cluster import wire
from livn_ipp.env import Env
from livn_ipp.neuron.shares import (
    PARTITIONS,
    balance,
    cell_costs,
    own_gids,
    synapses_in,
)

REPEATS = 4


def least(action):
    """Return the least CPU seconds that an action took, and its last result."""
    took = []
    for _ in range(REPEATS):
        began = time.process_time()
        result = action()
        took.append(time.process_time() - began)
    return min(took), result


def costs():
    """Compare cells with and without connections, at the same rates."""
    counts = System("EI2").population_counts
    seconds = {}
    for name, system in (("connected", "EI2"), ("unconnected", counts)):
        env = Env(system).init().record_spikes().set_noise({"std_e": 0.01})
        if name == "connected":  # weights of 0 cost as much as any others
            env.set_weights(dict.fromkeys(env.weight_names, 0.0))
        env.run(50)
        seconds[name], run = least(lambda env=env: env.run(200))
    synapses = synapses_in(System("EI2")).mean()
    events = len(run.spikes.ids) * synapses
    compartment = seconds["unconnected"] / 0.2 / (2 * sum(counts.values()))
    event = (seconds["connected"] - seconds["unconnected"]) / events
    print(f"a compartment costs {compartment * 1e3:.2f} ms per biological second,")
    print(f"an event {event * 1e6:.2f} us: a connection of a source at 5 Hz costs")
    print(f"{5 * event / compartment:.4f} compartments\n")


def partitions():
    """Tell the modelled balance of each way to divide EI3 among 2 to 7 ranks."""
    system = System("EI3")
    model = Env(system).model
    synapses = synapses_in(system).sum()
    of_cell = dict(
        zip(
            system.gids.tolist(),
            cell_costs(np.full(system.num_cells, 2), synapses_in(system)),
            strict=True,
        )
    )
    for name in PARTITIONS:
        told = []
        for size in (2, 3, 7):
            shares = [own_gids(system, model, name, r, size) for r in range(size)]
            sums = [sum(of_cell[gid] for gid in share.tolist()) for share in shares]
            far = 1 - sum(within(system, share) for share in shares) / synapses
            told.append(f"{size} ranks {balance(sums):.4f} and {far:.2f}")
        print(f"{name:12} balance of cost, connections between ranks: {told}")
    print()


def within(system, share):
    """Count the connections onto some cells that come from these cells."""
    pairs = (system.projection(*pair, gids=share) for pair in system.projections)
    return sum(int(np.isin(each.pre_gids, share).sum()) for each in pairs)


def votes():
    """Time the same run with votes at different intervals, on one rank."""
    for interval in (0.5, 10.0, 100.0):
        env = Env("EI2", sync_interval=interval).init().record_spikes()
        env.run(50)
        seconds, run = least(lambda env=env: env.clear(trial=0).run(500))
        print(f"sync_interval={interval:5} ms: {seconds:.3f} s, {run.digest()}")
    print()


def bytes_sent():
    """Tell what compression makes of a run's spikes and of its voltages."""
    with make("EI2") as env:
        for what in ("spikes", "voltage"):
            (run,) = env.clear_recordings().record(what)(500)
            frames = wire.dumps(run)
            before = wire.size(frames)
            seconds, packed = least(lambda f=frames: wire.compress(f, "zlib"))
            after = wire.size(packed)
            print(f"{what}: {before} bytes, {after} by zlib in {seconds * 1e3:.1f} ms")


if __name__ == "__main__":
    costs()
    partitions()
    votes()
    bytes_sent()
