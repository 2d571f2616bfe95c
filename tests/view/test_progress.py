import io
import os
import threading
import time

import pytest
from sanitizer import sanitized

from livn_ipp.view.progress import Progress, Tally, _InNotebook, _InTerminal, painter

PATIENCE = 20.0  # s, under any load


class Call:
    def __init__(self, progress=0.0, end=None, *, done=False, error=None):
        self.progress, self.end, self.ended = progress, end, done
        self.error = error

    def done(self):
        return self.ended

    def exception(self):
        return self.error


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Painter(list):
    """Keeps tallies, and tells when there are so many."""

    def __call__(self, tally):
        self.append(tally)

    def wait(self, number):
        deadline = time.monotonic() + PATIENCE
        while len(self) < number:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_a_bar_shows_how_far_calls_are_and_how_it_ended():
    calls = [Call(done=True, end=1000.0), Call(500.0, 1000.0), Call(), Call()]
    paint = Painter()
    with Progress(paint=paint, delay=0.0, interval=0.005) as progress:
        progress.add(calls)
        paint.wait(len(paint) + 2)
        first = paint[-1]
        assert (first.total, first.ended, first.how) == (4, 1, "running")
        assert (first.fraction, first.biological) == (1.5 / 4, 1500.0)
        assert first.remaining == pytest.approx(first.elapsed * 2.5 / 1.5)
        for call in calls:
            call.ended = True
    assert paint[-1].how == "done"
    assert paint[-1].ended == 4
    count = len(paint)
    time.sleep(0.05)
    assert len(paint) == count


def test_what_ended_well_counts_whole_and_the_rest_as_far_as_it_came():
    calls = [
        Call(900.0, 1000.0, done=True),
        Call(300.0, 1000.0, done=True, error=ValueError()),
        Call(200.0, 1000.0),
    ]
    paint = Painter()
    with Progress(paint=paint, delay=0.0, interval=0.005) as progress:
        progress.add(calls)
        paint.wait(1)
    assert paint[-1].biological == 1500.0


@pytest.mark.parametrize(
    ("error", "how"), [(ValueError, "failed"), (KeyboardInterrupt, "cancelled")]
)
def test_a_bar_tells_that_the_wait_ended_badly(error, how):
    paint = Painter()

    def wait():
        with Progress(paint=paint, delay=0.0) as progress:
            progress.add([Call()])
            paint.wait(1)
            raise error

    with pytest.raises(error):
        wait()
    assert paint[-1].how == how


def test_a_short_wait_shows_nothing():
    paint = Painter()
    with Progress(paint=paint, delay=PATIENCE) as progress:
        progress.add([Call(done=True)])
    assert not paint


def test_calls_are_added_as_they_are_submitted():
    paint = Painter()
    with Progress(total=10, paint=paint, delay=0.0, interval=0.005) as progress:
        progress.add(iter([Call(done=True), Call(done=True)]))
        paint.wait(len(paint) + 2)
        progress.add([Call()])
        paint.wait(len(paint) + 2)
    assert (paint[-1].total, paint[-1].ended) == (10, 2)


def test_a_painter_that_fails_disturbs_nobody():
    reached = threading.Event()

    def fail(_):
        reached.set()
        raise OSError("no terminal any more")

    with Progress(paint=fail, delay=0.0, interval=0.005) as progress:
        progress.add([Call()])
        assert reached.wait(PATIENCE)


def test_without_a_painter_nothing_is_kept():
    with Progress(show=False) as progress:
        progress.add([Call()] * 1000)
    assert not progress._unfinished


def test_a_terminal_gets_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    paint = _InTerminal(out)
    paint(Tally(40, 10, 5000.0, 0.25, 20.0))
    paint(Tally(40, 40, 20_000.0, 1.0, 75.0, "done"))
    first, second = out.getvalue().removesuffix("\n").split("\r\r")
    assert first.startswith("\r[###")
    assert first.strip().endswith("left 1:00 min")
    assert second.rstrip() == "✓ 40 of 40 calls, 20.0 s simulated in 1:15 min"
    assert len(first.strip("\r")) == len(second) == 79


@pytest.mark.parametrize("columns", [20, 40, 300])
def test_a_line_fits_any_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    _InTerminal(out)(Tally(40, 10, 5000.0, 0.25, 20.0))
    assert len(out.getvalue().strip("\r")) == columns - 1


def test_a_notebook_gets_one_output_that_changes(monkeypatch):
    pages = []

    class Handle:
        def update(self, page, *, raw):
            pages.append(page)

    def display(page, *, raw, display_id):
        pages.append(page)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    paint = _InNotebook()
    paint(Tally(40, 10, 5000.0, 0.25, 20.0))
    paint(Tally(40, 12, 5000.0, 0.3, 21.0, "cancelled"))
    assert "10 of 40 calls" in sanitized(pages[0]["text/html"]).text
    assert "width:25.0%" in pages[0]["text/html"]
    assert pages[1]["text/plain"].startswith("■ 12 of 40 calls")


def test_tests_and_files_see_no_bar(monkeypatch):
    assert painter() is None  # this is one
    monkeypatch.delenv("PYTEST_VERSION")
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert painter() is None
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(painter(), _InTerminal)
    monkeypatch.setenv("LIVN_IPP_PROGRESS", "0")
    assert painter() is None


def test_a_kernel_draws_into_its_cell(monkeypatch):
    class Shell:
        kernel = object()

    monkeypatch.delenv("PYTEST_VERSION")
    monkeypatch.setattr("IPython.get_ipython", Shell)
    assert isinstance(painter(), _InNotebook)
    assert os.environ.get("LIVN_IPP_PROGRESS") is None
