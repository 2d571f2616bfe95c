"""Who may talk to a cluster: only who has the keys of its connection file."""

import contextlib
import json
import os
import socket
import stat
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import zmq
from ipyparallel.serialize import pack_apply_message
from jupyter_client.session import Session
from zmq.utils.monitor import recv_monitor_message

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.environment import one_host
from livn_ipp.cluster.machine.processes import marked
from livn_ipp.cluster.reaching.connect import Connection
from livn_ipp.cluster.reaching.security import checked_interface, greet, is_loopback
from livn_ipp.errors import ClusterLost, ConfigError

NOBODY = 65534


def test_loopback_is_told_from_what_others_reach():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("*", "0.0.0.0", "192.0.2.1", "node7", "")))


@pytest.mark.parametrize("address", ["192.0.2.99", "eth0", "0.0.0.0", "", "::1"])
def test_an_address_that_this_machine_has_not_is_refused(address):
    with pytest.raises(ConfigError, match=r"choose .*127\.0\.0\.1.*'\*' for all"):
        checked_interface(address)
    assert checked_interface("*") == "*"


def test_what_the_user_says_about_messages_between_ranks_stays():
    assert one_host({})["OMPI_MCA_btl"] == "^tcp"
    assert one_host({"OMPI_MCA_btl": "self,sm"}) == {"OMPI_MCA_btl": "self,sm"}


