"""A vector of closed loops does what Gymnasium's own vectors do, and more."""

import threading

import gymnasium as gym
import numpy as np
import pytest
from closed_loops import GATE, LOOP, Drive, Moody, Rates, cart_pole, light, reward
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livn_ipp import make_vec
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.gymnasium import GymnasiumEnv, spaces_of
from livn_ipp.env.loop.episode import Episode
from livn_ipp.env.loop.members import Turns
from livn_ipp.env.loop.runners import OnWorker
from livn_ipp.env.vector import CultureVectorEnv
from livn_ipp.errors import CallTimeout, ConfigError
from livn_ipp.testing import LightEnv

SHARED = pytest.mark.filterwarnings("ignore:.* environments share .*:RuntimeWarning")
MODES = pytest.mark.parametrize("mode", [mode.value for mode in AutoresetMode])


def vector(num_envs=1, env=None, **options):
    """Environments that share one culture in this process."""
    return make_vec(env or light(), Drive(), Rates(), num_envs, **(LOOP | options))


def actions(envs, count, seed=1):
    envs.action_space.seed(seed)
    return [envs.action_space.sample() for _ in range(count)]


def several(make, count, **options):
    return SyncVectorEnv([make] * count, **options)


def culture():
    return GymnasiumEnv(light(), Drive(), Rates(), **LOOP)


def balancing():
    return GymnasiumEnv(light(), Drive(), cart_pole())


# Gymnasium's own vector is the reference


@SHARED
@MODES
@pytest.mark.parametrize("count", [1, 3])
def test_it_does_what_gymnasiums_own_does(mode, count):
    theirs = several(culture, count, autoreset_mode=mode)
    mine = vector(count, autoreset_mode=mode)
    compare(theirs, mine, disabled=mode == "Disabled")


@SHARED
@MODES
def test_a_culture_that_balances_a_pole_does_so_too(mode):
    theirs = several(balancing, 2, autoreset_mode=mode)
    mine = make_vec(light(), Drive(), cart_pole(), 2, autoreset_mode=mode)
    compare(theirs, mine, disabled=mode == "Disabled")


def compare(theirs, mine, *, disabled):
    assert isinstance(mine, VectorEnv)
    assert mine.num_envs == theirs.num_envs
    for name in ("observation_space", "action_space", "single_observation_space"):
        assert getattr(mine, name) == getattr(theirs, name)
    assert mine.metadata == theirs.metadata
    same(theirs.reset(seed=5), mine.reset(seed=5))
    assert mine.np_random_seed == theirs.np_random_seed
    for number, action in enumerate(actions(mine, 14)):
        steps = theirs.step(action), mine.step(action)
        same(*steps)
        over = steps[0][2] | steps[0][3]
        if disabled and over.any():
            same(
                *(e.reset(options={"reset_mask": over.copy()}) for e in (theirs, mine))
            )
        if number == 9:  # from its own generators
            same(theirs.reset(), mine.reset())
    mine.close()
    theirs.close()


def same(theirs, mine):
    assert data_equivalence(theirs, mine, exact=True)


@SHARED
def test_gymnasiums_wrappers_fit():
    envs = DictInfoToList(RecordEpisodeStatistics(vector(2)))
    envs.reset(seed=1)
    for action in actions(envs, 6):
        *_, truncated, infos = envs.step(action)
    assert truncated.all()
    assert [info["episode"]["l"] for info in infos] == [6, 6]
    envs.close()


# Tasks, attributes, one by one


@SHARED
def test_each_environment_has_its_task():
    with vector(3) as envs:
        envs.reset(seed=1, options={"task": [10.0, 20.0, 30.0]})
        assert envs.get_attr("task") == (10.0, 20.0, 30.0)
        rates, rewards, *_ = envs.step(actions(envs, 1)[0])
        means = rates[:, :4].mean(axis=1, dtype=np.float32)
        expected = -np.abs(means - np.array([10, 20, 30]))
        assert np.allclose(rewards, expected)
        for action in actions(envs, 6):
            envs.step(action)
        assert envs.get_attr("task") == (10.0, 20.0, 30.0), (
            "the next episode has it too"
        )
        envs.reset(options={"task": 5.0})
        assert envs.get_attr("task") == (5.0,) * 3
        envs.reset_one(1, task=6.0, seed=4)
        assert envs.get_attr("task") == (5.0, 6.0, 5.0)


