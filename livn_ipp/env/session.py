"""A simulation that goes on from call to call, on one worker."""

import concurrent.futures
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from livn_ipp.cluster import wire
from livn_ipp.cluster.control.events import Step
from livn_ipp.cluster.dispatcher import CallSpec, Dispatcher
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.keeping.succession import fingerprint
from livn_ipp.errors import ConfigError

__all__ = ["Recover", "Session", "SessionSnapshot"]

Recover = Literal["raise", "replay"]


@dataclass(frozen=True)
class SessionSnapshot:
    """How a session came to its state: all that is needed to bring it about again.

    Small, as long as the inputs are, and can be pickled; but a pickle is only to be
    loaded from who is trusted. Made by :meth:`Session.snapshot`.

    Attributes
    ----------
    pipeline
        Digest of the pair (decoding, encoding).
    content
        That pair as a pickle.
    trial
        Trial of the session.
    steps
        The recorded steps, with their inputs and the digests of their answers.
    configuration
        Names and fingerprints of the setters that they ran under.
    """

    pipeline: str
    content: wire.Frames = field(repr=False)
    trial: int
    steps: tuple[Step, ...] = field(repr=False)
    configuration: tuple[tuple[str, str], ...] = field(repr=False)

    def check(self, log: Sequence[wire.Entry]) -> None:
        """Make sure that an environment was configured as the recorded one was.

        Raises
        ------
        ConfigError
            Naming the first setter that differs.
        """
        theirs = _configuration(log)
        for number, mine in enumerate(self.configuration):
            found = theirs[number : number + 1]
            if found != (mine,):
                here = f"{found[0][0]} with its arguments" if found else "nothing"
                raise ConfigError(
                    f"the snapshot's steps ran under another configuration: setter "
                    f"{number + 1} was {mine[0]} then and is {here} here; call the "
                    "same setters in the same order before the session is restored"
                )

    def __len__(self) -> int:
        return len(self.steps)


