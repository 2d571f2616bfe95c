"""Rollouts: the same data with and without a vector, whatever goes wrong."""

from concurrent.futures import Future

import gymnasium as gym
import numpy as np
import pytest
from closed_loops import LOOP, Drive, Moody, Rates, cart_pole, light, reward
from gymnasium.utils.env_checker import data_equivalence

from livn_ipp import collect_rollouts, make_vec
from livn_ipp.env.gymnasium import GymnasiumEnv, spaces_of
from livn_ipp.env.loop.episode import Episode
from livn_ipp.env.loop.members import Turns
from livn_ipp.env.loop.runners import InProcess
from livn_ipp.env.vector import CultureVectorEnv
from livn_ipp.errors import ConfigError, SessionLost

SHARED = pytest.mark.filterwarnings("ignore:.* environments share .*:RuntimeWarning")


class Wandering:
    """Remembers its last action and adds a random one: has both of its own."""

    def begin(self, random, task):
        last = np.zeros(2, np.float32)

        def act(observation):
            nonlocal last
            last = (0.5 * last + 0.5 * random.random(2)).astype(np.float32)
            return last * (observation[4] % 2)

        return act


ENDLESS = LOOP | {"terminated": None}


def single(encoding=None, decoding=None, **options):
    given = {} if decoding is not None else ENDLESS
    return GymnasiumEnv(
        light(), encoding or Drive(), decoding or Rates(), **(given | options)
    )


def vector(count, encoding=None, decoding=None, **options):
    given = {} if decoding is not None else ENDLESS
    return make_vec(
        light(), encoding or Drive(), decoding or Rates(), count, **(given | options)
    )


def draw_task(random):
    return float(random.integers(50, 150))


def same_both_ways(policy, count, **options):
    alone = collect_rollouts(policy, count, env=single(), **options)
    with vector(2) as envs:
        together = collect_rollouts(policy, count, envs=envs, **options)
        again = collect_rollouts(policy, count, envs=envs, **options)
    assert together.digest() == alone.digest() == again.digest()
    assert data_equivalence(
        [vars(each) for each in together.episodes],
        [vars(each) for each in alone.episodes],
        exact=True,
    )
    return alone


@SHARED
@pytest.mark.parametrize(
    "tasks", [[20.0, 90.0], draw_task, None], ids=["dealt", "drawn", "none"]
)
def test_with_and_without_a_vector_the_data_are_the_same(tasks):
    collected = same_both_ways(Wandering(), 5, tasks=tasks, seed=3)
    assert [each.episode for each in collected.episodes] == [0, 1, 2, 3, 4]
    assert len({each.seed for each in collected.episodes}) == 5
    assert collected.env_steps == sum(len(each) for each in collected.episodes) == 30
    if isinstance(tasks, list):
        expected = [20.0, 90.0, 20.0, 90.0, 20.0]
        assert [each.task for each in collected.episodes] == expected
    for each in collected.episodes:
        assert each.observations.shape == (7, 5)
        assert each.actions.shape == (6, 2)
        assert each.rewards.shape == (6,)
        assert each.total == each.rewards.sum()
        assert (each.terminated, each.truncated) == (False, True)
    other = collect_rollouts(Wandering(), 5, tasks=tasks, env=single(), seed=4)
    assert other.digest() != collected.digest()


@SHARED
def test_an_episode_is_the_same_however_many_there_are():
    few = collect_rollouts(Wandering(), 2, env=single(), seed=3)
    many = collect_rollouts(Wandering(), 4, env=single(), seed=3)
    for mine, theirs in zip(few.episodes, many.episodes, strict=False):
        assert data_equivalence(vars(mine), vars(theirs), exact=True)


@SHARED
def test_actions_may_be_random():
    collected = same_both_ways(None, 3, random_actions=True, seed=8)
    first, second, _ = (each.actions for each in collected.episodes)
    assert not np.array_equal(first, second)
    assert gym.spaces.Box(0, 1, (6, 2)).contains(first)


@SHARED
def test_a_plain_function_is_a_policy():
    same_both_ways(lambda rates: rates[:2] / 1e4, 2, seed=1)


@SHARED
def test_episodes_end_when_they_are_over():
    alone = collect_rollouts(Wandering(), 8, env=single(**LOOP))
    with vector(2, **LOOP) as envs:
        together = collect_rollouts(Wandering(), 8, envs=envs)
    assert alone.digest() == together.digest()
    ends = {(each.terminated, each.truncated) for each in alone.episodes}
    assert ends >= {(True, False), (False, True)}


@SHARED
def test_long_episodes_are_cut():
    collected = same_both_ways(Wandering(), 3, max_steps=2)
    assert [len(each) for each in collected.episodes] == [2, 2, 2]
    assert all(each.truncated for each in collected.episodes)