def listening(port):
    return {"interface": "tcp://127.0.0.1", "registration": port}


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_a_program_that_is_no_controller_is_silent(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        key = zmq.curve_keypair()[0].decode()
        place = {**listening(server.getsockname()[1]), "curve_serverkey": key}
        if answer:
            client = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
            peer.sendall(answer)
            peer.close()
            client.close()
        began = time.monotonic()
        assert greet(place, 0.3) == "silent"
        assert time.monotonic() - began < 5


@pytest.fixture
def information(cluster_2x2):
    return json.loads(cluster_2x2._processes.client_file.read_text())


@pytest.fixture
def engine(cluster_2x2):
    """Address of one engine behind the controller, and which rank it is."""
    rank = cluster_2x2.ranks()[0]
    return cluster_2x2.client._engines[rank.engine].encode(), rank


def processes(cluster):
    """All of a cluster, those of mpiexec apart."""
    found = marked(cluster._processes.marks)
    assert found
    started = {cluster._processes._worlds[name].pid for name in cluster.worlds}
    return (
        [process for process in found if process.pid not in started],
        [process for process in found if process.pid in started],
    )


def ports(process):
    return [
        connection.laddr
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def still_works(cluster):
    client = cluster.client
    assert client[:].apply_async(os.getpid).get(timeout=30)
    return True


@pytest.mark.cluster
def test_messages_are_encrypted_and_signed(cluster_2x2, information):
    key = information["key"]
    assert len(bytes.fromhex(key)) == 32
    assert information["signature_scheme"] == "hmac-sha256"
    assert cluster_2x2.client.session.key == key.encode()
    assert cluster_2x2.client.curve_serverkey == information["curve_serverkey"].encode()

    def signs():
        from IPython import get_ipython

        return get_ipython().kernel.session.auth is not None

    assert cluster_2x2.client[:].apply_async(signs).get(timeout=30) == [True] * 4
    assert "signing is disabled" not in cluster_2x2.log_tail(lines=10_000)


@pytest.mark.cluster
def test_keys_are_where_only_this_user_reads_them(cluster_2x2, information):
    files = cluster_2x2._processes._connection_files
    logs = [cluster_2x2._processes.log(name) for name in ("controller", "w0", "w1")]
    for file in (*files, *logs):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for file in files:
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    secrets = (information["key"], information["curve_serverkey"])
    ours, mpiexec = processes(cluster_2x2)
    carriers = []
    for process in [*ours, *mpiexec]:
        assert not any(
            secret in word for secret in secrets for word in process.cmdline()
        )
        environ = Path(f"/proc/{process.pid}/environ")
        if any(secret in environ.read_text() for secret in secrets):
            carriers.append(environ)
    assert carriers  # engines are told the keys in IPP_CONNECTION_INFO
    for environ in carriers:
        assert stat.S_IMODE(environ.stat().st_mode) == 0o400
        if os.getuid() == 0:
            refused = subprocess.run(
                ["/bin/cat", environ],
                user=NOBODY,
                check=False,
                capture_output=True,
                timeout=10,
            )
            assert refused.returncode
            assert not refused.stdout


@pytest.mark.cluster
def test_only_mpiexec_listens_beyond_loopback_and_drops_what_strangers_send(
    cluster_2x2, information
):
    ours, mpiexec = processes(cluster_2x2)
    secrets = [information[name].encode() for name in ("key", "curve_serverkey")]
    listeners = {address for process in ours for address in ports(process)}
    assert listeners
    assert all(is_loopback(address.ip) for address in listeners)
    for process in mpiexec:
        for address in ports(process):
            for junk in (b"GET / HTTP/1.0\r\n\r\n", bytes(4096), os.urandom(4096)):
                with socket.create_connection(
                    ("localhost", address.port), 5
                ) as stranger:
                    stranger.settimeout(0.3)
                    with contextlib.suppress(OSError):
                        stranger.sendall(junk)
                        answer = stranger.recv(1 << 16)
                        # Seldom, Open MPI's answers with its own name, and no more.
                        assert not answer or answer.startswith(b"prterun-")
                        assert not any(secret in answer for secret in secrets)
        assert process.is_running()
    assert still_works(cluster_2x2)


@pytest.mark.cluster
def test_every_port_refuses_who_has_no_key_or_a_wrong_one(cluster_2x2, information):
    ours, _ = processes(cluster_2x2)
    right = information["curve_serverkey"]
    wrong = zmq.curve_keypair()[0].decode()
    answers = set()
    for port in {address.port for process in ours for address in ports(process)}:
        place = listening(port)
        assert greet(place, 10) == "refused"
        assert greet({**place, "curve_serverkey": wrong}, 10) == "refused"
        answers.add(greet({**place, "curve_serverkey": right}, 10))
    assert "welcome" in answers
    assert still_works(cluster_2x2)


class Intruder:
    """Speaks ipyparallel's protocol, with the keys it is given."""

    def __init__(self, information, *, curve, key):
        self._information = information
        self._context = zmq.Context()
        self._curve = curve
        self.session = Session(key=key.encode())

    def socket(self, kind, channel):
        opened = self._context.socket(kind)
        opened.linger = 0
        if self._curve:
            opened.curve_serverkey = self._curve.encode()
            opened.curve_publickey, opened.curve_secretkey = zmq.curve_keypair()
        if kind == zmq.SUB:
            opened.subscribe(b"")
        with opened.get_monitor_socket() as monitor:
            place = self._information
            opened.connect(f"{place['interface']}:{place[channel]}")
            self._await_handshake(monitor)
            opened.disable_monitor()  # before its drain is closed, or it blocks
        return opened

    def _await_handshake(self, monitor):
        ended = ("HANDSHAKE_SUCCEEDED", "HANDSHAKE_FAILED")
        while monitor.poll(10_000):
            event = zmq.Event(recv_monitor_message(monitor)["event"])
            if event.name.startswith(ended):
                return
        raise AssertionError("no handshake")

    def request(self, engine, file):
        """Frames that make an engine write a line into a file."""

        def write(file):
            from pathlib import Path

            with Path(file).open("a") as opened:
                opened.write("ran\n")

        buffers = pack_apply_message(write, (str(file),), {})
        message = self.session.msg("apply_request")
        return [engine, *self.session.serialize(message), *buffers]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._context.destroy(linger=0)


def await_line(cluster, world, text, seconds=30):
    deadline = time.monotonic() + seconds
    while text not in cluster.log_tail(world, lines=200):
        assert time.monotonic() < deadline, cluster.log_tail(world)
        time.sleep(0.05)


def lines(file):
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.cluster
@pytest.mark.parametrize(
    "curve", [None, zmq.curve_keypair()[0].decode()], ids=["no key", "another key"]
)
def test_without_the_curve_key_nothing_runs_even_if_signed(
    cluster_2x2, information, engine, tmp_path, curve
):
    address, rank = engine
    with Intruder(information, curve=curve, key=information["key"]) as intruder:
        dealer = intruder.socket(zmq.DEALER, "mux")
        # It is not even connected, so that there is nowhere to send to.
        with contextlib.suppress(zmq.Again):
            dealer.send_multipart(
                intruder.request(address, tmp_path / "a"), zmq.NOBLOCK
            )
        assert not dealer.poll(500)
    assert cluster_2x2.client[rank.engine].apply_async(os.getpid).get(timeout=30)
    assert lines(tmp_path / "a") == 0
    assert still_works(cluster_2x2)


@pytest.mark.cluster
def test_a_message_signed_with_another_key_does_not_run(
    cluster_2x2, information, engine, tmp_path
):
    address, rank = engine
    right = information["curve_serverkey"]
    for key, complaint in (("guess", "Invalid Signature"), ("", "Unsigned Message")):
        with Intruder(information, curve=right, key=key) as intruder:
            dealer = intruder.socket(zmq.DEALER, "mux")
            dealer.send_multipart(intruder.request(address, tmp_path / "b"))
            await_line(cluster_2x2, rank.world, complaint)
            assert not dealer.poll(300)
    assert cluster_2x2.client[rank.engine].apply_async(os.getpid).get(timeout=30)
    assert lines(tmp_path / "b") == 0
    assert still_works(cluster_2x2)


@pytest.mark.cluster
def test_a_recorded_message_runs_once(cluster_2x2, information, engine, tmp_path):
    address, rank = engine
    keys = {"curve": information["curve_serverkey"], "key": information["key"]}
    with Intruder(information, **keys) as intruder:
        dealer = intruder.socket(zmq.DEALER, "mux")
        frames = intruder.request(address, tmp_path / "c")
        dealer.send_multipart(frames)
        assert dealer.poll(30_000)  # the answer: with both keys, one is a client
        dealer.recv_multipart()
        assert lines(tmp_path / "c") == 1
        dealer.send_multipart(frames)
        await_line(cluster_2x2, rank.world, "Duplicate Signature")
        assert not dealer.poll(300)
    assert cluster_2x2.client[rank.engine].apply_async(os.getpid).get(timeout=30)
    assert lines(tmp_path / "c") == 1
    assert still_works(cluster_2x2)


@pytest.mark.cluster
def test_the_hub_answers_a_recorded_request_once(cluster_2x2, information):
    keys = {"curve": information["curve_serverkey"], "key": information["key"]}
    with Intruder(information, **keys) as intruder:
        dealer = intruder.socket(zmq.DEALER, "registration")
        message = intruder.session.msg("connection_request")
        frames = intruder.session.serialize(message)
        dealer.send_multipart(frames)
        assert dealer.poll(30_000)
        dealer.recv_multipart()
        dealer.send_multipart(frames)
        await_line(cluster_2x2, "controller", "Duplicate Signature")
        assert not dealer.poll(300)
    assert still_works(cluster_2x2)


@pytest.mark.cluster
def test_output_is_heard_with_the_key_only(cluster_2x2, information, engine):
    _, rank = engine
    right = information["curve_serverkey"]
    heard = {}
    with contextlib.ExitStack() as stack:
        listeners = {}
        for curve in (right, zmq.curve_keypair()[0].decode(), None):
            intruder = Intruder(information, curve=curve, key="guess")
            stack.enter_context(intruder)
            listeners[curve] = intruder.socket(zmq.SUB, "iopub")
        deadline = time.monotonic() + 30
        while not heard.get(right):  # a subscription takes a moment
            assert time.monotonic() < deadline
            cluster_2x2.client[rank.engine].execute("print('a secret')").get(timeout=30)
            for curve, listener in listeners.items():
                while listener.poll(100):
                    said = b"".join(listener.recv_multipart())
                    heard.setdefault(curve, []).append(said)
    assert any(b"a secret" in said for said in heard[right])
    assert list(heard) == [right]


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"curve_serverkey": zmq.curve_keypair()[0].decode()}, "does not take the key"),
        ({"curve_serverkey": None}, "does not take the key"),
        ({"key": "guess"}, "signs messages with another key"),
    ],
)
def test_attaching_with_a_wrong_key_is_told_within_10_s(
    cluster_2x2, information, wrong, told
):
    file = cluster_2x2._processes.client_file
    name = f"wrong-{os.getpid()}"
    copy = file.with_name(file.name.replace(cluster_2x2.cluster_id, name))
    copy.write_text(json.dumps({**information, **wrong}))
    began = time.monotonic()
    try:
        with pytest.raises(ClusterLost, match=told) as caught:
            Cluster.attach(cluster_id=name)
    finally:
        copy.unlink()
    assert time.monotonic() - began < 10
    assert "get the connection file that it wrote" in str(caught.value)
    assert still_works(cluster_2x2)


@pytest.mark.cluster
def test_ports_forwarded_by_ssh_do_and_ipyparallels_tunnels_are_refused(
    cluster_2x2, information
):
    elsewhere = {**information, "location": "192.0.2.77"}
    connection = Connection(elsewhere, "mine")
    assert len(connection.ranks()) == 4
    connection.close()
    with pytest.raises(ConfigError, match="ssh -L"):
        Connection({**elsewhere, "ssh": "ada@cluster"}, "mine")


@pytest.mark.cluster
def test_others_are_let_in_where_asked():
    with Cluster(1, 2, interface="*") as cluster:
        ours, _ = processes(cluster)
        assert "0.0.0.0" in {
            address.ip for process in ours for address in ports(process)
        }
        assert still_works(cluster)
        other = Cluster.attach(cluster_id=cluster.cluster_id, subworld_size=2)
        assert other.num_workers == 1
        other.stop()
