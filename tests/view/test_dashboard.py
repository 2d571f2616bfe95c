import gc
import threading
import time
import weakref

import comm
import numpy as np
import pytest
from comm.base_comm import BaseComm
from IPython.core.interactiveshell import InteractiveShell

from livn_ipp.system import System
from livn_ipp.view.culture import Culture
from livn_ipp.view.dashboard import Dashboard
from livn_ipp.view.monitor import Monitor
from livn_ipp.view.telemetry import Telemetry

PATIENCE = 20.0  # s, under any load
CULTURE = Culture.of(System("EI1"), System("EI1").default_io())


class Wire(BaseComm):
    """Keeps what would go to the browser."""

    sent: list = []

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        Wire.sent.append((msg_type, self.comm_id, data))


class Actions:
    def __init__(self):
        self.asked = []
        self.go_on = threading.Event()

    def cancel(self, call):
        self.asked.append(("cancel", call))

    def cancel_all(self):
        self.asked.append(("cancel_all", threading.current_thread().name))

    def restart(self, worker):
        assert self.go_on.wait(PATIENCE)
        self.asked.append(("restart", worker))

    def scale(self, change):
        raise RuntimeError(f"<no> more cores for {change:+}")


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", Wire)
    Wire.sent = []
    return Wire


@pytest.fixture
def telemetry():
    telemetry = Telemetry(Monitor(CULTURE, "EI1"), clock=lambda: 100.0)
    for worker in (0, 1):
        telemetry.joined(worker)
    return telemetry


@pytest.fixture
def still(telemetry):
    """Make a dashboard that updates when it is told to, with its actions."""
    actions = Actions()
    dashboard = Dashboard(telemetry, actions, interval=3600.0)
    yield dashboard, actions
    dashboard.close()


def pane(dashboard, name):
    return dashboard._view.panes[name].value


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def spike(telemetry, call=1, time=100.0):
    gids, times = np.array([3], np.uint32), np.array([time - 1])
    telemetry.progressed(0, call, time, 1000.0, gids, times)


def test_only_what_changed_is_sent(still, telemetry, wire):
    dashboard, _ = still
    wire.sent = []
    assert dashboard.update() == 0
    assert not wire.sent
    telemetry.logged("hello")
    assert dashboard.update() == 1
    assert "hello" in pane(dashboard, "log")
    assert len(wire.sent) == 1
    telemetry.started(1, 0, 1)
    spike(telemetry)
    assert dashboard.update() == 5  # all but the log


def test_the_view_keeps_up_by_itself(telemetry):
    dashboard = Dashboard(telemetry, interval=0.01)
    telemetry.started(7, 0, 1)
    until(lambda: "0 of 1 call" in pane(dashboard, "overview"))
    telemetry.ended(7, "done")
    until(lambda: "1 of 1 call" in pane(dashboard, "overview"))
    dashboard.close()


def test_a_forgotten_dashboard_goes_away(telemetry):
    dashboard = Dashboard(telemetry, Actions(), interval=0.01)
    threads = [t for t in threading.enumerate() if t.name == "livn_ipp dashboard"]
    gone = weakref.ref(dashboard)
    dashboard._view.close()  # or ipywidgets keeps the widgets, though not us
    del dashboard
    until(lambda: gc.collect() is not None and gone() is None)
    until(lambda: not any(thread.is_alive() for thread in threads))


def test_a_fault_of_the_source_is_over_when_it_is(telemetry, monkeypatch):
    dashboard = Dashboard(telemetry, interval=0.01)
    with monkeypatch.context() as patched:
        broken = threading.Event()

        def fail(*_):
            broken.set()
            raise RuntimeError("no snapshot")

        patched.setattr(telemetry, "snapshot", fail)
        telemetry.logged("unseen")
        assert broken.wait(PATIENCE)
    until(lambda: "unseen" in pane(dashboard, "log"))
    dashboard.close()


def test_buttons_act_on_what_is_chosen(still, telemetry):
    dashboard, actions = still
    controls = dashboard._view.controls
    assert controls.worker.value == 0
    telemetry.started(41, 0, 1)
    telemetry.started(42, 1, 1)
    dashboard.update()
    assert controls.cancel.description == "Cancel call 41"
    controls.worker.value = 1
    dashboard.update()
    assert controls.cancel.description == "Cancel call 42"
    controls.cancel.click()
    until(lambda: actions.asked == [("cancel", 42)])
    until(lambda: "call 42 is cancelled" in controls.message.value)
    telemetry.ended(42, "cancelled")
    dashboard.update()
    controls.cancel.click()
    until(lambda: "runs no call" in controls.message.value)
    assert len(actions.asked) == 1


def test_a_button_rests_until_its_action_is_done_and_blocks_nobody(still):
    dashboard, actions = still
    controls = dashboard._view.controls
    controls.restart.click()  # returns at once
    assert controls.restart.disabled
    assert not controls.cancel_all.disabled
    actions.go_on.set()
    until(lambda: not controls.restart.disabled)
    assert actions.asked == [("restart", 0)]


