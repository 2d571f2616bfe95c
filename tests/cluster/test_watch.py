"""The watch against a clock that the test moves."""

from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster import wire
from livn_ipp.cluster.control.events import StopCall, WorkerStuck
from livn_ipp.cluster.control.watch import Watch
from livn_ipp.cluster.limits import Limits


def call(number, limit=None):
    return wire.Call(number, "p", 0, (), limit=limit)


def watch(**limits):
    return Watch(Limits(**{"grace": 5.0, "stall_timeout": 60.0, **limits}))


def test_a_call_that_does_not_stop_in_time_is_overdue_by_name():
    each = watch()
    each.sent(3, 1, (call(7, limit=2.0),), now=100.0)
    assert each.overdue(106.9) == []
    (overdue,) = each.overdue(107.1)
    assert (overdue.worker, overdue.overdue) == (3, 7)
    assert each.overdue(200.0) == [], "a worker is given up once"


def test_the_running_call_of_several_is_the_one_last_seen():
    each = watch()
    each.sent(0, 1, (call(7, limit=2.0), call(8, limit=2.0)), now=0.0)
    each.alive(0, 8, now=6.0)
    assert each.overdue(12.0) == []
    (overdue,) = each.overdue(13.1)
    assert overdue.overdue == 8


def test_nobody_is_blamed_when_any_of_several_calls_may_hang():
    each = watch()
    each.sent(0, 1, (call(7, limit=2.0), call(8, limit=2.0)), now=0.0)
    (overdue,) = each.overdue(7.1)
    assert overdue.overdue is None


def test_a_late_first_word_of_a_call_gives_it_no_more_time():
    each = watch()
    each.sent(0, 1, (call(7, limit=2.0),), now=0.0)
    each.alive(0, 7, now=6.0)
    (overdue,) = each.overdue(7.1)
    assert overdue.overdue == 7


def test_silence_counts_from_the_last_sign_of_life():
    each = watch()
    each.sent(0, 1, (call(7),), now=0.0)
    each.alive(0, 7, now=50.0)
    assert each.overdue(109.0) == []
    (overdue,) = each.overdue(111.0)
    assert overdue.overdue is None
    assert "no sign of life for 60 s" in overdue.reason


def test_a_parcel_sent_ahead_begins_when_its_turn_comes():
    each = watch()
    each.sent(0, 1, (call(7),), now=0.0)
    each.sent(0, 2, (call(8, limit=1.0),), now=0.0)
    each.replied(0, 1, now=50.0)
    assert each.overdue(55.9) == []
    assert [o.overdue for o in each.overdue(56.1)] == [8]


def test_a_setter_that_hangs_is_noticed_too():
    each = watch()
    each.sent(0, 1, (wire.Apply(wire.Entry(1, "set_weights", ())),), now=0.0)
    assert [o.worker for o in each.overdue(61.0)] == [0]


def test_an_idle_worker_may_be_silent_for_ever():
    each = watch()
    each.sent(0, 1, (call(7),), now=0.0)
    each.replied(0, 1, now=1.0)
    assert each.overdue(1e9) == []


def test_a_stop_that_is_not_heeded_costs_the_worker():
    each = watch()
    each.sent(0, 1, (call(7),), now=0.0)
    each.cancelled(7, now=1.0)
    each.stopping(0, now=1.0)
    assert each.overdue(5.9) == []
    (overdue,) = each.overdue(6.1)
    assert isinstance(overdue, WorkerStuck)
    assert "cancellation" in overdue.reason


def test_a_parcel_that_goes_on_with_cancelled_calls_is_stopped():
    each = watch()
    each.sent(0, 1, (call(7), call(8)), now=0.0)
    each.cancelled(8, now=1.0)
    assert each.overdue(1.4) == []
    assert each.overdue(1.6) == [StopCall(0, 7)]
    assert each.overdue(6.0) == []
    assert [type(o) for o in each.overdue(6.7)] == [WorkerStuck]


def test_late_words_of_the_departed_are_ignored():
    each = watch()
    each.sent(0, 1, (call(7),), now=0.0)
    each.gone(0)
    each.alive(0, 7, now=1.0)
    each.replied(0, 1, now=1.0)
    each.stopping(0, now=1.0)
    assert each.overdue(1e9) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "replied", "alive", "cancelled", "tick"]),
            st.integers(0, 2),
            st.floats(0.0, 10.0),
        ),
        max_size=60,
    )
)
def test_whoever_answers_in_time_is_left_alone_and_all_others_are_found(moves):
    each = watch(stall_timeout=20.0)
    now, number = 0.0, 0
    flights = {worker: [] for worker in range(3)}
    alone = {}
    for move, worker, step in moves:
        now += step
        flight = flights[worker]
        if move == "sent":
            number += 1
            each.sent(worker, number, (call(number, limit=8.0),), now)
            if not flight:
                alone[worker] = now
            flight.append(number)
        elif move == "replied" and flight:
            each.replied(worker, flight.pop(0), now)
            alone[worker] = now
        elif move == "alive" and flight:
            each.alive(worker, flight[0], now)
        elif move == "cancelled" and flight:
            each.cancelled(flight[0], now)
        for verdict in each.overdue(now):
            assert flights[verdict.worker], "nothing was in flight"
            if isinstance(verdict, WorkerStuck):
                flights[verdict.worker] = []
        for index, left in flights.items():
            assert not left or now - alone[index] <= 13.0 + 10.0
