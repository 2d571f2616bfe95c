"""A network that fails between the controller and a worker on another machine.

The other machine is a network namespace with a cable to this one, which only root may
lay: the only way to cut a connection without ending either side.
"""

import itertools
import os
import shutil
import subprocess
import time

import promises
import psutil
import pytest
from living import commands
from watched import PATIENCE, until

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.environment import engine_environment
from livn_ipp.cluster.machine.processes import WORLD, end, marked

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

NETWORK = "10.213"  # likely nobody's
_names = itertools.count()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


class Machine:
    """A network namespace, and the cable to it."""

    def __init__(self):
        # Of addresses that several runs of this test use at once, each has its own.
        block, within = divmod(os.getpid() % (1 << 14), 64)
        self.here, there_address = (
            f"{NETWORK}.{block}.{4 * within + host}" for host in (1, 2)
        )
        self.name = f"livn{os.getpid()}-{next(_names)}"
        self._cable = f"v{self.name[4:]}"
        ip("netns", "add", self.name)
        try:
            there = ("peer", "name", "eth0", "netns", self.name)
            ip("link", "add", self._cable, "type", "veth", *there)
            ip("addr", "add", f"{self.here}/30", "dev", self._cable)
            ip("-n", self.name, "addr", "add", f"{there_address}/30", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", self.name, "link", "set", device, "up")
            self.plug("up")
        except BaseException:
            self.close()
            raise

    def plug(self, state):
        ip("link", "set", self._cable, state)

    def close(self):
        ip("netns", "del", self.name)  # the cable goes with it


@pytest.fixture
def machine():
    if os.getuid() or not shutil.which("ip"):
        pytest.skip("only root may lay a cable to a network namespace")
    try:
        machine = Machine()
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', error)}")
    yield machine
    machine.close()


@pytest.fixture
def env(machine, tmp_path):
    """Worker 0 on this machine, worker 1 on the other; two ranks each."""
    mark = {"LIVN_IPP_CASE": machine.name}
    with (
        Cluster(1, 2, interface=machine.here) as cluster,
        promises.environment(cluster=cluster, subworld_size=2) as env,
    ):
        environment = engine_environment(os.environ, {**mark, WORLD: "far"})
        file = cluster._processes._connection_files[1]
        environment["IPP_CONNECTION_INFO"] = file.read_text()
        environment["IPP_PROFILE_DIR"] = str(cluster._processes.profile_dir)
        mpiexec = cluster._launcher.command(2)
        with (tmp_path / "far.log").open("w") as log:
            far = subprocess.Popen(
                ["ip", "netns", "exec", machine.name, *mpiexec],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            env.wait_for_workers(2, timeout=PATIENCE)
            yield env
        finally:
            assert end(mark)
            far.wait(10)


def stays(condition, seconds):
    """Whether something holds all the time."""
    deadline = time.monotonic() + seconds
    while condition():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def listen(client):
    """The engines whose answers a client gets, whatever becomes of these."""
    heard = set()
    handle = client._queue_handlers["apply_reply"]

    def listening(message):
        handle(message)
        if message["content"]["status"] == "ok":
            heard.add(message["metadata"]["engine"])

    client._queue_handlers["apply_reply"] = listening
    return heard


def test_a_short_cut_costs_nothing_and_a_long_one_no_call(
    env, machine, tmp_path, record
):
    """F17: of an attempt that was given up, even the first answer is not heard."""
    far = {rank.pid for rank in env.cluster.worlds["far"]}
    engines = {rank.uuid for rank in env.cluster.worlds["far"]}
    client = env._dispatcher.transport._client
    ends = []

    def nap(run, env):
        (tmp_path / f"begun-{os.getpid()}").touch()
        time.sleep(run[0])
        (tmp_path / f"done-{os.getpid()}").touch()
        return os.getpid()

    def everywhere(word):
        return all((tmp_path / f"{word}-{pid}").exists() for pid in far)

    def two(seconds):
        calls = [env.submit(nap, seconds) for _ in range(2)]
        for call in calls:
            call.add_done_callback(ends.append)
        until(lambda: everywhere("begun"), what="a start")
        return sorted(calls, key=lambda call: call.worker)

    near, cut = two(5.0)
    machine.plug("down")
    time.sleep(2.5)
    machine.plug("up")
    assert near.result(PATIENCE) not in far
    assert cut.result(PATIENCE) in far
    assert (near.attempts, cut.attempts) == (1, 1)
    assert len(env._dispatcher.workers) == 2

    for file in tmp_path.glob("*-*"):
        file.unlink()
    near, cut = two(15.0)
    heard = listen(client)
    machine.plug("down")
    began = time.monotonic()
    until(lambda: len(env._dispatcher.workers) == 1, what="a loss")
    record("F17", partition=time.monotonic() - began)
    machine.plug("up")
    assert all(map(psutil.pid_exists, far))  # out of reach, so nobody ended them
    until(lambda: engines <= heard, what="the answer of the first attempt")
    assert everywhere("done")
    assert stays(lambda: not cut.done(), 1)
    assert not client.results  # nor kept
    assert {near.result(PATIENCE), cut.result(PATIENCE)}.isdisjoint(far)
    assert (near.attempts, cut.attempts) == (1, 2)
    assert len(ends) == 4
    assert env(nap, [0.0, 0.0]) == [near.result()] * 2


def test_a_controller_that_stalls_for_a_moment_costs_nothing(env):
    """F17: as when the machine swaps, or its owner looks at it in a debugger."""
    calls = [env.submit(lambda run, env: time.sleep(0.2)) for _ in range(40)]
    parts = marked(env.cluster._processes.marks)
    parts = [p for p in parts if "ipyparallel.controller" in "".join(commands([p]))]
    assert parts
    for process in parts:
        process.suspend()
    try:
        time.sleep(3)
    finally:
        for process in parts:
            process.resume()
    assert [call.result(PATIENCE) for call in calls] == [None] * 40
    assert {call.attempts for call in calls} == {1}
    assert len(env._dispatcher.workers) == 2
