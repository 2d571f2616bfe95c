"""What keeps a cluster from starting, or from being found: one clear message each."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from livn_ipp.cluster.launch import Cluster
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ClusterLost, ConfigError, PreflightError
from livn_ipp.testing import FaultyEnv

pytestmark = pytest.mark.cluster


@pytest.fixture
def attempt(record):
    """Try something, and note how long it took to be refused."""

    def attempt(kind, match, action):
        began = time.monotonic()
        with pytest.raises(kind, match=match) as caught:
            action()
        record("F26", refused=time.monotonic() - began)
        assert len(str(caught.value).splitlines()) < 60
        return str(caught.value)

    return attempt


def test_without_mpiexec_the_package_is_named(attempt, monkeypatch, tmp_path):
    """F26."""
    from livn_ipp.cluster.machine import mpi

    monkeypatch.setattr(mpi, "mpiexecs", list)
    env = DistributedEnv("EI1", backend=FaultyEnv, num_workers=1)
    attempt(PreflightError, "pip install", env.init)
    with pytest.warns(RuntimeWarning, match="no cluster can be started"):
        fallen_back = DistributedEnv("EI1", backend=FaultyEnv).init()
    assert fallen_back(lambda run, env: 5) == [5]
    fallen_back.shutdown()


def test_an_option_that_mpiexec_does_not_know(attempt):
    """F26: its own words are shown."""
    cluster = Cluster(num_workers=1, mpi_args=["--no-such-option"])
    attempt(PreflightError, "no-such-option", cluster.start)
    cluster.stop()


def test_more_ranks_than_the_machine_can_hold(attempt):
    """F26."""
    attempt(PreflightError, "memory", Cluster(num_workers=100_000).start)


@pytest.fixture
def stale(cluster, tmp_path):
    """The connection file of a cluster whose controller has ended."""
    connection = dict(cluster.client._config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in connection.items():
        if name in {"control", "task", "mux", "iopub", "notification", "registration"}:
            connection[name] = port
        elif isinstance(value, bytes):
            connection[name] = value.decode()
    directory = Path(os.environ["IPYTHONDIR"]) / "profile_default" / "security"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "ipcontroller-stale-client.json"
    file.write_text(json.dumps(connection))
    yield "stale"
    file.unlink()


def test_a_stale_connection_file(attempt, stale):
    """F26."""
    attempt(
        ClusterLost,
        "does not answer",
        lambda: DistributedEnv("EI1", backend=FaultyEnv, cluster_id=stale).init(),
    )


def test_a_cluster_that_is_not_there(attempt):
    """F26."""
    attempt(
        (ConfigError, ClusterLost),
        "nowhere",
        lambda: DistributedEnv("EI1", backend=FaultyEnv, cluster_id="nowhere").init(),
    )


def test_an_address_that_is_not_ours(attempt):
    """F26."""
    attempt(
        (ConfigError, PreflightError),
        "no-such-host",
        lambda: Cluster(num_workers=1, interface="no-such-host.invalid").start(),
    )


def test_a_cluster_of_the_same_name_is_running(attempt, cluster):
    """F26."""
    again = Cluster(num_workers=1, cluster_id=cluster.cluster_id)
    attempt(ConfigError, cluster.cluster_id, again.start)
    again.stop()
