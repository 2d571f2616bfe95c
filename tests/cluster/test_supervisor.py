"""The supervisor's threads, over a cluster whose worlds come and go when told to."""

import threading
import time

import pytest

from livn_ipp.cluster.starting.supervisor import Supervisor
from livn_ipp.errors import ConfigError, PreflightError, VersionMismatch

PATIENCE = 20.0


class Ground:
    """A cluster, as far as a supervisor knows it."""

    owned = starts_worlds = True

    def __init__(self):
        self.alive = True
        self.stopped = False
        self.answering = True
        self.launched = []
        self.codes = {}
        self.ended = []
        self.up = {}  # world -> set once its ranks are there
        self.troubles = {}

    def launch_world(self):
        world = f"w{len(self.launched) + 1}"
        self.up[world] = threading.Event()
        self.launched.append(world)
        return world

    def await_world(self, world):
        assert self.up[world].wait(PATIENCE)
        if trouble := self.troubles.get(world):
            raise trouble
        if world in self.ended:
            raise PreflightError(f"{world} was ended while it started")

    def stop_world(self, world, *, force):
        if world in self.ended:
            raise ConfigError("no such world")
        self.ended.append(world)
        if world in self.up:
            self.up[world].set()

    def exit_code(self, world):
        return self.codes.get(world)

    def why_ended(self, world, struck):
        return "rank 1 was killed" if world in self.codes else ""

    def stop(self):
        self.stopped = True


class Crew:
    def __init__(self, ground):
        self.ground = ground
        self.told = []
        self.in_take_in = lambda world: None

    def take_in(self, world, slots):
        self.in_take_in(world)

    def joined(self, world, slots):
        self.told.append(("joined", world, tuple(slots)))

    def lost(self, world, slots, reason, *, replaced):
        self.told.append(("lost", world, tuple(slots), reason, replaced))

    def strike(self, world, *, hung):
        return set()

    def abandoned(self, slots, reason):
        self.told.append(("abandoned", tuple(slots), reason))

    def collapsed(self, reason):
        self.told.append(("collapsed", reason))

    def answers(self):
        return self.ground.answering


@pytest.fixture
def ground():
    return Ground()


@pytest.fixture
def crew(ground):
    return Crew(ground)


@pytest.fixture
def supervisor(ground, crew):
    supervisor = Supervisor(ground, crew)
    supervisor.settle("w0", [0, 1])
    yield supervisor
    began = time.monotonic()
    supervisor.close()
    supervisor.close()
    assert time.monotonic() - began < 10
    assert not supervisor._threads


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_world_that_exits_is_replaced(supervisor, ground, crew):
    supervisor.watch()
    ground.codes["w0"] = 137
    until(lambda: ground.launched == ["w1"])
    assert ground.ended == ["w0"]
    ground.up["w1"].set()
    until(lambda: len(crew.told) == 2)
    assert crew.told == [
        ("lost", "w0", (0, 1), "rank 1 was killed", True),
        ("joined", "w1", (0, 1)),
    ]
    assert supervisor.worlds == {"w1": (0, 1)}


def test_a_loss_is_told_once_and_blocks_nobody(supervisor, ground, crew):
    ground.codes["w0"] = 1
    began = time.monotonic()
    for _ in range(5):
        supervisor.lost("w0", "an engine ended")
    assert time.monotonic() - began < 1
    until(lambda: ground.launched)
    ground.up["w1"].set()
    until(lambda: len(crew.told) == 2)
    assert ground.launched == ["w1"]


def test_who_dies_while_it_joins_is_started_again(supervisor, ground, crew):
    ground.codes["w0"] = 1
    # Heard after its ranks came and before its workers are in use.
    crew.in_take_in = lambda world: world == "w1" and supervisor.lost(world)
    supervisor.lost("w0")
    for world in ("w1", "w2"):
        until(lambda world=world: world in ground.launched)
        ground.up[world].set()
    until(lambda: supervisor.worlds)
    assert ground.ended == ["w0", "w1"]
    assert [told[:2] for told in crew.told] == [("lost", "w0"), ("joined", "w2")]


