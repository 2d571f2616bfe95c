"""What a worker tells of a call that runs, and what the controller makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import streams
from hypothesis import given
from hypothesis import strategies as st
from ranks import MPI_SETTINGS, mpiexec, run_on_ranks

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.partial import Partial
from livn_ipp.cluster.telemetry import INTERVAL, MOST_SPIKES, Telemetry
from livn_ipp.cluster.worker import Worker
from livn_ipp.decoding import GatherAndMerge
from livn_ipp.env.factory import factory_for
from livn_ipp.subworld import Course, Late, Stopped, Subworld


class Run:
    """Spikes of a run, in the order in which they are told, and a clock."""

    def __init__(self, duration=100.0, start=0.0):
        self.now = 0.0
        self.course = Course(start, start + duration, self.news)
        self.fresh = np.zeros(0, np.uint32), np.zeros(0)

    def clock(self):
        return self.now

    def news(self):
        fresh, self.fresh = self.fresh, (np.zeros(0, np.uint32), np.zeros(0))
        return fresh

    def fire(self, count, time):
        self.fresh = np.arange(count, dtype=np.uint32), np.full(count, time)


def call(number=1, **options):
    return wire.Call(number, "pipeline", 0, (b"",), **options)


@pytest.fixture
def run():
    return Run()


@pytest.fixture
def heard():
    return []


@pytest.fixture
def subworld(run, heard):
    subworld = Subworld()
    subworld.telemetry = Telemetry(subworld, run.clock)
    subworld.telemetry.publish = heard.append
    return subworld


def spikes_of(progress):
    ids, times = wire.loads(progress.spikes)
    assert (ids.dtype, times.dtype) == (np.uint32, np.float64)
    return list(zip(ids.tolist(), times.tolist(), strict=True))


class TestRate:
    def test_chunk_ends_are_told_five_times_a_second(self, subworld, run, heard):
        subworld.telemetry.begin(call(7))
        assert [(p.call, p.time, p.end) for p in heard] == [(7, 0.0, None)]
        for step in range(1, 101):
            run.now += INTERVAL / 4.5
            subworld.checkpoint(float(step), run.course)
        assert [p.time for p in heard[1:]] == [5.0 * k for k in range(1, 20)]
        subworld.telemetry.end()
        (last,) = subworld.telemetry.last_words()  # it goes with the answer
        assert last.time == 100.0
        assert (last.start, last.end) == (0.0, 100.0)
        assert last.seconds == pytest.approx(run.now)
        assert len(last.rss) == 1
        assert last.rss[0] > 1e6

    @pytest.mark.parametrize(("cost", "gap"), [(0.0, 0.2), (0.006, 0.6), (0.1, 1.0)])
    def test_publications_that_are_slow_are_fewer(
        self, subworld, run, heard, cost, gap
    ):
        told = []

        def publish(progress):
            heard.append(progress)
            told.append(run.now)
            run.now += cost

        subworld.telemetry.publish = publish
        subworld.telemetry.begin(call())
        for step in range(1, 4001):
            run.now += 0.01
            subworld.agree()  # as ranks do that learn
            subworld.checkpoint(step / 100, run.course)
        assert all(p.rss for p in heard[1:]), "a sign of life took a chunk's turn"
        gaps = np.diff(told)[10:]
        assert gaps - cost == pytest.approx(gap, abs=0.021)  # in steps of 10 ms

    def test_short_calls_are_told_of_as_seldom(self, subworld, run, heard):
        for number in range(100):
            subworld.telemetry.begin(call(number))
            run.now += INTERVAL / 9.5
            subworld.telemetry.end()
        assert [p.call for p in heard] == list(range(0, 100, 10))
        assert subworld.telemetry.last_words() == ()

    def test_a_time_that_a_simulator_reports_is_told(self, subworld, run, heard):
        subworld.telemetry.begin(call())
        for time in (1.0, 2.0, 3.0):
            run.now += INTERVAL / 1.5
            subworld.report(time)
        assert [(p.time, p.rss) for p in heard[1:]] == [(2.0, ())]

    def test_votes_are_signs_of_life_that_leave_chunk_ends_their_turn(
        self, subworld, run, heard
    ):
        subworld.telemetry.begin(call())
        run.now += 0.25
        subworld.agree()
        assert len(heard) == 1
        subworld.checkpoint(4.0, run.course)
        run.now += 0.5
        subworld.agree()
        assert [(p.time, p.end) for p in heard] == [(0, None), (4.0, 100), (4.0, 100)]

    def test_nothing_is_told_without_a_call_or_by_others_than_the_leader(
        self, subworld, run, heard
    ):
        def simulate():
            run.now += 10 * INTERVAL
            subworld.agree()
            subworld.report(1.0)
            subworld.checkpoint(1.0, run.course)

        simulate()
        subworld.telemetry.begin(call(stream=True))
        subworld.telemetry.end()
        assert len(heard) == 1
        simulate()
        assert len(heard) == 1
        subworld.telemetry.publish = None
        subworld.telemetry.begin(call(stream=True))
        simulate()
        subworld.telemetry.end(late=True)
        assert len(heard) == 1
        assert len(subworld.telemetry.last_words()) == 1  # of the first call

    def test_a_publication_that_fails_does_not_fail_the_call(
        self, subworld, run, caplog
    ):
        def fails(progress):
            raise OSError("the line is cut")

        subworld.telemetry.publish = fails
        subworld.telemetry.begin(call())
        run.now += 0.25
        subworld.checkpoint(1.0, run.course)
        assert "the line is cut" in caplog.text


class TestSpikes:
    def test_they_are_counted_and_only_carried_where_wanted(self, subworld, run, heard):
        def publish():
            run.now += 0.25
            run.fire(3, 5.5)
            subworld.checkpoint(6.0, run.course)
            return heard[-1]

        subworld.telemetry.begin(call())
        counted = publish()
        assert (counted.new_spikes, counted.spikes, counted.before) == (3, None, None)
        subworld.telemetry.spikes = True
        carried = publish()
        assert spikes_of(carried) == [(0, 5.5), (1, 5.5), (2, 5.5)]
        assert (carried.new_spikes, carried.before) == (3, None)
        subworld.telemetry.begin(call(2, stream=True))
        subworld.telemetry.spikes = False
        assert [(p.new_spikes, p.before) for p in (publish(), publish())] == [
            (3, 0),
            (3, 3),
        ]

    def test_those_of_short_calls_go_with_the_answer(self, subworld, run, heard):
        telemetry = subworld.telemetry
        for number, wanted in ((1, False), (2, True), (3, True)):
            telemetry.spikes = wanted
            telemetry.begin(call(number))
            run.now += 0.01
            run.fire(number, 99.0)
            subworld.checkpoint(100.0, run.course)
            telemetry.end()
        second, third = telemetry.last_words()
        assert [(p.call, p.time, p.end) for p in (second, third)] == [
            (2, 100.0, 100.0), (3, 100.0, 100.0),
        ]  # fmt: skip
        assert spikes_of(third) == [(0, 99.0), (1, 99.0), (2, 99.0)]
        assert [p.time for p in heard] == [0.0], "no message of their own"

    def test_ends_are_left_out_where_telling_them_takes_more_than_its_share(
        self, subworld, run, heard
    ):
        telemetry = subworld.telemetry
        telemetry.spikes = True

        def slow():
            run.now += 0.001
            return run.news()

        for number in range(100):
            telemetry.begin(call(number))
            run.now += 0.01
            subworld.checkpoint(100.0, Course(0.0, 100.0, slow))
            telemetry.end()
        ends = [p for p in (*heard, *telemetry.last_words()) if p.end]
        assert 8 <= len(ends) <= 20  # 1 ms in each 100, at length

    def test_ends_are_told_before_what_comes_later(self, subworld, run, heard):
        telemetry = subworld.telemetry
        telemetry.spikes = True
        for number in (1, 2, 3):
            telemetry.begin(call(number))
            run.now += 0.08
            run.fire(2, 50.0)
            subworld.checkpoint(100.0, run.course)
            telemetry.end()
        telemetry.begin(call(4))
        assert [p.call for p in heard] == [1, 1, 2, 3, 4]
        assert telemetry.last_words() == ()

    def test_an_end_is_told_if_anything_before_it_was(self, subworld, run, heard):
        telemetry = subworld.telemetry
        telemetry.spikes = True
        telemetry.begin(call())
        run.now += 0.25
        telemetry._fair = 1e6
        telemetry._closed = run.now
        run.fire(2, 4.0)
        subworld.checkpoint(5.0, run.course)
        run.fire(1, 99.0)
        subworld.checkpoint(100.0, run.course)
        (word,) = telemetry.last_words()
        assert spikes_of(word) == [(0, 99.0)]

    def test_potentials_are_the_sum_of_shares_for_views_alone(
        self, subworld, run, heard
    ):
        course = Course(0.0, 100.0, run.news, lambda: np.array([1.5, -2.0]))
        subworld.telemetry.begin(call())
        for wanted in (False, True):
            subworld.telemetry.spikes = wanted
            run.now += 0.25
            subworld.checkpoint(5.0, course)
        assert [p.potential for p in heard] == [(), (), (1.5, -2.0)]

    def test_very_many_are_thinned_for_views_and_never_for_a_stream(
        self, subworld, run, heard
    ):
        def publish(count):
            run.now += 0.25
            run.fire(count, 1.0)
            subworld.checkpoint(6.0, run.course)
            return heard[-1].new_spikes, len(spikes_of(heard[-1]))

        subworld.telemetry.spikes = True
        subworld.telemetry.begin(call())
        assert publish(MOST_SPIKES) == (MOST_SPIKES, MOST_SPIKES)
        assert publish(3 * MOST_SPIKES) == (3 * MOST_SPIKES, MOST_SPIKES)
        subworld.telemetry.begin(call(stream=True))
        assert publish(3 * MOST_SPIKES) == (3 * MOST_SPIKES, 3 * MOST_SPIKES)

    def test_the_last_word_on_a_stream_has_them_all(self, subworld, run, heard):
        telemetry = subworld.telemetry
        telemetry.begin(call(1, stream=True))
        run.now += 0.25
        run.fire(2, 4.0)
        subworld.checkpoint(5.0, run.course)
        run.fire(1, 99.0)
        subworld.checkpoint(100.0, run.course)  # not due, but the end
        telemetry.end()
        telemetry.begin(call(2, stream=True))  # does not simulate
        telemetry.end()
        whole, empty = telemetry.last_words()
        assert (whole.call, whole.time, whole.before) == (1, 100.0, 0)
        assert spikes_of(whole) == [(0, 4.0), (1, 4.0), (0, 99.0)]
        assert (empty.call, empty.spikes, empty.before) == (2, None, None)
        assert telemetry.last_words() == ()

    def test_another_run_of_the_same_call_begins_anew(self, subworld, run, heard):
        second = Run(start=100.0)
        subworld.telemetry.begin(call(1, stream=True))
        run.fire(2, 50.0)
        subworld.checkpoint(100.0, run.course)
        second.fire(1, 25.0)
        subworld.checkpoint(200.0, second.course)
        assert [(p.start, p.before) for p in heard[1:]] == [(0.0, 0), (100.0, 0)]
        subworld.telemetry.end()
        (word,) = subworld.telemetry.last_words()
        assert (word.start, spikes_of(word)) == (100.0, [(0, 25.0)])


class TestTimeLimit:
    def test_its_last_word_tells_what_was_reached(self, subworld, run, heard):
        subworld.telemetry.begin(call(stream=True))
        subworld.deadline = 0.0  # long ago
        run.fire(1, 2.0)
        with pytest.raises(Late):
            subworld.checkpoint(3.0, run.course)
        subworld.checkpoint(4.0, run.course)  # said once
        subworld.telemetry.end(late=True)
        (word,) = subworld.telemetry.last_words()
        assert (word.time, spikes_of(word)) == (3.0, [(0, 2.0)])

    def test_a_wish_to_stop_comes_first(self, subworld, run):
        subworld.deadline = 0.0
        subworld.request_stop()
        with pytest.raises(Stopped) as stopped:
            subworld.agree()
        assert not isinstance(stopped.value, Late)


def gathered(subworld):
    """What the leader publishes of three ranks, one of which fails in its turn."""
    heard = []
    subworld.telemetry = telemetry = Telemetry(subworld)
    if subworld.rank == 0:
        telemetry.publish = heard.append
    telemetry.begin(call(stream=True))
    heard.clear()
    fails = False

    def news():
        if fails and subworld.rank == 1:
            raise ArithmeticError
        gid = np.array([subworld.rank], np.uint32)
        return gid, np.array([10.0 + subworld.rank])

    course = Course(0.0, 20.0, news)
    subworld.checkpoint(20.0, course)
    fails = True
    try:
        subworld.checkpoint(20.0, course)
        subworld.agree()
        outcome = "well"
    except ArithmeticError:
        subworld.fail()
        outcome = "raised"
    except Exception as error:
        outcome = type(error).__name__
    return [spikes_of(p) for p in heard], [len(p.rss) for p in heard], outcome


@pytest.mark.mpi
def test_all_ranks_take_part_and_none_waits_for_one_that_fails():
    leader, second, third = run_on_ranks(gathered, 3)
    whole = [(0, 10.0), (1, 11.0), (2, 12.0)]
    assert leader == ([whole, [whole[0], whole[2]]], [3, 2], "PeerFailed")
    assert second == ([], [], "raised")
    assert third == ([], [], "PeerFailed")


def publications(counts, duration=10.0):
    """A call's publications, of so many spikes each, and its last word."""
    before, words = 0, []
    whole_ids = np.arange(sum(counts), dtype=np.uint32)
    whole_times = whole_ids * 0.25
    for at, count in enumerate(counts):
        part = slice(before, before + count)
        spikes = wire.dumps((whole_ids[part], whole_times[part]))
        time = duration * (at + 1)
        words.append(wire.Progress(1, time, spikes=spikes, before=before))
        before += count
    whole = wire.dumps((whole_ids, whole_times))
    return words, words[-1]._replace(spikes=whole, before=0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_what_is_partial_lacks_no_spike_before_its_end(counts, data):
    words, last = publications(counts)
    lost = data.draw(st.sets(st.integers(0, len(words) - 1)))
    attempts = data.draw(st.integers(1, 2))
    partial = Partial()
    assert partial.run() is None
    for _ in range(attempts):
        for at, word in enumerate(words):
            if at not in lost:
                partial.take(word)
            known = partial.run()
            if known is not None:
                reached = round(known.duration / 10.0)
                assert len(known.spikes) == sum(counts[:reached])
                assert known.spikes.ids.tolist() == list(range(len(known.spikes)))
    partial.take(last)
    assert partial.run().duration == last.time
    assert len(partial.run().spikes) == sum(counts)


def test_spikes_for_views_are_no_partial_result():
    partial = Partial()
    words, _ = publications([3])
    partial.take(words[0]._replace(before=None))
    partial.take(wire.Progress(1, 5.0))
    assert partial.run() is None


@pytest.mark.neuron
def test_views_get_spikes_once_they_asked_for_them():
    factory = factory_for("neuron", "EI1", None, None, 123)
    worker = Worker(factory, factory.prepare(None, 1))
    assert worker.build() == []
    heard = []
    worker.telemetry.publish = heard.append
    content = wire.dumps((GatherAndMerge(duration=1_000_000), None))
    long = wire.Call(1, "p", 0, wire.dumps(None), limit=1.5)
    try:
        answers = worker.serve([wire.Install("p", content), long])
        assert heard.pop(0).time == 0.0
        assert all(p.spikes is None for p in heard)
        assert sum(p.new_spikes for p in heard) > 0
        heard.clear()
        answers += worker.serve([wire.Telemetry(spikes=True), long])
        assert all(p.before is None for p in heard[1:])
        told = [len(spikes_of(p)) for p in heard[1:]]
        assert told == [p.new_spikes for p in heard[1:]]
        assert sum(told) > 0
        worker.serve([wire.Telemetry(spikes=False)])
        assert not worker.telemetry.spikes
    finally:
        worker.close()
    assert [type(answer) for answer in answers] == [wire.TimedOut] * 2


BY_NAME = pytest.mark.parametrize("promise", streams.PROMISES)


@pytest.fixture(scope="module")
def in_process():
    with streams.environment(transport="local") as env:
        yield env.record_spikes()


@pytest.fixture(scope="module", params=[1, 2])
def over_ipyparallel(request, cluster_2x2):
    with streams.environment(cluster=cluster_2x2, subworld_size=request.param) as env:
        yield env.record_spikes()


@pytest.mark.neuron
@BY_NAME
def test_in_process(promise, in_process):
    promise(in_process)


@pytest.mark.neuron
@pytest.mark.cluster
@BY_NAME
def test_over_ipyparallel(promise, over_ipyparallel):
    promise(over_ipyparallel)


@pytest.mark.neuron
@pytest.mark.mpi
@pytest.mark.parametrize("subworld_size", [1, 2])
def test_under_mpirun(subworld_size):
    script = Path(streams.__file__)
    command = [mpiexec(), "-n", str(subworld_size + 1), sys.executable, str(script)]
    job = subprocess.run(
        [*command, str(subworld_size)],
        env={**os.environ, **MPI_SETTINGS, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert job.returncode == 0, job.stdout
    assert job.stdout.count("kept ") == len(streams.PROMISES), job.stdout
