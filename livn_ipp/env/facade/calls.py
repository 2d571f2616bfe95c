"""The calls of a distributed environment: submit, wait, gather."""

import concurrent.futures
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import CallSpec, Dispatcher
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.limits import check_limit
from livn_ipp.decoding import GatherAndMerge, Pipe, Slice
from livn_ipp.env.facade.responses import Responses
from livn_ipp.env.session import Recover, Session, SessionSnapshot
from livn_ipp.errors import ConfigError
from livn_ipp.view.progress import Progress

__all__ = ["Calls"]


class Calls(ABC):
    """Calls on the workers of a cluster, each with its own trial."""

    def __init__(self) -> None:
        super().__init__()
        self._trials = itertools.count()
        self._responses = Responses()

    def reseed_noise(self, stream: int | None = None) -> Self:
        """Go on with the randomness of another trial.

        Parameters
        ----------
        stream
            The trial of the next call, counted on from there; by default one is left
            out.
        """
        if stream is None:
            next(self._trials)
        else:
            self._trials = itertools.count(stream)
        return self

    def __call__(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        *,
        trial: int | None = None,
        timeout: float | None = None,
        progress: bool = True,
        **options: Any,
    ) -> list[Any] | None:
        """Run one call for each input and wait for all of them.

        Parameters
        ----------
        decoding
            A Decoding, or a duration in ms to get each Run whole.
        inputs
            A list with one input for each call; anything else is the one input of one
            call.
        encoding
            An Encoding or function that turns an input into a stimulus.
        trial
            Trial of the first call, counted on from there; by default the number of
            calls submitted since `init` or `clear`.
        timeout
            Seconds that each call may run on its worker; by default `task_timeout`.
        progress
            Whether a bar is shown if it takes longer than a second.
        **options
            Passed on to the environment's call.

        Returns
        -------
        list or None
            The responses in the order of the inputs; None on ranks that are not the
            controller.

        Raises
        ------
        CallError
            If a call failed; the calls that have not ended are cancelled.
        CallTimeout
            If a call took longer than it may.
        """
        if not self.is_root():
            return None
        futures = self._submit(
            decoding,
            _as_list(inputs),
            encoding,
            trial=trial,
            timeout=timeout,
            options=options,
        )
        return self.gather(futures, progress=progress)

    def submit(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        *,
        trial: int | None = None,
        timeout: float | None = None,
        worker: int | None = None,
        priority: int = 0,
        stream: bool = False,
        max_retries: int | None = None,
        **options: Any,
    ) -> CallFuture:
        """Submit one call and return at once.

        Parameters
        ----------
        decoding, inputs, encoding, trial, timeout, **options
            As for a call; `inputs` is the one input, even if it is a list.
        worker
            The only worker that may run it; if that is lost, its replacement.
        priority
            Higher runs first.
        stream
            Whether the spikes arrive while it runs, as the handle's ``partial``.
        max_retries
            How many times it runs again after its worker was lost; by default as many
            as the environment's limits say.

        Returns
        -------
        CallFuture
            A handle with the methods of :class:`concurrent.futures.Future`; awaitable.
        """
        (future,) = self._submit(
            decoding,
            [inputs],
            encoding,
            trial=trial,
            timeout=timeout,
            options=options,
            worker=worker,
            priority=priority,
            stream=stream,
            max_retries=max_retries,
        )
        return future

    def session(
        self,
        decoding: Any = None,
        encoding: Any = None,
        *,
        trial: int | None = None,
        timeout: float | None = None,
        worker: int | None = None,
        recover: Recover = "raise",
        record: bool = True,
        snapshot: SessionSnapshot | None = None,
    ) -> Session:
        """Open a session: calls that go on where the last one ended.

        Parameters
        ----------
        decoding, encoding
            As for a call; one copy of them serves all steps and keeps its state.
        trial
            Trial of the whole session.
        timeout
            Seconds that a step may take.
        worker
            The worker to use; by default the one with the least to do.
        recover
            What happens when the state is lost: ``"raise"`` ends all steps with
            :class:`livn_ipp.errors.SessionLost`; ``"replay"`` runs the recorded steps
            again on another worker, so that the user only sees a delay. Steps must
            then depend on nothing but their inputs and the trial; answers that differ
            from the first ones end the session with `SessionLost`. A step that was
            cancelled, or ran out of time, is undone in this way too.
        record
            Whether the inputs are kept, for `recover` and snapshots.
        snapshot
            What to go on from, in place of a decoding, encoding and trial: the steps
            that it holds are run again first.

        Returns
        -------
        Session
            A context manager; has the worker for itself until it is closed.

        Raises
        ------
        ConfigError
            If an argument is not usable, or a snapshot comes from an environment that
            was configured in another way.

        Examples
        --------
        >>> with env.session(100) as session:  # doctest: +SKIP
        ...     first, second = session.step(), session.step()
        """
        check_limit("timeout", timeout)
        dispatcher = self._live()
        if snapshot is not None:
            if not (decoding is encoding is trial is None and record):
                raise ConfigError(
                    "a snapshot brings its own decoding, encoding and trial, and is "
                    "recorded further; pass snapshot without them"
                )
            snapshot.check(dispatcher.log)
            digest, content = snapshot.pipeline, snapshot.content
            number = snapshot.trial
        else:
            if decoding is None:
                raise ConfigError("a session needs a decoding, or a snapshot")
            content = wire.dumps((_whole(decoding), encoding), snapshot=True)
            digest = _digest(content)
            number = next(self._trials) if trial is None else trial
        return Session(
            dispatcher,
            digest,
            content,
            number,
            worker,
            timeout,
            recover=recover,
            record=record,
            steps=() if snapshot is None else snapshot.steps,
        )

    def map(
        self,
        decoding: Any,
        inputs: Iterable[Any],
        encoding: Any = None,
        *,
        trial: int | None = None,
        timeout: float | None = None,
        progress: bool = True,
        **options: Any,
    ) -> Iterator[Any]:
        """Submit one call for each input; iterate over the responses in order.

        Works as :meth:`concurrent.futures.Executor.map`: all calls are submitted at
        once, and leaving the iteration early cancels those that have not ended. With
        `max_in_flight`, inputs are taken and submitted as responses are fetched.

        Parameters
        ----------
        decoding, encoding, trial, timeout, progress, **options
            As for a call.
        inputs
            One for each call.

        Yields
        ------
        Any
            The responses in the order of the inputs.
        """
        trials = self._trials if trial is None else itertools.count(trial)

        def submit(some: Iterable[Any]) -> list[CallFuture]:
            return self._submit(
                decoding,
                list(some),
                encoding,
                trials=trials,
                timeout=timeout,
                options=options,
            )

        bar = Progress(total=_count(inputs), show=progress)
        left = iter(inputs)
        ahead = deque(submit(itertools.islice(left, self._live().limits.max_in_flight)))

        def responses() -> Iterator[Any]:
            try:
                with bar:
                    bar.add(ahead)
                    while ahead:
                        response = ahead[0].result()
                        ahead.popleft()
                        more = submit(itertools.islice(left, 1))
                        bar.add(more)
                        ahead.extend(more)
                        yield response
            finally:
                self._cancel(ahead)

        return responses()

    @staticmethod
    def as_completed(
        futures: Iterable[CallFuture], timeout: float | None = None
    ) -> Iterator[CallFuture]:
        """Iterate over futures as they end."""
        return concurrent.futures.as_completed(futures, timeout)  # type: ignore[return-value]

    def gather(
        self, futures: Sequence[CallFuture], *, progress: bool = True
    ) -> list[Any]:
        """Wait for all futures and return their results in order.

        An error or an interrupt cancels those that have not ended.

        Parameters
        ----------
        futures
            What :meth:`submit` returned.
        progress
            Whether a bar is shown if it takes longer than a second.
        """
        try:
            with Progress(show=progress) as bar:
                bar.add(futures)
                return [future.result() for future in futures]
        except KeyboardInterrupt:
            left = sum(not future.done() for future in futures)
            raise KeyboardInterrupt(
                f"{left} of {len(futures)} calls cancelled; the cluster goes on"
            ) from None  # where this process waited helps nobody
        finally:
            self._cancel(futures)

    def cancel(self, *calls: CallFuture | int) -> None:
        """Give calls up: queued ones are dropped, running ones stop at a chunk end.

        Parameters
        ----------
        *calls
            Handles or numbers of calls; those that have ended are left as they are.
        """
        self._give_up([int(call) for call in calls])

    def cancel_all(self) -> None:
        """Give every call up that has not ended."""
        self._live().cancel_all()

    def submit_call(
        self, decoding: Any, inputs: Any = None, encoding: Any = None, **options: Any
    ) -> int:
        """Submit one call and return its number, as livn does."""
        return self._responses.expect(
            self.submit(decoding, inputs, encoding, **options)
        )

    def receive_response(self, task_id: int | None = None) -> list[Any]:
        """Wait for a call of :meth:`submit_call`; None means whichever ends first.

        Returns
        -------
        list
            The response, in a list as in livn.
        """
        return [self._responses.receive(task_id)]

    def probe_response(self, task_id: int, default: Any = None) -> Any:
        """Return a call's response if it has ended, else `default`."""
        return self._responses.probe(task_id, default)

    def _submit(
        self,
        decoding: Any,
        inputs: list[Any],
        encoding: Any,
        *,
        trial: int | None = None,
        trials: Iterator[int] | None = None,
        timeout: float | None,
        options: dict[str, Any],
        worker: int | None = None,
        priority: int = 0,
        stream: bool = False,
        max_retries: int | None = None,
    ) -> list[CallFuture]:
        dispatcher = self._live()
        check_limit("timeout", timeout)
        check_limit("max_retries", max_retries)
        decoding = _whole(decoding)
        content = wire.dumps((decoding, encoding), snapshot=True)
        state = getattr(decoding, "state", None)
        patch = wire.dumps(state, snapshot=True) if state else None
        extra = wire.dumps(options, snapshot=True) if options else None
        packed = [wire.dumps(value, snapshot=True) for value in inputs]
        if trials is None:
            trials = self._trials if trial is None else itertools.count(trial)
        calls = [
            CallSpec(
                next(trials),
                value,
                patch,
                extra,
                priority,
                worker,
                max_retries,
                timeout,
                stream=stream,
            )
            for value in packed
        ]
        futures = dispatcher.submit(_digest(content), content, calls)
        for future in futures:  # of one that is short, nothing more may be heard
            future.end = future.end or getattr(decoding, "duration", None)
        return futures

    def _cancel(self, futures: Iterable[CallFuture]) -> None:
        unfinished = [future.id for future in futures if not future.done()]
        if unfinished:
            self._give_up(unfinished)

    @abstractmethod
    def is_root(self) -> bool:
        """Tell whether this process is the controller."""

    @abstractmethod
    def _live(self) -> Dispatcher:
        """Return what dispatches calls, or say why there is none."""

    @abstractmethod
    def _give_up(self, calls: Sequence[int]) -> None:
        """Cancel calls, if the workers are still there."""


def _whole(decoding: Any) -> Any:
    """Bring the ranks' parts together where each rank would answer with its own."""
    if isinstance(decoding, (int, float)):
        return GatherAndMerge(duration=decoding)
    if isinstance(decoding, Slice):
        decoding = Pipe(stages=[decoding], duration=decoding.duration)
    if isinstance(decoding, Pipe) and isinstance(decoding.stages[-1], Slice):
        gather = GatherAndMerge(duration=decoding.duration)
        return decoding.model_copy(update={"stages": [*decoding.stages, gather]})
    return decoding


def _count(inputs: Any) -> int | None:
    return len(inputs) if hasattr(inputs, "__len__") else None


def _as_list(inputs: Any) -> list[Any]:
    return inputs if isinstance(inputs, list) else [inputs]


def _digest(frames: wire.Frames) -> str:
    content = hashlib.sha256()
    for frame in frames:
        content.update(frame if isinstance(frame, bytes) else memoryview(frame))
    return content.hexdigest()[:32]
