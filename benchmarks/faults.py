"""What the loss of a worker costs: how soon it is noticed, and what others feel of it.

    python benchmarks/faults.py          # 20 kills
    python benchmarks/faults.py --kills 5

One worker is killed again and again while both run calls of 50 ms one after another.
The calls sleep, so that what is measured is the cluster and not a shared processor.
"""

import statistics
import threading
import time

import click

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import FaultyEnv, kill_rank

CALL = 50  # ms
PACE = 0.001  # s for each ms: as fast as in nature
PATIENCE = 120.0  # s, for a worker to come back


class Caller(threading.Thread):
    """Runs calls on one worker, one after another, and notes when each ended."""

    def __init__(self, env, worker):
        super().__init__(daemon=True)
        self.env, self.worker = env, worker
        self.ends = []
        self.attempts = 0
        self.ended = threading.Event()

    def run(self):
        """Call until told to end."""
        while not self.ended.is_set():
            call = self.env.submit(CALL, trial=0, worker=self.worker, pace=PACE)
            call.result(120)
            self.ends.append(time.monotonic())
            self.attempts += call.attempts

    def rate(self, begin, end):
        """Return the calls per second in a time."""
        return sum(begin < each <= end for each in self.ends) / (end - begin)


def measure(env, kills):
    """Kill rank after rank; return the times and the other worker's rates."""
    lost, joined = [], []
    dispatcher = env._dispatcher  # noqa: SLF001 - nobody else is told of losses
    for name, times in (("lost", lost), ("joined", joined)):
        heard = getattr(dispatcher, name)
        setattr(dispatcher, name, _noting(heard, times))
    hit, other = Caller(env, 0), Caller(env, 1)
    for caller in (hit, other):
        caller.start()
    noticed, whole, resumed, ratios = [], [], [], []
    for number in range(kills):
        time.sleep(5)
        killed = kill_rank(env, 0, number % 2).time
        wait_until(lambda n=number: len(joined) > n)
        back = joined[number]
        wait_until(lambda since=back: any(end > since for end in hit.ends))
        noticed.append(lost[number] - killed)
        whole.append(back - killed)
        resumed.append(next(end for end in hit.ends if end > back) - back)
        calm = other.rate(killed - 4.5, killed)
        ratios.append(other.rate(killed, back) / calm)
    for caller in (hit, other):
        caller.ended.set()
        caller.join()
    assert other.attempts == len(other.ends)
    return noticed, whole, resumed, ratios


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker did not come back in {PATIENCE:g} s")
        time.sleep(0.01)


def _noting(heard, times):
    def note(*args, **options):
        times.append(time.monotonic())
        heard(*args, **options)

    return note


@click.command()
@click.option("--kills", default=20)
def main(kills):
    """Print what the loss of a worker costs."""
    with DistributedEnv(
        "EI1", backend=FaultyEnv, num_workers=2, subworld_size=2
    ) as env:
        noticed, whole, resumed, ratios = measure(env, kills)
    for name, values in (
        ("noticed, s", noticed),
        ("replaced, s", whole),
        ("the interrupted call's result after that, s", resumed),
        ("the other worker's throughput meanwhile, of calm", ratios),
    ):
        middle = statistics.median(values)
        print(f"{name:50} median {middle:.3f} ({min(values):.3f}-{max(values):.3f})")


if __name__ == "__main__":
    main()