@SHARED
def test_one_environment_is_reset_and_the_others_go_on():
    with vector(2) as envs:
        envs.reset(seed=1)
        first = [envs.step(action)[0] for action in actions(envs, 3)]
        observation, info = envs.reset_one(1, seed=2)
        assert (observation[4], info) == (1, {})
        again = envs.step(actions(envs, 1)[0])[0]
        assert again[:, 4].tolist() == [5, 2]
        assert data_equivalence(again[1], first[0][1]), "seed 1 + 1, the same action"


@SHARED
def test_a_mask_says_who_is_reset():
    mask = {"reset_mask": np.array([False, True, False])}
    theirs, mine = several(culture, 3), vector(3)
    for envs in (theirs, mine):
        envs.reset(seed=5)
        envs.step(np.full((3, 2), 0.5, np.float32))
    same(theirs.reset(seed=9, options=dict(mask)), mine.reset(seed=9, options=mask))
    assert mine.get_attr("steps") == (1, 0, 1)
    mine.close()


def test_attributes_are_found_where_they_are():
    with make_vec(light(), Drive(), cart_pole()) as envs:
        envs.reset(seed=1)
        envs.step(np.ones((1, 2), np.float32))
        assert envs.get_attr("steps") == (1,)
        assert envs.get_attr("gravity") == (9.8,)
        assert envs.get_attr("gain") == (4.0,)
        assert envs.call("t") == (20.0,)
        assert envs.call("set_noise", {"EXC-std_e": 1.0}) == (None,)
        assert envs.get_attr("noise") == ({"EXC-std_e": 1.0},)
        with pytest.raises(AttributeError, match=r"neither episode, task.*'nothing'"):
            envs.get_attr("nothing")
        with pytest.raises(AttributeError, match="'nothing'"):
            envs.set_attr("nothing", 1)
        for name in ("gravity", "gain"):
            envs.set_attr(name, 3.0)
            assert envs.get_attr(name) == (3.0,)
            envs.reset()
            assert envs.get_attr(name) == (3.0,), "in the episodes to come too"
        with pytest.raises(ConfigError, match="2 values for 1 environments"):
            envs.set_attr("gain", [1.0, 2.0])


@SHARED
def test_those_who_share_have_one_value_of_an_attribute():
    with vector(2) as envs:
        envs.set_attr("gain", 2.0)
        assert envs.get_attr("gain") == (2.0, 2.0)
        with pytest.raises(ConfigError, match="2 environments share 1 workers"):
            envs.set_attr("gain", [1.0, 2.0])


# Sharing, in any order


@st.composite
def courses(draw):
    """Draw who does what: resets by seed, steps by action, of three environments."""
    who = st.integers(0, 2)
    seeds = st.integers(0, 3)
    moves = st.tuples(who, st.sampled_from([0.0, 0.5, 1.0]))
    return draw(
        st.lists(st.one_of(moves, st.tuples(who, seeds)), min_size=1, max_size=25)
    )


@SHARED
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(courses())
def test_what_one_gives_does_not_depend_on_the_others(course):
    alone = [culture() for _ in range(3)]
    with vector(3, autoreset_mode="Disabled") as envs:
        envs.reset(seed=9)
        over = [False] * 3
        for i, env in enumerate(alone):
            env.reset(seed=9 + i)
        for i, what in course:
            if isinstance(what, int) or over[i]:
                seed = int(what)
                same(alone[i].reset(seed=seed), envs.reset_one(i, seed=seed))
                over[i] = False
                continue
            action = np.full(2, what, np.float32)
            envs.send(action[None], [i])
            observations, *rest, infos = envs.recv()
            assert infos.pop("env_id").tolist() == [i]
            observation, *theirs, _ = alone[i].step(action)
            assert data_equivalence(observations[0], observation, exact=True)
            assert [column[0] for column in rest] == theirs
            over[i] = theirs[1] or theirs[2]


