"""A culture as a Gymnasium environment: the agent stimulates, the culture answers."""

import copy
from abc import abstractmethod
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.env.loop.episode import (
    Episode,
    Outcome,
    Reward,
    Step,
    Terminated,
    reset_command,
)
from livn_ipp.env.loop.runners import Runner, runner_for
from livn_ipp.errors import CallTimeout, ConfigError, SessionLost
from livn_ipp.extras import extra

if TYPE_CHECKING:
    import gymnasium as gym
else:
    gym = extra("gymnasium", "gymnasium")

__all__ = ["GymStep", "GymnasiumEnv", "ObsAugmentation", "spaces_of"]


class GymnasiumEnv(gym.Env[Any, Any]):
    """One culture in a closed loop, as a Gymnasium environment.

    Each step encodes the action as a stimulus, simulates the decoding's ``duration``
    and decodes what the culture did. Either the decoding is a ``Pipe`` that ends in a
    :class:`GymStep`: the culture then controls that task, and the agent trains the
    culture. Or `reward` judges the response, which is then the observation itself.

    Over a :class:`~livn_ipp.env.distributed.DistributedEnv` the episode lives on a
    worker, which is held until :meth:`close`: encoding, decoding, task and previous
    observation stay there, and a step carries only the action. Every episode begins
    with encoding and decoding as they were given.

    Parameters
    ----------
    env
        An initialised ``Env`` or ``DistributedEnv``. It is left open.
    encoding
        Turns an action into a stimulus; its ``input_space`` is the action space.
    decoding
        Turns a window into a response. Without GymStep, its ``output_space`` is the
        observation space.
    reward
        Function ``(observation, action, task) -> float``; `task` is what
        ``reset(options={"task": ...})`` was given.
    terminated
        Function ``(observation, task) -> bool`` that tells an episode's end.
    max_episode_steps
        Steps after which an episode is truncated.
    timeout
        Seconds that a reset or a step may take.

    Raises
    ------
    ConfigError
        If a space or the reward is missing, or all workers hold sessions.

    Examples
    --------
    >>> from livn_ipp.env.closed_loop import ChannelPulses, ChannelRates
    >>> from livn_ipp.env import Env
    >>> culture = Env("EI1").init().record_spikes()
    >>> env = GymnasiumEnv(
    ...     culture,
    ...     ChannelPulses.of(culture.io, amplitude=10),
    ...     ChannelRates.of(culture.io, duration=50),
    ...     reward=lambda rates, pulses, task: -abs(rates.mean() - 5),
    ...     max_episode_steps=20,
    ... )
    >>> rates, info = env.reset(seed=7)
    >>> rates.shape == (culture.io.num_channels,)
    True
    >>> env.close(), culture.close()
    (None, None)
    """

    def __init__(
        self,
        env: Any,
        encoding: Any,
        decoding: Any,
        *,
        reward: Reward | None = None,
        terminated: Terminated | None = None,
        max_episode_steps: int | None = None,
        timeout: float | None = 300.0,
    ) -> None:
        self.env, self.encoding, self.decoding = env, encoding, decoding
        self.metadata = {"render_modes": []}
        self.timeout = timeout
        self.action_space, self.observation_space = spaces_of(
            encoding, decoding, reward
        )
        self._episode = Episode(
            encoding, decoding, reward, terminated, max_episode_steps
        )
        self._opened: Runner | None = None
        self._begun = False

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        without_clear: bool = False,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Parameters
        ----------
        seed
            Seeds the culture's trial and the task.
        options
            Passed on to the task; ``{"task": ...}`` also to `reward`, `terminated` and
            ``env.decoding.state["task"]``.
        without_clear
            Whether the culture, encoding and decoding go on as they are.

        Returns
        -------
        observation, info
            Of the task; or what the culture does in its first window, on its own.
        """
        super().reset(seed=seed)
        command = reset_command(
            self.np_random, seed, options, without_clear=without_clear
        )
        if self._opened is None:
            self._opened = runner_for(self.env, self._episode, self.timeout)
        outcome = self._wait(self._opened.submit(command))
        self._begun = True
        return outcome.observation, outcome.info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act, and simulate one window.

        Returns
        -------
        observation, reward, terminated, truncated, info
        """
        return self.get_step(self.submit_step(action))

    def submit_step(self, action: Any) -> "Future[Outcome]":
        """Begin a step and return a handle for it, as in livn."""
        if self._opened is None or not self._begun:
            raise gym.error.ResetNeeded("call reset() before the first step")
        return self._opened.submit(Step(action))

    def poll_step(
        self, handle: "Future[Outcome]"
    ) -> tuple[Any, float, bool, bool, dict[str, Any]] | None:
        """Return what a step gave if it has ended, else None."""
        return self.get_step(handle) if handle.done() else None

    def get_step(
        self, handle: "Future[Outcome]"
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Wait for a step."""
        observation, reward, terminated, truncated, info = self._wait(handle)
        return observation, reward, terminated, truncated, info

    def render(self) -> None:
        """Show nothing; see ``env.dashboard()`` of a DistributedEnv."""

    def close(self) -> None:
        """Give the worker back and close the task; may be called twice.

        The environment of the cultures stays open.
        """
        opened, self._opened, self._begun = self._opened, None, False
        if opened is not None:
            opened.close()
        task = _task(self.decoding)
        if task is not None:
            task.close()

    def _wait(self, future: "Future[Outcome]") -> Outcome:
        try:
            return future.result(self.timeout)
        except SessionLost:
            self._begun = False
            raise
        except TimeoutError as error:
            if future.done() or isinstance(error, CallTimeout):
                raise
            raise CallTimeout(
                f"no worker took the step within {self.timeout:g} s; close() and make "
                "another GymnasiumEnv, or give more time: timeout="
            ) from None


class GymStep:
    """The stage of a Pipe at which the culture acts in a task.

    The stage before it decodes the culture's action. The task is stepped on the lowest
    rank only, and all ranks see what it answered: the other stages as
    ``(observation, reward, terminated, truncated, info)``, the encoding of the next
    step as ``env.decoding.state["raw_gym_obs"]``.

    Workers make the task anew from its spec; one without a spec is sent as it is.

    Parameters
    ----------
    gym_env
        A Gymnasium environment.

    Examples
    --------
    >>> task = GymStep(gym.make("CartPole-v1"))
    >>> task == GymStep(gym.make("CartPole-v1"))
    True
    """

    def __init__(self, gym_env: Any) -> None:
        self.gym_env = gym_env

    def __hash__(self) -> int:
        spec = _spec(self.gym_env)
        return id(self.gym_env) if spec is None else hash(spec.id)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GymStep):
            return NotImplemented
        mine, theirs = _spec(self.gym_env), _spec(other.gym_env)
        if mine is None or theirs is None:
            return self.gym_env is other.gym_env
        return bool(mine == theirs)

    def __getstate__(self) -> dict[str, Any]:
        spec = _spec(self.gym_env)
        return {"gym_env": self.gym_env} if spec is None else {"spec": spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        spec = state.get("spec")
        self.gym_env = state["gym_env"] if spec is None else gym.make(spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> "GymStep":
        kept = memo.get(id(self.gym_env))
        spec = _spec(self.gym_env)
        if kept is None and spec is not None:
            kept = gym.make(spec)
        return GymStep(copy.deepcopy(self.gym_env, memo) if kept is None else kept)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of the task."""
        observation, info = self.gym_env.reset(**kwargs)
        return _plain(observation, self.gym_env.observation_space), info

    def __call__(self, action: Any, env: Any = None) -> Any:
        """Act in the task. Collective."""
        comm = getattr(env, "comm", None)
        if comm is None or comm.size == 1:
            step = self._step(action, env)
        else:
            step = comm.bcast(self._step(action, env) if comm.rank == 0 else None)
        if step is not None:
            pipe: Any = getattr(env, "decoding", None)
            if hasattr(pipe, "state"):
                pipe.state["raw_gym_obs"] = step[0]
        return step

    def _step(self, action: Any, env: Any) -> Any:
        if action is None:
            return None
        action = self._clamp_action(action)
        pipe: Any = getattr(env, "decoding", None)
        if hasattr(pipe, "context"):
            pipe.context["gym_action"] = action
        observation, *rest = self.gym_env.step(action)
        return _plain(observation, self.gym_env.observation_space), *rest

    def _clamp_action(self, action: Any) -> Any:
        space = self.gym_env.action_space
        if isinstance(space, gym.spaces.Discrete):
            nearest = int(np.round(float(np.squeeze(action))))
            return int(np.clip(nearest, space.start, space.start + space.n - 1))
        if isinstance(space, gym.spaces.Box):
            given = np.asarray(action, space.dtype).reshape(space.shape)
            return np.clip(given, space.low, space.high)
        return action

    def close(self) -> None:
        """Close the task."""
        self.gym_env.close()


class ObsAugmentation:
    """A stage behind :class:`GymStep` that appends features to the observation.

    Parameters
    ----------
    obs_dim
        Number of features.
    """

    obs_dim: int = 0

    def __init__(self, obs_dim: int | None = None) -> None:
        if obs_dim is not None:
            self.obs_dim = obs_dim

    def __hash__(self) -> int:
        return hash((type(self).__name__, tuple(sorted(self.__dict__))))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    @abstractmethod
    def _features(
        self, env: Any, context: dict[str, Any], state: dict[str, Any]
    ) -> NDArray[Any]:
        """Return the features [obs_dim].

        Parameters
        ----------
        env
            The environment of the rank that runs the call.
        context, state
            Of the pipe: the notes of this step, and of the whole episode.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement _features")

    def zero_features(self) -> NDArray[np.float32]:
        """Return the features of a reset."""
        return np.zeros(self.obs_dim, np.float32)

    def __call__(self, step: Any, env: Any = None) -> Any:
        """Widen the observation of a step."""
        if step is None or step[0] is None:
            return None
        observation, *rest = step
        pipe = getattr(env, "decoding", None)
        notes = getattr(pipe, "context", {}), getattr(pipe, "state", {})
        features = np.asarray(self._features(env, *notes))
        if features.shape != (self.obs_dim,):
            raise ConfigError(
                f"{type(self).__name__} made features of shape {features.shape}, not "
                f"({self.obs_dim},) as its obs_dim says"
            )
        wide = np.concatenate([np.ravel(observation), features], dtype=np.float32)
        return wide, *rest


def spaces_of(encoding: Any, decoding: Any, reward: Any) -> tuple[Any, Any]:
    """Return action and observation space of a closed loop.

    Raises
    ------
    ConfigError
        If one is missing, or reward and task do not fit together.
    """
    task = _task(decoding)
    if task is not None and reward is not None:
        raise ConfigError("the task of GymStep has its own reward; leave reward= out")
    for owner, name in ((encoding, "input_space"), (decoding, "output_space")):
        if not (task is not None and owner is decoding) and not _declares(owner, name):
            raise ConfigError(
                f"{type(owner).__name__} declares no {name}, which a Gymnasium "
                f"environment needs: add a property {name} that returns a "
                "gymnasium.spaces.Space"
            )
    if task is None:
        return encoding.input_space, decoding.output_space
    return encoding.input_space, _widened(task.gym_env.observation_space, decoding)


def _task(decoding: Any) -> GymStep | None:
    stages = getattr(decoding, "stages", ())
    return next((stage for stage in stages if isinstance(stage, GymStep)), None)


def _declares(owner: Any, name: str) -> bool:
    try:
        return getattr(owner, name, None) is not None
    except ConfigError:
        return False


def _widened(space: Any, decoding: Any) -> Any:
    extra_dim = sum(getattr(stage, "obs_dim", 0) for stage in decoding.stages)
    if extra_dim == 0:
        return space
    if not isinstance(space, gym.spaces.Box):
        raise ConfigError(
            f"features can be appended to a Box only, and the task observes {space}"
        )
    low = np.concatenate([space.low.ravel(), np.zeros(extra_dim)])
    high = np.concatenate([space.high.ravel(), np.full(extra_dim, np.inf)])
    return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32))


def _plain(observation: Any, space: Any) -> Any:
    if not isinstance(space, gym.spaces.Box):
        return observation
    return np.asarray(observation, space.dtype)


def _spec(gym_env: Any) -> Any:
    """Return what a task can be made from again, if anything."""
    spec = getattr(gym_env, "spec", None)
    wrappers = () if spec is None else spec.additional_wrappers
    return None if any(wrapper.kwargs is None for wrapper in wrappers) else spec
