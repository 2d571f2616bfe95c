"""One culture in a closed loop keeps what Gymnasium asks of an environment."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from closed_loops import LOOP, Drive, Rates, cart_pole, left_or_right, light
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match

from livn_ipp.decoding import Pipe
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.gymnasium import GymnasiumEnv, GymStep, ObsAugmentation
from livn_ipp.errors import ConfigError
from livn_ipp.testing import LightEnv
from livn_ipp.types import Encoding

SPEC = "livn_ipp/Light-v0"


def loop(env=None, **options):
    return GymnasiumEnv(env or light(), Drive(), Rates(), **(LOOP | options))


def balancing(env=None, **stages):
    return GymnasiumEnv(env or light(), Drive(), cart_pole(**stages))


@pytest.fixture
def local():
    with DistributedEnv("EI1", backend=LightEnv, transport="local") as env:
        yield env.record_spikes()


@pytest.fixture
def registered():
    gym.register(SPEC, entry_point=loop)
    yield SPEC
    gym.registry.pop(SPEC)


@pytest.mark.filterwarnings("ignore:.*A Box observation space:UserWarning")
@pytest.mark.parametrize("make", [loop, balancing], ids=["culture", "task"])
def test_gymnasium_checks_it(make, local):
    for env in (make(), make(local)):
        check_env(env, skip_render_check=True)
        env.close()


def test_gymnasium_checks_one_that_it_made_itself(registered):
    env = gym.make(registered)  # wrapped by checks of every step
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=1)
    for _ in range(6):
        *_, truncated, _ = env.step(env.action_space.sample())
    assert truncated
    env.close()
    env.close()


@pytest.mark.parametrize("make", [loop, balancing], ids=["culture", "task"])
def test_in_this_process_and_on_a_worker_it_is_the_same(make, local):
    check_environments_match(make(), make(local), num_steps=20, seed=3)


def episode(env, actions, **options):
    said = [env.reset(**options)[0]]
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        said.append((observation, reward, terminated, truncated))
        if terminated or truncated:
            break
    return said


ACTIONS = [np.array([0.1 * i, 0.9], np.float32) for i in range(6)]


def test_an_episode_depends_on_its_seed_and_actions_only(local):
    env = loop(local)
    first = episode(env, ACTIONS, seed=5)
    other = episode(env, ACTIONS[::-1], seed=6)
    assert data_equivalence(episode(env, ACTIONS, seed=5), first, exact=True)
    assert not data_equivalence(other, first)
    seen = [observation[4] for observation, *_ in first[1:]]
    assert seen == [2, 3, 4, 5, 6, 7], "the reset, then each step, in a new decoding"
    assert env.decoding.seen == 0, "the user's own is left as it is"


def test_without_a_seed_episodes_follow_from_the_last_one(local):
    env = loop(local)
    runs = []
    for _ in range(2):
        env.reset(seed=5)
        runs.append([episode(env, ACTIONS) for _ in range(2)])
    assert data_equivalence(*runs, exact=True)
    assert not data_equivalence(*runs[0])


def test_the_culture_goes_on_if_it_is_asked_to():
    culture = light()
    env = loop(culture)
    episode(env, ACTIONS[:3], seed=5)
    assert culture.t == 80
    observation, _ = env.reset(without_clear=True)
    assert (culture.t, observation[4]) == (100, 5)
    env.reset(options={"without_clear": True})
    assert culture.t == 120
    env.reset()
    assert culture.t == 20


def test_reward_sees_the_task(local):
    env = loop(local)
    goals = {}
    for task in (0.0, 50.0):
        rates, _ = env.reset(seed=5, options={"task": task})
        rates, goals[task], *_ = env.step(ACTIONS[0])
        assert goals[task] == -abs(float(rates[:4].mean()) - (task or 100))
    assert goals[0.0] != goals[50.0]


def test_the_first_step_comes_after_a_reset():
    env = loop()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(ACTIONS[0])
    env.reset()
    env.close()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(ACTIONS[0])


def test_steps_can_be_waited_for_later(local):
    for env in (loop(), loop(local)):
        env.reset(seed=5)
        handle = env.submit_step(ACTIONS[0])
        response = env.get_step(handle)
        assert data_equivalence(env.poll_step(handle), response)
        assert data_equivalence(episode(env, ACTIONS[:1], seed=5)[1], response[:4])


def test_a_worker_is_held_until_it_is_closed(local):
    env = loop(local)
    env.reset()
    with pytest.raises(ConfigError, match="hold sessions"):
        loop(local).reset()
    env.close()
    other = loop(local)
    other.reset()
    other.close()


# The culture acts in a task


def test_the_task_begins_with_the_seed_and_once(local):
    plain = gym.make("CartPole-v1")
    for env in (balancing(), balancing(local)):
        observation, _ = env.reset(seed=7)
        expected, _ = plain.reset(seed=7)
        assert data_equivalence(observation, expected, exact=True)
        for _ in range(5):
            pushed = env.step(ACTIONS[0])
            pushes = {push: copy.deepcopy(plain).step(push) for push in (0, 1)}
            (taken,) = (
                push
                for push, answer in pushes.items()
                if data_equivalence(answer[0], pushed[0], exact=True)
            )
            assert data_equivalence(plain.step(taken), pushed)
        env.close()


class Nudge(Encoding):
    """Stimulates as the task's last observation tells."""

    @property
    def input_space(self):
        return gym.spaces.Discrete(2)

    def __call__(self, env, t_end, inputs):
        state = env.decoding.state
        assert state["io_action"] == inputs
        return float(np.abs(state["raw_gym_obs"]).sum()) + (state["task"] or 0)


