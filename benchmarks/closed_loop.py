"""What a closed loop costs beside its simulation, against others in the same run.

    python benchmarks/closed_loop.py 2>/dev/null  # a vector that is killed complains

The environment tells how long it took itself; what is left of a step is overhead. Two
environments at once are compared with Gymnasium's AsyncVectorEnv and, if it is
installed, with the SubprocVecEnv of Stable-Baselines3; one environment with livn's
GymnasiumEnv over its DistributedEnv, if that is installed.
"""

import contextlib
import importlib
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from livn_ipp import make_vec
from livn_ipp.cluster.machine.mpi import matching_mpiexec
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.session import Session
from livn_ipp.testing import LightEnv, kill_rank
from livn_ipp.types import Decoding, Encoding

WARM_UP = 50
STEPS = 200
ROUNDS = 5
SIMULATED = 0.005
"""Seconds of a step that simulates something."""
ENVS = 2
STEPS_OF = {0.0: 100, 0.005: 60, 0.02: 30}
"""Steps of a round, by the seconds that each environment takes for one."""
PATIENCE = 60.0
"""Seconds until a vector counts as hanging."""
SPACE = gym.spaces.Box(0.0, np.inf, ())

Vector = Callable[[float], NDArray[np.float64]]
"""Steps all environments, each for some seconds; returns how long each took itself."""


def took(seconds: Any, work: Callable[[], Any] = lambda: None) -> float:
    """Sleep, work, and return how long it took in s."""
    began = time.perf_counter()
    if seconds:
        time.sleep(float(seconds))
    work()
    return time.perf_counter() - began


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
        return took(inputs, lambda: decoding(None, self))


class Nothing(Decoding):
    """Decode nothing."""

    duration: int = 1

    @property
    def output_space(self) -> Any:
        """The seconds that a step took."""
        return SPACE

    def __call__(self, run: Any, env: Any = None) -> None:
        """Return at once."""


class Seconds(Encoding):
    """Takes the seconds of a step for an action."""

    @property
    def input_space(self) -> Any:
        """A number."""
        return SPACE

    def __call__(self, env: Any, t_end: Any, inputs: Any) -> None:
        """Play nothing."""


class Sleeper(gym.Env[Any, Any]):
    """What the others step: as TimedEnv does, and its reward is what it took."""

    action_space = observation_space = SPACE

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Do nothing."""
        super().reset(seed=seed, options=options)
        return np.float32(0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Sleep."""
        seconds = took(action)
        return np.float32(seconds), seconds, False, False, {}


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


def show(label: str, overhead: list[float], rest: str = "") -> None:
    """Print a line of a table: how the overheads, in s, are distributed."""
    low, *_, high = statistics.quantiles(overhead, n=10)
    middle = statistics.median(overhead)
    figures = "".join(f"{1e3 * x:8.3f}" for x in (low, middle, high))
    click.echo(f"{label:34}{figures}{rest}")


def show_step_overhead() -> None:
    """Print the table of a step's overhead."""
    click.echo("\nstep overhead (ms): wall time of a step less its environment's")
    click.echo(f"{'':34}{'p10':>8}{'median':>8}{'p90':>8}")
    for ranks in (1, 2):
        for seconds in (0.0, SIMULATED):
            ways = step_overhead(ranks, seconds)
            for name, found in zip(
                ("as a call", "over the channel"), ways, strict=True
            ):
                show(f"{ranks} rank(s), {1e3 * seconds:g} ms, {name}", found)


def seconds_itself(seconds: float, action: float, task: Any) -> float:
    """Reward a step with what it took, which the observation would round."""
    del action, task
    return seconds


def all_act(seconds: float) -> NDArray[np.float32]:
    """Return an action for each environment."""
    return np.full(ENVS, seconds, np.float32)


@contextmanager
def ours() -> Iterator[tuple[Vector, Callable[[], Any]]]:
    """Open environments on workers; yield what steps them, and what kills one."""
    with (
        DistributedEnv("EI1", num_workers=ENVS, backend=TimedEnv) as env,
        make_vec(
            env,
            Seconds(),
            Nothing(),
            ENVS,
            reward=seconds_itself,
            on_error="restart",
            timeout=PATIENCE,
        ) as envs,
    ):
        envs.reset()

        def step(seconds: float) -> NDArray[np.float64]:
            _, rewards, _, _, infos = envs.step(all_act(seconds))
            if "worker_error" in infos:
                raise EOFError("an environment was lost; the vector goes on")
            return rewards

        yield step, lambda: kill_rank(env, 0)


