"""What a call costs beside its simulation: our dispatch against the bare transports.

    python benchmarks/dispatch.py            # over ipyparallel, then under mpirun
    python benchmarks/dispatch.py --no-mpi   # over ipyparallel only

The backend does nothing, so that nothing but the dispatch is measured. Everything is
compared with raw messages over the same engines, or the same MPI ranks, in the same
run; the ratios are what counts.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.environment import engine_environment
from livn_ipp.cluster.machine.mpi import matching_mpiexec
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.types import Decoding

WORKERS = 2


class Nothing:
    """A backend that simulates nothing."""

    multirank = True

    def __init__(self, system: str, **_: Any) -> None:
        del system

    def init(self) -> "Nothing":
        """Build nothing."""
        return self

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> "Nothing":
        """Forget nothing."""
        del reseed, trial
        return self

    def close(self) -> None:
        """Give nothing back."""

    def __call__(self, decoding: Any, inputs: Any = None, **_: Any) -> Any:
        """Let the decoding do it all."""
        return decoding(inputs, self)


class NoOperation(Decoding):
    """Answer at once."""

    duration: int = 1

    def __call__(self, run: Any, env: Any = None) -> Any:
        """Return the input."""
        del env
        return run


class Nap(NoOperation):
    """Answer after so many seconds."""

    def __call__(self, run: Any, env: Any = None) -> Any:
        """Sleep."""
        del env
        time.sleep(run)


class Large(NoOperation):
    """Answer with an array."""

    def __call__(self, run: Any, env: Any = None) -> Any:
        """Return so many numbers."""
        del env
        return np.ones(run)


def median_seconds(action: Callable[[], Any], repeats: int) -> float:
    """Time an action several times."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def paired(
    ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = 20, each: int = 20
) -> tuple[float, float]:
    """Time two actions in turn, so that a busy neighbour slows both."""
    for action in (ours, theirs):
        median_seconds(action, each)
    pairs = [
        (median_seconds(ours, each), median_seconds(theirs, each))
        for _ in range(rounds)
    ]
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))  # type: ignore[return-value]


