"""What keeps a cluster from being started or reached, and what the user is told."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time

import pytest

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import marked
from livn_ipp.cluster.reaching.connect import Connection
from livn_ipp.cluster.reaching.profile import connection_file, profile_directory
from livn_ipp.cluster.starting.owned import OwnedProcesses, PortTaken
from livn_ipp.errors import ClusterLost, PreflightError

pytestmark = pytest.mark.cluster


@contextlib.contextmanager
def told_soon(error, match):
    """Expect an error within 10 s of work, on a machine that may be busy."""
    began = time.monotonic()
    with pytest.raises(error, match=match):
        yield
    assert time.monotonic() - began < 30


@pytest.fixture
def profile():
    directory = profile_directory("mistakes", create=True)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def fixed_ports(profile):
    """Ports that the user's settings prescribe, all free."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(24)
        ]
        ports = [server.getsockname()[1] for server in servers]
    (profile / "ipcontroller_config.py").write_text(
        f"c = get_config()\nc.IPController.ports = {ports}\n"
    )
    return ports


# The first is the hub's own; the others belong to further processes of the controller,
# which carries on without them: a queue of calls, the heartbeat.
@pytest.mark.parametrize("which", [0, 1, 5])
def test_a_port_in_use_is_named_with_the_setting_that_asks_for_it(fixed_ports, which):
    port = fixed_ports[which]
    cluster = Cluster(1, 1, profile="mistakes")
    with (
        socket.create_server(("127.0.0.1", port)),
        told_soon(
            PreflightError, rf":{port}'\)\. End that program.*ipcontroller_config"
        ),
    ):
        cluster.start()
    assert not marked(cluster._processes.marks)


def test_settings_that_are_wrong_are_shown_with_the_controllers_words(profile):
    (profile / "ipcontroller_config.py").write_text(
        "c = get_config()\nc.IPController.ports = 'many'\n"
    )
    with told_soon(PreflightError, r"controller ended with exit code 1[\s\S]*'ports'"):
        Cluster(1, 1, profile="mistakes").start()


def test_too_few_slots_is_shown_with_mpiexecs_advice():
    arguments = ["--host", "localhost:1", "--map-by", "slot:NOOVERSUBSCRIBE"]
    cluster = Cluster(1, 2, mpi_args=arguments)
    with told_soon(PreflightError, r"w0 ended with exit code [\s\S]*enough slots"):
        cluster.start()
    assert not marked(cluster._processes.marks)


def test_a_host_for_ranks_that_has_no_address_is_named():
    cluster = Cluster(1, 2, mpi_args=["--host", "nowhere.invalid:2"])
    with told_soon(PreflightError, r"w0 ended[\s\S]*(nowhere|ssh)"):
        cluster.start()
    assert not marked(cluster._processes.marks)


def test_a_controller_whose_host_has_no_address_is_named(cluster_2x2):
    information = json.loads(cluster_2x2._processes.client_file.read_text())
    with told_soon(ClusterLost, r"nowhere\.invalid:\d+ \(.*[Nn]ame"):
        Connection({**information, "interface": "tcp://nowhere.invalid"}, "far")


def test_a_machine_whose_own_name_has_no_address_does(case):
    def can_rename():
        tried = subprocess.run(
            ["unshare", "--uts", "hostname", "x"], capture_output=True, check=False
        )
        return tried.returncode == 0

    if shutil.which("unshare") is None or not can_rename():
        pytest.skip("only root may give a process a machine's name of its own")
    script = 'hostname nowhere.invalid; exec "$@"'
    rename = ["unshare", "--uts", "sh", "-c", script, "sh"]
    text = """
import socket
from livn_ipp.cluster.launch import Cluster
with Cluster(1, 2) as cluster:
    other = Cluster.attach(cluster_id=cluster.cluster_id, subworld_size=2)
    print(socket.gethostname(), len(other.workers))
    other.stop()
"""
    code, out, err = case.run(text, before=rename)
    assert (code, out, err) == (0, "nowhere.invalid 1\n", "")
    assert not case.left(5)


@pytest.fixture
def stale(cluster_2x2):
    """The connection files that a controller left behind when it was killed."""
    directory = cluster_2x2._processes.profile_dir
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    files = []
    for role in ("client", "engine"):
        file = connection_file(directory, cluster_2x2.cluster_id, role)
        content = {**json.loads(file.read_text()), "registration": port}
        files.append(connection_file(directory, "stale", role))
        files[-1].write_text(json.dumps(content))
    yield port
    for file in files:
        file.unlink(missing_ok=True)


def test_a_stale_connection_file_is_told_and_gives_way_to_a_new_cluster(stale):
    with told_soon(ClusterLost, rf"{stale} \(.*refused.*start it again"):
        Cluster.attach(cluster_id="stale")
    with Cluster(1, 1, cluster_id="stale") as cluster:
        other = Cluster.attach(cluster_id="stale")
        assert other.ranks() == cluster.ranks()
        other.stop()


@pytest.mark.cluster
def test_a_port_that_was_taken_by_chance_costs_a_second_start(monkeypatch):
    look = OwnedProcesses._refuse_if_a_port_is_taken
    refused = []

    def refuse_once(self):
        if self._worlds and not refused:
            refused.append(self)
            raise PortTaken("by chance")
        look(self)

    monkeypatch.setattr(OwnedProcesses, "_refuse_if_a_port_is_taken", refuse_once)
    with Cluster(num_workers=2) as cluster:
        assert refused != [cluster._processes]
        assert not marked(refused[0].marks)
        assert [rank.size for rank in cluster.ranks()] == [1, 1]
        assert not cluster.launching


def test_one_that_ends_while_it_is_asked_is_not_waited_for(cluster_2x2, monkeypatch):
    information = json.loads(cluster_2x2._processes.client_file.read_text())
    monkeypatch.setattr(Connection, "_knock", lambda self: None)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        told_soon(ClusterLost, "does not answer"),
    ):
        timer = threading.Timer(1.0, silent.close)
        timer.start()
        port = silent.getsockname()[1]
        Connection({**information, "registration": port}, "gone", patience=100.0)
    timer.join()
