import math
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from livn_ipp.cluster.topology import Rank, check_versions, workers, worlds
from livn_ipp.errors import ConfigError, VersionMismatch


def ranks_of(sizes, seed=0):
    """Worlds of given sizes; engine ids and order as arbitrary as a hub's."""
    order = random.Random(seed)
    places = [
        (f"w{world}", rank, size)
        for world, size in enumerate(sizes)
        for rank in range(size)
    ]
    ids = order.sample(range(3 * len(places) + 1), len(places))
    ranks = [
        Rank(engine=id_, world=w, rank=r, size=s, host=f"node{r % 2}", pid=100 + id_)
        for id_, (w, r, s) in zip(ids, places, strict=True)
    ]
    order.shuffle(ranks)
    return ranks


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=13)


@given(sizes, st.integers())
def test_worlds_hold_every_rank_once_in_order(sizes, seed):
    ranks = ranks_of(sizes, seed)
    found = worlds(ranks)
    assert list(found) == [f"w{number}" for number in range(len(sizes))]
    assert [len(members) for members in found.values()] == sizes
    for name, members in found.items():
        assert [member.rank for member in members] == list(range(len(members)))
        assert {member.world for member in members} == {name}
    assert {rank for members in found.values() for rank in members} == set(ranks)


@given(sizes, st.integers())
def test_worlds_do_not_depend_on_the_order_of_arrival(sizes, seed):
    ranks = ranks_of(sizes, seed)
    assert worlds(ranks) == worlds(reversed(ranks))


@given(sizes, st.integers(), st.data())
def test_a_missing_rank_is_named(sizes, seed, data):
    assume(max(sizes) > 1)
    ranks = ranks_of(sizes, seed)
    gone = data.draw(st.sampled_from([rank for rank in ranks if rank.size > 1]))
    ranks.remove(gone)
    with pytest.raises(ConfigError, match=f"World {gone.world} is incomplete.*rank"):
        worlds(ranks)


@given(sizes, st.integers(), st.data())
def test_a_rank_that_is_there_twice_is_refused(sizes, seed, data):
    ranks = ranks_of(sizes, seed)
    twin = data.draw(st.sampled_from(ranks))
    with pytest.raises(ConfigError, match=twin.world):
        worlds([*ranks, replace(twin, engine=99)])


def test_ranks_that_disagree_on_the_size_are_refused():
    first, second = worlds(ranks_of([2]))["w0"]
    with pytest.raises(ConfigError, match="disagree on its size: 2 and 3"):
        worlds([first, replace(second, size=3)])


def test_ranks_beyond_the_size_are_refused():
    surplus = replace(ranks_of([2])[0], rank=5, engine=9)
    with pytest.raises(ConfigError, match="rank 5 but a size of 2"):
        worlds([*ranks_of([2]), surplus])


def test_engines_of_one_mpiexec_that_do_not_know_each_other_are_refused():
    alone = ranks_of([1])[0]
    with pytest.raises(ConfigError, match=r"not in one MPI world.*implementations"):
        worlds([alone, replace(alone, engine=8, pid=7)])


@given(sizes, st.integers(1, 6), st.integers())
def test_workers_are_consecutive_ranks_or_refused(sizes, subworld_size, seed):
    ranks = ranks_of(sizes, seed)
    if any(size % subworld_size for size in sizes):
        with pytest.raises(ConfigError):
            workers(ranks, subworld_size)
        return
    places = workers(ranks, subworld_size)
    by_engine = {rank.engine: rank for rank in ranks}
    assert [place.index for place in places] == list(range(len(places)))
    assert len(places) * subworld_size == len(ranks)
    assert len({engine for place in places for engine in place.engines}) == len(ranks)
    for place in places:
        members = [by_engine[engine] for engine in place.engines]
        assert {member.world for member in members} == {place.world}
        first = members[0].rank
        assert first % subworld_size == 0
        assert [member.rank - first for member in members] == list(range(subworld_size))
        assert place.host == members[0].host


@given(sizes, st.integers(1, 9), st.integers())
def test_the_sizes_that_are_offered_fit(sizes, subworld_size, seed):
    assume(any(size % subworld_size for size in sizes) and set(sizes) != {1})
    ranks = ranks_of(sizes, seed)
    with pytest.raises(ConfigError) as caught:
        workers(ranks, subworld_size)
    offered = str(caught.value).rpartition("could be ")[2].replace(" or ", ", ")
    fitting = [int(text) for text in offered.split(", ")]
    common = math.gcd(*sizes)
    assert fitting == [size for size in range(1, common + 1) if common % size == 0]
    for size in fitting:
        workers(ranks, size)


def test_singletons_cannot_be_a_subworld_and_the_message_says_how_to_start():
    with pytest.raises(ConfigError, match=r"not in one MPI world.*--engines=mpi -n 6"):
        workers(ranks_of([1] * 6), 3)
    assert len(workers(ranks_of([1] * 6), 1)) == 6


def test_no_engines_and_no_size():
    assert worlds([]) == {}
    with pytest.raises(ConfigError, match="No engine"):
        workers([], 1)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        workers(ranks_of([2]), 0)


def test_tenth_world_comes_after_the_ninth():
    assert list(worlds(ranks_of([1] * 11)))[8:] == ["w8", "w9", "w10"]


VERSIONS = {"python": "3.12", "livn_ipp": "0.1", "neuron": "9.0.2", "numpy": "2"}


def test_equal_versions_pass():
    ranks = [replace(rank, versions=VERSIONS) for rank in ranks_of([2, 2])]
    check_versions(ranks, VERSIONS)
    check_versions(ranks, {**VERSIONS, "neuron": ""})  # the controller needs none


@pytest.mark.parametrize("item", sorted(VERSIONS))
def test_one_differing_rank_is_named_with_the_item(item):
    ranks = [replace(rank, versions=VERSIONS) for rank in worlds(ranks_of([2]))["w0"]]
    ranks[1] = replace(ranks[1], versions={**VERSIONS, item: "0.0.9"}, host="node7")
    with pytest.raises(VersionMismatch) as caught:
        check_versions(ranks)
    message = str(caught.value)
    assert f"{item}: 0.0.9 on rank 1 of world w0 on node7" in message
    assert not any(f"{other}:" in message for other in VERSIONS if other != item)


def test_a_controller_that_differs_is_named():
    ranks = [replace(rank, versions=VERSIONS) for rank in ranks_of([3])]
    with pytest.raises(
        VersionMismatch, match=r"python: 3\.11 on the controller; 3\.12"
    ):
        check_versions(ranks, {**VERSIONS, "python": "3.11"})


def test_engines_without_the_package_are_told_so():
    rank = replace(ranks_of([1])[0], versions={**VERSIONS, "livn_ipp": ""})
    with pytest.raises(VersionMismatch, match="missing on rank 0"):
        check_versions([rank], VERSIONS)
