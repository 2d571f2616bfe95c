"""The environments of a vector together: who runs what, and what has come back."""

import concurrent.futures
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from livn_ipp.env.loop.episode import Call, Outcome, SetAttr, reset_command
from livn_ipp.env.loop.members import Member, Turns, step_all
from livn_ipp.errors import CallTimeout, ConfigError
from livn_ipp.extras import extra

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.utils.seeding import np_random
else:
    gym = extra("gymnasium", "gymnasium")
    np_random = extra("gymnasium.utils.seeding", "gymnasium").np_random

__all__ = ["Pool", "consecutive"]


class Pool:
    """Environments that are reset, stepped and waited for in any order.

    Parameters
    ----------
    members
        The environments.
    turns
        What carries their commands out; if there are fewer than members, they share.
    autoreset
        Whether what is over may be stepped, which begins the next episode.
    timeout
        Seconds to wait by default.
    """

    def __init__(
        self,
        members: Sequence[Member],
        turns: Sequence[Turns],
        *,
        autoreset: bool = True,
        timeout: float | None = None,
    ) -> None:
        self.members, self.turns = members, turns
        self.timeout = timeout
        self.closed = False
        self._autoreset = autoreset
        self._outcomes: dict[int, Outcome] = {}

    @property
    def num_workers(self) -> int:
        """Number of cultures that the environments have."""
        return len(self.turns)

    @property
    def sent(self) -> list[int]:
        """Those who run something, or whose answer has not been taken."""
        return [
            m.number
            for m in self.members
            if m.running is not None or m.number in self._outcomes
        ]

    def begin(self, i: int, seed: int | None, options: dict[str, Any]) -> None:
        """Begin an episode; what runs is given up."""
        self._check_open()
        member = self._member(i)
        if seed is not None:
            member.random, member.seed = np_random(seed)
        self._outcomes.pop(i, None)
        member.reset(reset_command(member.random, seed, options))

    def step(self, chosen: Sequence[int], actions: Iterable[Any]) -> None:
        """Act; answers that have not been taken are dropped."""
        self._check_open()
        members = [self._member(i) for i in chosen]
        self._check_idle(members)
        for member in members:
            if not member.begun or (member.over and not self._autoreset):
                raise gym.error.ResetNeeded(
                    f"environment {member.number} must be reset before it is stepped"
                )
        for i in chosen:
            self._outcomes.pop(i, None)
        step_all(members, list(actions))

    def gather(
        self,
        ids: Sequence[int],
        least: int,
        timeout: float | None = None,
        *,
        excuse: bool = False,
    ) -> dict[int, Exception]:
        """Wait until enough environments have answered or raised.

        Parameters
        ----------
        ids
            Whom to wait for.
        least
            How many of them.
        timeout
            Seconds to wait.
        excuse
            Whether an episode that failed ends as truncated, and no error is returned.

        Returns
        -------
        dict
            What environments raised.

        Raises
        ------
        CallTimeout
            If too few have answered; they go on.
        """
        timeout = self.timeout if timeout is None else timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        members = [self.members[i] for i in ids]
        errors: dict[int, Exception] = {}
        while True:
            for member in members:
                try:
                    self._take_in(member, excuse=excuse)
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
            _wait_for(running, left, everyone=missing >= len(running))

    def take(self, ids: Iterable[int]) -> dict[int, Outcome]:
        """Take the answers that are there."""
        return {i: self._outcomes.pop(i) for i in ids if i in self._outcomes}

    def ask(self, commands: Mapping[int, Call | SetAttr]) -> tuple[Any, ...]:
        """Have something read or set in environments that run nothing."""
        self._check_open()
        self._check_idle(self._member(i) for i in commands)
        asked = [self.members[i].ask(command) for i, command in commands.items()]
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        for future in asked:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            _wait_for([future], left, everyone=True)
            if not future.done():
                raise CallTimeout(f"no answer came within {self.timeout:g} s")
        answers = tuple(future.result() for future in asked)
        for i, command in commands.items():
            self.members[i].remember(command)
        return answers

    def give_up(self, ids: Iterable[int]) -> None:
        """Let go of what environments do; they have to be reset then."""
        for i in list(ids):
            self._outcomes.pop(i, None)
            self._member(i).give_up()

    def close(self) -> None:
        """Give the workers back, without waiting for what runs."""
        self.closed = True
        for turns in self.turns:
            turns.runner.close()

    def _take_in(self, member: Member, *, excuse: bool) -> None:
        while member.running is not None and member.running.done():
            try:
                outcome = member.take()
            except Exception as error:
                if not excuse:
                    raise
                outcome = member.excuse(error)
            if outcome is not None:
                self._outcomes[member.number] = outcome

    def _member(self, i: int) -> Member:
        if not 0 <= i < len(self.members):
            raise ConfigError(
                f"there is no environment {i}; there are {len(self.members)}, counted "
                "from 0"
            )
        return self.members[i]

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


def _wait_for(
    running: Sequence["Future[Any]"], timeout: float | None, *, everyone: bool
) -> None:
    """Wait for one or all; a handle's own way to wait is the fastest."""
    if not everyone:
        first = concurrent.futures.FIRST_COMPLETED
        concurrent.futures.wait(running, timeout, first)
        return
    with contextlib.suppress(Exception):
        running[-1].result(timeout)  # the last to begin, so likely to end


def consecutive(seed: Any, count: int) -> Sequence[int | None]:
    """Return a seed for each environment, as Gymnasium counts them."""
    if seed is None:
        return [None] * count
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + i for i in range(count)]
    return list(seed)
