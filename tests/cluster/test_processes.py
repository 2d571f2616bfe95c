import os
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from livn_ipp.cluster.machine.processes import Started, end, marked, tail

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(300)"
)


@pytest.fixture
def mark():
    mark = {"LIVN_IPP_CASE": uuid.uuid4().hex}
    yield mark
    assert end(mark, grace=0)


@pytest.fixture
def start(mark, tmp_path):
    started = []

    def start(*command, log="log/output", **variables):
        environment = {**os.environ, **mark, **variables}
        started.append(Started(command, environment, tmp_path / log))
        return started[-1]

    yield start
    end(mark, grace=0)
    for process in started:
        process.reap()


def test_every_variable_has_to_be_there(mark, start):
    first = start("sleep", "300", WORLD="a")
    second = start("sleep", "300", WORLD="b")
    pids = lambda **more: {process.pid for process in marked({**mark, **more})}
    assert pids() == {first.pid, second.pid}
    assert pids(WORLD="b") == {second.pid}
    assert pids(WORLD="c") == set()
    assert end({**mark, "WORLD": "a"})
    assert pids() == {second.pid}


def test_descendants_are_found_after_their_parents_ended(mark, start):
    parent = start("sh", "-c", "sleep 300 & echo $!")
    parent.reap()
    (orphan,) = marked(mark)
    assert tail(parent.log) == str(orphan.pid)
    assert orphan.ppid() != parent.pid
    assert end(mark)
    assert marked(mark) == []


def test_what_does_not_listen_is_forced(mark, start):
    process = start(sys.executable, "-c", STUBBORN)
    while tail(process.log) != "ready":
        assert process.exit_code is None
        time.sleep(0.02)
    psutil.Process(process.pid).suspend()
    assert end(mark, grace=0.3)
    process.reap()
    assert process.exit_code == -9


def test_only_the_first_is_asked(mark, start):
    say = "trap 'echo asked; exit' TERM; echo up; while :; do sleep 0.05; done"
    first = start("sh", "-c", say)
    second = start("sh", "-c", say, log="second")
    while not (tail(first.log) and tail(second.log)):
        time.sleep(0.02)
    assert end(mark, first=first.pid, grace=1.0)
    assert tail(first.log) == "up\nasked"
    assert tail(second.log) == "up"


def test_zombies_do_not_hold_up_the_end(mark):
    # Not reaped until the end of the test, as orphans are in some containers.
    child = subprocess.Popen(["sleep", "300"], env={**os.environ, **mark})
    started = time.monotonic()
    assert end(mark, grace=5.0)
    assert time.monotonic() - started < 4.0
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    child.wait(10)


def test_the_log_gets_all_output_and_its_tail_is_short(mark, start):
    process = start("sh", "-c", "seq 1 100; echo wrong >&2; exit 3")
    process.reap()
    assert process.exit_code == 3
    assert tail(process.log, 3) == "99\n100\nwrong"
    assert tail(process.log / "nothing") == ""