def test_the_encoding_sees_what_the_task_answered(local):
    runs = []
    for culture in (light(), local):
        env = GymnasiumEnv(culture, Nudge(), cart_pole())
        env.reset(seed=3, options={"task": 1})
        runs.append([env.step(1)[0] for _ in range(8)])
        env.close()
    assert data_equivalence(*runs, exact=True)


class Spread(ObsAugmentation):
    """What the culture did, beside what the task answered."""

    obs_dim = 2

    def _features(self, env, context, state):
        return np.array([context["gym_action"], len(state["raw_gym_obs"])])


class Wrong(ObsAugmentation):
    def _features(self, env, context, state):
        return np.zeros(3)


def test_features_widen_the_observation(local):
    for env in (balancing(spread=Spread()), balancing(local, spread=Spread())):
        assert env.observation_space.shape == (6,)
        assert env.observation_space.low[4:].tolist() == [0, 0]
        assert env.reset(seed=1)[0][4:].tolist() == [0, 0]
        observation, *_ = env.step(ACTIONS[0])
        assert observation in env.observation_space
        assert observation[4] in {0, 1}
        assert observation[5] == 4
        env.close()
    env = balancing(wrong=Wrong(2))
    env.reset()
    with pytest.raises(ConfigError, match="obs_dim"):
        env.step(ACTIONS[0])
    assert Spread() == Spread() != Spread(3)
    assert Spread(3) != Wrong(3)
    with pytest.raises(NotImplementedError):
        ObsAugmentation(1)(((0.0,), 0.0, False, False, {}))


def test_tasks_are_told_apart_by_their_spec():
    task = GymStep(gym.make("CartPole-v1"))
    assert task == GymStep(gym.make("CartPole-v1"))
    assert hash(task) == hash(GymStep(gym.make("CartPole-v1")))
    assert task != GymStep(gym.make("MountainCar-v0"))
    assert task != GymStep(gym.make("CartPole-v1", max_episode_steps=7))
    assert task != "CartPole-v1"