class Session:
    """Steps of one simulation, each going on where the last one ended.

    Made by :meth:`livn_ipp.env.distributed.DistributedEnv.session`. The session has its
    worker for itself until it is closed. If the worker is lost, the simulated state is
    lost with it: every step that has not ended, and every later one, raises
    :class:`livn_ipp.errors.SessionLost`; it is never continued with a fresh state. A
    session opened with ``recover="replay"`` runs its steps again on another worker
    instead, and then those that had not ended.

    Parameters
    ----------
    dispatcher
        What reaches the workers.
    pipeline, content
        Digest and pickle of the pair (decoding, encoding).
    trial
        Trial of the whole session.
    worker
        The worker to use; None for any.
    limit
        Seconds that a step may take, or None.
    recover
        What to do when the worker is lost.
    record
        Whether the inputs are kept.
    steps
        What was run before.

    Attributes
    ----------
    steps : int
        How many steps were submitted since the simulation began.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        pipeline: str,
        content: wire.Frames,
        trial: int,
        worker: int | None,
        limit: float | None,
        *,
        recover: Recover = "raise",
        record: bool = True,
        steps: tuple[Step, ...] = (),
    ) -> None:
        _check(recover, record=record)
        opened = dispatcher.open_session(
            worker,
            pipeline=pipeline if record else None,
            content=content if record else (),
            recover=recover == "replay",
            history=steps,
        )
        self._worker: int = opened.result()
        self.steps = steps[-1].number + 1 if steps else 0
        self._number = opened.id
        self._dispatcher = dispatcher
        self._pipeline = pipeline
        self._content = content
        self._trial = trial
        self._limit = limit
        self._record = record
        self._simulation = 0
        self._last: CallFuture | None = None
        self._open = True

    @property
    def worker(self) -> int:
        """The worker that holds the state, or held it last."""
        found = self._dispatcher.session_worker(self._number)
        if found is not None:
            self._worker = found
        return self._worker

    def step(self, inputs: Any = None, **options: Any) -> Any:
        """Simulate one step and return its response.

        Parameters
        ----------
        inputs
            The encoding's input.
        **options
            Passed on to the environment's call.

        Raises
        ------
        SessionLost
            If the worker, and the state with it, is gone.
        CallError
            If the step failed.
        """
        return self.submit(inputs, **options).result()

    def submit(self, inputs: Any = None, **options: Any) -> CallFuture:
        """Submit one step and return at once; steps run in the order of submission."""
        step = self._next_step(inputs, options)
        (future,) = self._dispatcher.submit(self._pipeline, self._content, [step])
        self._submitted(future)
        return future

    def submit_with(
        self, others: Sequence["Session"], inputs: Sequence[Any]
    ) -> list[CallFuture]:
        """Submit a step of this session and of others, in less time than one by one.

        Either all are submitted or none.

        Parameters
        ----------
        others
            Sessions of the same environment, with the same decoding and encoding.
        inputs
            The input of each, of this session first.

        Raises
        ------
        ConfigError
            If the sessions differ in more than their state, or one is given twice.
        SessionLost
            If the state of one is gone.
        """
        everyone = (self, *others)
        mine = self._dispatcher, self._pipeline
        if len(set(everyone)) < len(everyone) or any(
            (other._dispatcher, other._pipeline) != mine  # noqa: SLF001 - of this class
            for other in others
        ):
            raise ConfigError(
                "steps can be submitted together only by different sessions of one "
                "environment with the same decoding and encoding; submit() them one "
                "by one"
            )
        steps = [
            session._next_step(each)  # noqa: SLF001 - of this class
            for session, each in zip(everyone, inputs, strict=True)
        ]
        futures = self._dispatcher.submit(self._pipeline, self._content, steps)
        for session, future in zip(everyone, futures, strict=True):
            session._submitted(future)  # noqa: SLF001 - of this class
        return futures

    def restart(self, trial: int | None = None) -> Self:
        """Begin another simulation: the next step starts from t = 0.

        Decoding and encoding begin anew too. The session keeps its worker, and forgets
        the inputs of the former simulation when the first step has ended.

        Parameters
        ----------
        trial
            Trial of the steps that follow; by default the next number.
        """
        self._check_usable()
        self._trial = self._trial + 1 if trial is None else trial
        self._simulation += 1
        self.steps = 0
        return self

    @property
    def history(self) -> tuple[Any, ...]:
        """The inputs of the steps that have ended."""
        return tuple(wire.loads(step.inputs) for step in self._recorded())

    def snapshot(self) -> SessionSnapshot:
        """Return how the session came to its state, once all its steps have ended.

        Returns
        -------
        SessionSnapshot
            What ``env.session(snapshot=...)`` restores the state from, on any worker
            of any environment of the same culture, by running the steps again.

        Raises
        ------
        ConfigError
            If the session was opened with ``record=False``.
        SessionLost
            If the state is gone.
        """
        self._check_usable()
        if self._last is not None:
            concurrent.futures.wait([self._last])
            self._check_usable()
        steps = tuple(
            step._replace(
                inputs=_solid(step.inputs),
                state=_solid(step.state) if step.state else None,
                options=_solid(step.options) if step.options else None,
            )
            for step in self._recorded()
        )
        version = max((step.version for step in steps), default=0)
        return SessionSnapshot(
            self._pipeline,
            _solid(self._content),
            self._trial,
            steps if self.steps else (),
            _configuration(self._dispatcher.log[:version]),
        )

    def close(self) -> None:
        """Give the worker back; may be called twice."""
        if self._open:
            self._worker = self.worker
            self._open = False
            self._dispatcher.close_session(self._number)

    def _next_step(
        self, inputs: Any, options: dict[str, Any] | None = None
    ) -> CallSpec:
        self._check_usable()
        return CallSpec(
            self._trial,
            wire.dumps(inputs, snapshot=True),
            options=wire.dumps(options, snapshot=True) if options else None,
            limit=self._limit,
            session=self._number,
            step=self.steps,
            simulation=self._simulation,
        )

    def _submitted(self, future: CallFuture) -> None:
        self.steps += 1
        self._last = future

    def _recorded(self) -> tuple[Step, ...]:
        if not self._record:
            raise ConfigError(
                "this session keeps no inputs; open it with record=True, the default"
            )
        return self._dispatcher.session_history(self._number)

    def _check_usable(self) -> None:
        if not self._open:
            raise ConfigError("this session is closed; open another")
        lost = self._dispatcher.session_loss(self._number)
        if lost is not None:
            raise lost

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"step {self.steps}" if self._open else "closed"
        return f"Session(worker {self.worker}, {state})"


def _check(recover: str, *, record: bool) -> None:
    if recover not in {"raise", "replay"}:
        raise ConfigError(f'recover must be "raise" or "replay", not {recover!r}')
    if recover == "replay" and not record:
        raise ConfigError(
            'recover="replay" needs the inputs of all steps; leave record=True'
        )


def _configuration(log: Sequence[wire.Entry]) -> tuple[tuple[str, str], ...]:
    return tuple((entry.method, fingerprint(entry)) for entry in log)


def _solid(frames: wire.Frames) -> wire.Frames:
    """Copy frames into bytes, which every pickle protocol can carry."""
    return tuple(bytes(memoryview(frame)) for frame in frames)
