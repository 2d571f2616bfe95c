"""Closed loops on real workers: any number of them, of several ranks, and lost ones."""

import contextlib
import os
import signal
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from closed_loops import LOOP, Drive, Rates, cart_pole, light
from gymnasium.utils.env_checker import check_env, data_equivalence

from livn_ipp import Env, collect_rollouts, make_vec
from livn_ipp.decoding import Pipe
from livn_ipp.env.closed_loop import ChannelPulses, ChannelRates
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.gymnasium import GymnasiumEnv, GymStep
from livn_ipp.errors import SessionLost
from livn_ipp.testing import LightEnv, kill_rank

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


# A culture of NEURON, on workers of two ranks


def calm(rates, pulses, task):
    return -abs(float(rates.mean()) - task) - float(pulses.sum()) / 100


@pytest.fixture(scope="module")
def culture():
    env = Env("EI1").init().record_spikes()
    yield env
    env.close()


@pytest.fixture(scope="module")
def workers(cluster_2x2):
    with DistributedEnv("EI1", cluster=cluster_2x2, subworld_size=2) as env:
        yield env.record_spikes()


def pulses_and_rates(io):
    return ChannelPulses.of(io), ChannelRates.of(io, duration=20)


@pytest.mark.neuron
def test_two_ranks_on_two_workers_do_what_one_process_does(culture, workers):
    parts = pulses_and_rates(culture.io)
    loop = {"reward": calm, "max_episode_steps": 5}
    collect = {"random_actions": True, "tasks": [2.0, 8.0], "seed": 5}
    alone = collect_rollouts(
        None, 3, env=GymnasiumEnv(culture, *parts, **loop), **collect
    )
    with make_vec(workers, *parts, 2, **loop) as envs:
        together = collect_rollouts(None, 3, envs=envs, **collect)
    assert alone.digest() == together.digest()
    assert alone.env_steps == 15
    assert sum(each.observations.sum() for each in alone.episodes) > 0


@pytest.mark.neuron
def test_pulses_reach_the_cells_at_their_electrodes(culture):
    encoding, decoding = pulses_and_rates(culture.io)
    env = GymnasiumEnv(culture, encoding, decoding, reward=calm)
    heard = []
    for strength in (0.0, 1.0):
        pulses = np.full(env.action_space.shape, strength)
        for seed in range(3):
            env.reset(seed=seed, options={"task": 0.0})
            heard.append(env.step(pulses)[0].mean())
    assert sum(heard[3:]) > 2 * sum(heard[:3]) + 50
    env.close()


@pytest.mark.neuron
@pytest.mark.filterwarnings("ignore:.*A Box observation space:UserWarning")
def test_two_ranks_balance_a_pole_as_one_does(culture, workers):
    encoding, decoding = pulses_and_rates(culture.io)

    def side(rates, env):
        return int(rates[:8].sum() < rates[8:].sum())

    pipe = Pipe(stages=[decoding, side, GymStep(gym.make("CartPole-v1"))], duration=20)
    loops = [GymnasiumEnv(env, encoding, pipe) for env in (culture, workers)]
    collect = {"random_actions": True, "max_steps": 12, "seed": 2}
    first, second = (collect_rollouts(None, 2, env=loop, **collect) for loop in loops)
    assert first.digest() == second.digest()
    check_env(loops[1], skip_render_check=True)
    loops[1].close()


# Cultures that fire at random, on three workers


class Deadly(Drive):
    """Kills its process in the third step, the first of all that come there."""

    path: str = ""

    def __call__(self, env, t_end, inputs):
        stimulus = super().__call__(env, t_end, inputs)
        if self.taken == 3:
            with contextlib.suppress(FileExistsError):
                Path(self.path).touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return stimulus


@pytest.fixture(scope="module")
def three():
    with DistributedEnv("EI1", backend=LightEnv, num_workers=3) as env:
        yield env.record_spikes()


