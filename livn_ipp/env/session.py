"""A simulation that goes on from call to call, on one worker."""

from typing import Any, Self

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import CallSpec, Dispatcher
from livn_ipp.cluster.futures import CallFuture
from livn_ipp.errors import ConfigError

__all__ = ["Session"]


class Session:
    """Steps of one simulation, each going on where the last one ended.

    Made by :meth:`livn_ipp.env.distributed.DistributedEnv.session`. The session has its
    worker for itself until it is closed. If the worker is lost, the simulated state is
    lost with it: every step that has not ended, and every later one, raises
    :class:`livn_ipp.errors.SessionLost`; it is never continued with a fresh state.

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

    Attributes
    ----------
    worker : int
        The worker that holds the state.
    steps : int
        How many steps were submitted.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        pipeline: str,
        content: wire.Frames,
        trial: int,
        worker: int | None,
        limit: float | None,
    ) -> None:
        opened = dispatcher.open_session(worker)
        self.worker: int = opened.result()
        self.steps = 0
        self._number = opened.id
        self._dispatcher = dispatcher
        self._pipeline = pipeline
        self._content = content
        self._trial = trial
        self._limit = limit
        self._last: CallFuture | None = None
        self._open = True

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
        if not self._open:
            raise ConfigError("this session is closed; open another")
        lost = self._loss()
        if lost is not None:
            raise lost
        spec = CallSpec(
            self._trial,
            wire.dumps(inputs, snapshot=True),
            options=wire.dumps(options, snapshot=True) if options else None,
            limit=self._limit,
            session=self._number,
            step=self.steps,
        )
        (future,) = self._dispatcher.submit(self._pipeline, self._content, [spec])
        self.steps += 1
        self._last = future
        return future

    def close(self) -> None:
        """Give the worker back; may be called twice."""
        if self._open:
            self._open = False
            self._dispatcher.close_session(self._number)

    def _loss(self) -> Exception | None:
        return self._dispatcher.session_loss(self._number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"step {self.steps}" if self._open else "closed"
        return f"Session(worker {self.worker}, {state})"
