from dataclasses import dataclass, field

import pytest

from livn_ipp.cluster.starting import waiting
from livn_ipp.cluster.starting.waiting import Waiting
from livn_ipp.errors import PreflightError


@dataclass
class World:
    status: str
    pending: bool


@dataclass
class Processes:
    worlds: dict = field(default_factory=dict)
    trouble: str = ""

    def check(self, worlds):
        if self.trouble:
            raise PreflightError(self.trouble)


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


def held(count=1):
    return {f"w{i}": World(f"job {i} pending (Priority)", True) for i in range(count)}


def test_time_in_the_queue_does_not_count(clock):
    processes = Processes(held(2))
    watch = Waiting(processes, ["w0", "w1"], timeout=20.0)
    clock.now += 3600
    assert watch() == clock.now + 20
    processes.worlds["w0"].pending = False
    clock.now += 60
    assert watch() == clock.now + 20  # w1 still waits
    processes.worlds["w1"].pending = False
    began = clock.now
    clock.now += 15
    assert watch() == began + 20


def test_other_worlds_in_the_queue_are_none_of_its_business(clock):
    watch = Waiting(Processes({"w0": World("runs", False), **held(0)}), ["w0"], 20.0)
    clock.now += 15
    assert watch() == 120
    processes = Processes({"w0": World("runs", False), "w9": held()["w0"]})
    watch = Waiting(processes, ["w0"], 20.0, deadline=118.0)
    clock.now += 1
    assert watch() == 118


def test_what_has_gone_wrong_is_raised(clock):
    with pytest.raises(PreflightError, match="it broke"):
        Waiting(Processes(held(), "it broke"), ["w0"], 20.0)()


def test_whoever_waits_is_told_what_for_and_when_that_changes(clock, capsys):
    processes = Processes(held(6))
    watch = Waiting(processes, list(processes.worlds), 20.0, tell=True)
    watch()
    assert capsys.readouterr().err == ""  # it may start at once
    clock.now += 4
    watch()
    watch()
    told = capsys.readouterr().err
    assert told.startswith("livn_ipp: waiting for job 0 pending (Priority), job 1 ")
    assert told.endswith("job 3 pending (Priority), 2 more\n")
    assert told.count("\n") == 1
    for world in processes.worlds.values():
        world.pending = False
    watch()
    watch()
    assert capsys.readouterr().err == "livn_ipp: waiting for engines to register\n"


def test_nobody_is_told_of_worlds_that_do_not_queue_or_that_replace_others(
    clock, capsys
):
    running = Waiting(Processes({"w0": World("runs", False)}), ["w0"], 20.0, tell=True)
    replacement = Waiting(Processes(held()), ["w0"], 20.0)
    clock.now += 10
    running()
    replacement()
    assert capsys.readouterr().err == ""
