"""The environments of a vector, one by one: what each does and what becomes of it."""

import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from livn_ipp.env.facade.configuration import Configuration
from livn_ipp.env.loop.episode import (
    Call,
    Outcome,
    Reset,
    Resume,
    SetAttr,
    Step,
    reset_command,
)
from livn_ipp.env.loop.runners import Runner, submit_all
from livn_ipp.errors import CallError

__all__ = ["Autoreset", "Ended", "Member", "OnError", "Turns", "step_all"]

Autoreset = Literal["NextStep", "SameStep", "Disabled"]
OnError = Literal["raise", "restart"]

_ATTEMPTS: Final = 3
"""Times that the beginning of an episode is tried where errors are not raised."""


class Turns:
    """A runner that one or several members use, one after the other.

    A culture has one state. If another member had it in between, a member's episode is
    done again up to where it was.

    Parameters
    ----------
    runner
        What carries commands out.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.holder: Member | None = None

    def submit(
        self, member: "Member", command: Reset | Step | Call | SetAttr
    ) -> "Future[Any]":
        """Carry out a member's command on the member's state."""
        past: list[Reset | Step | Call | SetAttr] = []
        if isinstance(command, Reset):
            past = [*member.settings] if command.clear else []
        elif self.holder is not member:
            past = [*member.settings, *member.history]
        self.holder = member
        return self.runner.submit(Resume(tuple(past), command) if past else command)


@dataclass
class Ended:
    """What the last step of an episode gave, until the next begins in the same step."""

    outcome: Outcome


@dataclass
class Member:
    """One environment of a vector.

    Attributes
    ----------
    number
        Its place in the vector.
    turns
        Where its commands are carried out.
    autoreset
        When an episode that is over is followed by the next.
    shared
        Whether others have the same culture in between, so that its episode may have to
        be done again.
    random, seed
        What episodes begin with is drawn from it; the seed it was made with.
    running
        What was handed over and not taken back yet.
    over
        Whether the next thing to do is a reset.
    """

    number: int
    turns: Turns
    autoreset: Autoreset = "NextStep"
    shared: bool = False
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    seed: int | None = None
    running: "Future[Any] | None" = None
    over: bool = True
    begun: bool = False
    observation: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    history: list[Reset | Step] = field(default_factory=list)
    settings: list[Call | SetAttr] = field(default_factory=list)
    _command: Reset | Step | None = None
    _ended: Ended | None = None
    _attempts: int = 0

    def reset(self, command: Reset) -> None:
        """Begin an episode; one that runs is given up."""
        self.give_up()
        self._attempts, self.begun = 0, True
        self.options = command.options
        self._hand_over(command)

    def reset_again(self) -> None:
        """Begin another episode of the same task."""
        self.reset(reset_command(self.random, None, self.options))

    def step(self, action: Any) -> None:
        """Act, or begin the next episode if this one is over."""
        if self.over:
            self.reset_again()
        else:
            self._hand_over(Step(action))

    def ask(self, command: Call | SetAttr) -> "Future[Any]":
        """Have something read or set."""
        return self.turns.submit(self, command)

    def remember(self, command: Call | SetAttr) -> None:
        """Note what was set, so that it is so after a loss too."""
        if isinstance(command, SetAttr) or hasattr(Configuration, command.name):
            kept = [c for c in self.settings if not _replaces(command, c)]
            self.settings = [*kept, command]

    def take(self) -> Outcome | None:
        """Take back what has ended; None if the step is not complete yet.

        Raises
        ------
        Exception
            What the environment raised. The next thing to do is a reset.
        """
        running, self.running = self.running, None
        if running is None:
            return None
        try:
            outcome: Outcome = running.result(0)
        except Exception as error:
            self.over = True
            error.add_note(f"in environment {self.number} of the vector")
            raise
        if self._ended is not None:
            return self._next_episode(self._ended.outcome, outcome)
        return self._finish(outcome)

    def excuse(self, error: Exception) -> Outcome | None:
        """End the episode that failed as truncated, or begin the next once more.

        Raises
        ------
        Exception
            The error, if an episode could not be begun several times.
        """
        if isinstance(self._command, Reset):
            self._attempts += 1
            if self._attempts >= _ATTEMPTS:
                self._ended = None
                raise error
            self._hand_over(self._command)
            return None
        told = {"worker_error": _told(error)}
        return self._finish(Outcome(self.observation, 0.0, False, True, told))

    def give_up(self) -> None:
        """Let go of what runs; the next thing to do is a reset."""
        if self.running is not None and not self.running.done() and not self.shared:
            self.running.cancel()
            self.turns.runner.drop()
        self.running, self._ended, self.over = None, None, True

    def _hand_over(self, command: Reset | Step) -> None:
        if isinstance(command, Reset):
            self.history.clear()
        self.handed_over(command, self.turns.submit(self, command))

    def handed_over(self, command: Reset | Step, running: "Future[Any]") -> None:
        """Take in that a command is carried out."""
        self._command, self.running = command, running
        if self.shared:
            self.history.append(command)

    def _finish(self, outcome: Outcome) -> Outcome | None:
        self.observation, self.over = outcome.observation, outcome.done
        if outcome.done and self.autoreset == "SameStep":
            self.reset_again()
            self._ended = Ended(outcome)
            return None
        return outcome

    def _next_episode(self, last: Outcome, first: Outcome) -> Outcome:
        """Put the end of an episode and the begin of the next into one step."""
        self._ended = None
        self.observation, self.over = first.observation, False
        final = {"final_obs": last.observation, "final_info": last.info}
        return last._replace(
            observation=first.observation, info={**final, **first.info}
        )


def step_all(members: Sequence[Member], actions: Sequence[Any]) -> None:
    """Act in several environments, in one go if nobody needs anything else."""
    if any(member.over or member.shared for member in members):
        for member, action in zip(members, actions, strict=True):
            member.step(action)
        return
    commands = [Step(action) for action in actions]
    running = submit_all([member.turns.runner for member in members], commands)
    for member, command, future in zip(members, commands, running, strict=True):
        member.turns.holder = member
        member.handed_over(command, future)


def _replaces(new: Call | SetAttr, old: Call | SetAttr) -> bool:
    if isinstance(new, SetAttr) and isinstance(old, SetAttr):
        return new.name == old.name
    return False


def _told(error: Exception) -> str:
    remote = error.tracebacks if isinstance(error, CallError) else ""
    return remote or "".join(traceback.format_exception(error))
