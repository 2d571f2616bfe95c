import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livn_ipp.system import System
from livn_ipp.view.culture import Culture
from livn_ipp.view.monitor import Monitor
from livn_ipp.view.snapshot import WorkerState
from livn_ipp.view.telemetry import Telemetry

CULTURE = Culture.of(System("EI1"), System("EI1").default_io())
WORKERS = st.integers(0, 3)
CALLS = st.integers(1, 12)
WINDOW, LIMIT = 500.0, 60


def spikes(gids, times):
    return np.array(gids, np.uint32), np.array(times, np.float64)


class Monitored(RuleBasedStateMachine):
    """Any news in any order: nothing breaks, and the sums stay right."""

    def __init__(self):
        super().__init__()
        self.monitor = Monitor(CULTURE, window=WINDOW, limit=LIMIT)
        self.now = 0.0
        self.ended = 0

    @rule(seconds=st.floats(0, 10))
    def time_goes_on(self, seconds):
        self.now += seconds

    @rule(worker=WORKERS)
    def joined(self, worker):
        self.monitor.joined(self.now, worker)

    @rule(worker=WORKERS, replaced=st.booleans())
    def lost(self, worker, replaced):
        self.monitor.lost(self.now, worker, "killed", replaced=replaced)

    @rule(worker=WORKERS)
    def retired(self, worker):
        self.monitor.retired(self.now, worker)

    @rule(calls=st.integers(0, 20))
    def queued(self, calls):
        self.monitor.queued(self.now, calls)

    @rule(call=CALLS, worker=WORKERS, attempt=st.integers(1, 4))
    def started(self, call, worker, attempt):
        if not any(call in w.calls for w in self.monitor._workers.values()):
            self.monitor.started(self.now, call, worker, attempt)

    @rule(call=CALLS, how=st.sampled_from(["done", "failed", "cancelled"]))
    def ends(self, call, how):
        self.monitor.ended(self.now, call, how, "no reason")
        self.ended += 1

    @rule(
        worker=WORKERS,
        call=CALLS,
        time=st.floats(0, 2000),
        end=st.none() | st.floats(1, 2000),
        gids=st.lists(st.integers(0, 12), max_size=50),
        seed=st.integers(0, 99),
    )
    def progressed(self, worker, call, time, end, gids, seed):
        known = self.monitor._workers.get(worker)
        since = known.time if known is not None and known.call == call else 0.0
        times = np.random.default_rng(seed).uniform(since, max(since, time), len(gids))
        self.monitor.progressed(
            self.now, worker, call, time, end, *spikes(gids, times), rss=(1, 2)
        )

    @invariant()
    def cells_are_counted_as_their_spikes_are_kept(self):
        gids = [w.spikes.gids for w in self.monitor._workers.values()]
        kept = np.concatenate([*gids, np.zeros(0, np.uint32)])
        assert self.monitor._counts.tolist() == np.bincount(kept, minlength=10).tolist()

    @invariant()
    def spikes_lie_in_a_bounded_window(self):
        for worker in self.monitor._workers.values():
            assert len(worker.spikes) <= LIMIT
            assert len(worker.spikes._times) <= max(1024, 4 * LIMIT)
            assert 0 <= worker.observed <= WINDOW + 1e-6
            times = worker.spikes.times
            assert (np.diff(times) >= 0).all()
            if len(times):
                assert worker.horizon <= times[0]
                assert times[-1] <= worker.clock + 1e-6

    @invariant()
    def what_is_shown_is_consistent(self):
        seen = self.monitor.snapshot(self.now)
        calls = seen.calls
        assert calls.done + calls.failed + calls.cancelled == self.ended
        assert 0 <= calls.ended <= calls.total
        assert 0 <= calls.fraction <= 1
        assert calls.elapsed >= 0
        assert calls.remaining is None or calls.remaining >= 0
        assert calls.running == sum(w.call is not None for w in seen.workers)
        for worker in seen.workers:
            assert (worker.state is WorkerState.BUSY) == (worker.call is not None)
            assert worker.fraction is None or 0 <= worker.fraction <= 1
        assert len(seen.log) <= 200
        assert all(population.rate >= 0 for population in seen.populations)


TestMonitored = Monitored.TestCase


@pytest.fixture
def monitor():
    monitor = Monitor(CULTURE, window=1000.0)
    for worker in (0, 1):
        monitor.joined(0.0, worker)
    return monitor