@SHARED
def test_a_vector_that_begins_episodes_on_its_own_gives_the_last_observation():
    alone = collect_rollouts(Wandering(), 3, env=single())
    with vector(2, autoreset_mode="SameStep") as envs:
        together = collect_rollouts(Wandering(), 3, envs=envs)
    assert together.digest() == alone.digest()


def test_any_environment_of_gymnasium_can_be_played():
    collected = collect_rollouts(lambda _: 1, 2, env=gym.make("CartPole-v1"))
    assert all(each.terminated for each in collected.episodes)
    assert collected.episodes[0].actions.dtype == int


@SHARED
def test_a_task_that_the_culture_acts_in():
    alone = collect_rollouts(
        None, 3, env=single(decoding=cart_pole()), random_actions=True
    )
    with vector(2, decoding=cart_pole()) as envs:
        together = collect_rollouts(None, 3, envs=envs, random_actions=True)
    assert alone.digest() == together.digest()
    assert all(each.terminated for each in alone.episodes)


class Sullen:
    """Raises in the second step of the tasks that are told."""

    def __init__(self, *tasks):
        self.tasks = tasks

    def begin(self, random, task):
        seen = []

        def act(observation):
            seen.append(observation)
            return np.float32([0.5, float(len(seen) == 2 and task in self.tasks)])

        return act


@SHARED
def test_an_episode_that_raises_is_told_and_the_others_are_there():
    tasks = [1.0, 2.0, 3.0, 4.0]
    found = [collect_rollouts(Sullen(2.0), 4, tasks, env=single(Moody()))]
    for on_error in ("raise", "restart"):
        with vector(2, Moody(), on_error=on_error) as envs:
            found.append(collect_rollouts(Sullen(2.0), 4, tasks, envs=envs))
    for collected in found:
        (failed,) = collected.failed
        assert (failed.episode, failed.task) == (1, 2.0)
        assert isinstance(failed.error, ValueError)
        assert [each.episode for each in collected.episodes] == [0, 2, 3]
        assert collected.digest() == found[0].digest()


def test_what_the_policy_raises_is_not_caught():
    def confused(observation):
        raise KeyError("which way?")

    with pytest.raises(KeyError, match="which way"):
        collect_rollouts(confused, 1, env=single())
    with vector(1) as envs:
        with pytest.raises(KeyError, match="which way"):
            collect_rollouts(confused, 1, envs=envs)
        assert collect_rollouts(Wandering(), 1, envs=envs).env_steps == 6


class Fragile(gym.Wrapper):
    """Loses its worker in some steps, counted over all episodes."""

    def __init__(self, env, *steps):
        super().__init__(env)
        self.steps, self.count = steps, 0

    def step(self, action):
        self.count += 1
        if self.count in self.steps:
            raise SessionLost("gone")
        return super().step(action)


def test_an_episode_whose_worker_is_lost_is_played_again():
    whole = collect_rollouts(Wandering(), 3, env=single())
    again = collect_rollouts(Wandering(), 3, env=Fragile(single(), 3, 5, 14))
    assert again.digest() == whole.digest()
    assert not again.failed
    spent = Fragile(single(), 8, 9, 10)
    part = collect_rollouts(Wandering(), 3, env=spent, max_attempts=3)
    assert [failed.episode for failed in part.failed] == [1]
    assert isinstance(part.failed[0].error, SessionLost)
    assert len(part.episodes) == 2


class Gone:
    """Where there is no worker any more."""

    def submit(self, command):
        future = Future()
        future.set_exception(ConfigError("all 1 workers hold sessions"))
        return future

    def drop(self):
        pass

    def close(self):
        pass


def test_others_play_what_a_worker_that_is_not_replaced_cannot():
    whole = collect_rollouts(Wandering(), 4, env=single())
    episode = Episode(Drive(), Rates(), *ENDLESS.values())
    spaces = spaces_of(Drive(), Rates(), reward)
    there = Turns(InProcess(light(), episode))
    with CultureVectorEnv([Turns(Gone()), there], 2, spaces) as envs:
        part = collect_rollouts(Wandering(), 4, envs=envs)
    assert part.digest() == whole.digest()
    assert not part.failed
    with (
        CultureVectorEnv([Turns(Gone()), Turns(Gone())], 2, spaces) as envs,
        pytest.raises(ConfigError, match="hold sessions"),
    ):
        collect_rollouts(Wandering(), 4, envs=envs)


def test_wrong_use_is_told():
    with pytest.raises(ConfigError, match="give envs="):
        collect_rollouts(Wandering(), 1)
    with vector(1) as envs, pytest.raises(ConfigError, match="give envs="):
        collect_rollouts(Wandering(), 1, envs=envs, env=single())
    with pytest.raises(ConfigError, match="there is no policy"):
        collect_rollouts(None, 1, env=single())
    assert collect_rollouts(Wandering(), 0, env=single()).env_steps == 0
