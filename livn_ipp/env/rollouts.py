"""Rollouts: episodes of a policy, the same data for any number of workers."""

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.env.loop.episode import Outcome
from livn_ipp.env.vector import CultureVectorEnv
from livn_ipp.errors import CallError, ClusterLost, ConfigError, SessionLost

__all__ = ["FailedRollout", "Rollout", "Rollouts", "collect_rollouts"]


@dataclass(frozen=True)
class Rollout:
    """One episode.

    Attributes
    ----------
    episode
        Its number.
    seed
        What the environment was reset with.
    task
        What it was asked to do.
    observations
        Those of T steps and, before them, of the reset: an array [T + 1, ...], or a
        tuple where they are no arrays.
    actions
        One for each step, an array [T, ...] or tuple.
    rewards : array [T]
        What each step was worth.
    terminated, truncated
        How the episode ended.
    """

    episode: int
    seed: int
    task: Any
    observations: Any
    actions: Any
    rewards: NDArray[np.float64]
    terminated: bool
    truncated: bool

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum())


@dataclass(frozen=True)
class FailedRollout:
    """An episode that could not be brought to its end.

    Attributes
    ----------
    episode, seed, task
        As of a :class:`Rollout`.
    error
        What the environment raised.
    """

    episode: int
    seed: int
    task: Any
    error: Exception


@dataclass(frozen=True)
class Rollouts:
    """What :func:`collect_rollouts` collected.

    Attributes
    ----------
    episodes
        By their number.
    failed
        The episodes that are missing among them, and why.
    """

    episodes: tuple[Rollout, ...]
    failed: tuple[FailedRollout, ...] = ()

    @property
    def env_steps(self) -> int:
        """Number of steps in all episodes."""
        return sum(map(len, self.episodes))

    def digest(self) -> str:
        """Fingerprint of the data: equal if and only if every bit is."""
        content = hashlib.sha256()
        for episode in self.episodes:
            told = (episode.episode, episode.seed, episode.terminated)
            content.update(repr((*told, episode.truncated)).encode())
            for values in (episode.observations, episode.actions, episode.rewards):
                array = isinstance(values, np.ndarray)
                content.update(values.tobytes() if array else repr(values).encode())
        return content.hexdigest()[:16]


def collect_rollouts(
    policy: Any,
    num_rollouts: int,
    tasks: Sequence[Any] | Callable[[np.random.Generator], Any] | None = None,
    envs: CultureVectorEnv | None = None,
    random_actions: bool = False,
    *,
    env: Any = None,
    seed: int = 0,
    max_steps: int | None = None,
    max_attempts: int = 3,
) -> Rollouts:
    """Play episodes, each with its own seed and task.

    All that is random about an episode comes from ``SeedSequence(seed,
    spawn_key=(episode,))``, so the data are the same, bit for bit, for any number of
    workers and for none. If a worker is lost, its episode is played again from the
    start.

    Parameters
    ----------
    policy
        Function ``observation -> action``. A policy with a memory or with randomness
        has a method ``begin(random, task)`` that returns such a function for one
        episode; `random` is a NumPy generator.
    num_rollouts
        Number of episodes.
    tasks
        A list, dealt out in turn; or a function that draws one from a generator.
    envs
        What :func:`livn_ipp.make_vec` made: episodes are played side by side, and each
        environment goes at its own pace.
    random_actions
        Whether actions are drawn from the action space instead; `policy` may be None.
    env
        Without `envs`, a Gymnasium environment that plays them one after the other.
    seed
        Seed of it all.
    max_steps
        Steps after which an episode is truncated.
    max_attempts
        Times that an episode is tried while workers are lost.

    Returns
    -------
    Rollouts
        The episodes, and those that failed.

    Raises
    ------
    ConfigError
        If neither or both of `envs` and `env` are given, or there is no policy.
    CallTimeout
        If no environment answers in the time of `envs`.
    """
    if (envs is None) == (env is None):
        raise ConfigError(
            "give envs=, a vector of make_vec(), to play side by side; or env=, a "
            "Gymnasium environment, to play one after the other"
        )
    if policy is None and not random_actions:
        raise ConfigError("there is no policy; give one, or random_actions=True")
    space = env.action_space if envs is None else envs.single_action_space
    plans = [
        _plan(number, seed, tasks, policy, space if random_actions else None)
        for number in range(num_rollouts)
    ]
    limits = _Limits(max_steps, max_attempts)
    if envs is None:
        return _in_turn(env, plans, limits)
    return _side_by_side(envs, plans, limits)


@dataclass(frozen=True)
class _Limits:
    steps: int | None
    attempts: int


@dataclass
class _Plan:
    """An episode to play."""

    episode: int
    seed: int
    task: Any
    actor: Callable[[], Any]
    attempts: int = 0

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.task is None else {"task": self.task}


