"""Many cultures as one Gymnasium vector environment, each on a worker of its own."""

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.env.episode import Call, Outcome, SetAttr
from livn_ipp.env.gymnasium import reset_command
from livn_ipp.env.members import Autoreset, Member, OnError, Turns
from livn_ipp.errors import CallTimeout, ConfigError
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

    Made by :func:`livn_ipp.make_vec`. What an environment gives depends on its seeds,
    actions and tasks only, whatever the number of workers.

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
        self.num_envs, self.timeout = num_envs, timeout
        self.single_action_space, self.single_observation_space = spaces
        self.action_space = utils.batch_space(spaces[0], num_envs)
        self.observation_space = utils.batch_space(spaces[1], num_envs)
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self._turns, self._release, self._on_error = turns, release, on_error
        self._shared = num_envs > len(turns)
        self._members = [
            Member(
                number,
                turns[number % len(turns)],
                mode.value,
                self._shared,
                *np_random(None if seed is None else seed + number),
            )
            for number in range(num_envs)
        ]
        self._outcomes: dict[int, Outcome] = {}

    # As Gymnasium's

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
        seeds = self._one_each("seeds", _consecutive(seed, self.num_envs))
        tasks = options.pop("task", None)
        if not isinstance(tasks, (list, tuple)):
            tasks = [tasks] * self.num_envs
        tasks = self._one_each("tasks", tasks)
        for i in chosen:
            self._begin(i, seeds[i], options, tasks[i])
        self._wait(chosen, len(chosen))
        infos: dict[str, Any] = {}
        for i in chosen:
            infos = self._add_info(infos, self._outcomes.pop(i).info, i)
        return self._batched([m.observation for m in self._members]), infos

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
        everyone = range(self.num_envs)
        self._send(actions, everyone)
        self._wait(everyone, self.num_envs)
        return self._take(everyone, self)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or read an attribute.

        The name is looked for in the episode (`task`, `steps`), the task of a GymStep,
        the encoding, the decoding and the culture, in this order. What is set on a
        culture stays when the vector is closed.
        """
        return self._ask([Call(name, args, kwargs)] * self.num_envs)

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
        """
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        elif self._shared:
            raise ConfigError(
                f"{self.num_envs} environments share {len(self._turns)} workers and "
                "their attributes; set one value for all, or use as many workers"
            )
        self._ask([SetAttr(name, v) for v in self._one_each("values", values)])

    def render(self) -> None:
        """Show nothing; see ``env.dashboard()`` of a DistributedEnv."""

    def close_extras(self, **_: Any) -> None:
        """Give the workers back, without waiting for what runs."""
        for turns in self._turns:
            turns.runner.close()
        if self._release is not None:
            self._release()

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of each environment, from which its episodes are drawn."""
        return tuple(member.random for member in self._members)

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]
        """The seed of each environment's generator."""
        return tuple(member.seed for member in self._members)

    # One by one

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
        self._check(env_id)
        self._begin(env_id, seed, options or {}, task)
        self._wait([env_id], 1)
        outcome = self._outcomes.pop(env_id)
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
        self._check(env_id)
        self._begin(env_id, seed, options or {}, task)

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
        for i in chosen:
            self._check(i)
        self._send(actions, chosen)

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
        sent, least = self._sent(min_envs)
        self._wait(sent, least, timeout)
        ready = [i for i in sent if i in self._outcomes]
        collector: VectorEnv[Any, Any, Any] = VectorEnv()
        collector.num_envs = len(ready)
        *batch, infos = self._take(ready, collector)
        return (*batch, infos | {"env_id": np.array(ready, np.int64)})

    def recv_outcomes(
        self, min_envs: int | None = None, timeout: float | None = None
    ) -> tuple[dict[int, Outcome], dict[int, Exception]]:
        """Wait as :meth:`recv` does, and return the answer or error of each.

        Errors end no episode as truncated here, whatever `on_error` says.
        """
        sent, least = self._sent(min_envs)
        errors = self._gather(sent, least, timeout, excuse=False)
        return {i: self._outcomes.pop(i) for i in sent if i in self._outcomes}, errors

    def send_one(self, env_id: int, action: Any) -> None:
        """Act in one environment and return at once; `action` is not batched."""
        self._check(env_id)
        self._step([env_id], [action])

    def give_up(self, env_ids: Iterable[int]) -> None:
        """Let go of what some environments do; they have to be reset then."""
        for i in list(env_ids):
            self._check(i)
            self._outcomes.pop(i, None)
            self._members[i].give_up()

    @property
    def num_workers(self) -> int:
        """Number of workers that the environments are on."""
        return len(self._turns)

    # Inside

    def _begin(
        self, i: int, seed: int | None, options: dict[str, Any], task: Any
    ) -> None:
        self._check_open()
        member = self._members[i]
        if seed is not None:
            member.random, member.seed = np_random(seed)
        given = options if task is None else {**options, "task": task}
        self._outcomes.pop(i, None)
        member.reset(reset_command(member.random, seed, given))

    def _send(self, actions: Any, chosen: Sequence[int]) -> None:
        space = utils.batch_space(self.single_action_space, len(chosen))
        self._step(chosen, utils.iterate(space, actions))

    def _step(self, chosen: Sequence[int], actions: Iterable[Any]) -> None:
        self._check_open()
        members = [self._members[i] for i in chosen]
        self._check_idle(members)
        disabled = self.metadata["autoreset_mode"] is AutoresetMode.DISABLED
        for member in members:
            if not member.begun or (disabled and member.over):
                raise gym.error.ResetNeeded(
                    f"environment {member.number} must be reset before it is stepped"
                )
        for member, action in zip(members, actions, strict=True):
            self._outcomes.pop(member.number, None)
            member.step(action)

    def _sent(self, min_envs: int | None) -> tuple[list[int], int]:
        self._check_open()
        sent = [
            m.number
            for m in self._members
            if m.running is not None or m.number in self._outcomes
        ]
        if not sent:
            raise gym.error.NoAsyncCallError("nothing was sent; send() first", "step")
        return sent, len(sent) if min_envs is None else min(min_envs, len(sent))

    def _wait(
        self, ids: Sequence[int], least: int, timeout: float | None = None
    ) -> None:
        excuse = self._on_error == "restart"
        errors = self._gather(ids, least, timeout, excuse=excuse)
        for error in errors.values():
            raise error

    def _gather(
        self, ids: Sequence[int], least: int, timeout: float | None, *, excuse: bool
    ) -> dict[int, Exception]:
        """Take in what ends, until enough environments have answered or raised."""
        timeout = self.timeout if timeout is None else timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        members = [self._members[i] for i in ids]
        errors: dict[int, Exception] = {}
        while True:
            for member in members:
                try:
                    self._take_in(member, excuse)
                except Exception as error:
                    errors[member.number] = error
            running = [m.running for m in members if m.running is not None]
            missing = least - len(errors) - sum(i in self._outcomes for i in ids)
            if missing <= 0 or not running:
                return errors
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                late = [m.number for m in members if m.running is not None]
                raise CallTimeout(
                    f"environments {late} have not answered within {timeout:g} s; they "
                    "go on: wait again with recv(), or begin anew with reset_one()"
                )
            _wait_for(running, missing >= len(running), left)

    def _take_in(self, member: Member, excuse: bool) -> None:
        while member.running is not None and member.running.done():
            try:
                outcome = member.take()
            except Exception as error:
                if not excuse:
                    raise
                outcome = member.excuse(error)
            if outcome is not None:
                self._outcomes[member.number] = outcome

    def _take(self, ids: Sequence[int], collector: Any) -> Batch:
        outcomes = [self._outcomes.pop(i) for i in ids]
        infos: dict[str, Any] = {}
        for place, outcome in enumerate(outcomes):
            infos = collector._add_info(infos, outcome.info, place)  # noqa: SLF001
        return (
            self._batched([outcome.observation for outcome in outcomes]),
            np.array([outcome.reward for outcome in outcomes], np.float64),
            np.array([outcome.terminated for outcome in outcomes], np.bool_),
            np.array([outcome.truncated for outcome in outcomes], np.bool_),
            infos,
        )

    def _ask(self, commands: Sequence[Call | SetAttr]) -> tuple[Any, ...]:
        self._check_open()
        self._check_idle(self._members)
        asked = [m.ask(c) for m, c in zip(self._members, commands, strict=True)]
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        for future in asked:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            _wait_for([future], True, left)
        return tuple(future.result(0) for future in asked)

    def _batched(self, observations: Sequence[Any]) -> Any:
        space = self.single_observation_space
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
        if any(not m.begun and not mask[m.number] for m in self._members):
            raise gym.error.ResetNeeded("reset all environments once, without a mask")
        return [int(i) for i in np.flatnonzero(mask)]

    def _one_each(self, what: str, values: Sequence[Any]) -> Sequence[Any]:
        if len(values) != self.num_envs:
            raise ConfigError(
                f"{len(values)} {what} for {self.num_envs} environments; give one for "
                "each"
            )
        return values

    def _check(self, env_id: int) -> None:
        if not 0 <= env_id < self.num_envs:
            raise ConfigError(
                f"there is no environment {env_id}; there are {self.num_envs}, "
                "counted from 0"
            )

    def _check_open(self) -> None:
        if self.closed:
            raise gym.error.ClosedEnvironmentError(
                "this vector environment is closed; make another"
            )

    @staticmethod
    def _check_idle(members: Iterable[Member]) -> None:
        busy = [member.number for member in members if member.running is not None]
        if busy:
            raise gym.error.AlreadyPendingCallError(
                f"environments {busy} have not ended their steps; recv() them, or "
                "reset them",
                "step",
            )


def _consecutive(seed: Any, count: int) -> Sequence[int | None]:
    if seed is None:
        return [None] * count
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + i for i in range(count)]
    return list(seed)


def _wait_for(
    running: Sequence["Future[Any]"], everyone: bool, timeout: float | None
) -> None:
    """Wait for one or all; a handle's own way to wait is the fastest."""
    if not everyone:
        first = concurrent.futures.FIRST_COMPLETED
        concurrent.futures.wait(running, timeout, first)
        return
    with contextlib.suppress(Exception):
        running[0].result(timeout)