def test_an_action_runs_on_a_thread_of_its_own_from_whatever_thread(still):
    dashboard, actions = still
    click = dashboard._view.controls.cancel_all.click
    for start in (click, lambda: threading.Thread(target=click).start()):
        actions.asked.clear()
        start()
        until(lambda: actions.asked == [("cancel_all", "livn_ipp action")])


def test_an_action_that_fails_says_why(still):
    dashboard, _ = still
    controls = dashboard._view.controls
    controls.remove.click()
    until(lambda: "&lt;no&gt; more cores for -1" in controls.message.value)
    assert "failed" in controls.message.value
    until(lambda: not controls.remove.disabled)


def test_buttons_have_names_and_explain_themselves(still):
    dashboard, _ = still

    def widgets(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from widgets(child)

    kinds = {type(w).__name__ for w in widgets(dashboard.widget)}
    assert {"Button", "Dropdown", "HTML"} <= kinds
    for widget in widgets(dashboard.widget):
        if type(widget).__name__ in {"Button", "Dropdown"}:
            assert widget.description
            assert widget.tooltip


def test_choices_follow_the_workers_and_keep_what_is_chosen(still, telemetry):
    dashboard, _ = still
    watch = dashboard._view.watch
    watch.value = 1
    telemetry.joined(2)
    dashboard.update()
    assert [value for _, value in watch.options] == [-1, 0, 1, 2]
    assert watch.value == 1
    telemetry.retired(1)
    dashboard.update()
    assert watch.value == -1
    assert watch.index == 0, "a front end would show nothing"


def test_another_colour_is_drawn_at_once(still, telemetry):
    dashboard, _ = still
    telemetry.started(1, 0, 1)
    telemetry.progressed(0, 1, 1.0, potential=np.arange(16.0))
    dashboard.update()
    assert "15 uV" not in pane(dashboard, "electrodes")
    dashboard._view.colour.value = "potential"
    assert "15 uV" in pane(dashboard, "electrodes")


def test_without_actions_there_are_no_buttons(telemetry):
    dashboard = Dashboard(telemetry, interval=3600.0)
    assert dashboard._view.controls is None
    dashboard.close()


class Display:
    """Stands in for the front end: keeps what is displayed under an id."""

    def __init__(self):
        self.pages = []

    def __call__(self, page, *, raw, display_id):
        assert raw
        assert display_id
        self.pages.append(page)
        return self

    def update(self, page, *, raw):
        assert raw
        self.pages.append(page)


def test_it_shows_a_widget_and_what_stands_in_for_it(still, telemetry, monkeypatch):
    dashboard, _ = still
    display = Display()
    monkeypatch.setattr("IPython.display.display", display)
    dashboard._ipython_display_()
    (page,) = display.pages
    assert page["text/plain"] == "livn_ipp dashboard"
    view = page["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == dashboard.widget.model_id
    assert "2 workers" in page["text/html"]
    telemetry.logged("the end")
    dashboard.close()
    assert set(display.pages[1]) == {"text/plain", "text/html"}
    assert "the end" in display.pages[1]["text/html"]
    dashboard.close()
    assert len(display.pages) == 2
    assert dashboard.update() == 0


def test_the_notebook_keeps_what_was_so_when_calls_had_ended(
    still, telemetry, monkeypatch
):
    dashboard, _ = still
    display = Display()
    monkeypatch.setattr("IPython.display.display", display)
    dashboard._ipython_display_()
    telemetry.started(1, 0, 1)
    telemetry.ended(1, "done")
    dashboard.update()
    assert not dashboard.keep(), "others may follow at once"
    telemetry._clock = lambda: 105.5
    assert dashboard.keep()
    assert not dashboard.keep()
    first, kept = display.pages
    assert "1 of 1 call" not in first["text/html"]
    assert "1 of 1 call" in kept["text/html"]
    assert kept.keys() == first.keys(), "it stays live"
    telemetry.started(2, 0, 1)
    dashboard.update()
    assert not dashboard.keep()


def test_a_closed_dashboard_leaves_no_widget_open(telemetry, wire):
    dashboard = Dashboard(telemetry, Actions(), interval=3600.0)
    dashboard.close()
    opened = {comm_id for kind, comm_id, _ in wire.sent if kind == "comm_open"}
    closed = {comm_id for kind, comm_id, _ in wire.sent if kind == "comm_close"}
    assert opened == closed


def test_ipython_shows_it_by_itself(still, monkeypatch):
    dashboard, _ = still
    display = Display()
    monkeypatch.setattr("IPython.display.display", display)
    shell = InteractiveShell.instance()
    try:
        assert shell.display_formatter.format(dashboard) == ({}, {})
    finally:
        InteractiveShell.clear_instance()
    assert len(display.pages) == 1


def test_buttons_act_on_the_worker_that_is_chosen_now(still, telemetry):
    dashboard, actions = still
    telemetry.started(5, 1, 1)
    dashboard.update()
    controls = dashboard._view.controls
    assert controls.cancel.description == "Cancel call "
    controls.worker.value = 1  # and no update follows
    assert controls.cancel.description == "Cancel call 5"
    actions.go_on.set()
    controls.restart.click()
    until(lambda: "worker 1 is being replaced" in controls.message.value)