@dataclass
class _Record:
    """An episode that is being played."""

    plan: _Plan
    limits: _Limits
    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False

    def __post_init__(self) -> None:
        self.plan.attempts += 1
        self.act = self.plan.actor()

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated

    def begin(self, observation: Any) -> Any:
        """Note the first observation and return the first action."""
        self.observations.append(copy.deepcopy(observation))
        return self._next()

    def go_on(self, outcome: Outcome) -> Any:
        """Note a step and return the next action."""
        self.rewards.append(outcome.reward)
        last = outcome.info.get("final_obs", outcome.observation)
        self.observations.append(copy.deepcopy(last))
        limit = self.limits.steps
        late = limit is not None and len(self.rewards) >= limit
        self.terminated = outcome.terminated
        self.truncated = outcome.truncated or (late and not outcome.terminated)
        return None if self.over else self._next()

    def done(self) -> Rollout:
        return Rollout(
            self.plan.episode,
            self.plan.seed,
            self.plan.task,
            _stacked(self.observations),
            _stacked(self.actions),
            np.array(self.rewards, np.float64),
            self.terminated,
            self.truncated,
        )

    def _next(self) -> Any:
        action = self.act(copy.deepcopy(self.observations[-1]))
        self.actions.append(copy.deepcopy(action))
        return action


def _plan(episode: int, seed: int, tasks: Any, policy: Any, space: Any) -> _Plan:
    root = np.random.SeedSequence(seed, spawn_key=(episode,))
    of_task, of_policy = root.spawn(2)
    task = None
    if callable(tasks):
        task = tasks(np.random.default_rng(of_task))
    elif tasks is not None:
        task = tasks[episode % len(tasks)]

    def actor() -> Any:
        if space is not None:
            own = copy.deepcopy(space)
            own.seed(int(of_policy.generate_state(1)[0]))
            return lambda _: own.sample()
        if hasattr(policy, "begin"):
            return policy.begin(np.random.default_rng(of_policy), task)
        return policy

    return _Plan(episode, int(root.generate_state(1)[0] >> 1), task, actor)


def _in_turn(env: Any, plans: Sequence[_Plan], limits: _Limits) -> Rollouts:
    book = _Book(plans, limits)
    while book.waiting:
        record = book.open()
        plan = record.plan
        try:
            observation, _ = env.reset(seed=plan.seed, options=plan.options)
        except Exception as error:
            book.fail(record, error)
            continue
        action = record.begin(observation)
        while not record.over:
            try:
                outcome = Outcome(*env.step(action))
            except Exception as error:
                book.fail(record, error)
                break
            action = record.go_on(outcome)
        else:
            book.close(record)
    return book.rollouts()


def _side_by_side(
    envs: CultureVectorEnv, plans: Sequence[_Plan], limits: _Limits
) -> Rollouts:
    book = _Book(plans, limits)
    # Environments that share a worker would have to repeat each other's episodes.
    pool = envs.pool
    free = deque(range(min(envs.num_envs, pool.num_workers)))
    playing: dict[int, _Record] = {}
    try:
        while book.waiting or playing:
            while free and book.waiting:
                i, record = free.popleft(), book.open()
                playing[i] = record
                pool.begin(i, record.plan.seed, record.plan.options)
            errors = pool.gather(list(playing), 1)
            for i, error in errors.items():
                record = playing.pop(i)
                if not _has_no_worker(error, record):
                    book.fail(record, error)
                    free.append(i)
                elif playing or free:
                    book.put_back(record)
                else:
                    raise error
            for i, outcome in pool.take(list(playing)).items():
                record = playing[i]
                begun = bool(record.observations)
                action = (
                    record.go_on(outcome)
                    if begun
                    else record.begin(outcome.observation)
                )
                if record.over:
                    book.close(playing.pop(i))
                    free.append(i)
                else:
                    pool.step([i], [action])
    finally:
        pool.give_up(playing)
    return book.rollouts()


def _has_no_worker(error: Exception, record: _Record) -> bool:
    """Tell whether an environment's worker is gone for good."""
    nobody = isinstance(error, (ConfigError, ClusterLost))
    return nobody and not isinstance(error, CallError) and not record.observations


class _Book:
    """Which episodes are still to be played, and what became of the others."""

    def __init__(self, plans: Sequence[_Plan], limits: _Limits) -> None:
        self.waiting = deque(plans)
        self._limits = limits
        self._episodes: list[Rollout] = []
        self._failed: list[FailedRollout] = []

    def open(self) -> _Record:
        """Begin with the next."""
        return _Record(self.waiting.popleft(), self._limits)

    def close(self, record: _Record) -> None:
        """Take in an episode that is over."""
        self._episodes.append(record.done())

    def put_back(self, record: _Record) -> None:
        """Let somebody else play an episode."""
        record.plan.attempts -= 1
        self.waiting.appendleft(record.plan)

    def fail(self, record: _Record, error: Exception) -> None:
        """Play an episode again if its worker was lost, else give it up."""
        plan = record.plan
        if isinstance(error, SessionLost) and plan.attempts < self._limits.attempts:
            self.waiting.appendleft(plan)
            return
        failed = FailedRollout(plan.episode, plan.seed, plan.task, error)
        self._failed.append(failed)

    def rollouts(self) -> Rollouts:
        """Return what was collected, in order."""
        number = lambda each: each.episode
        return Rollouts(
            tuple(sorted(self._episodes, key=number)),
            tuple(sorted(self._failed, key=number)),
        )


def _stacked(values: Sequence[Any]) -> Any:
    if all(isinstance(value, (np.ndarray, np.generic, int, float)) for value in values):
        return np.stack(values)
    return tuple(values)
