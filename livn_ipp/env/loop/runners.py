"""Where an episode runs: on a worker, in a session; or in this process."""

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from livn_ipp.env.loop.episode import Command, Episode, Reset, Resume
from livn_ipp.env.session import Session
from livn_ipp.errors import ConfigError, SessionLost

__all__ = ["InProcess", "OnWorker", "Runner", "runner_for", "submit_all"]


class Runner(Protocol):
    """Carries out commands in order."""

    def submit(self, command: Command) -> "Future[Any]":
        """Hand a command over and return at once, where that can be."""

    def drop(self) -> None:
        """Give up what has not ended, and the state; a reset begins anew."""

    def close(self) -> None:
        """Give up everything; never waits."""


class InProcess:
    """An environment of this process; each command ends before it is handed back.

    Parameters
    ----------
    env
        The environment; under ``mpirun`` all its ranks do the same.
    episode
        What is carried out.
    """

    def __init__(self, env: Any, episode: Episode) -> None:
        self._env = env
        self._episode: Episode | None = episode

    def submit(self, command: Command) -> "Future[Any]":
        """Carry a command out."""
        if self._episode is None:
            raise ConfigError("this environment is closed")
        comm = getattr(self._env, "comm", None)
        if comm is not None and comm.size > 1:
            command = comm.bcast(command)  # each rank would draw a seed of its own
        future: Future[Any] = Future()
        try:
            future.set_result(self._episode.carry_out(self._env, command))
        except Exception as error:
            future.set_exception(error)
        return future

    def drop(self) -> None:
        """Do nothing: whatever was submitted has ended."""

    def close(self) -> None:
        """Take no more commands."""
        self._episode = None


class OnWorker:
    """A session of a distributed environment; another one when it is lost.

    Parameters
    ----------
    env
        The environment whose workers are used.
    episode
        What is carried out; each session begins with a copy.
    timeout
        Seconds that a command may take on its worker.

    Raises
    ------
    ConfigError
        If all workers hold sessions.

    Attributes
    ----------
    session : Session or None
        The session, unless it is lost or given up.
    """

    def __init__(self, env: Any, episode: Episode, timeout: float | None) -> None:
        self._env, self._episode, self._timeout = env, episode, timeout
        self._closed = False
        self.session: Session | None = self._open()
        self._opening: Future[Session] | None = None

    def submit(self, command: Command) -> "Future[Any]":
        """Hand a command to the worker, or wait for another if it is lost.

        What needs the state that was lost with it fails.
        """
        if self._closed:
            raise ConfigError("this environment is closed")
        if self.session is not None:
            try:
                return self.session.submit(command)
            except SessionLost as error:
                self.drop()
                if not isinstance(command, (Reset, Resume)):
                    return _failed(error)
        return _when_open(self._session_to_come(), command)

    def drop(self) -> None:
        """Give the session up; the next reset opens another."""
        session, self.session = self.session, None
        if session is not None:
            session.close()

    def close(self) -> None:
        """Give the worker back."""
        self._closed = True
        self.drop()

    def _open(self) -> Session:
        opened: Session = self._env.session(
            self._episode, trial=0, timeout=self._timeout, record=False
        )
        return opened

    def _session_to_come(self) -> "Future[Session]":
        opening = self._opening
        if opening is None:
            opening = self._opening = Future()
            threading.Thread(
                target=self._reopen, args=(opening,), name="reopen", daemon=True
            ).start()
        return opening

    def _reopen(self, opening: "Future[Session]") -> None:
        try:
            session = self._open()
        except BaseException as error:
            self._opening = None
            opening.set_exception(error)
            return
        opening.set_result(session)  # which hands over what waits for it
        self.session, self._opening = session, None
        if self._closed:
            self.drop()


def runner_for(env: Any, episode: Episode, timeout: float | None = None) -> Runner:
    """Choose where an environment's episodes run."""
    if hasattr(env, "session"):
        return OnWorker(env, episode, timeout)
    return InProcess(env, episode)


def submit_all(
    runners: Sequence[Runner], commands: Sequence[Command]
) -> "Sequence[Future[Any]]":
    """Hand each of several runners of one episode a command, in one go if that can be.

    Every 0.1 ms counts where environments step every 5 ms.
    """
    sessions = [r.session for r in runners if isinstance(r, OnWorker) and r.session]
    if len(sessions) == len(runners) > 1:
        # One that is lost, or of another environment, is dealt with below.
        with contextlib.suppress(SessionLost, ConfigError):
            return sessions[0].submit_with(sessions[1:], commands)
    return [r.submit(command) for r, command in zip(runners, commands, strict=True)]


def _failed(error: BaseException) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _when_open(opening: "Future[Session]", command: Command) -> "Future[Any]":
    """Hand a command over when there is a session, unless nobody wants it then."""
    future: Future[Any] = Future()

    def hand_over(opened: "Future[Session]") -> None:
        if future.cancelled():
            return
        try:
            step = opened.result().submit(command)
        except BaseException as error:
            _settle(future, error)
            return
        step.add_done_callback(lambda ended: _settle(future, ended.exception(), ended))

    opening.add_done_callback(hand_over)
    return future


def _settle(
    future: "Future[Any]",
    error: BaseException | None,
    step: "Future[Any] | None" = None,
) -> None:
    with contextlib.suppress(InvalidStateError):  # given up meanwhile
        if error is not None:
            future.set_exception(error)
        elif step is not None:
            future.set_result(step.result())
