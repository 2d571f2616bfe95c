"""Frames as MPI messages, also those that one message cannot hold."""

import pytest
from ranks import run_on_ranks

pytestmark = pytest.mark.mpi

LARGEST = 1000
SIZES = (0, 1, 999, 1000, 1001, 2000, 5003, 70_000)


def exchange(subworld):
    import numpy as np

    from livn_ipp.cluster.transports import messages

    messages._LARGEST = LARGEST
    frames = [np.random.default_rng(n).bytes(n) for n in SIZES]
    if subworld.rank == 0:
        requests = messages.send(subworld.mpi, [b"head", *frames], 1, 9)
        for request, _ in requests:
            request.Wait()
        return len(requests)
    head, *arrived = messages.receive(subworld.mpi, 0, 9)
    return bytes(head) == b"head" and [bytes(frame) for frame in arrived] == frames


def test_frames_larger_than_one_message_arrive():
    pieces = sum(-(-size // LARGEST) for size in SIZES)
    assert run_on_ranks(exchange, 2) == [1 + pieces, True]
