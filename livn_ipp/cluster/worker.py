"""The engine side: what every rank of a worker does with the parcels it is sent.

All ranks of a subworld get the same items in the same order and take part in each of
them. Every item ends in agreement, so one rank's exception comes back to the controller
with all ranks' tracebacks, and the worker lives on.
"""

import copy
import operator
import os
import platform
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

import cloudpickle

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.results import check_size
from livn_ipp.cluster.keeping.succession import Succession, fingerprint
from livn_ipp.cluster.limits import Limits
from livn_ipp.cluster.machine.departure import before_the_end, leave, vote_or_leave
from livn_ipp.cluster.machine.memory import MemoryWatch
from livn_ipp.cluster.telemetry import Telemetry
from livn_ipp.cluster.transports.listening import Listening
from livn_ipp.cluster.transports.messages import receive, send
from livn_ipp.errors import ConfigError, RankFailure, ResultTooLarge
from livn_ipp.subworld import Late, PeerFailed, Stopped, Subworld
from livn_ipp.types import EnvFactory, carry_out

__all__ = ["Worker", "boot", "close", "current"]

_LONGEST: Final = 100_000
"""Characters of a message or traceback."""
_RESULT: Final = 3
"""Tag of a result on its way to the leader."""


class Worker:
    """One rank's share of a worker.

    Parameters
    ----------
    factory
        Builds the environment.
    subworld
        The ranks that simulate together.
    limits
        Those on memory are kept here.
    world_rank
        This process's rank in its world.

    Attributes
    ----------
    env
        The environment.
    telemetry : Telemetry
        Tells of calls that run; a transport gives the leader's a way to publish.
    applied : tuple of str or None
        Fingerprints of the config log's entries that the environment has; None if one
        of them failed half way.
    succession : Succession or None
        Whom the worker obeys, where it may outlive its controller.
    busy : bool
        Whether a parcel is being served.
    listening : Listening or None
        Where parcels come from while a session is open, if the transport made one.
    """

    def __init__(
        self,
        factory: EnvFactory,
        subworld: Subworld,
        limits: Limits | None = None,
        world_rank: int = 0,
    ) -> None:
        self.subworld = subworld
        self.world_rank = world_rank
        self.busy = False
        self.limits = limits or Limits()
        self.env: Any = None
        self.telemetry = subworld.telemetry = Telemetry(subworld)
        self.applied: tuple[str, ...] | None = ()
        self.succession: Succession | None = None
        self.listening: Listening | None = None
        self._factory = factory
        self._pipelines: dict[str, wire.Frames] = {}
        self._live: dict[str, Any] = {}
        self.memory_watch: MemoryWatch | None = None
        self._session: int | None = None
        self._state: Any = None

    def watch_memory(self) -> None:
        """Keep this process below the limit on memory."""
        if self.limits.memory_limit is not None:
            self.memory_watch = MemoryWatch(self.limits.memory_limit, self.world_rank)

    def build(self) -> list[RankFailure]:
        """Build the environment anew; return what the ranks raised."""
        self._close_env()
        self.applied = ()
        self._session = None  # whose state was in the environment

        def build() -> None:
            self.env = self._factory.build(self.subworld)

        outcome = self._together(build)
        return list(outcome.failures) if isinstance(outcome, wire.Failed) else []

    def serve(self, items: list[wire.Item]) -> tuple[Any, ...]:
        """Carry out the items of a parcel, in order.

        Returns
        -------
        tuple
            The answers; meant for the controller on the leader only.
        """
        self.busy = True
        try:
            return self._serve(items)
        finally:
            self.busy = False

    def _serve(self, items: list[wire.Item]) -> tuple[Any, ...]:
        answers: list[Any] = []
        stopped = False
        for item in items:
            match item:
                case wire.Install():
                    self._pipelines[item.pipeline] = item.content
                case wire.Forget():
                    self._pipelines.pop(item.pipeline, None)
                    self._live.pop(item.pipeline, None)
                case wire.Call():
                    # A stop is for the parcel: nobody wants the rest of it now.
                    answers.append(wire.StoppedCall() if stopped else self._call(item))
                    stopped = isinstance(answers[-1], wire.StoppedCall)
                case wire.Apply() | wire.Rebuild():
                    answers.append(self._set(item))
                    # What comes behind it must not run under another configuration.
                    stopped = stopped or isinstance(answers[-1], wire.Failed)
                case wire.Ask():
                    answers.append(self._ask(item))
                case wire.Telemetry():
                    self.telemetry.spikes = item.spikes
        return tuple(answers)

    def stop_listening(self) -> None:
        """Close the channel, if there is one."""
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.close()

    @property
    def pipelines(self) -> tuple[str, ...]:
        """Digests of the installed pipelines."""
        return tuple(self._pipelines)

    def close(self) -> None:
        """Give the environment back."""
        self._pipelines.clear()
        self._live.clear()
        self._state = None
        self.stop_listening()
        if self.succession is not None:
            self.succession.outbox.close()
        self._close_env()
        if self.memory_watch is not None:
            self.memory_watch.close()
        # The subworld may outlive this worker: a process has one at a time.
        self.subworld.reset()
        self.subworld.telemetry = self.subworld.poll = None

    def _call(self, call: wire.Call) -> Any:
        goes_on = call.session is not None and call.step > 0
        if call.pipeline not in self._pipelines or (
            goes_on and self._session != call.session
        ):
            return wire.Missing(call.pipeline)
        began = time.perf_counter()
        self.telemetry.begin(call)

        def run() -> Any:
            decoding, encoding = self._pipeline(call)
            inputs = wire.loads(call.inputs)
            options = wire.loads(call.options) if call.options else {}
            if not goes_on:
                self._session, self._state = call.session, (decoding, encoding)
                self.env.clear(trial=call.trial)
            return carry_out(self.env, decoding, inputs, encoding, options)

        self.subworld.deadline = None if call.limit is None else began + call.limit
        outcome = self._together(run, stoppable=True)
        self.subworld.deadline = None
        late = isinstance(outcome, Late)
        self.telemetry.end(late=late)
        if late:
            return wire.TimedOut(time.perf_counter() - began)
        if isinstance(outcome, Stopped):
            return wire.StoppedCall()
        if isinstance(outcome, _Value):
            return self._collect(outcome, began)
        return outcome

    def _pipeline(self, call: wire.Call) -> tuple[Any, Any]:
        """Copy the installed pipeline, so that a call leaves no trace in it.

        The steps of a session share one copy, which may keep what it learns.
        """
        if call.step > 0:
            decoding, encoding = self._state
            if call.state:
                decoding.state.update(wire.loads(call.state))
            return decoding, encoding
        if call.pipeline not in self._live:
            self._live[call.pipeline] = wire.loads(self._pipelines[call.pipeline])
        decoding, encoding = self._live[call.pipeline]
        if encoding is None:
            decoding = copy.deepcopy(decoding)
        else:  # together, because they may share objects
            decoding, encoding = copy.deepcopy((decoding, encoding))
        if call.state:
            decoding.state.update(wire.loads(call.state))
        return decoding, encoding

    def _collect(self, outcome: "_Value", began: float) -> Any:
        """Bring the value of the lowest rank that has one to the leader, pickled."""
        mpi, value, owner = self.subworld.mpi, outcome.value, outcome.owner
        answer: Any = None
        if self.subworld.rank == owner:
            try:
                frames = wire.compress(wire.dumps(value), self.limits.compression)
                check_size(wire.size(frames), self.limits.max_result)
                answer = wire.Done(frames, time.perf_counter() - began)
            except ResultTooLarge as error:
                answer = wire.Failed((_failure(error, self.subworld.rank),))
            except Exception as error:
                failure = _failure(error, self.subworld.rank)
                answer = wire.Failed((failure,), unserializable=True)
        if mpi is not None and owner != 0:
            if self.subworld.rank == owner:
                for request, _ in send(mpi, wire.pack(answer), 0, _RESULT):
                    request.Wait()
            elif self.subworld.rank == 0:
                answer = wire.unpack(receive(mpi, owner, _RESULT))
        return answer

    def _set(self, item: wire.Apply | wire.Rebuild) -> Any:
        if isinstance(item, wire.Apply):
            return self._apply(item.entry)
        return self._rebuild(item)

    def _apply(self, entry: wire.Entry) -> Any:
        def apply() -> None:
            args, kwargs = wire.loads(entry.arguments)
            operator.attrgetter(entry.method)(self.env)(*args, **kwargs)

        outcome = self._together(apply)
        if not isinstance(outcome, _Value):
            if not outcome.clean:
                self.applied = None
            return outcome
        if self.applied is not None:
            self.applied += (fingerprint(entry),)
        return wire.Answer()

    def _rebuild(self, item: wire.Rebuild) -> Any:
        failures = self.build()
        if failures:
            return wire.Failed(tuple(failures))
        for entry in item.entries:
            outcome = self._apply(entry)
            if isinstance(outcome, wire.Failed):
                return outcome
        return wire.Answer()

    def _ask(self, item: wire.Ask) -> Any:
        def ask() -> Any:
            args, kwargs = wire.loads(item.arguments)
            value = operator.attrgetter(item.name)(self.env)
            answer = value(*args, **kwargs) if callable(value) else value
            return cloudpickle.dumps(answer) if item.all_ranks else answer

        outcome = self._together(ask)
        if not isinstance(outcome, _Value):
            return outcome
        if item.all_ranks:
            mpi = self.subworld.mpi
            parts = [outcome.value] if mpi is None else mpi.gather(outcome.value)
            outcome = _Value(parts and [cloudpickle.loads(part) for part in parts], 0)
        collected = self._collect(outcome, time.perf_counter())
        return (
            wire.Answer(collected.result)
            if isinstance(collected, wire.Done)
            else collected
        )

    def _together(self, action: Callable[[], Any], *, stoppable: bool = False) -> Any:
        """Do something on every rank and agree how it went.

        A stop that was meant for a call and came too late is spent on whatever votes
        next. If that is a call, the controller runs it again; anything else is done
        over here.

        Returns
        -------
        _Value, Stopped or Failed
            The same kind on every rank; `Failed` lists what any rank raised.
        """
        failure = None
        clean = True
        try:
            value = action()
            return _Value(value, self.subworld.agree(offers=value is not None))
        except Stopped as stopped:
            return stopped if stoppable else self._together(action)
        except PeerFailed:
            pass
        except BaseException as error:
            # SystemExit and KeyboardInterrupt too: a call must not end the engine.
            failure = _failure(error, self.subworld.rank)
            clean = isinstance(error, ConfigError)
            self._cast_owed_vote(failure)
        mpi = self.subworld.mpi
        everyone = (
            [(failure, clean)] if mpi is None else mpi.allgather((failure, clean))
        )
        failures = tuple(f for f, _ in everyone if f is not None)
        all_clean = len(failures) == len(everyone) and all(c for _, c in everyone)
        return wire.Failed(failures, clean=all_clean)

    def _cast_owed_vote(self, failure: RankFailure) -> None:
        if not self.subworld.astray:
            self.subworld.fail()
            return
        self.subworld.astray = False
        with vote_or_leave(failure, self.world_rank):
            self.subworld.fail()

    def _close_env(self) -> None:
        env, self.env = self.env, None
        if env is not None and hasattr(env, "close"):
            env.close()


