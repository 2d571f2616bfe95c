import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livn_ipp.cluster.control.fleet import Abandon, End, Fleet, Retire, Start


def lose(fleet, world, now):
    """Lose a world; the delay until another is to start."""
    ended, start = fleet.lost(world, now)
    assert ended == End(world)
    return start.berth, start.at - now


def test_a_world_that_lived_is_replaced_at_once():
    fleet = Fleet()
    fleet.settle("w0", [0], 0.0)
    fleet.settle("w1", [1], 0.0)
    assert lose(fleet, "w1", 100.0) == (1, 0.0)
    assert fleet.expected == (1,)
    assert fleet.ready(1, "w2", 107.0) == []
    assert fleet.worlds == {"w0": (0,), "w2": (1,)}
    assert lose(fleet, "w2", 117.0) == (1, 0.0)


def test_worlds_that_die_young_are_replaced_ever_later():
    fleet = Fleet()
    fleet.settle("w0", [0], 0.0)
    delays = []
    for number in range(9):
        _, delay = lose(fleet, f"w{number}", 9.0)
        fleet.ready(0, f"w{number + 1}", 0.0)
        delays.append(delay)
    assert delays == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert lose(fleet, "w9", 10.0) == (0, 0.0)  # this one lived


def test_three_failed_starts_in_a_row_abandon_the_slots():
    fleet = Fleet()
    fleet.settle("w0", [3, 4], 0.0)
    for round_ in range(2):
        lose(fleet, f"w{round_}", 50.0)
        assert fleet.failed(0, "no", 60.0) == [Start(0, (3, 4), 61.0)]
        assert fleet.failed(0, "no", 70.0) == [Start(0, (3, 4), 72.0)]
        if round_ == 0:
            assert fleet.ready(0, "w1", 80.0) == []
    assert fleet.failed(0, "never", 80.0) == [Abandon((3, 4), "never")]
    assert fleet.abandoned == (3, 4)
    assert fleet.expected == ()
    assert fleet.failed(0, "late", 90.0) == []


def test_what_cannot_get_better_is_not_tried_again():
    fleet = Fleet()
    (start,) = fleet.add(1, 0.0)
    assert fleet.failed(start.berth, "no", 1.0, final=True) == [Abandon((0,), "no")]


def test_a_world_is_lost_once():
    fleet = Fleet()
    fleet.settle("w0", [0], 0.0)
    assert len(fleet.lost("w0", 1.0)) == 2
    assert fleet.lost("w0", 2.0) == []
    assert fleet.lost("another", 2.0) == []


def test_indices_are_never_given_twice():
    fleet = Fleet()
    fleet.settle("w0", [0, 1], 0.0)
    (start,) = fleet.add(2, 0.0)
    assert start.slots == (2, 3)
    fleet.remove([2, 3])
    assert fleet.add(1, 0.0)[0].slots == (4,)


def test_a_world_ends_with_its_last_slot():
    fleet = Fleet()
    fleet.settle("w0", [0, 1], 0.0)
    assert fleet.remove([1, 7]) == [Retire((1,))]
    assert fleet.remove([1]) == []
    berth, _ = lose(fleet, "w0", 20.0)
    assert fleet.expected == (0,)
    assert fleet.ready(berth, "w1", 30.0) == []
    assert fleet.remove([0]) == [Retire((0,)), End("w1")]
    assert fleet.lost("w1", 30.0) == []


def test_a_world_that_nobody_waits_for_any_more_is_ended():
    fleet = Fleet()
    (start,) = fleet.add(1, 0.0)
    assert fleet.remove([0]) == [Retire((0,))]
    assert fleet.ready(start.berth, "w5", 6.0) == [End("w5")]
    assert fleet.worlds == {}


class Life(RuleBasedStateMachine):
    """Worlds come and go in any order; someone carries out what the fleet orders."""

    def __init__(self):
        super().__init__()
        self.fleet = Fleet()
        self.now = 0.0
        self.names = 0
        self.running = {}  # world -> slots, as started and not ended
        self.starting = {}  # berth -> the order
        self.slots = set()
        self.gone = set()

    def carry_out(self, orders):
        for order in orders:
            match order:
                case Start():
                    assert order.berth not in self.starting
                    assert order.at >= self.now
                    self.starting[order.berth] = order
                    self.slots.update(order.slots)
                case End():
                    self.running.pop(order.world)
                case Abandon() | Retire():
                    assert not self.gone & set(order.slots)
                    self.gone.update(order.slots)

    def name(self):
        self.names += 1
        return f"w{self.names}"

    @rule(workers=st.integers(1, 3))
    def settle(self, workers):
        first = max(self.slots, default=-1) + 1
        slots = tuple(range(first, first + workers))
        world = self.name()
        self.running[world] = slots
        self.slots.update(slots)
        self.fleet.settle(world, slots, self.now)

    @rule(workers=st.integers(1, 3))
    def add(self, workers):
        self.carry_out(self.fleet.add(workers, self.now))

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lose(self, data):
        world = data.draw(st.sampled_from(sorted(self.running)))
        self.carry_out(self.fleet.lost(world, self.now))
        assert self.fleet.lost(world, self.now) == []

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), well=st.booleans(), final=st.booleans())
    def end_start(self, data, well, final):
        berth = data.draw(st.sampled_from(sorted(self.starting)))
        order = self.starting.pop(berth)
        if well:
            world = self.name()
            self.running[world] = order.slots
            self.carry_out(self.fleet.ready(berth, world, self.now))
        else:
            orders = self.fleet.failed(berth, "no", self.now, final=final)
            self.carry_out(orders)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def remove(self, data):
        slots = data.draw(st.lists(st.sampled_from(sorted(self.slots)), max_size=4))
        before = self.gone | set(slots)
        self.carry_out(self.fleet.remove(slots))
        assert self.gone == before

    @invariant()
    def no_slot_is_filled_twice(self):
        filled = [slot for slots in self.fleet.worlds.values() for slot in slots]
        assert len(filled) == len(set(filled))
        assert not set(filled) & (set(self.fleet.expected) | self.gone)

    @invariant()
    def every_slot_is_filled_expected_or_gone(self):
        filled = {slot for slots in self.fleet.worlds.values() for slot in slots}
        assert filled | set(self.fleet.expected) | self.gone == self.slots
        assert set(self.fleet.abandoned) <= self.gone

    @invariant()
    def what_runs_is_known_and_what_is_expected_starts(self):
        assert set(self.running) == set(self.fleet.worlds)
        coming = {slot for order in self.starting.values() for slot in order.slots}
        assert set(self.fleet.expected) <= coming


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("workers", [1, 3])
def test_nothing_is_kept_of_what_left(workers):
    fleet = Fleet()
    for number in range(50):
        (start,) = fleet.add(workers, 0.0)
        fleet.ready(start.berth, f"w{number}", 0.0)
        fleet.remove(start.slots)
    assert fleet._berths == {}
