"""The dashboard of a real cluster: its workers, a loss, its buttons."""

import os
import signal
import time

import promises
import pytest
from sanitizer import sanitized

from livn_ipp.cluster.launch import Cluster
from livn_ipp.errors import CallCancelled

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240)]

PATIENCE = 90.0  # s, for a world to start on a loaded machine


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def pane(dashboard, name):
    return dashboard._view.panes[name].value


def test_a_cluster_shows_its_workers_and_then_what_an_environment_does_on_it():
    with Cluster(num_workers=2) as cluster:
        bare = cluster.dashboard()
        pids = [rank.pid for rank in cluster.ranks()]
        assert all(f"pids {pid}" in pane(bare, "workers") for pid in pids)
        assert bare._view.controls is None
        bare.close()
        with promises.environment(cluster=cluster, transport="ipp") as env:
            dashboard = cluster.dashboard()
            assert dashboard is env.dashboard()
            controls = dashboard._view.controls

            call = env.submit(promises.until_stopped)
            until(lambda: call.worker is not None)
            controls.worker.value = call.worker
            until(lambda: controls.cancel.description == f"Cancel call {call.id}")
            controls.cancel.click()
            with pytest.raises(CallCancelled):
                call.result(PATIENCE)

            view = env.snapshot().workers[1]
            os.kill(view.pids[0], signal.SIGKILL)
            until(lambda: "being replaced" in pane(dashboard, "workers"))
            until(lambda: "worker 1 is ready again" in pane(dashboard, "log"))
            assert env.snapshot().workers[1].pids != view.pids

            controls.restart.click()
            until(lambda: "restarted on request" in pane(dashboard, "log"))
            chosen = controls.worker.value
            until(lambda: env.snapshot().workers[chosen].state.value == "idle")

            controls.add.click()
            until(lambda: len(env.snapshot().workers) == 3)
            until(lambda: env.snapshot().workers[2].state.value == "idle")
            controls.remove.click()
            until(lambda: len(env.snapshot().workers) == 2)
            assert len(env(promises.Echo(), inputs=[1, 2])) == 2
        assert dashboard.closed
        assert "was removed" in sanitized(dashboard._repr_html_()).text
        bare = cluster.dashboard()
        assert bare is not dashboard
        bare.close()
