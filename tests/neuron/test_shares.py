"""Each cell is on one rank, however cells are divided, and spikes are the same."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranks import run_on_ranks

from livn_ipp.errors import ConfigError
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.neuron.partition_report import PartitionReport, RankShare
from livn_ipp.neuron.shares import (
    PARTITIONS,
    balance,
    by_cost,
    by_place,
    cell_costs,
    checked_partition,
    in_turn,
    own_gids,
    synapses_in,
)
from livn_ipp.run import Run
from livn_ipp.system import System

ranks = st.integers(1, 9)
costs = st.lists(st.floats(0, 1e6), max_size=60)
places = st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 3), max_size=60)


def sums(values, chosen, size):
    return np.bincount(chosen, np.asarray(values, float), minlength=size)


@given(costs, ranks)
def test_by_cost_no_rank_has_much_more_than_it_must(values, size):
    chosen = by_cost(values, size)
    assert len(chosen) == len(values)
    assert not len(chosen) or 0 <= chosen.min() <= chosen.max() < size
    total = sums(values, chosen, size)
    # Graham (1966): an even share, and at most the rest of the costliest cell.
    bound = sum(values) / size + max(values, default=0) * (1 - 1 / size)
    assert total.max(initial=0) <= bound * (1 + 1e-9)


@given(costs, ranks)
def test_a_cell_is_given_to_whoever_has_least(values, size):
    chosen = by_cost(values, size)
    total = np.zeros(size)
    for cell in np.argsort(-np.asarray(values, float), kind="stable"):
        assert total[chosen[cell]] == total.min()
        total[chosen[cell]] += values[cell]


@given(places, ranks)
def test_blocks_of_neighbours_are_equal_in_size(points, size):
    chosen = by_place(np.reshape(points, (-1, 3)), size)
    counts = np.bincount(chosen, minlength=size)
    assert len(chosen) == len(points)
    assert len(counts) == size
    assert np.ptp(counts) <= 1


def test_neighbours_stay_together():
    grid = np.array(list(itertools.product(range(8), range(8), [0])), float)
    chosen = by_place(grid, 4)
    corners = {tuple(chosen[(grid[:, 0] // 4 == x) & (grid[:, 1] // 4 == y)])
               for x in (0, 1) for y in (0, 1)}  # fmt: skip
    assert all(len(set(corner)) == 1 for corner in corners)
    assert len(corners) == 4
    assert by_place(np.zeros((5, 3)), 2).tolist() == [0, 0, 0, 1, 1]


def apart(system, chosen):
    """Mean distance of cells on the same rank, in um."""
    at = system.coordinates()[:, 1:]
    return np.mean([
        np.linalg.norm(at[chosen == r][:, None] - at[chosen == r][None], axis=2).mean()
        for r in range(chosen.max() + 1)
    ])  # fmt: skip


def test_spatial_brings_cells_nearer_than_taking_turns():
    system = System("EI2")
    spatial = by_place(system.coordinates()[:, 1:], 4)
    assert apart(system, spatial) < 0.75 * apart(system, in_turn(100, 4))


def between(system, chosen):
    """The share of connections whose cells are on different ranks."""
    edges = [system.projection(*pair) for pair in system.projections]
    ends = [np.concatenate([getattr(e, name) for e in edges])
            for name in ("pre_gids", "post_gids")]  # fmt: skip
    ranks_of = [chosen[np.searchsorted(system.gids, gids)] for gids in ends]
    return float(np.mean(ranks_of[0] != ranks_of[1]))


def test_spatial_keeps_more_connections_within_a_rank():
    system = System("EI3")
    spatial = by_place(system.coordinates()[:, 1:], 2)
    assert between(system, spatial) < 0.6 * between(system, in_turn(1000, 2))


def test_cost_balances_what_taking_turns_does_not():
    uneven = cell_costs([2] * 8, [8000, 0, 8000, 0, 0, 0, 0, 0])
    turns, cost = (sums(uneven, f, 2) for f in (in_turn(8, 2), by_cost(uneven, 2)))
    assert balance(cost) == 1.0
    assert balance(turns) < 0.7


@given(st.sampled_from(PARTITIONS), st.integers(1, 12))
def test_every_cell_is_on_one_rank(partition, size):
    system = System("EI1")
    shares = [own_gids(system, PinskyRinzel(), partition, r, size) for r in range(size)]
    assert sorted(np.concatenate(shares).tolist()) == system.gids.tolist()
    assert all(np.all(np.diff(share.astype(int)) > 0) for share in shares)


def test_synapses_are_counted_once():
    system = System("EI2")
    whole = synapses_in(system)
    assert whole.sum() == system.summary()["num_connections"]
    some = system.gids[3::7]
    assert synapses_in(system, some).tolist() == whole[3::7].tolist()


@pytest.mark.parametrize("wrong", ["spatal", "", None, 3, ["cost"]])
def test_what_is_no_partition_is_refused(wrong):
    with pytest.raises(ConfigError, match="round_robin, cost, spatial"):
        checked_partition(wrong)


def test_a_report_orders_ranks_and_tells_the_balance():
    two = RankShare(1, 4, 8, 10, 8.0, 0.0)
    one = RankShare(0, 2, 4, 10, 4.0, 0.0)
    report = PartitionReport.of("cost", [two, one])
    assert [share.rank for share in report.ranks] == [0, 1]
    assert report.balance == report.of_cost == 0.75
    assert "busy" not in repr(report)
    assert not report.measured
    assert len(repr(report).splitlines()) == 1


def parts(_subworld):
    """The same run for each partition, and how it was divided."""
    from mpi4py import MPI

    from livn_ipp.env import Env

    found = {}
    for partition in PARTITIONS:
        env = Env("EI1", comm=MPI.COMM_WORLD, partition=partition).init()
        before = env.partition_report()
        env.record_spikes().record_potential(1.0)
        commands = np.zeros((200, 16))
        commands[20:40, [1, 4]] = 20.0
        run = env.run(200, env.cell_stimulus(commands))
        merged = Run.merge(env.comm.allgather(run))
        cells = env.comm.allgather(env.active_gids.tolist())
        found[partition] = (
            (merged.digest(), merged.potential.values.tobytes(), len(merged.spikes)),
            cells,
            (before, env.partition_report()),
        )
        env.close()
    return found


def check(found):
    """Hold every rank's answer against the first law and its own report."""
    results = {name: each[0] for part in found for name, each in part.items()}
    assert len(set(results.values())) == 1
    assert results["cost"][2] > 5
    for partition in PARTITIONS:
        _, cells, (before, after) = found[0][partition]
        assert sorted(itertools.chain(*cells)) == list(range(10))
        assert [share.cells for share in after.ranks] == [len(part) for part in cells]
        assert sum(share.synapses for share in after.ranks) == 90
        assert sum(share.compartments for share in after.ranks) == 20
        assert not before.measured
        assert all(share.busy > 0 for share in after.ranks)
        assert 0 < after.balance <= 1
        assert all(part[partition][2][1] == after for part in found)
    divisions = {str(found[0][partition][1]) for partition in PARTITIONS}
    assert len(divisions) >= (2 if len(found) > 1 else 1)
    return results["cost"]


@pytest.mark.mpi
@pytest.mark.neuron
@pytest.mark.timeout(300)
def test_spikes_are_the_same_for_every_partition():
    one, two, three = (check(run_on_ranks(parts, n, timeout=90)) for n in (1, 2, 3))
    assert one == two == three


@pytest.mark.neuron
def test_ranks_meet_as_often_as_they_are_told():
    from livn_ipp.env import Env
    from livn_ipp.errors import ConfigError

    class Listening:
        def __init__(self):
            self.times = []

        def due(self, time, course):
            self.times.append(time)
            return False

        def alive(self):
            pass

    digests = {}
    for interval in (0.5, 10.0, 37.0, 250.0, None):
        env = Env("EI1", sync_interval=interval).init().record_spikes()
        env.subworld.telemetry = heard = Listening()
        digests[interval] = env.run(200).digest()
        env.subworld.telemetry = None
        every = interval or 10.0
        assert len(heard.times) == -(-200 // every)
        assert heard.times[0] == min(every, 200.0)
        env.close()
    assert len(set(digests.values())) == 1
    for wrong in (0, -1, float("nan"), float("inf"), "10", True):
        with pytest.raises(ConfigError, match="sync_interval"):
            Env("EI1", sync_interval=wrong)