def test_calls_behind_the_first_wait_on_their_worker(monitor):
    for call in (1, 2, 3):
        monitor.started(1.0, call, 0, 1)
    monitor.queued(1.0, 4)
    seen = monitor.snapshot(3.0)
    assert (seen.workers[0].call, seen.workers[0].ahead) == (1, 2)
    assert (seen.calls.running, seen.calls.queued, seen.calls.total) == (1, 6, 7)
    monitor.ended(4.0, 1, "done")
    worker = monitor.snapshot(5.0).workers[0]
    assert (worker.call, worker.seconds, worker.done) == (2, 1.0, 1)


def test_what_is_left_is_estimated_from_what_was_simulated(monitor):
    monitor.queued(10.0, 2)
    for worker in (0, 1):
        monitor.started(10.0, worker, worker, 1)
        monitor.progressed(12.0, worker, worker, 500.0, 1000.0)
    calls = monitor.snapshot(12.0).calls
    assert calls.remaining_biological == 2 * 500.0 + 2 * 1000.0
    assert calls.remaining == pytest.approx(3000.0 / (1000.0 / 2.0))
    assert calls.fraction == pytest.approx(1 / 4)


def test_without_news_of_time_calls_are_counted(monitor):
    monitor.started(0.0, 1, 0, 1)
    monitor.queued(0.0, 2)
    monitor.ended(6.0, 1, "done")
    calls = monitor.snapshot(6.0).calls
    assert (calls.remaining_biological, calls.remaining) == (None, 12.0)


def test_a_batch_ends_with_its_last_call_and_stays_to_be_read(monitor):
    monitor.started(0.0, 1, 0, 1)
    monitor.queued(0.0, 1)
    monitor.ended(2.0, 1, "done")
    monitor.ended(3.0, 2, "cancelled")
    monitor.queued(3.5, 0)
    calls = monitor.snapshot(100.0).calls
    assert (calls.total, calls.ended, calls.fraction) == (2, 2, 1.0)
    assert (calls.elapsed, calls.remaining) == (3.5, 0.0)
    monitor.started(200.0, 3, 0, 1)
    assert monitor.snapshot(201.0).calls.total == 1


def test_a_lost_workers_call_is_one_retry_and_no_end(monitor):
    monitor.started(0.0, 1, 0, 1)
    monitor.lost(1.0, 0, "rank 1 ended by signal 9", replaced=True)
    seen = monitor.snapshot(1.0)
    assert seen.workers[0].state is WorkerState.REPLACED
    assert (seen.calls.total, seen.calls.ended, seen.calls.queued) == (1, 0, 1)
    monitor.queued(1.0, 1)
    monitor.started(2.0, 1, 1, 2)
    monitor.queued(2.0, 0)
    monitor.joined(3.0, 0)
    seen = monitor.snapshot(3.0)
    assert [w.retried for w in seen.workers] == [1, 0]
    assert seen.workers[1].attempt == 2
    assert (seen.calls.total, seen.calls.running) == (1, 1)
    assert [line.text for line in seen.log] == [
        "being replaced: rank 1 ended by signal 9", "is ready again",
    ]  # fmt: skip


def test_rates_are_of_cells_and_biological_time(monitor):
    monitor.started(0.0, 1, 0, 1)
    gids, times = spikes([0, 1, 2, 3, 8], [10.0, 20.0, 30.0, 40.0, 45.0])
    monitor.progressed(1.0, 0, 1, 500.0, 1000.0, gids, times)
    rates = {p.name: p.rate for p in monitor.snapshot(1.0).populations}
    assert rates == {"EXC": 4 / (8 * 0.5), "INH": 1 / (2 * 0.5)}
    monitor.progressed(2.0, 0, 1, 1020.0, 2000.0)  # the first two slid out
    rates = {p.name: p.rate for p in monitor.snapshot(1.0).populations}
    assert rates["EXC"] == pytest.approx(3 / 8)  # the spike at 20.0 is still inside


