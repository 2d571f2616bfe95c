"""The worker's side of a closed loop: an episode, and what it can be told to do."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from livn_ipp.errors import ConfigError

__all__ = [
    "Call",
    "Command",
    "Episode",
    "Outcome",
    "Reset",
    "Resume",
    "Reward",
    "SetAttr",
    "Step",
    "Terminated",
    "reset_command",
]

Reward = Callable[[Any, Any, Any], Any]
"""``(observation, action, task) -> reward``."""
Terminated = Callable[[Any, Any], Any]
"""``(observation, task) -> whether the episode has reached its end``."""


class Outcome(NamedTuple):
    """What a reset or a step gives."""

    observation: Any
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = {}  # noqa: RUF012 - never written to

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


@dataclass(frozen=True)
class Reset:
    """Begin an episode.

    Attributes
    ----------
    seed
        Seed of the task.
    trial
        Trial of the culture.
    options
        Passed on to the task; ``"task"`` among them to all who ask for it.
    clear
        Whether the culture returns to time zero; if not it goes on, as do encoding and
        decoding.
    """

    seed: int
    trial: int
    options: dict[str, Any] = field(default_factory=dict)
    clear: bool = True


class Step(NamedTuple):
    """Take an action; a named tuple, because nothing else is sent as often."""

    action: Any


@dataclass(frozen=True)
class Call:
    """Call a method by name, or read an attribute."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SetAttr:
    """Set an attribute."""

    name: str
    value: Any


@dataclass(frozen=True)
class Resume:
    """Do again what was done before, and then something new.

    Simulations repeat themselves bit for bit, so the state is what it was.
    """

    history: tuple[Reset | Step | Call | SetAttr, ...]
    command: Reset | Step | Call | SetAttr


Command = Reset | Step | Call | SetAttr | Resume


