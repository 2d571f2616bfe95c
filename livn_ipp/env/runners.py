"""Where an episode runs: on a worker, in a session; or in this process."""

import contextlib
import threading
from concurrent.futures import Future
from typing import Any, Protocol

from livn_ipp.env.episode import Command, Episode, Reset, Resume
from livn_ipp.env.session import Session
from livn_ipp.errors import ConfigError, SessionLost

__all__ = ["InProcess", "OnWorker", "Runner", "runner_for"]


class Runner(Protocol):
    """Carries out commands in order."""

    def submit(self, command: Command) -> "Future[Any]":
        """Hand a command over and return at once, where that can be."""

    def close(self) -> None:
        """Give up what has not ended; never waits."""


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
    """

    def __init__(self, env: Any, episode: Episode, timeout: float | None) -> None:
        self._env, self._episode, self._timeout = env, episode, timeout
        self._closed = False
        self._session: Session | None = self._open()

    def submit(self, command: Command) -> "Future[Any]":
        """Hand a command to the worker, or wait for another if it is lost.

        What needs the state that was lost with it fails.
        """
        if self._closed:
            raise ConfigError("this environment is closed")
        future: Future[Any] = Future()
        if self._session is not None:
            try:
                return self._session.submit(command)
            except SessionLost as error:
                self._session.close()
                self._session = None
                if not isinstance(command, (Reset, Resume)):
                    future.set_exception(error)
                    return future
        threading.Thread(
            target=self._reopen, args=(command, future), name="reopen", daemon=True
        ).start()
        return future

    def close(self) -> None:
        """Give the worker back."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> Session:
        opened: Session = self._env.session(
            self._episode, trial=0, timeout=self._timeout
        )
        return opened

    def _reopen(self, command: Command, future: "Future[Any]") -> None:
        try:
            session = self._open()
            if self._closed:
                session.close()
                return
            self._session = session
            session.submit(command).add_done_callback(
                lambda step: _pass_on(step, future)
            )
        except BaseException as error:
            with contextlib.suppress(Exception):
                future.set_exception(error)


def runner_for(env: Any, episode: Episode, timeout: float | None = None) -> Runner:
    """Choose where an environment's episodes run."""
    if hasattr(env, "session"):
        return OnWorker(env, episode, timeout)
    return InProcess(env, episode)


def _pass_on(step: "Future[Any]", future: "Future[Any]") -> None:
    if future.cancelled():
        return
    error = step.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(step.result())
