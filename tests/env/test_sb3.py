"""Stable-Baselines3 trains on a vector environment."""

import importlib.util

import numpy as np
import pytest
from closed_loops import LOOP, Drive, Rates

from livn_ipp import make_vec
from livn_ipp.env.sb3 import sb3_vec_env
from livn_ipp.errors import ConfigError, MissingExtra
from livn_ipp.testing import LightEnv

WITH_TORCH = importlib.util.find_spec("stable_baselines3") is not None
needs_torch = pytest.mark.skipif(
    not WITH_TORCH, reason="Stable-Baselines3 is not installed; it brings PyTorch"
)


def vector(**options):
    given = {"autoreset_mode": "SameStep", "vectorization_mode": "sync", **options}
    return make_vec("EI1", Drive(), Rates(), **LOOP, backend=LightEnv, **given)


def test_another_autoreset_mode_is_refused():
    with (
        vector(autoreset_mode="NextStep") as envs,
        pytest.raises(ConfigError, match="autoreset_mode='SameStep'"),
    ):
        sb3_vec_env(envs)


@pytest.mark.skipif(WITH_TORCH, reason="Stable-Baselines3 is installed")
def test_the_extra_is_named_where_it_is_missing():
    with vector() as envs, pytest.raises(MissingExtra, match=r"livn_ipp\[sb3\]"):
        sb3_vec_env(envs)


@needs_torch
def test_episodes_end_as_stable_baselines_expects():
    with vector() as envs:
        venv = sb3_vec_env(envs)
        venv.seed(3)
        venv.set_options({"task": 20.0})
        first = venv.reset()
        assert venv.get_attr("task") == [20.0]
        for count in range(1, 7):
            observations, rewards, dones, (info,) = venv.step(np.ones((1, 2)))
            assert info["TimeLimit.truncated"] == dones[0] == (count == 6)
        assert rewards.shape == (1,)
        assert info["terminal_observation"][4] == 7
        assert observations[0][4] == first[0][4] == 1
        assert venv.get_attr("steps", 0) == [0]
        venv.set_attr("max_episode_steps", 2)
        assert [venv.step(np.ones((1, 2)))[2][0] for _ in range(4)] == [0, 1, 0, 1]
        assert venv.env_is_wrapped(object) == [False]
        venv.close()
        assert envs.closed


@needs_torch
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ppo_learns_to_drive_a_culture(one_thread):
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy

    with vector(seed=1) as envs:
        venv = sb3_vec_env(envs)
        venv.set_attr("reward", lively)
        agent = PPO("MlpPolicy", venv, n_steps=256, seed=1, device="cpu")
        before, _ = evaluate_policy(agent, venv, n_eval_episodes=10, warn=False)
        agent.learn(4096)
        after, _ = evaluate_policy(agent, venv, n_eval_episodes=10, warn=False)
    assert after > 1.2 * before


@needs_torch
@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a2c_trains_on_two_workers(one_thread):
    from stable_baselines3 import A2C

    with vector(num_envs=2, vectorization_mode="async") as envs:
        venv = sb3_vec_env(envs)
        agent = A2C("MlpPolicy", venv, seed=1, device="cpu").learn(1000)
        assert agent.num_timesteps == 1000
        actions, _ = agent.predict(venv.reset())
        assert actions.shape == (2, 2)


def lively(rates, action, task):
    """Reward the culture for what it fires."""
    return float(rates[:4].mean()) / 1000


@pytest.fixture
def one_thread():
    """Keep PyTorch from waiting for processors that others use."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