class Episode:
    """One episode of a closed loop, where the culture is.

    Stands in the place of a session's decoding; each input is a command. Encoding,
    decoding and reward stay here for as long as the episode lasts, on every rank, and
    each episode begins with them as they were given, so nothing is carried over.

    Parameters
    ----------
    encoding, decoding
        Of every step.
    reward
        Function ``(observation, action, task) -> reward``; None if the decoding returns
        ``(observation, reward, terminated, truncated, info)``.
    terminated
        Function ``(observation, task) -> bool``.
    max_episode_steps
        Steps after which an episode is truncated; None for no limit.
    """

    def __init__(
        self,
        encoding: Any,
        decoding: Any,
        reward: Reward | None = None,
        terminated: Terminated | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        self.encoding, self.decoding = encoding, decoding
        self.reward, self.terminated = reward, terminated
        self.max_episode_steps = max_episode_steps
        self.task: Any = None
        self.steps = 0
        self._given = (encoding, decoding)
        self._begun = False

    @property
    def duration(self) -> float:
        """Length of a step in ms."""
        return float(self.decoding.duration)

    def carry_out(self, env: Any, inputs: Command, encoding: Any = None) -> Any:
        """Do as told, on every rank. Collective."""
        del encoding
        match inputs:
            case Resume():
                for command in inputs.history:
                    self.carry_out(env, command)
                return self.carry_out(env, inputs.command)
            case Reset():
                return self._reset(env, inputs)
            case Step():
                return self._step(env, inputs.action)
            case Call():
                return self._call(env, inputs)
            case SetAttr():
                return self._set(env, inputs)

    def _reset(self, env: Any, reset: Reset) -> Outcome:
        if reset.clear:
            env.clear(trial=reset.trial)
        if reset.clear or not self._begun:
            self.encoding, self.decoding = _copy(*self._given)
        self._begun = True
        self.steps, self.task = 0, reset.options.get("task")
        state = _state(self.decoding)
        state["task"] = self.task
        began = None
        for part in (self.encoding, self.decoding):
            reset_part = getattr(part, "reset", None)
            began = reset_part and reset_part(
                seed=reset.seed, options=reset.options or None
            )
        if began is None:  # what the culture does on its own
            began = _shared(env, env(self.decoding, inputs=None, encoding=None)), {}
        observation, info = began
        state["raw_gym_obs"] = observation
        return Outcome(_widened(self.decoding, observation), info=dict(info))

    def _step(self, env: Any, action: Any) -> Outcome:
        state = _state(self.decoding)
        state["io_action"] = action
        response = env(self.decoding, inputs=action, encoding=self.encoding)
        response = _shared(env, response)
        self.steps += 1
        if self.reward is None:
            outcome = _outcome(response)
        else:
            outcome = Outcome(
                response,
                float(self.reward(response, action, self.task)),
                self.terminated is not None
                and bool(self.terminated(response, self.task)),
                info={},
            )
            state["raw_gym_obs"] = response
        limit = self.max_episode_steps
        if limit is not None and self.steps >= limit:
            outcome = outcome._replace(truncated=True)
        return outcome

    def _call(self, env: Any, call: Call) -> Any:
        for owner in self._owners(env):
            if _has(owner, call.name):
                value = _get(owner, call.name)
                answer = value(*call.args, **call.kwargs) if callable(value) else value
                return None if answer is owner else answer
        raise self._unknown(call.name)

    def _set(self, env: Any, item: SetAttr) -> None:
        owners = [owner for owner in self._owners(env) if _has(owner, item.name)]
        if not owners:
            raise self._unknown(item.name)
        owner = owners[0]
        for given in self._given:  # the episodes to come begin with it too
            if type(given) is type(owner) and _has(given, item.name):
                setattr(given, item.name, item.value)
        if hasattr(owner, "set_wrapper_attr"):
            owner.set_wrapper_attr(item.name, item.value)
        else:
            setattr(owner, item.name, item.value)

    def _owners(self, env: Any) -> list[Any]:
        tasks = [stage.gym_env for stage in _stages(self.decoding)]
        return [self, *tasks, self.encoding, self.decoding, env]

    def _unknown(self, name: str) -> AttributeError:
        return AttributeError(
            f"neither episode, task, encoding, decoding nor culture has {name!r}"
        )


def _outcome(response: Any) -> Outcome:
    if not isinstance(response, tuple) or len(response) != 5:
        raise ConfigError(
            f"the decoding returned {type(response).__name__}; without reward= it must "
            "return (observation, reward, terminated, truncated, info), as a Pipe does "
            "whose last stage is a GymStep"
        )
    observation, reward, terminated, truncated, info = response
    return Outcome(
        observation, float(reward), bool(terminated), bool(truncated), dict(info)
    )


def _state(decoding: Any) -> dict[str, Any]:
    state = getattr(decoding, "state", None)
    return state if isinstance(state, dict) else {}


def _stages(decoding: Any) -> list[Any]:
    """Return the stages that step a task."""
    stages = getattr(decoding, "stages", ())
    return [stage for stage in stages if hasattr(stage, "gym_env")]


def _widened(decoding: Any, observation: Any) -> Any:
    """Append what the stages behind the task would, before there is anything."""
    extra = [
        stage.zero_features()
        for stage in getattr(decoding, "stages", ())
        if hasattr(stage, "zero_features")
    ]
    if not extra:
        return observation
    return np.concatenate([np.ravel(observation), *extra], dtype=np.float32)


def _copy(encoding: Any, decoding: Any) -> tuple[Any, Any]:
    """Copy both, and keep the tasks: those are made new by their own reset."""
    kept = {id(stage.gym_env): stage.gym_env for stage in _stages(decoding)}
    copied: tuple[Any, Any] = copy.deepcopy((encoding, decoding), kept)
    return copied


def _shared(env: Any, response: Any) -> Any:
    """Give every rank the response of the lowest rank that has one."""
    comm = getattr(env, "comm", None)
    if comm is None or comm.size == 1:
        return response
    return next((part for part in comm.allgather(response) if part is not None), None)


def _has(owner: Any, name: str) -> bool:
    if hasattr(owner, "has_wrapper_attr"):
        return bool(owner.has_wrapper_attr(name))
    return hasattr(owner, name)


def _get(owner: Any, name: str) -> Any:
    if hasattr(owner, "get_wrapper_attr"):
        return owner.get_wrapper_attr(name)
    return getattr(owner, name)


def reset_command(
    random: np.random.Generator,
    seed: int | None,
    options: dict[str, Any] | None,
    *,
    without_clear: bool = False,
) -> Reset:
    """Draw what an episode begins with; the seed given, if any, goes to the task."""
    drawn, trial = int(random.integers(2**31)), int(random.integers(2**32))
    chosen = dict(options or {})
    without_clear = bool(chosen.pop("without_clear", without_clear))
    return Reset(drawn if seed is None else seed, trial, chosen, not without_clear)
