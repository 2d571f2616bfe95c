"""Closed loops that need no simulator: a culture that fires at random, and a task."""

import threading
from typing import Any

import gymnasium as gym
import numpy as np

from livn_ipp.decoding import Pipe
from livn_ipp.env.gymnasium import GymStep
from livn_ipp.testing import LightEnv
from livn_ipp.types import Decoding, Encoding

STEP = 20  # ms
GATE = threading.Event()
"""What workers that are threads may wait for."""


class Drive(Encoding):
    """An action from 0 to 1 makes cells fire more; remembers what it did."""

    taken: int = 0
    gain: float = 4.0

    @property
    def input_space(self) -> Any:
        return gym.spaces.Box(0.0, 1.0, (2,))

    def __call__(self, env, t_end, inputs):
        self.taken += 1
        return self.gain * float(np.mean(inputs))


class Moody(Drive):
    """Waits for the gate, or raises, if the second number of the action says so."""

    def __call__(self, env, t_end, inputs):
        if inputs[1] > 0.9:
            raise ValueError("no such electrode")
        if inputs[1] > 0.4:
            GATE.wait(60)
        return super().__call__(env, t_end, inputs[:1])


class Rates(Decoding):
    """Rate of each quarter of the cells in Hz, and how many steps it has seen."""

    duration: float = STEP
    seen: int = 0

    @property
    def output_space(self) -> Any:
        return gym.spaces.Box(0.0, 1e4, (5,))

    def __call__(self, run, env=None):
        self.seen += 1
        counts = np.bincount(np.asarray(run.spikes.ids, int) % 4, minlength=4)
        whole = env.comm.allreduce(counts)
        return np.array([*whole / (run.duration / 1000), self.seen], np.float32)


def reward(rates, action, task):
    return -abs(float(rates[:4].mean()) - (task or 100.0))


def quiet(rates, task):
    return bool(rates[:4].sum() == 0)


LOOP: dict[str, Any] = {"reward": reward, "terminated": quiet, "max_episode_steps": 6}


def left_or_right(run, env):
    """Decode what the culture does as a push of the cart."""
    counts = np.bincount(np.asarray(run.spikes.ids, int) % 2, minlength=2)
    whole = env.comm.allreduce(counts)
    return int(whole[1] > whole[0])


def cart_pole(**stages):
    stages = [left_or_right, GymStep(gym.make("CartPole-v1")), *stages.values()]
    return Pipe(stages=stages, duration=STEP)


def light() -> LightEnv:
    return LightEnv("EI1").init().record_spikes()