def efficiency(run: Callable[[float, int], Any], seconds: float) -> float:
    """Return the share of the workers' time that calls of a length fill; best of 3."""
    calls = max(20, int(3 / seconds))
    run(seconds, calls // 4)
    walls = []
    for _ in range(3):
        began = time.perf_counter()
        run(seconds, calls)
        walls.append(time.perf_counter() - began)
    return seconds * calls / WORKERS / min(walls)


def growth(env: DistributedEnv, calls: int = 10_000) -> float:
    """Return how many MB this process grows by over single calls."""
    memory = psutil.Process().memory_info

    def some(number: int) -> None:
        for start in range(0, number, 100):
            futures = [env.submit(NoOperation(), start) for _ in range(100)]
            env.gather(futures)

    some(calls)
    before = memory().rss
    some(calls)
    return float(memory().rss - before) / 1e6


def tell(name: str, value: float, unit: str, bare: float | None = None) -> None:
    """Print one line of the table."""
    against = "" if bare is None else f"{bare:12.3f} {value / bare:8.2f}x"
    click.echo(f"{name:44} {value:12.3f} {unit:8} {against}")


def throughput(env: DistributedEnv, calls: int = 20_000) -> float:
    """Return how many calls a second go through in one batch; best of 3."""
    inputs = [0] * calls
    return calls / min(
        median_seconds(lambda: env(NoOperation(), inputs), 1) for _ in range(3)
    )


def over_ipyparallel(subworld_size: int) -> None:
    """Compare with raw DirectViews on the same engines."""
    with (
        Cluster(WORKERS, subworld_size) as cluster,
        DistributedEnv(
            "EI1", backend=Nothing, cluster=cluster, subworld_size=subworld_size
        ) as env,
    ):
        click.echo(f"\nipyparallel, {WORKERS} workers of {subworld_size} ranks")
        click.echo(f"{'':44} {'ours':>12} {'':8} {'raw':>12}")
        places = [place.engines for place in cluster.workers]
        views = [[cluster.client[engine] for engine in place] for place in places]

        def raw() -> None:
            pending = [view.apply_async(os.getpid) for view in views[0]]
            for answer in pending:
                answer.get()

        call, message = paired(lambda: env(NoOperation(), [1]), raw)
        tell(
            "one call, against one message to each rank",
            call * 1e3,
            "ms",
            message * 1e3,
        )
        tell("no-op calls at once", throughput(env), "calls/s")
        for seconds in (0.005, 0.02, 0.1):
            tell(
                f"efficiency of {seconds * 1e3:.0f} ms calls",
                efficiency(lambda s, n: env(Nap(), [s] * n), seconds),
                "",
                efficiency(lambda s, n: _raw_naps(views, s, n), seconds),
            )
        array = median_seconds(lambda: env(Large(), [10_000_000]), 5)
        leader = views[0][0]
        bare = median_seconds(lambda: leader.apply_async(_ones, 10_000_000).get(), 5)
        tell("a result of 80 MB", array, "s", bare)
        tell("growth over 10,000 calls", growth(env), "MB")


def _ones(count: int) -> Any:
    import numpy as np

    return np.ones(count)


def _raw_naps(views: list[list[Any]], seconds: float, calls: int) -> None:
    pending = [
        [view.apply_async(time.sleep, seconds) for view in views[number % len(views)]]
        for number in range(calls)
    ]
    for answers in pending:
        for answer in answers:
            answer.get()


def under_mpirun() -> None:
    """Measure from the highest rank, and bare messages over the same ranks."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.rank == 0:
        _echo(world, world.size - 1)
    bare = _ping(world, 0) if world.rank == world.size - 1 else 0.0
    env = DistributedEnv("EI1", backend=Nothing, comm=world).init()
    if env.is_root():
        click.echo(f"\nmpirun, {WORKERS} workers of 1 rank")
        click.echo(f"{'':44} {'ours':>12} {'':8} {'mpi4py':>12}")
        single = NoOperation()
        env(single, [1] * 200)
        call = median_seconds(lambda: env.submit(single, 1).result(), 2000)
        tell("one call, against one send and receive", call * 1e3, "ms", bare * 1e3)
        tell("no-op calls at once", throughput(env), "calls/s")
        for seconds in (0.005, 0.02, 0.1):
            share = efficiency(lambda s, n: env(Nap(), [s] * n), seconds)
            tell(f"efficiency of {seconds * 1e3:.0f} ms calls", share, "")
        tell("a result of 80 MB", median_seconds(lambda: env(Large(), [10**7]), 5), "s")
        tell("growth over 10,000 calls", growth(env), "MB")
    env.shutdown()


def _ping(world: Any, to: int) -> float:
    def once() -> None:
        world.send((1, NoOperation()), dest=to)
        world.recv(source=to)

    median_seconds(once, 200)
    seconds = median_seconds(once, 2000)
    world.send(None, dest=to)
    return seconds


def _echo(world: Any, to: int) -> None:
    while (message := world.recv(source=to)) is not None:
        world.send(message, dest=to)


@click.command(help=__doc__)
@click.option("--mpi/--no-mpi", default=True, help="Measure under mpirun as well.")
@click.option("--inside", is_flag=True, hidden=True)
def main(mpi: bool, inside: bool) -> None:
    """Run the benchmark."""
    if inside:
        under_mpirun()
        return
    click.echo(f"{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for subworld_size in (1, 2):
        over_ipyparallel(subworld_size)
    if mpi:
        command = [str(matching_mpiexec()), "-n", str(WORKERS + 1), sys.executable]
        subprocess.run(
            [*command, str(Path(__file__).resolve()), "--inside"],
            env=engine_environment(os.environ, {}),
            check=True,
            timeout=300,
        )


if __name__ == "__main__":
    main()
