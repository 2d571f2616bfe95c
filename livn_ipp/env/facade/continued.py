"""The simulation that goes on: what a distributed environment runs outside of calls."""

from abc import ABC, abstractmethod
from typing import Any, Self

from livn_ipp.decoding import GatherAndMerge
from livn_ipp.env.session import Session
from livn_ipp.run import Run

__all__ = ["Continued"]


class Continued(ABC):
    """``run``, ``t`` and ``clear`` as an Env has them, on one of the workers.

    The first :meth:`run` opens a session, which holds its worker until :meth:`clear`.
    Other calls go to the other workers meanwhile. If the worker is lost, what was run
    is run again, to the same state.
    """

    def __init__(self) -> None:
        super().__init__()
        self._course: Session | None = None
        self._reached = 0.0

    @property
    def t(self) -> float:
        """Biological time in ms that :meth:`run` has reached."""
        return self._reached

    def run(
        self,
        duration: float,
        stimulus: Any = None,
        dt: float | None = None,
        *,
        chunk: float | None = None,
    ) -> Run:
        """Simulate on from the present time, on a worker that is kept for it.

        The run is the one that :meth:`livn_ipp.env.Env.run` returns on a single rank.
        As a call does, the first run takes the next trial.

        Parameters
        ----------
        duration, stimulus, dt, chunk
            As :meth:`livn_ipp.env.Env.run` takes them.

        Returns
        -------
        Run
            What all cells did.

        Raises
        ------
        SessionLost
            If the worker was lost too often; :meth:`clear` starts anew. A run that an
            interrupt stopped has not been: the next one begins where it began.
        ConfigError
            If an argument does not fit.

        Examples
        --------
        >>> env = DistributedEnv("EI1", transport="local").init()  # doctest: +SKIP
        >>> env.run(100).t0, env.run(100).t0  # doctest: +SKIP
        (0.0, 100.0)
        """
        if self._course is None:
            self._course = self.session(GatherAndMerge(duration=1), recover="replay")
        given = {"duration": duration, "dt": dt, "chunk": chunk}
        options = {name: value for name, value in given.items() if value is not None}
        step = self._course.submit(stimulus, **options)
        try:
            run: Run = step.result()
        except BaseException:
            step.cancel()  # an interrupt ends the run too, not only the wait for it
            raise
        self._reached = run.t0 + run.duration
        return run

    def clear(self, *, trial: int = 0) -> Self:
        """Return to the state after ``init``: time zero, and trials counted anew.

        Parameters
        ----------
        trial
            The trial of the next run or call.
        """
        self._end_course()
        return self.reseed_noise(trial)

    def _end_course(self) -> None:
        course, self._course = self._course, None
        self._reached = 0.0
        if course is not None:
            course.close()

    @abstractmethod
    def session(
        self, decoding: Any, encoding: Any = None, *, recover: Any = "raise"
    ) -> Session:
        """Open a session."""

    @abstractmethod
    def reseed_noise(self, stream: int | None = None) -> Self:
        """Go on with the randomness of another trial."""
