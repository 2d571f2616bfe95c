import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import ipyparallel
import pytest

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.environment import engine_environment
from livn_ipp.cluster.machine.processes import end, marked
from livn_ipp.cluster.reaching.profile import connection_file, profile_directory
from livn_ipp.errors import ClusterLost, ConfigError

pytestmark = pytest.mark.cluster


class Ipcluster:
    """What a user types in a terminal."""

    def __init__(self, directory, name, *arguments):
        self.mark = {"LIVN_IPP_CASE": f"ipcluster-{name}-{os.getpid()}"}
        self.name = name
        environment = engine_environment(os.environ, self.mark)
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [sys.executable, "-m", "ipyparallel.cluster", "start"]
        with (directory / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, f"--profile={name}", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._await_file()

    def _await_file(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                directory = profile_directory(self.name, create=False)
                json.loads(connection_file(directory, "", "client").read_text())
            except (ConfigError, OSError, ValueError):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        finally:
            assert end(self.mark)


@pytest.fixture(scope="module")
def four_ranks(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ipcluster")
    ipcluster = Ipcluster(directory, "four", "--engines=mpi", "-n", "4")
    yield ipcluster
    ipcluster.stop()


def test_attaching_by_profile_waits_for_engines_and_leaves_them_running(four_ranks):
    cluster = Cluster.attach(profile="four", subworld_size=2)  # while engines start
    assert not cluster.owned
    assert cluster.alive
    (members,) = cluster.worlds.values()
    assert [member.rank for member in members] == [0, 1, 2, 3]
    first, second = cluster.workers
    assert first.engines + second.engines == tuple(m.engine for m in members)
    assert cluster.num_workers == 2
    assert "2 workers x 2 ranks" in repr(cluster)
    assert cluster.log_tail() == ""
    with pytest.raises(ConfigError, match="not a running cluster that this process"):
        cluster.start_world()
    pids = [member.pid for member in members]
    cluster.stop()
    cluster.stop()
    assert "disconnected" in repr(cluster)
    again = Cluster.attach(profile="four")
    assert [member.pid for member in again.ranks()] == pids
    assert again.num_workers == 4
    again.stop()


def test_attaching_by_client_keeps_the_client(four_ranks):
    client = ipyparallel.Client(profile="four")
    cluster = Cluster.attach(client, subworld_size=4)
    assert cluster.client is client
    assert cluster.connect() is not client
    assert len(cluster.workers) == 1
    cluster.stop()
    assert client[:].apply_async(os.getpid).get(timeout=30)
    client.close()


def test_a_size_that_does_not_fit_says_which_do(four_ranks):
    cluster = Cluster.attach(profile="four", subworld_size=3)
    with pytest.raises(ConfigError, match="could be 1, 2 or 4"):
        _ = cluster.workers
    cluster.stop()


@pytest.mark.timeout(60)  # an ended cluster is told within 10 s
def test_singletons_are_refused_as_a_subworld(tmp_path):
    ipcluster = Ipcluster(tmp_path, "alone", "-n", "2")
    try:
        deadline = time.monotonic() + 60
        with ipyparallel.Client(profile="alone") as client:
            while len(client.ids) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        cluster = Cluster.attach(profile="alone", subworld_size=2)
        with pytest.raises(ConfigError, match="--engines=mpi -n 2"):
            _ = cluster.workers
        cluster.stop()
        # Killed, it leaves its connection file behind.
        for process in marked(ipcluster.mark):
            process.kill()
        assert end(ipcluster.mark)
        ipcluster.process.wait(20)
        with pytest.raises(ClusterLost, match="does not answer"):
            Cluster.attach(profile="alone")
        # Another program that got the same port does not answer either.
        directory = profile_directory("alone", create=False)
        content = json.loads(connection_file(directory, "", "client").read_text())
        with (
            socket.create_server(("127.0.0.1", content["registration"])),
            pytest.raises(ClusterLost, match="does not answer"),
        ):
            Cluster.attach(profile="alone")
    finally:
        end(ipcluster.mark)


def test_a_cluster_that_is_not_there_is_named_beside_those_that_are(cluster_2x2):
    with pytest.raises(ConfigError, match=f"No cluster nil.*{cluster_2x2.cluster_id}"):
        Cluster.attach(cluster_id="nil")
    with pytest.raises(
        ConfigError, match=r"No IPython profile 'nil'.*`ipcluster start --profile=nil"
    ):
        Cluster.attach(profile="nil")


def test_a_file_that_is_no_connection_file_is_refused(tmp_path):
    directory = profile_directory("broken", create=True)
    file = connection_file(directory, "", "client")
    for content in ("", "[]", "{}"):
        file.write_text(content)
        with pytest.raises(ConfigError, match=r"ipcontroller-client\.json"):
            Cluster.attach(profile="broken")
