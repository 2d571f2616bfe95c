"""What an update of the dashboard costs: CPU time and bytes to the browser.

Sixteen workers simulate 1,000 cells at 5 Hz; 25,000 spikes are in the window. Messages
are serialised and signed as a kernel does it, and not sent.

    python benchmarks/dashboard.py --workers 16 --updates 50
    python benchmarks/dashboard.py --simulate 8

With --simulate, a real worker also runs so many pairs of calls, one of each pair under
a dashboard, to tell by how much that slows a simulation.
"""

import argparse
import statistics
import time
from unittest import mock

import comm
import numpy as np
from comm.base_comm import BaseComm
from jupyter_client.session import Session
from pydantic import PrivateAttr

from livn_ipp import Decoding, DistributedEnv, System
from livn_ipp.view.culture import Culture
from livn_ipp.view.dashboard import Dashboard
from livn_ipp.view.monitor import Monitor
from livn_ipp.view.telemetry import Telemetry

STEP = 100.0  # ms of biological time between updates
WINDOW = 5000.0


class Counted(BaseComm):
    """Serialises as a kernel's comm does, and counts."""

    session = Session(key=b"benchmark")
    bytes = messages = 0

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        """Count a message."""
        del buffers  # there are none
        content = {"data": data or {}, "comm_id": self.comm_id, **keys}
        message = self.session.msg(msg_type, content=content, metadata=metadata)
        Counted.bytes += sum(map(len, self.session.serialize(message)))
        Counted.messages += 1


def simulated(telemetry, rng, workers, cells, step):
    for worker in range(workers):
        count = int(rng.poisson(cells * 5.0 * STEP / 1000))
        times = np.sort(rng.uniform(step * STEP, (step + 1) * STEP, count))
        telemetry.progressed(
            worker, worker + 1, (step + 1) * STEP, 1e6,
            rng.integers(0, cells, count).astype(np.uint32), times, (150_000_000,) * 4,
        )  # fmt: skip


class Cost(Decoding):
    """CPU time that a rank spent on the call."""

    duration: float = 1000.0
    _began: float = PrivateAttr(0.0)

    def setup(self, _env):
        """Begin to measure."""
        self._began = time.process_time()

    def __call__(self, _run, _env=None):
        """End."""
        return time.process_time() - self._began


def cost(env, trial, *, seen):
    """Spend CPU time on a call: in the worker, in this process."""
    if seen:
        env.dashboard()
    began = time.process_time()
    (worker,) = env(Cost(), trial=trial)
    spent = time.process_time() - began
    if seen:
        env.dashboard().close()
        env._close_views()  # noqa: SLF001 (so that the next call is not watched)
    return worker, spent


def simulate(pairs):
    """Print the ratios of calls' costs with and without a dashboard."""
    with DistributedEnv("EI3", num_workers=1) as env:
        env.record_spikes()
        env(Cost())
        found = []
        for trial in range(pairs):
            order = (True, False) if trial % 2 else (False, True)
            found.append({seen: cost(env, trial, seen=seen) for seen in order})
    ratios = [pair[True][0] / pair[False][0] for pair in found]
    print(
        f"worker:     {100 * (statistics.median(ratios) - 1):+.1f} % CPU when watched"
    )
    print(f"            {pairs} pairs, {min(ratios):.3f} to {max(ratios):.3f}")
    for seen in (False, True):
        share = statistics.median(pair[seen][1] / pair[seen][0] for pair in found)
        watched = "watched" if seen else "not watched"
        print(f"controller: {100 * share:.1f} % of the worker's CPU time, {watched}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--simulate", type=int, default=0)
    options = parser.parse_args()
    comm.create_comm = Counted
    system = System("EI3")
    culture = Culture.of(system, system.default_io())
    telemetry = Telemetry(Monitor(culture, window=WINDOW))
    for worker in range(options.workers):
        telemetry.joined(worker)
        telemetry.placed(worker, f"node{worker:02}", (4000, 4001, 4002, 4003))
        telemetry.started(worker + 1, worker, 1)
    telemetry.queued(200)
    rng = np.random.default_rng(1)
    dashboard = Dashboard(telemetry, mock.Mock(), interval=3600.0)
    full = int(WINDOW / STEP)
    told, updated, sent = [], [], []
    for step in range(full + options.updates):
        began = time.process_time()
        simulated(telemetry, rng, options.workers, system.num_cells, step)
        told.append(time.process_time() - began)
        if step < full:
            continue
        Counted.bytes = 0
        began = time.process_time()
        dashboard.update()
        updated.append(time.process_time() - began)
        sent.append(Counted.bytes)
    assert not telemetry.fault, telemetry.fault
    seen = telemetry.snapshot()
    print(f"{options.workers} workers, {len(seen.recent.gids)} spikes in the window")
    print(f"update:     {1000 * statistics.median(updated):.2f} ms CPU")
    print(f"            {statistics.median(sent) / 1000:.1f} kB, signed")
    news = 1e6 * statistics.median(told) / options.workers
    print(f"telemetry:  {news:.0f} us CPU for a worker's news, made here and folded in")
    dashboard.close()
    if options.simulate:
        simulate(options.simulate)


if __name__ == "__main__":
    main()
