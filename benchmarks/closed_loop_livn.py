"""What a step of livn's closed loop costs beside its simulation; see closed_loop.py.

    mpiexec -n 2 python benchmarks/closed_loop_livn.py

Encoding and decoding, on the worker, measure what lies between them: a sleep, and a
millisecond of a small culture. What is left of a step is overhead.
"""

import importlib.util
import statistics
import time
from pathlib import Path
from typing import Any

import click
import gymnasium as gym
import numpy as np
from mpi4py import MPI

if importlib.util.find_spec("livn"):
    from livn.env.distributed import DistributedEnv
    from livn.env.gymnasium import GymnasiumEnv
    from livn.types import Decoding, Encoding
else:
    Decoding = Encoding = object

WARM_UP, STEPS = 20, 150
CULTURE = Path(__file__).parents[1] / "systems" / "graphs" / "EI1"


class Sleep(Encoding):
    """Sleeps for as many seconds as the action says."""

    @property
    def input_space(self) -> Any:
        """A number."""
        return gym.spaces.Box(0.0, np.inf, ())

    def __call__(self, env: Any, t_end: Any, inputs: Any) -> None:
        """Note when the step began."""
        del t_end
        env.began = time.perf_counter()
        time.sleep(float(inputs))


class Took(Decoding):
    """Answers with the seconds since the step began."""

    duration: int = 1

    def __call__(self, *given: Any, env: Any = None) -> float:
        """Tell how long it took."""
        env = given[-1] if env is None else env
        return time.perf_counter() - float(env.began)


def main() -> None:
    """Print the overhead of steps, on the controller's rank."""
    if Decoding is object or MPI.COMM_WORLD.size < 2:
        click.echo("this needs livn, and mpiexec -n 2")
        return
    env = DistributedEnv(str(CULTURE), subworld_size=1).init()
    if env.is_root():
        loop = GymnasiumEnv(env, Sleep(), Took())
        for seconds in (0.0, 0.005):
            found = []
            for number in range(WARM_UP + STEPS):
                began = time.perf_counter()
                within = loop.step(np.float32(seconds))
                if number >= WARM_UP:
                    found.append(1e3 * (time.perf_counter() - began - within))
            low, *_, high = statistics.quantiles(found, n=10)
            figures = (low, statistics.median(found), high)
            label = f"livn, 1 rank, {1e3 * seconds:g} ms"
            click.echo(f"{label:34}" + "".join(f"{x:8.3f}" for x in figures))
    env.shutdown()


if __name__ == "__main__":
    main()
