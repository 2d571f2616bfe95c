"""NEURON and mpi4py see the same ranks, or nobody goes on."""

import os
import subprocess
import sys

import pytest
from ranks import run_on_ranks

from livn_ipp.errors import ConfigError, PreflightError


@pytest.mark.neuron
def test_one_process_needs_no_mpi():
    program = (
        "import sys; from livn_ipp.neuron.boot import boot; s = boot();"
        "print(s.rank, s.size, any(m.startswith('mpi4py') for m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "0 1 False\n"  # and NEURON printed nothing


@pytest.mark.neuron
def test_one_process_is_no_subworld_of_three():
    from livn_ipp.neuron.boot import boot

    with pytest.raises(ConfigError, match="choose 1 to 1"):
        boot(None, 3)


def partitions(_subworld):
    from mpi4py import MPI

    from livn_ipp.neuron.boot import boot

    places = []
    for size in (3, 1, 7, 2, 5):
        subworld = boot(MPI.COMM_WORLD, size)
        together = subworld.comm.allgather(MPI.COMM_WORLD.Get_rank())
        places.append((subworld.rank, subworld.size, together))
    return places


@pytest.mark.mpi
def test_seven_ranks_in_any_division():
    """The controller of an mpirun job is the last, smaller subworld."""
    for rank, places in enumerate(run_on_ranks(partitions, 7, timeout=90)):
        for size, (inner, members, together) in zip(
            (3, 1, 7, 2, 5), places, strict=True
        ):
            first = rank - rank % size
            expected = list(range(first, min(first + size, 7)))
            assert (inner, members, together) == (rank % size, len(expected), expected)


def refusals(_subworld):
    from mpi4py import MPI

    from livn_ipp.neuron.boot import boot

    world = MPI.COMM_WORLD
    raised = []
    for ask in (
        lambda: boot(world, 4),
        lambda: boot(world, 0),
        lambda: boot(world, 1 + world.Get_rank() % 2),
        lambda: boot(MPI.COMM_SELF, 1),
        boot,
    ):
        try:
            ask()
        except ConfigError as error:
            raised.append(str(error))
    return raised, boot(world, 3).size


@pytest.mark.mpi
def test_what_does_not_fit_is_refused_on_every_rank():
    for raised, size in run_on_ranks(refusals, 3):
        assert [
            word in message
            for word, message in zip(
                ("choose 1 to 3", "choose 1 to 3", "different", "COMM_WORLD", "comm"),
                raised,
                strict=True,
            )
        ] == [True] * 5
        assert size == 3


def without_flush(_subworld):
    from mpi4py import MPI

    from livn_ipp.neuron import partition
    from livn_ipp.neuron.boot import boot

    def subworlds_only(world):
        world.pc.gid_clear()

    partition.World._flush = subworlds_only
    for size in (1, 2, 4, 2):
        boot(MPI.COMM_WORLD, size)


@pytest.mark.mpi
def test_the_ring_notices_lost_spikes():
    """Without the flush NEURON loses spikes after a change of size."""
    results = run_on_ranks(without_flush, 4)
    assert all(isinstance(result, PreflightError) for result in results), results
    assert "loses spikes" in str(results[0])


def one_rank_lacks_a_compiler(_subworld):
    from mpi4py import MPI

    from livn_ipp.neuron.boot import boot

    if MPI.COMM_WORLD.Get_rank() == 1:
        os.environ["LIVN_IPP_CACHE"] = "/proc/none"
        os.environ["PATH"] = "/nowhere"
    boot(MPI.COMM_WORLD, 1)


@pytest.mark.mpi
def test_a_rank_that_fails_tells_the_others():
    results = run_on_ranks(one_rank_lacks_a_compiler, 2)
    assert all(isinstance(result, PreflightError) for result in results), results
    assert "apt-get install" in str(results[1])
    assert "rank 1" in str(results[0])


def without_libmpi(_subworld):
    from mpi4py import MPI

    from livn_ipp.neuron import boot

    boot.loaded_libmpi = lambda: "/nowhere/libmpi.so"
    boot.boot(MPI.COMM_WORLD, 2)


@pytest.mark.mpi
def test_neuron_without_mpi_is_noticed():
    """NEURON would go on as one rank, silently."""
    results = run_on_ranks(without_libmpi, 2)
    assert all(isinstance(result, Exception) for result in results), results
    assert "nowhere" in str(results[0])
