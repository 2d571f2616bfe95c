"""What a closed loop costs beside its simulation, against others in the same run.

    python benchmarks/closed_loop.py

The environment tells how long it took itself; what is left of a step is overhead.
"""

import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.session import Session
from livn_ipp.testing import LightEnv
from livn_ipp.types import Decoding

WARM_UP = 50
STEPS = 200
ROUNDS = 5
SIMULATED = 0.005
"""Seconds of a step that simulates something."""


class TimedEnv(LightEnv):
    """A light environment that tells how long each of its steps took."""

    def __call__(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        *,
        pace: float = 0.0,
    ) -> Any:
        """Simulate for `inputs` seconds; answer with how long that took."""
        del encoding, pace
        began = time.perf_counter()
        if inputs:
            time.sleep(inputs)
        decoding(None, self)
        return time.perf_counter() - began


class Nothing(Decoding):
    """Decode nothing."""

    duration: int = 1

    def __call__(self, run: Any, env: Any = None) -> None:
        """Return at once."""


@contextmanager
def no_channels(env: DistributedEnv) -> Iterator[None]:
    """Have steps travel as calls do."""
    transport = env._dispatcher.transport  # type: ignore[union-attr] # noqa: SLF001
    usual = transport.engage
    transport.engage = lambda _worker: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        transport.engage = usual  # type: ignore[method-assign]


def overheads(session: Session, seconds: float, steps: int) -> list[float]:
    """Return for each step its wall time less what its environment took, in s."""
    found = []
    for number in range(WARM_UP + steps):
        began = time.perf_counter()
        within = session.step(seconds)
        wall = time.perf_counter() - began
        if number >= WARM_UP:
            found.append(wall - within)
    return found


def step_overhead(ranks: int, seconds: float) -> tuple[list[float], list[float]]:
    """Measure steps over the usual way and over the channel, in turn.

    Returns
    -------
    tuple of list
        Overheads in s: the usual way's, the channel's.
    """
    usual: list[float] = []
    channel: list[float] = []
    with DistributedEnv(
        "EI1", num_workers=1, subworld_size=ranks, backend=TimedEnv
    ) as env:
        for _ in range(ROUNDS):
            with no_channels(env), env.session(Nothing()) as session:
                usual += overheads(session, seconds, STEPS // 4)
            with env.session(Nothing()) as session:
                session.step()
                time.sleep(0.2)  # until the channel is there
                channel += overheads(session, seconds, STEPS)
    return usual, channel


def show_step_overhead() -> None:
    """Print the table of a step's overhead."""
    click.echo("step overhead (ms): wall time of a step less its environment's")
    click.echo(f"{'':34}{'p10':>8}{'median':>8}{'p90':>8}")
    for ranks in (1, 2):
        for seconds in (0.0, SIMULATED):
            ways = step_overhead(ranks, seconds)
            for name, found in zip(
                ("as a call", "over the channel"), ways, strict=True
            ):
                low, *_, high = statistics.quantiles(found, n=10)
                middle = statistics.median(found)
                label = f"{ranks} rank(s), {1e3 * seconds:g} ms, {name}"
                figures = "".join(f"{1e3 * x:8.3f}" for x in (low, middle, high))
                click.echo(f"{label:34}{figures}")


@click.command()
def main() -> None:
    """Print all tables, with what they were measured on."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    click.echo(f"{platform.platform()}, {cores} cores, load {load}")
    show_step_overhead()


if __name__ == "__main__":
    main()
