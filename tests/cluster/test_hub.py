"""Watching the hub, and no longer watching it."""

import pytest

pytestmark = pytest.mark.cluster

NO_LONGER_WATCHED = """
import time, zmq
from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.transports.hub import Hub

cluster = Cluster(num_workers=1).start()
client = cluster._connection.open()
hub = Hub(client, 8.0)
deadline = time.monotonic() + 30
while hub._line is None and time.monotonic() < deadline:
    time.sleep(0.01)
assert hub.answers()
hub.close()
controller = cluster._processes._controller
controller._process.kill()
controller._process.wait()
time.sleep(1)  # until the client's sockets have heard of it
with zmq.Context.instance().socket(zmq.PULL) as pull:
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    with zmq.Context.instance().socket(zmq.PUSH) as push:
        push.linger = 0
        push.connect(f"tcp://127.0.0.1:{port}")
        push.send(b"")
        print("carried" if pull.poll(10_000) else "blocked", flush=True)
cluster.stop()
"""


def test_a_hub_that_ends_unwatched_blocks_no_other_connection(case):
    code, out, err = case.run(NO_LONGER_WATCHED)
    assert (code, out) == (0, "carried\n"), err
    assert not case.left(15)
