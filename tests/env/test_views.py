"""What an environment shows of itself, on real workers."""

import time

import promises
import pytest
from sanitizer import sanitized

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import CallCancelled, ConfigError
from livn_ipp.view.progress import Progress

PATIENCE = 60.0  # s


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def pane(dashboard, name):
    return dashboard._view.panes[name].value


def test_a_snapshot_is_of_what_runs():
    with promises.environment(transport="local") as env:
        assert [w.state.value for w in env.snapshot().workers] == ["idle"]
        env(promises.Echo(), inputs=[1, 2])
        until(lambda: env.snapshot().calls.done == 2)


def test_views_end_with_their_environment():
    env = promises.environment(transport="local").init()
    dashboard = env.dashboard()
    assert env.dashboard() is dashboard
    env(promises.Echo(), inputs=[1])
    env.shutdown()
    assert dashboard.closed
    assert "1 of 1 call" in sanitized(dashboard._repr_html_()).text
    with pytest.raises(ConfigError, match="was shut down"):
        env.dashboard()


def test_a_closed_dashboard_is_replaced_by_another():
    with promises.environment(transport="local") as env:
        first = env.dashboard()
        first.close()
        assert env.dashboard() is not first


def test_a_call_that_ran_already_is_seen_and_cancelled_by_button():
    with promises.environment(transport="local") as env:
        call = env.submit(promises.until_stopped)
        until(lambda: call.progress)
        dashboard = env.dashboard()
        controls = dashboard._view.controls
        assert controls.cancel.description == f"Cancel call {call.id}"
        controls.cancel.click()
        with pytest.raises(CallCancelled):
            call.result(PATIENCE)
        until(lambda: "is cancelled" in controls.message.value)
        controls.add.click()
        until(lambda: "ipyparallel engines only" in controls.message.value)


@pytest.mark.neuron
def test_of_short_calls_all_spikes_are_told_or_none():
    with DistributedEnv("EI1", transport="local") as env:
        env.record_spikes().snapshot()
        futures = [env.submit(100) for _ in range(20)]
        spikes = {int(future): future.result().spikes.ids for future in futures}
        recent = env.snapshot().recent
        # Those of which nothing is told take no time in the view.
        told = {begin: call for begin, call in recent.begins if begin < recent.stop}
        assert recent.stop == 100.0 * len(told) > 0
        for begin, call in told.items():
            here = (recent.times >= begin) & (recent.times < begin + 100)
            assert sorted(recent.gids[here]) == sorted(spikes[call])
        assert len(recent.gids)
        env(100, inputs=[None] * 20)
        assert env.snapshot().calls.biological == 2000.0


@pytest.mark.neuron
def test_a_dashboard_shows_spikes_while_the_caller_waits():
    with DistributedEnv("EI1", transport="local") as env:
        env.record_spikes().record_potential(dt=1.0)
        dashboard = env.dashboard()
        (run,) = env(20_000)
        dashboard.update()
        seen = env.snapshot().electrodes
        assert seen.ids.tolist() == run.potential.ids.tolist()
        assert seen.potentials.tolist() == run.potential.values[:, -1].tolist()
        assert "<image" in pane(dashboard, "raster")
        assert "EXC" in pane(dashboard, "rates")
        assert pane(dashboard, "electrodes").count("<circle") == 16
        assert not env._telemetry.fault


def test_a_caller_who_waits_is_shown_a_bar(monkeypatch):
    seen = []
    monkeypatch.setattr("livn_ipp.view.progress.painter", lambda: seen.append)
    monkeypatch.setattr(
        "livn_ipp.env.facade.calls.Progress",
        lambda **options: Progress(**options, delay=0.0, interval=0.01),
    )
    with promises.environment(transport="local") as env:
        env(promises.Echo(), inputs=list(range(300)))
        assert list(env.map(promises.Echo(), range(300), progress=False))
        count = len(seen)
        assert seen[-1].how == "done"
        assert (seen[-1].ended, seen[-1].total) == (300, 300)
        assert seen[-1].biological == 300, "1 ms each, of which no word was heard"
        list(env.map(promises.Echo(), range(300)))
        assert len(seen) > count
        assert (seen[-1].ended, seen[-1].total) == (300, 300)
        with pytest.raises(ZeroDivisionError):
            env(lambda run, env: (time.sleep(0.5), 1 / 0))
        assert seen[-1].how == "failed"