def test_an_electrode_is_coloured_by_the_cells_that_it_hears(monitor):
    monitor.started(0.0, 1, 0, 1)
    monitor.progressed(1.0, 0, 1, 1000.0, None, *spikes([4, 4, 4], [1.0, 2.0, 3.0]))
    rates = monitor.snapshot(1.0).electrodes.rates
    heard = System("EI1").default_io().heard(System("EI1").coordinates()[:, 1:])
    expected = 3 * heard[:, 4] / heard.sum(axis=1)
    np.testing.assert_allclose(rates, np.where(heard.any(axis=1), expected, np.nan))
    assert (expected > 0).any()


def test_time_goes_on_from_call_to_call(monitor):
    monitor.started(0.0, 1, 0, 1)
    monitor.progressed(1.0, 0, 1, 300.0, 300.0, *spikes([1], [100.0]))
    monitor.ended(1.0, 1, "done")
    monitor.started(1.0, 2, 0, 1)
    monitor.progressed(2.0, 0, 2, 200.0, 300.0, *spikes([2], [100.0]))
    recent = monitor.snapshot(2.0).recent
    assert recent.times.tolist() == [100.0, 400.0]
    assert (recent.start, recent.stop) == (0.0, 500.0)
    assert recent.begins == ((0.0, 1), (300.0, 2))


def test_a_call_that_is_done_has_come_to_its_end(monitor):
    for call, how in (1, "done"), (2, "cancelled"):
        monitor.started(0.0, call, 0, 1)
        monitor.progressed(1.0, 0, call, 200.0, 300.0)
        monitor.ended(1.0, call, how)
    seen = monitor.snapshot(2.0)
    assert seen.recent.stop == 300.0 + 200.0


def test_the_watched_worker_stays_while_it_is_busy(monitor):
    assert monitor.snapshot(0.0).recent.worker == 0
    monitor.started(1.0, 1, 1, 1)
    assert monitor.snapshot(1.0).recent.worker == 1
    monitor.started(2.0, 2, 0, 1)
    assert monitor.snapshot(2.0).recent.worker == 1
    assert monitor.snapshot(2.0, watch=0).recent.worker == 0
    monitor.ended(3.0, 1, "done")
    assert monitor.snapshot(3.0).recent.worker == 0


def test_unchanged_spikes_are_the_same_object(monitor):
    first = monitor.snapshot(0.0).recent
    assert monitor.snapshot(5.0).recent is first
    monitor.started(6.0, 1, 0, 1)
    monitor.progressed(6.0, 0, 1, 10.0)
    assert monitor.snapshot(6.0).recent is not first


def test_a_fault_in_the_news_disturbs_nobody():
    telemetry = Telemetry(Monitor(CULTURE), clock=lambda: 1.0)
    telemetry.joined(0)
    telemetry.started(1, 0, 1)
    telemetry.progressed(0, 1, 1.0, gids=np.array([-1]), times=np.array([0.5]))
    assert "bincount" in telemetry.fault
    telemetry.ended(1, "done")
    assert telemetry.snapshot().calls.done == 1


def test_a_long_log_line_is_cut(monitor):
    monitor.logged(0.0, "x" * 10_000, worker=1)
    (line,) = monitor.snapshot(0.0).log
    assert len(line.text) == 500
    assert line.text.endswith("...")


def test_what_is_told_again_and_again_is_no_news():
    monitor = Monitor()
    monitor.joined(0.0, 0)
    monitor.lost(1.0, 0, "ended on request", replaced=True)
    monitor.configured(1.0, 3)
    monitor.queued(1.0, 2)
    revision = monitor.revision
    monitor.configured(2.0, 3)
    monitor.queued(2.0, 2)
    assert monitor.revision == revision, "a dashboard would never rest"
    monitor.lost(2.0, 0, "ended on request", replaced=True)
    monitor.lost(3.0, 0, "rank 1 was killed", replaced=True)
    assert [line.text for line in monitor.snapshot(3.0).log] == [
        "being replaced: ended on request", "being replaced: rank 1 was killed",
    ]  # fmt: skip


def test_if_none_is_busy_a_worker_with_spikes_is_watched():
    monitor = Monitor(CULTURE)
    for worker in (0, 1):
        monitor.joined(0.0, worker)
    assert monitor.snapshot(0.0).recent.worker == 0
    monitor.started(1.0, 1, 1, 1)
    spike = np.array([3], np.uint32), np.array([5.0])
    monitor.progressed(1.0, 1, 1, 10.0, 10.0, *spike)
    monitor.ended(1.0, 1, "done")
    assert monitor.snapshot(1.0).recent.worker == 1
