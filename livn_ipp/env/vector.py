"""Many cultures as one Gymnasium vector environment, each on a worker of its own."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from livn_ipp.env.loop.episode import Call, Outcome, SetAttr
from livn_ipp.env.loop.members import Autoreset, Member, OnError, Turns
from livn_ipp.env.loop.pool import Pool, consecutive
from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.utils.seeding import np_random
    from gymnasium.vector import AutoresetMode, VectorEnv, utils
else:
    gym = extra("gymnasium", "gymnasium")
    np_random = extra("gymnasium.utils.seeding", "gymnasium").np_random
    utils = extra("gymnasium.vector.utils", "gymnasium")
    VectorEnv, AutoresetMode = gym.vector.VectorEnv, gym.vector.AutoresetMode

__all__ = ["CultureVectorEnv"]

Batch = tuple[
    Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]
"""Observations, rewards, terminations, truncations, infos."""


class CultureVectorEnv(VectorEnv[Any, Any, Any]):
    """Closed loops on the workers of a cluster, stepped together or as they are ready.

    Made by :func:`livn_ipp.make_vec`. What an environment gives depends on its
    seeds, actions and tasks only, whatever the number of workers.

    Parameters
    ----------
    turns
        What carries commands out; if there are fewer than environments, they share.
    num_envs
        Number of environments.
    spaces
        Action and observation space of one of them.
    seed, autoreset_mode, on_error, timeout
        As :func:`livn_ipp.make_vec` takes them.
    release
        Called when all is closed.

    Attributes
    ----------
    pool : Pool
        The environments one by one.
    """

    def __init__(
        self,
        turns: Sequence[Turns],
        num_envs: int,
        spaces: tuple[Any, Any],
        *,
        seed: int | None = None,
        autoreset_mode: Autoreset | AutoresetMode = "NextStep",
        on_error: OnError = "raise",
        timeout: float | None = 300.0,
        release: Callable[[], Any] | None = None,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        self.num_envs = num_envs
        self.single_action_space, self.single_observation_space = spaces
        self.action_space = utils.batch_space(spaces[0], num_envs)
        self.observation_space = utils.batch_space(spaces[1], num_envs)
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self._action_spaces = {num_envs: self.action_space}
        self._excuse, self._release = on_error == "restart", release
        members = [
            Member(
                number,
                turns[number % len(turns)],
                mode.value,
                num_envs > len(turns),
                *np_random(None if seed is None else seed + number),
            )
            for number in range(num_envs)
        ]
        autoreset = mode is not AutoresetMode.DISABLED
        self.pool = Pool(members, turns, autoreset=autoreset, timeout=timeout)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in each environment; what runs is given up.

        Parameters
        ----------
        seed
            One for each environment, or the first of consecutive ones.
        options
            Passed on to each environment. ``"task"``: a list has one for each,
            anything else is for all. ``"reset_mask"``: array of bool [num_envs], the
            environments to reset.

        Returns
        -------
        observations, infos
        """
        options = dict(options or {})
        chosen = self._chosen(options.pop("reset_mask", None))
        seeds = self._one_each("seeds", consecutive(seed, self.num_envs))
        tasks = options.pop("task", None)
        if not isinstance(tasks, (list, tuple)):
            tasks = [tasks] * self.num_envs
        tasks = self._one_each("tasks", tasks)
        for i in chosen:
            self.send_reset(i, task=tasks[i], seed=seeds[i], options=options)
        self._wait(chosen, len(chosen))
        infos: dict[str, Any] = {}
        for i, outcome in self.pool.take(chosen).items():
            infos = self._add_info(infos, outcome.info, i)
        return self.batched([m.observation for m in self.pool.members]), infos

    def step(self, actions: Any) -> Batch:
        """Act in every environment, and wait for all.

        What an earlier step left unread, because an environment raised, is dropped.

        Returns
        -------
        observations, rewards, terminations, truncations, infos

        Raises
        ------
        Exception
            What an environment raised, once the others have ended their steps. It
            begins its next episode in the next step, or by :meth:`reset_one`.
        CallTimeout
            If some have not answered in time. They go on: :meth:`recv`, or reset them.
        """
        self.send(actions)
        everyone = range(self.num_envs)
        self._wait(everyone, self.num_envs)
        return self._batch(self.pool.take(everyone).values(), self)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or read an attribute.

        The name is looked for in the episode (`task`, `steps`), the task of a GymStep,
        the encoding, the decoding and the culture, in this order. What is set on a
        culture stays when the vector is closed.
        """
        return self.pool.ask(
            dict.fromkeys(range(self.num_envs), Call(name, args, kwargs))
        )

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Read an attribute of each environment; see :meth:`call`."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment, in this episode and those to come.

        Parameters
        ----------
        name
            Looked for as in :meth:`call`; it must be there.
        values
            A list has one value for each environment, anything else is for all.

        Raises
        ------
        ConfigError
            If environments that share a worker are given values of their own.
        """
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        elif self.num_envs > self.pool.num_workers:
            raise ConfigError(
                f"{self.num_envs} environments share {self.pool.num_workers} workers "
                "and their attributes; set one value for all, or use as many workers"
            )
        values = self._one_each("values", values)
        self.pool.ask({i: SetAttr(name, value) for i, value in enumerate(values)})

    def render(self) -> None:
        """Show nothing; see ``env.dashboard()`` of a DistributedEnv."""

    def close_extras(self, **_: Any) -> None:
        """Give the workers back, without waiting for what runs."""
        self.pool.close()
        if self._release is not None:
            self._release()

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of each environment, from which its episodes are drawn."""
        return tuple(member.random for member in self.pool.members)

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]
        """The seed of each environment's generator."""
        return tuple(member.seed for member in self.pool.members)

    # Beyond Gymnasium: one by one, as they are ready

    def reset_one(
        self,
        env_id: int,
        *,
        task: Any = None,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in one environment; what it runs is given up.

        Returns
        -------
        observation, info
            Of this environment.
        """
        self.send_reset(env_id, task=task, seed=seed, options=options)
        self._wait([env_id], 1)
        outcome = self.pool.take([env_id])[env_id]
        return outcome.observation, outcome.info

    def send_reset(
        self,
        env_id: int,
        *,
        task: Any = None,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Begin an episode in one environment and return at once; see :meth:`recv`."""
        given = {} if task is None else {"task": task}
        self.pool.begin(env_id, seed, {**(options or {}), **given})

    def send(self, actions: Any, env_ids: Iterable[int] | None = None) -> None:
        """Act in some environments and return at once.

        Parameters
        ----------
        actions
            One for each of `env_ids`, batched as for :meth:`step`.
        env_ids
            The environments, by default all.
        """
        chosen = list(range(self.num_envs) if env_ids is None else env_ids)
        self.pool.step(chosen, utils.iterate(self._action_space(len(chosen)), actions))

    def recv(self, min_envs: int | None = None, timeout: float | None = None) -> Batch:
        """Wait for environments, so that a slow one does not stall the rest.

        Parameters
        ----------
        min_envs
            Return as soon as so many have answered; by default all that were sent
            something.
        timeout
            Seconds to wait; by default those of the vector.

        Returns
        -------
        observations, rewards, terminations, truncations, infos
            Of the environments that have answered: ``infos["env_id"]``.

        Raises
        ------
        Exception
            What an environment raised; the others' answers wait for the next `recv`.
        CallTimeout
            If too few have answered; they go on.
        """
        ready = self.outcomes(min_envs, timeout)
        part: VectorEnv[Any, Any, Any] = VectorEnv()
        part.num_envs = len(ready)
        *batch, infos = self._batch(ready.values(), part)
        return (*batch, infos | {"env_id": np.array(list(ready), np.int64)})

    def outcomes(
        self, min_envs: int | None = None, timeout: float | None = None
    ) -> dict[int, Outcome]:
        """Wait as :meth:`recv` does; return what each environment gave, not batched."""
        sent = self.pool.sent
        if not sent:
            raise gym.error.NoAsyncCallError("nothing was sent; send() first", "step")
        least = len(sent) if min_envs is None else min(min_envs, len(sent))
        self._wait(sent, least, timeout)
        return self.pool.take(sent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside

    def _wait(
        self, ids: Sequence[int], least: int, timeout: float | None = None
    ) -> None:
        errors = self.pool.gather(ids, least, timeout, excuse=self._excuse)
        for error in errors.values():
            raise error

    def _action_space(self, count: int) -> gym.Space[Any]:
        """Return the space of several actions; to make one takes as long as a step."""
        if count not in self._action_spaces:
            space = utils.batch_space(self.single_action_space, count)
            self._action_spaces[count] = space
        return self._action_spaces[count]

    def _batch(self, outcomes: Iterable[Outcome], owner: Any) -> Batch:
        """Put outcomes together; `owner` is a vector of as many environments."""
        rows = list(outcomes)
        infos: dict[str, Any] = {}
        for place, outcome in enumerate(rows):
            infos = owner._add_info(infos, outcome.info, place)  # noqa: SLF001
        return (
            self.batched([outcome.observation for outcome in rows]),
            np.array([outcome.reward for outcome in rows], np.float64),
            np.array([outcome.terminated for outcome in rows], np.bool_),
            np.array([outcome.truncated for outcome in rows], np.bool_),
            infos,
        )

    def batched(self, observations: Sequence[Any]) -> Any:
        """Put observations together, as :meth:`step` returns them."""
        space = self.single_observation_space
        if type(space) is gym.spaces.Box:  # as below, in half the time
            return np.stack(observations, dtype=space.dtype, casting="same_kind")
        empty: Any = utils.create_empty_array(space, len(observations))
        return utils.concatenate(space, observations, empty)

    def _chosen(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ConfigError(
                f"reset_mask must be an array of {self.num_envs} bools, at least one "
                f"of them True, not {mask!r}"
            )
        if any(not m.begun and not mask[m.number] for m in self.pool.members):
            raise gym.error.ResetNeeded("reset all environments once, without a mask")
        return [int(i) for i in np.flatnonzero(mask)]

    def _one_each(self, what: str, values: Sequence[Any]) -> Sequence[Any]:
        if len(values) != self.num_envs:
            raise ConfigError(
                f"{len(values)} {what} for {self.num_envs} environments; give one for "
                "each"
            )
        return values