def test_a_task_travels_as_its_spec():
    task = GymStep(gym.make("CartPole-v1", max_episode_steps=7))
    task.reset(seed=1)
    arrived = pickle.loads(pickle.dumps(task))
    assert arrived == task
    assert arrived.gym_env is not task.gym_env
    assert arrived.gym_env.spec.max_episode_steps == 7
    assert len(pickle.dumps(task)) < 2000


class Corridor(gym.Env):
    """Walk to the end; no registry knows of it."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length=3):
        self.length, self.place = length, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.place, {"asked": options}

    def step(self, action):
        self.place = min(self.length, self.place + action)
        return self.place, float(action), self.place == self.length, False, {}


def test_a_task_that_no_registry_knows_travels_as_it_is(local):
    def one(run, env):
        return 1

    pipe = Pipe(stages=[one, GymStep(Corridor(2))], duration=20)
    env = GymnasiumEnv(local, Drive(), pipe)
    observation, info = env.reset(options={"task": 9})
    assert (observation, info) == (0, {"asked": {"task": 9}})
    assert [env.step(ACTIONS[0])[:3] for _ in range(2)] == [(1, 1, False), (2, 1, True)]
    env.close()


class Twice(gym.Wrapper):
    """Does not tell how it was made, so that no spec can."""

    def __init__(self, env, factor):
        super().__init__(env)
        self.factor = factor


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0"])
def test_a_wrapped_task_that_cannot_be_made_again_travels_as_it_is(name):
    wrapped = Twice(gym.make(name), 3)
    task = GymStep(wrapped)
    assert task == GymStep(wrapped)
    assert hash(task) == hash(GymStep(wrapped))
    assert task != GymStep(gym.make(name))
    for arrived in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
        assert arrived.gym_env is not wrapped
        assert arrived.gym_env.factor == 3
        arrived.reset(seed=1)


@pytest.mark.parametrize(
    ("space", "given", "taken"),
    [
        (gym.spaces.Discrete(3), 1.6, 2),
        (gym.spaces.Discrete(3), [7.0], 2),
        (gym.spaces.Discrete(3, start=-1), -4, -1),
        (gym.spaces.Box(-1, 1, (2,)), [3, -0.5], [1, -0.5]),
        (gym.spaces.Box(-1, 1, (1, 2)), [3, -0.5], [[1, -0.5]]),
        (gym.spaces.MultiBinary(2), [1, 0], [1, 0]),
    ],
    ids=["rounded", "above", "below", "clipped", "shaped", "other"],
)
def test_actions_are_brought_into_the_task_space(space, given, taken):
    task = Corridor()
    task.action_space = space
    task.step = lambda action: (0, 0.0, False, False, {"taken": action})
    *_, info = GymStep(task)(given)
    assert np.asarray(info["taken"]).tolist() == taken
    assert GymStep(task)(None) is None


# Mistakes


class Blind(Rates):
    @property
    def output_space(self):
        return super(Rates, self).output_space


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GymnasiumEnv(light(), Drive(), Blind(), **LOOP), "no output_space"),
        (lambda: GymnasiumEnv(light(), Encoding(), Rates(), **LOOP), "no input_space"),
        (
            lambda: GymnasiumEnv(light(), left_or_right, cart_pole()),
            "function declares no input_space",
        ),
        (
            lambda: GymnasiumEnv(light(), Drive(), cart_pole(), **LOOP),
            "has its own reward",
        ),
        (
            lambda: GymnasiumEnv(
                light(),
                Drive(),
                Pipe(stages=[GymStep(Corridor()), Spread()], duration=20),
            ),
            "to a Box only",
        ),
    ],
    ids=["observation", "action", "function", "reward", "discrete"],
)
def test_a_loop_that_cannot_be_closed_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_decoding_without_reward_is_told(local):
    env = GymnasiumEnv(local, Drive(), Rates())
    env.reset()
    with pytest.raises(ConfigError, match="without reward= it must return"):
        env.step(ACTIONS[0])
    env.close()
