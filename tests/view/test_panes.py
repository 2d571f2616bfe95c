import numpy as np
import pytest
from sanitizer import sanitized

from livn_ipp.system import System
from livn_ipp.view import panes
from livn_ipp.view.culture import Culture
from livn_ipp.view.monitor import Monitor
from livn_ipp.view.snapshot import Snapshot

EI1 = System("EI1")
CULTURE = Culture.of(EI1, EI1.default_io())


@pytest.fixture
def monitor():
    monitor = Monitor(CULTURE, "DistributedEnv of <EI1>")
    for worker in (0, 1, 2):
        monitor.joined(0.0, worker)
        monitor.placed(0.0, worker, f"node{worker}", (100 + worker, 200 + worker))
    monitor.queued(0.0, 5)
    monitor.started(0.0, 1, 0, 1)
    gids, times = np.array([0, 9, 9], np.uint32), np.array([10.0, 20.0, 30.0])
    monitor.progressed(9.0, 0, 1, 500.0, 2000.0, gids, times, rss=(10**8, 2 * 10**8))
    monitor.started(0.0, 2, 1, 1)
    monitor.ended(5.0, 2, "failed", "ValueError: <b>bold</b>\nmore")
    monitor.lost(6.0, 2, "rank 1 ended by signal 9", replaced=True)
    return monitor


def test_the_overview_counts_calls_and_tells_what_is_left(monitor):
    told = sanitized(panes.overview(monitor.snapshot(10.0))).text.split()
    text = " ".join(told)
    assert "DistributedEnv of <EI1> 3 workers" in text
    assert "1 ○ idle" in text
    assert "1 ● busy" in text
    assert "1 ↻ being replaced" in text
    assert "1 of 7 calls" in text
    assert "500 ms simulated in 10 s" in text
    assert "11.5 s to go in 3:50 min" in text


def test_what_failed_in_earlier_batches_is_not_told_again(monitor):
    assert "1 ✕ failed" in sanitized(panes.overview(monitor.snapshot(10.0))).text
    monitor.ended(11.0, 1, "cancelled")
    monitor.queued(11.0, 0)
    monitor.started(20.0, 3, 0, 1)
    monitor.ended(21.0, 3, "done")
    text = sanitized(panes.overview(monitor.snapshot(21.0))).text
    assert "1 of 1 call" in text
    assert "failed" not in text
    assert "cancelled" not in text
    calls = monitor.snapshot(21.0).calls
    assert (calls.done, calls.failed, calls.cancelled) == (1, 1, 1)


def test_a_row_tells_all_of_a_worker(monitor):
    for live in (False, True):
        text = panes.workers(monitor.snapshot(10.0), live=live)
        for told in (
            "node0", "pids 100, 200", "500 ms of 2.0 s, 10 s", "300 MB",
            "100 MB, 200 MB", "ValueError: &lt;b&gt;bold", "signal 9", "width:25.0%",
        ):  # fmt: skip
            assert told in text, (live, told)
        assert "more</span>" not in text  # only an error's first line is shown


def test_rates_are_told_for_each_population(monitor):
    text = sanitized(panes.rates(monitor.snapshot(10.0), live=False)).text
    assert "EXC" in text
    assert "0.25 Hz" in text
    assert "2.00 Hz" in text


def test_a_mark_tells_where_a_call_began(monitor):
    assert ">call 1<" in panes.raster(monitor.snapshot(10.0))


def test_electrodes_are_shaded_by_what_they_hear(monitor):
    seen = monitor.snapshot(10.0)
    assert panes.electrodes(seen).count("<circle") == 16
    assert panes.electrodes(seen).count('fill-opacity="1.00"') >= 1
    assert "no potentials" in panes.electrodes(seen, "potential")
    potential = np.linspace(-40, 20, 16)
    monitor.progressed(10.0, 0, 1, 600.0, potential=potential)
    drawn = panes.electrodes(monitor.snapshot(10.0), "potential")
    assert "max 40 uV" in drawn
    assert "<title>0: -40 uV</title>" in drawn


def test_the_log_shows_the_latest_lines_escaped(monitor):
    for number in range(300):
        monitor.logged(0.0, f"line <{number}>", worker=1)
    text = panes.log(monitor.snapshot(0.0))
    assert "worker 1 line &lt;299&gt;" in text
    assert "line &lt;3&gt;" not in text


def test_a_static_page_survives_sanitizers(monitor):
    parser = sanitized(panes.static_page(monitor.snapshot(10.0)))
    assert len(parser.images) == 4  # a raster, electrodes, a line for each population
    assert "500 ms of 2.0 s" in parser.text


def test_a_busy_page_of_sixteen_workers_stays_small():
    ei3 = System("EI3")
    monitor = Monitor(Culture.of(ei3, ei3.default_io()))
    rng = np.random.default_rng(1)
    for worker in range(16):
        monitor.started(0.0, worker, worker, 1)
        times = np.sort(rng.uniform(0, 5000, 25_000))
        monitor.progressed(
            1.0, worker, worker, 5000.0, 6000.0, rng.integers(0, 1000, 25_000), times
        )
    assert len(sanitized(panes.static_page(monitor.snapshot(1.0))).images) == 4


def test_a_page_that_would_be_too_large_has_no_pictures():
    monitor = Monitor(CULTURE)
    for worker in range(500):
        monitor.lost(0.0, worker, "<" * 500)
    parser = sanitized(panes.static_page(monitor.snapshot(1.0)))
    assert "and 480 more workers" in parser.text


def test_nothing_known_is_said_so():
    parser = sanitized(panes.static_page(Snapshot("nothing", 0.0)))
    assert "0 workers" in parser.text
    assert "no calls yet" in parser.text
    assert "no spikes yet" in panes.raster(Snapshot("nothing", 0.0))
    assert "no electrodes" in panes.electrodes(Snapshot("nothing", 0.0))


def test_many_electrodes_are_pixels():
    positions = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2)
    rates = np.linspace(0, 5, 4096)
    picture = panes.heat_picture(
        positions, rates, range(4096), ink="#888888", unit="Hz"
    )
    assert "<circle" not in picture.content
    assert len(picture.svg()) < 20_000