@contextmanager
def gymnasiums() -> Iterator[tuple[Vector, Callable[[], Any]]]:
    """Do the same with Gymnasium's AsyncVectorEnv."""
    envs = gym.vector.AsyncVectorEnv([Sleeper] * ENVS)
    try:
        envs.reset()

        def step(seconds: float) -> NDArray[np.float64]:
            envs.step_async(all_act(seconds))
            return envs.step_wait(PATIENCE)[1]

        yield step, envs.processes[0].kill
    finally:
        with contextlib.suppress(OSError, EOFError):
            envs.close(terminate=True)


@contextmanager
def baselines() -> Iterator[tuple[Vector, Callable[[], Any]]]:
    """Do the same with the SubprocVecEnv of Stable-Baselines3."""
    sb3 = importlib.import_module("stable_baselines3.common.vec_env")
    envs = sb3.SubprocVecEnv([Sleeper] * ENVS)
    try:
        envs.reset()

        def step(seconds: float) -> NDArray[np.float64]:
            return np.asarray(envs.step(all_act(seconds))[1], np.float64)

        yield step, envs.processes[0].kill
    finally:
        with contextlib.suppress(OSError, EOFError):
            envs.close()
        for process in envs.processes:
            process.kill()


VECTORS = {"AsyncVectorEnv": gymnasiums, "make_vec": ours}
if importlib.util.find_spec("stable_baselines3"):
    VECTORS = {"SubprocVecEnv": baselines, **VECTORS}


def show_vectors() -> None:
    """Print what a step of two environments costs, the vectors in turn."""
    walls: dict[tuple[str, float], list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        vectors = {
            name: stack.enter_context(vector())[0] for name, vector in VECTORS.items()
        }
        for step in vectors.values():
            for _ in range(WARM_UP):
                step(0.0)
        for _ in range(ROUNDS):
            for seconds, steps in STEPS_OF.items():
                for name, step in vectors.items():
                    found = walls.setdefault((name, seconds), [])
                    for _ in range(steps):
                        began = time.perf_counter()
                        within = float(step(seconds).max())
                        found.append((within, time.perf_counter() - began))
    click.echo(f"\nstep of {ENVS} environments, each on its own: overhead (ms), and")
    click.echo("efficiency, the time that the slower one took itself by the whole")
    click.echo(f"{'':34}{'p10':>8}{'median':>8}{'p90':>8}{'efficiency':>12}")
    for (name, seconds), found in walls.items():
        part = statistics.median(within / wall for within, wall in found)
        efficiency = f"{part:12.2f}" if seconds else ""
        overhead = [wall - within for within, wall in found]
        show(f"{name}, {1e3 * seconds:g} ms", overhead, efficiency)


def recovery(name: str) -> str:
    """Kill one of the environments, and tell what it takes until all step again."""
    with ExitStack() as stack:
        step, kill = stack.enter_context(VECTORS[name]())
        step(0.0)
        kill()
        began = time.perf_counter()
        try:
            while time.perf_counter() - began < PATIENCE:
                step(SIMULATED)
        except (EOFError, OSError, TimeoutError) as error:
            noticed = time.perf_counter() - began
            told = f"{type(error).__name__} after {noticed:.2f} s"
        else:
            return "went on, as if nothing had been"
        try:
            step(0.0)
            how = "by itself"
        except Exception as error:
            how = f"unusable ({type(error).__name__}): made anew by hand"
            stack.close()
            step, _ = stack.enter_context(VECTORS[name]())
            step(0.0)
        return (
            f"{told}; all step again after {time.perf_counter() - began:.2f} s, {how}"
        )


def show_recovery() -> None:
    """Print what becomes of a vector when one environment's process is killed."""
    click.echo("\none environment's process is killed")
    for name in VECTORS:
        click.echo(f"{name:20}{recovery(name)}")


def show_livn() -> None:
    """Measure livn's loop under mpiexec: a controller and a worker."""
    if not importlib.util.find_spec("livn"):
        return
    program = Path(__file__).with_name("closed_loop_livn.py")
    command = [str(matching_mpiexec()), "-n", "2", sys.executable, str(program)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False
    )
    click.echo(done.stdout, nl=False)
    if done.returncode:
        click.echo(f"livn: ended with {done.returncode}\n{done.stderr[-500:]}")


@click.command()
def main() -> None:
    """Print all tables, with what they were measured on."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    click.echo(f"{platform.platform()}, {cores} cores, load {load}")
    show_vectors()
    show_recovery()
    show_step_overhead()
    show_livn()


if __name__ == "__main__":
    main()