def test_sharing_is_told():
    with pytest.warns(RuntimeWarning, match="3 environments share 1 worker:"):
        vector(3).close()


# As they are ready


WAITS, RAISES, FINE = [0.5, 0.5], [0.5, 1.0], [0.5, 0.0]


@pytest.fixture
def moody():
    """Two workers that are threads of this process."""
    made = []
    with (
        DistributedEnv("EI1", backend=LightEnv, transport="local") as one,
        DistributedEnv("EI1", backend=LightEnv, transport="local") as other,
    ):
        workers = [one.record_spikes(), other.record_spikes()]

        def make(decoding=None, *, loop=LOOP, timeout=60.0, **options):
            decoding = decoding or Rates()
            episode = Episode(Moody(), decoding, *loop.values())
            turns = [Turns(OnWorker(env, episode, None)) for env in workers]
            spaces = spaces_of(Moody(), decoding, reward)
            envs = CultureVectorEnv(turns, 2, spaces, timeout=timeout, **options)
            made.append(envs)
            envs.reset(seed=1)
            return envs

        GATE.clear()
        yield make
        GATE.set()
        for envs in made:
            envs.close()


def test_a_slow_environment_does_not_stall_the_rest(moody):
    envs = moody()
    expected = [envs.step([FINE, FINE])[0] for _ in range(4)]
    envs.reset(seed=1)
    envs.send([WAITS, FINE])
    for count in range(3):
        rates, *_, infos = envs.recv(min_envs=1)
        assert infos["env_id"].tolist() == [1]
        assert data_equivalence(rates[0], expected[count][1], exact=True)
        envs.send([FINE], [1])
    assert envs.pool.sent == [0, 1]
    GATE.set()
    rates, rewards, terminated, truncated, infos = envs.recv()
    assert infos["env_id"].tolist() == [0, 1]
    assert rates.shape == (2, 5)
    assert rewards.shape == terminated.shape == truncated.shape == (2,)
    assert rates[:, 4].tolist() == [2, 5]
    with pytest.raises(gym.error.NoAsyncCallError):
        envs.recv()


def test_every_wait_has_its_limit(moody):
    envs = moody(timeout=0.2)
    with pytest.raises(CallTimeout, match=r"environments \[0\] have not answered"):
        envs.step([WAITS, FINE])
    for call in (lambda: envs.step([FINE, FINE]), lambda: envs.call("steps")):
        with pytest.raises(gym.error.AlreadyPendingCallError, match=r"\[0\]"):
            call()
    GATE.set()
    assert envs.recv(timeout=30)[0][:, 4].tolist() == [2, 2]
    GATE.clear()
    envs.send([WAITS, WAITS])
    with pytest.raises(CallTimeout):
        envs.recv(min_envs=1)
    GATE.set()
    envs.pool.timeout = 30
    assert envs.reset()[0][:, 4].tolist() == [1, 1], "what runs is given up"
    assert envs.step([FINE, FINE])[0][:, 4].tolist() == [2, 2]


def test_an_error_comes_with_its_traceback_and_the_others_go_on(moody):
    envs = moody()
    with pytest.raises(ValueError, match="no such electrode") as caught:
        envs.step([RAISES, FINE])
    assert "in environment 0 of the vector" in caught.value.__notes__
    assert "in __call__" in caught.value.tracebacks
    rates, *_, infos = envs.recv()
    assert (infos["env_id"].tolist(), rates[0, 4]) == ([1], 2)
    rates, rewards, *_ = envs.step([FINE, FINE])
    assert rates[:, 4].tolist() == [1, 3], "the next episode began"
    assert rewards[0] == 0
    with pytest.raises(ValueError, match="electrode"):
        envs.step([FINE, RAISES])
    assert envs.reset_one(1)[0][4] == 1
    assert envs.step([FINE, FINE])[0][:, 4].tolist() == [3, 2]


def test_without_autoreset_one_that_raised_has_to_be_reset(moody):
    envs = moody(autoreset_mode="Disabled")
    with pytest.raises(ValueError, match="electrode"):
        envs.step([RAISES, FINE])
    with pytest.raises(gym.error.ResetNeeded, match="environment 0"):
        envs.step([FINE, FINE])
    envs.reset_one(0)
    assert envs.step([FINE, FINE])[0][:, 4].tolist() == [2, 3]


