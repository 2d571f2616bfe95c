"""What observers are told of the calls and workers of a real environment."""

import time

import promises
import pytest

from livn_ipp.cluster import dispatcher
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.view.culture import Culture
from livn_ipp.view.monitor import Monitor
from livn_ipp.view.telemetry import Telemetry


class Diary:
    """Writes down whatever it is told."""

    def __init__(self):
        self.pages = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.pages.append((name, *args))

    def told(self, name):
        return [page for page in self.pages if page[0] == name]


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_call_is_told_from_its_start_to_its_end():
    with promises.environment(transport="local") as env:
        diary = Diary()
        env._dispatcher.observe(diary)
        assert diary.told("joined") == [("joined", 0)]
        assert diary.told("placed")
        env(promises.Echo(), inputs=[1, 2, 3])
        with pytest.raises(ZeroDivisionError):
            env(lambda run, env: 1 / 0)
        env.set_weights({"a": 1})
        call = env.submit(promises.until_stopped)
        until(lambda: call.progress)
        call.cancel()
        until(lambda: ("configured", 1) in diary.pages)
        started = [page[1] for page in diary.told("started")]
        ended = diary.told("ended")
        assert started == [page[1] for page in ended]
        assert [page[2] for page in ended] == ["done"] * 3 + ["failed", "cancelled"]
        assert "ZeroDivisionError" in ended[3][3]
        assert diary.told("progressed")
        env._dispatcher.ignore(diary)
        count = len(diary.pages)
        env(promises.Echo(), inputs=[1])
        assert len(diary.pages) == count


def test_that_no_call_waits_any_more_is_told_at_once(monkeypatch):
    with promises.environment(transport="local") as env:
        diary = Diary()
        env._dispatcher.observe(diary)
        calls = [env.submit(lambda run, env: time.sleep(0.05)) for _ in range(20)]
        until(lambda: any(calls for _, calls in diary.told("queued")))
        monkeypatch.setattr(dispatcher, "_TICK", 600)  # the looks now and then
        calls[-1].result(20)
        assert diary.told("queued")[-1] == ("queued", 0)
        assert diary.pages[-1] == ("ended", calls[-1].id, "done")


@pytest.mark.neuron
def test_a_monitor_sees_the_spikes_of_a_running_culture():
    with DistributedEnv("EI1", transport="local") as env:
        env.record_spikes()
        monitor = Telemetry(Monitor(Culture.of(env.system)))
        env._dispatcher.observe(monitor)
        run = env(30_000)[0]  # long enough for words in between
        seen = monitor.snapshot()
        assert not monitor.fault
        assert seen.workers[0].done == 1
        assert 0 < len(seen.recent.times) <= len(run.spikes.times)
