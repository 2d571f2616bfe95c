"""Where evaluations run: on the free workers of a cluster, or in this process."""

import concurrent.futures
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

from livn_ipp.cluster.futures import CallFuture
from livn_ipp.errors import (
    CallError,
    CallTimeout,
    ConfigError,
    SessionLost,
    WorkerLost,
)
from livn_ipp.search.evaluate import Evaluate, Measured
from livn_ipp.search.generation import Generation, Job
from livn_ipp.search.records import Evaluation, State
from livn_ipp.subworld import Late

__all__ = ["Evaluator", "InProcess", "OnWorkers", "evaluator_for"]

_NO_VALUE: Final = "the objective returned None on every rank"
_LONGEST: Final = 300  # characters of a line that tells an error


_Inputs = Callable[[Job], tuple[Any, int, int]]

Ended = tuple[Evaluation, Exception | None]
"""How an evaluation ended, and the error if it has no value."""


Running = Generator[list[Ended], None, None]


class Evaluator(Protocol):
    """Runs the evaluations of a generation."""

    @property
    def num_workers(self) -> int:
        """How many run side by side."""

    def run(self, generation: Generation) -> Running:
        """Take what is free, and tell what ended; who tells records it.

        Closing the iterator gives up what has not ended.
        """


class InProcess:
    """Evaluations one after the other, on an environment of this process.

    Parameters
    ----------
    env
        An initialised environment.
    evaluate
        What is done for each.
    inputs
        What an evaluation is given of a job.
    task_timeout
        Seconds that one may take, seen at the ends of chunks.
    """

    num_workers = 1

    def __init__(
        self,
        env: Any,
        evaluate: Evaluate,
        inputs: _Inputs,
        task_timeout: float | None,
    ) -> None:
        self._env = env
        self._evaluate = evaluate
        self._inputs = inputs
        self._timeout = task_timeout

    def run(self, generation: Generation) -> Running:
        """Evaluate what is free, one after the other."""
        while (job := generation.take()) is not None:
            try:
                ended = self._one(job)
            except BaseException:
                generation.give_back(job.index)
                raise
            yield [ended]

    def _one(self, job: Job) -> Ended:
        began = time.perf_counter()
        subworld = getattr(self._env, "subworld", None)
        if subworld is not None and self._timeout is not None:
            subworld.deadline = began + self._timeout
        try:
            measured = self._evaluate.carry_out(self._env, self._inputs(job))
        except Late:
            return _timed_out(job, CallTimeout(_late(self._timeout)), worker=None)
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            failed = job.ended(
                State.FAILED,
                error=_line(type(error).__qualname__, str(error)),
                traceback=text,
                seconds=time.perf_counter() - began,
            )
            return failed, error
        finally:
            if subworld is not None:
                subworld.deadline = None
        return _ended(job, measured, worker=None, attempts=1)


class OnWorkers:
    """Evaluations on whichever worker of a DistributedEnv is free.

    Parameters
    ----------
    env
        An initialised DistributedEnv.
    evaluate
        What is done for each.
    inputs
        What an evaluation is given of a job.
    task_timeout, max_retries
        As :class:`livn_ipp.cluster.limits.Limits`; None for the environment's own.
    batch_size
        Evaluations in flight for each worker; None for all that are free.
    """

    def __init__(
        self,
        env: Any,
        evaluate: Evaluate,
        inputs: _Inputs,
        task_timeout: float | None,
        max_retries: int | None,
        batch_size: int | None,
    ) -> None:
        self._env = env
        self._evaluate = evaluate
        self._inputs = inputs
        self._limits = {"timeout": task_timeout, "max_retries": max_retries}
        self._batch_size = batch_size

    @property
    def num_workers(self) -> int:
        """Live workers."""
        return max(1, int(self._env.num_workers))

    def run(self, generation: Generation) -> Running:
        """Keep the workers busy."""
        flying: dict[CallFuture, Job] = {}
        try:
            while True:
                while self._has_room(flying) and (job := generation.take()) is not None:
                    flying[self._submit(job)] = job
                if not flying:
                    return
                ready, _ = concurrent.futures.wait(
                    flying, return_when=concurrent.futures.FIRST_COMPLETED
                )
                yield [
                    self._outcome(future, flying.pop(future))
                    for future in list(flying)
                    if future in ready
                ]
        finally:
            self._env.cancel(*flying)
            for job in flying.values():
                generation.give_back(job.index)

    def _has_room(self, flying: dict[CallFuture, Job]) -> bool:
        if self._batch_size is None:
            return True
        return len(flying) < self._batch_size * self.num_workers

    def _submit(self, job: Job) -> CallFuture:
        inputs = self._inputs(job)
        future: CallFuture = self._env.submit(
            self._evaluate, inputs, trial=inputs[-1], **self._limits
        )
        return future

    def _outcome(self, future: CallFuture, job: Job) -> Ended:
        where: dict[str, Any] = {"worker": future.worker, "attempts": future.attempts}
        try:
            return _ended(job, future.result(), **where)
        except CallTimeout as error:
            return _timed_out(job, error, **where)
        except SessionLost:
            raise
        except WorkerLost as error:
            told = "\n".join(error.attempts) or str(error)
            line = _line(type(error).__name__, "the workers that ran it were lost")
            lost = job.ended(State.LOST, error=line, traceback=told, **where)
            return lost, error
        except CallError as error:
            if not error.failures:  # the cluster's trouble, not the evaluation's
                raise
            first = error.failures[0]
            failed = job.ended(
                State.FAILED,
                error=_line(first.type_name, first.message),
                traceback=error.tracebacks,
                **where,
            )
            return failed, error


def evaluator_for(
    env: Any,
    objective: Any,
    phenotype: Callable[[Any], Any],
    *,
    trial: int | None,
    task_timeout: float | None,
    max_retries: int | None,
    batch_size: int | None,
) -> Evaluator:
    """Choose where the evaluations of an environment run."""
    evaluate = Evaluate(objective)

    def inputs(job: Job) -> tuple[Any, int, int]:
        own = job.seed if trial is None else trial
        return phenotype(job.candidate), job.seed, own

    if hasattr(env, "submit"):
        return OnWorkers(env, evaluate, inputs, task_timeout, max_retries, batch_size)
    if not hasattr(env, "clear"):
        raise ConfigError(
            f"env must be an initialised Env or DistributedEnv, not {env!r}"
        )
    return InProcess(env, evaluate, inputs, task_timeout)


def _ended(job: Job, measured: Measured | None, **where: Any) -> Ended:
    if measured is None:
        failed = job.ended(State.FAILED, error=_NO_VALUE, **where)
        return failed, CallError(_NO_VALUE)
    value, seconds = measured
    return job.ended(State.COMPLETE, value=value, seconds=seconds, **where), None


def _timed_out(job: Job, error: CallTimeout, **where: Any) -> Ended:
    line = "CallTimeout: it ran longer than it may"
    return job.ended(State.FAILED, error=line, traceback=str(error), **where), error


def _late(limit: float | None) -> str:
    return f"the evaluation ran longer than its {limit} s"


def _line(kind: str, message: str) -> str:
    """Tell an exception in one line, the same wherever it was raised."""
    first = message.strip().partition("\n")[0]
    line = f"{kind}: {first}" if first else kind
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