def test_an_error_may_end_the_episode_instead(moody):
    envs = moody(on_error="restart")
    before = envs.step([FINE, FINE])[0]
    rates, rewards, terminated, truncated, infos = envs.step([RAISES, FINE])
    assert truncated.tolist() == [True, False]
    assert not terminated.any()
    assert rewards[0] == 0
    assert data_equivalence(rates[0], before[0])
    assert infos["_worker_error"].tolist() == [True, False]
    assert "ValueError: no such electrode" in infos["worker_error"][0]
    assert "in __call__" in infos["worker_error"][0]
    assert envs.step([FINE, FINE])[0][:, 4].tolist() == [1, 4]


def test_and_the_next_begins_in_the_same_step_if_so_chosen(moody):
    envs = moody(on_error="restart", autoreset_mode="SameStep")
    rates, _, _, truncated, infos = envs.step([RAISES, FINE])
    assert truncated.tolist() == [True, False]
    assert rates[:, 4].tolist() == [1, 2]
    assert infos["final_obs"][0][4] == 1
    assert "no such electrode" in infos["final_info"]["worker_error"][0]


class Stubborn(Rates):
    """Cannot begin an episode whose task is an odd number."""

    def reset(self, seed=None, options=None):
        if (options or {}).get("task", 0) % 2:
            raise OSError("odd")


def test_an_episode_that_cannot_begin_is_an_error_in_the_end(moody):
    envs = moody(Stubborn(), on_error="restart")
    with pytest.raises(OSError, match="odd"):
        envs.reset(options={"task": [1, 2]})
    assert envs.reset(options={"task": [4, 2]})[0][:, 4].tolist() == [1, 1]


def test_closing_returns_whatever_runs(moody):
    envs = moody()
    envs.send([WAITS, WAITS])
    envs.close()
    envs.close()
    assert not GATE.is_set(), "they still run"
    for call in (
        envs.reset,
        lambda: envs.step([FINE, FINE]),
        lambda: envs.get_attr("steps"),
        lambda: envs.reset_one(0),
    ):
        with pytest.raises(gym.error.ClosedEnvironmentError):
            call()


# Mistakes


@SHARED
def test_wrong_use_is_told():
    with vector(2) as envs:
        with pytest.raises(gym.error.ResetNeeded, match="environment 0"):
            envs.step(actions(envs, 1)[0])
        mask = np.array([True, False])
        with pytest.raises(gym.error.ResetNeeded, match="once, without a mask"):
            envs.reset(options={"reset_mask": mask})
        envs.reset()
        for wrong in (mask[:1], mask.astype(int), mask & False):
            with pytest.raises(ConfigError, match="reset_mask must be"):
                envs.reset(options={"reset_mask": wrong})
        with pytest.raises(ConfigError, match="3 seeds for 2 environments"):
            envs.reset(seed=[1, 2, 3])
        with pytest.raises(ConfigError, match="1 tasks for 2 environments"):
            envs.reset(options={"task": [1]})
        with pytest.raises(ConfigError, match="no environment 2; there are 2"):
            envs.reset_one(2)
        assert envs.render() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"vectorization_mode": "fast"}, "vectorization_mode must be"),
        ({"env": light(), "subworld_size": 2}, r"subworld_size.* is used as it is"),
    ],
    ids=["count", "error", "mode", "given"],
)
def test_what_cannot_be_made_is_refused(options, message):
    system = options.pop("env", "EI1")
    with pytest.raises(ConfigError, match=message):
        make_vec(system, Drive(), Rates(), **(LOOP | options))


def test_what_was_made_ends_with_the_vector():
    options = {"vectorization_mode": "sync", "backend": LightEnv}
    envs = make_vec("EI1", Drive(), Rates(), **LOOP, **options)
    assert any(t.name == "livn_ipp worker" for t in threading.enumerate())
    envs.reset()
    envs.close()
    with pytest.raises(ConfigError, match="no output_space"):
        make_vec("EI1", Drive(), lambda run, env: run, **LOOP, **options)
    assert not any(t.name == "livn_ipp worker" for t in threading.enumerate())