def test_who_dies_once_it_joined_is_told_in_order(supervisor, ground, crew):
    ground.codes |= {"w0": 1, "w1": 1}
    joined = crew.joined

    def die_and_join(world, slots):
        if world == "w1":
            supervisor.lost(world)
            time.sleep(0.2)
        joined(world, slots)

    crew.joined = die_and_join
    supervisor.lost("w0")
    for world in ("w1", "w2"):
        until(lambda world=world: world in ground.launched)
        ground.up[world].set()
    until(lambda: "w2" in supervisor.worlds)
    order = [told[:2] for told in crew.told]
    assert order[:3] == [("lost", "w0"), ("joined", "w1"), ("lost", "w1")]


def test_what_cannot_be_started_is_abandoned(supervisor, ground, crew):
    supervisor.settle("other", [2])
    ground.codes |= {"w0": 1, "other": 1}
    ground.troubles["w1"] = VersionMismatch("livn_ipp: 1 here; 2 there")
    supervisor.lost("w0")
    until(lambda: ground.launched)
    ground.up["w1"].set()
    until(lambda: ("abandoned", (0, 1), "livn_ipp: 1 here; 2 there") in crew.told)
    assert ground.ended == ["w0", "w1"]
    # The other berth is not held up, nor by what nobody foresaw.
    ground.troubles["w2"] = ZeroDivisionError("a defect")
    supervisor.lost("other")
    for world in ("w2", "w3"):
        until(lambda world=world: world in ground.launched)
        ground.up[world].set()
    until(lambda: supervisor.worlds == {"w3": (2,)})


def test_closing_ends_what_is_being_started(supervisor, ground, crew):
    ground.codes["w0"] = 1
    supervisor.lost("w0")
    until(lambda: ground.launched == ["w1"])
    began = time.monotonic()
    supervisor.close()
    assert time.monotonic() - began < 5
    assert ground.ended == ["w0", "w1"]
    assert [told[0] for told in crew.told] == ["lost"]
    supervisor.lost("w0")
    assert ground.launched == ["w1"]


def test_several_worlds_start_at_a_time(supervisor, ground, crew):
    supervisor.settle("other", [2])
    ground.codes |= {"w0": 1, "other": 1}
    supervisor.lost("w0")
    supervisor.lost("other")
    until(lambda: len(ground.launched) == 2)
    for event in ground.up.values():
        event.set()
    until(lambda: len(supervisor.worlds) == 2)
    assert sorted(supervisor.worlds.values()) == [(0, 1), (2,)]


@pytest.mark.parametrize("how", ["ends", "freezes"])
def test_a_controller_that_is_gone_ends_it_all(supervisor, ground, crew, how):
    if how == "ends":
        ground.alive = False
    else:
        ground.answering = False
    supervisor.watch()
    until(lambda: ground.stopped)
    assert [told[0] for told in crew.told] == ["collapsed"]
    assert "its controller" in crew.told[0][1]
    supervisor.lost("w0")
    assert ground.launched == []


def test_worlds_that_others_started_are_not_replaced(supervisor, ground, crew):
    ground.starts_worlds = ground.owned = False
    supervisor.lost("w0", "an engine ended")
    until(lambda: crew.told)
    assert crew.told == [("lost", "w0", (0, 1), "an engine ended", False)]
    assert ground.launched == ground.ended == []
    assert supervisor.worlds == {}


def test_workers_are_added_and_removed(supervisor, ground, crew):
    assert supervisor.add(2) == (2, 3)
    until(lambda: ground.launched == ["w1"])
    ground.up["w1"].set()
    until(lambda: ("joined", "w1", (2, 3)) in crew.told)
    supervisor.remove([2])
    supervisor.remove([3])
    until(lambda: ground.ended == ["w1"])
    assert len(crew.told) == 1  # who asked for it need not be told
