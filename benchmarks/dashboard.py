"""What an update of the dashboard costs: CPU time and bytes to the browser.

Sixteen workers simulate 1,000 cells at 5 Hz; 25,000 spikes are in the window. Messages
are serialised and signed as a kernel does it, and not sent.

    python benchmarks/dashboard.py --workers 16 --updates 50
"""

import argparse
import statistics
import time
from unittest import mock

import comm
import numpy as np
from comm.base_comm import BaseComm
from jupyter_client.session import Session

from livn_ipp import System
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--updates", type=int, default=50)
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


if __name__ == "__main__":
    main()