def test_one_two_and_three_workers_collect_the_same(three, tmp_path):
    collect = {"random_actions": True, "tasks": [50.0, 100.0], "seed": 9}
    alone = GymnasiumEnv(light(), Drive(), Rates(), **LOOP)
    digests = [collect_rollouts(None, 7, env=alone, **collect).digest()]
    for count in (1, 2, 3):
        with make_vec(three, Drive(), Rates(), count, **LOOP) as envs:
            digests.append(collect_rollouts(None, 7, envs=envs, **collect).digest())
    flag = tmp_path / "killed"
    with make_vec(three, Deadly(path=str(flag)), Rates(), 3, **LOOP) as envs:
        rollouts = collect_rollouts(None, 7, envs=envs, **collect)
    assert flag.exists()
    assert not rollouts.failed
    assert {*digests} == {rollouts.digest()}


ENDLESS = LOOP | {"terminated": None}
FINE = np.full((3, 2), 0.5, np.float32)


def test_a_worker_that_dies_is_an_error_and_the_others_go_on(three, tmp_path):
    deadly = Deadly(path=str(tmp_path / "killed"))
    with make_vec(three, deadly, Rates(), 3, **ENDLESS) as envs:
        envs.reset(seed=1)
        envs.step(FINE)
        envs.set_attr("gain", 2.0)
        envs.step(FINE)
        with pytest.raises(SessionLost) as caught:
            envs.step(FINE)
        lost = int(caught.value.__notes__[0].split()[2])
        rates, *_ = envs.step(FINE)
        assert sorted(rates[:, 4]) == [1, 5, 5]
        assert rates[lost, 4] == 1, "its next episode, on another worker"
        assert envs.get_attr("gain") == (2.0,) * 3
        again, _ = envs.reset(seed=1)
    with make_vec(three, Drive(), Rates(), 3, **LOOP) as envs:
        assert data_equivalence(envs.reset(seed=1)[0], again, exact=True)


def test_a_worker_that_dies_may_end_the_episode_instead(three, tmp_path):
    deadly = Deadly(path=str(tmp_path / "killed"))
    options = {"on_error": "restart", "autoreset_mode": "SameStep"}
    with make_vec(three, deadly, Rates(), 3, **ENDLESS, **options) as envs:
        envs.reset(seed=1)
        for _ in range(3):
            rates, rewards, terminated, truncated, infos = envs.step(FINE)
        (lost,) = np.flatnonzero(truncated)
        assert "SessionLost" in infos["final_info"]["worker_error"][lost]
        assert rates[lost, 4] == 1
        assert rewards[lost] == 0
        assert not terminated.any()
        assert sorted(rates[:, 4]) == [1, 4, 4]


def test_a_step_after_an_idle_loss_is_no_step_of_a_new_episode(three):
    loop = GymnasiumEnv(three, Drive(), Rates(), **ENDLESS)
    first, _ = loop.reset(seed=1)
    loop.step(FINE[0])
    worker = loop._opened.session.worker
    kill_rank(three, worker)
    deadline = time.monotonic() + 60
    while worker in three._dispatcher.workers and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(SessionLost):
        loop.step(FINE[0])
    with pytest.raises(gym.error.ResetNeeded):
        loop.step(FINE[0])
    assert data_equivalence(loop.reset(seed=1)[0], first, exact=True)
    loop.close()


def test_more_environments_than_workers(three):
    with pytest.warns(RuntimeWarning, match="5 environments share 3 workers"):
        sharing = make_vec(three, Drive(), Rates(), 5, **LOOP)
    with sharing as envs:
        envs.reset(seed=1)
        shared = [envs.step(np.full((5, 2), 0.5, np.float32))[0] for _ in range(4)]
    with make_vec(three, Drive(), Rates(), 3, **LOOP) as envs:
        envs.reset(seed=1)
        own = [envs.step(FINE)[0] for _ in range(4)]
    for mine, theirs in zip(shared, own, strict=True):
        assert data_equivalence(mine[:3], theirs, exact=True)


def test_the_task_is_on_the_worker(three):
    pole = cart_pole()
    alone = GymnasiumEnv(light(), Drive(), pole)
    collect = {"random_actions": True, "seed": 4}
    with make_vec(three, Drive(), pole, 3) as envs:
        together = collect_rollouts(None, 6, envs=envs, **collect)
    assert together.digest() == collect_rollouts(None, 6, env=alone, **collect).digest()
    assert all(len(each) > 5 for each in together.episodes), "one episode, not many"
