"""A task that a culture acts in goes as livn's does, in one process."""

import gymnasium as gym
import numpy as np
import pytest
from closed_loops import STEP, Drive, light

from livn_ipp.decoding import Pipe
from livn_ipp.env import gymnasium as ours

theirs = pytest.importorskip(
    "livn.env.gymnasium", reason="the extra livn is not installed"
)


def push(run, env):
    """Act as the agent says, so that the noise does not matter."""
    return int(env.decoding.state["io_action"][0] > 0.5)


def features(base):
    class Taken(base):
        obs_dim = 1

        def _features(self, env, context, state):
            return np.array([context["gym_action"]])

    return Taken()


def loop(home, name):
    stages = [push, home.GymStep(gym.make(name)), features(home.ObsAugmentation)]
    return home.GymnasiumEnv(light(), Drive(), Pipe(stages=stages, duration=STEP))


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0"])
def test_episodes_are_the_same(name):
    mine, other = loop(ours, name), loop(theirs, name)
    assert mine.action_space == other.action_space
    assert mine.observation_space == other.observation_space
    for seed in (3, 4):
        assert np.array_equal(mine.reset(seed=seed)[0], other.reset(seed=seed)[0])
        for count in range(12):
            action = np.float32([count % 3 == 0, 0.0])
            step, expected = mine.step(action), other.step(action)
            assert np.array_equal(step[0], expected[0])
            assert step[1:] == expected[1:]
            if step[2]:
                break