class _Value:
    """What an action returned here, and the lowest rank where it returned something."""

    __slots__ = ("owner", "value")

    def __init__(self, value: Any, owner: int) -> None:
        self.value = value
        self.owner = owner


def _failure(error: BaseException, rank: int) -> RankFailure:
    kind = type(error)
    try:
        message = str(error)
    except Exception:
        message = "(its __str__ raised)"
    return RankFailure(
        rank=rank,
        host=platform.node(),
        pid=os.getpid(),
        module=kind.__module__,
        type_name=kind.__qualname__,
        message=_shortened(message),
        traceback=_shortened("".join(traceback.format_exception(error))),
    )


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    cut = len(text) - _LONGEST
    return f"{text[:half]}\n... {cut} characters left out ...\n{text[-half:]}"


# The project's one global: an engine is asked for its worker by name.
_current: Worker | None = None


def current() -> Worker:
    """Return this engine's worker; for ``%%px`` cells and functions sent to engines.

    Raises
    ------
    ConfigError
        If no DistributedEnv has been initialised on this engine.
    """
    if _current is None:
        raise ConfigError(
            "this engine holds no worker; call DistributedEnv(...).init() first"
        )
    return _current


def boot(
    factory: EnvFactory,
    comm: Any,
    subworld_size: int,
    limits: Limits | None = None,
) -> list[RankFailure]:
    """Partition the world and build this rank's share of its worker.

    Collective over all ranks of `comm`.

    Parameters
    ----------
    factory
        Builds the environment.
    comm
        The world's mpi4py communicator, or None for a single process.
    subworld_size
        Ranks per subworld.
    limits
        Those on memory are kept by this rank.

    Returns
    -------
    list of RankFailure
        What the ranks of this subworld raised; empty if all is well.
    """
    global _current  # noqa: PLW0603 - see above
    close()
    try:
        subworld = factory.prepare(comm, subworld_size)
    except Exception as error:
        return [_failure(error, 0 if comm is None else comm.Get_rank())]
    rank = 0 if comm is None else comm.Get_rank()
    worker = Worker(factory, subworld, limits, rank)
    worker.watch_memory()
    if comm is not None:
        before_the_end(_leave_if_busy)
    failures = worker.build()
    if failures:
        worker.close()
    else:
        _current = worker
    return failures


def _leave_if_busy() -> None:
    """End a process that ends in a call: MPI would wait for the other ranks."""
    if _current is not None and _current.busy:
        leave(kind="left", rank=_current.world_rank)


def close() -> None:
    """Give this engine's worker back, if it has one."""
    global _current
    worker, _current = _current, None
    if worker is not None:
        worker.close()
