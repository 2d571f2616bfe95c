"""Generation: which evaluations of one population are still to be done, and by whom.

A pure state machine: candidates in, evaluations in any order, a table out that does not
depend on that order. Equal candidates are evaluated once: the first of them is, and the
others wait for it and take its value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from livn_ipp.errors import ConfigError
from livn_ipp.search.records import (
    Candidate,
    Evaluation,
    State,
    candidate_key,
    evaluation_seed,
)

__all__ = ["Generation", "Job"]


@dataclass(frozen=True)
class Job:
    """An evaluation that is to be done.

    Attributes
    ----------
    generation, index, seed, candidate
        As in :class:`livn_ipp.search.records.Evaluation`.
    """

    generation: int
    index: int
    seed: int
    candidate: Candidate

    def ended(self, state: State, **what: object) -> Evaluation:
        """Make the record of how it ended."""
        of_job = (self.generation, self.index, self.seed, self.candidate)
        return Evaluation(*of_job, state, **what)  # type: ignore[arg-type]


class Generation:
    """The evaluations of one population.

    Parameters
    ----------
    number
        Of the generation, from 0.
    candidates
        What is to be evaluated.
    seed
        Of the search.
    cache
        Complete evaluations of earlier generations, by the key of their candidate; None
        to evaluate equal candidates anew.

    Examples
    --------
    >>> generation = Generation(0, [{"x": 1}, {"x": 2}, {"x": 1}], seed=7, cache={})
    >>> jobs = [generation.take(), generation.take(), generation.take()]
    >>> [job and job.index for job in jobs]
    [0, 1, None]
    >>> ended = generation.record(jobs[0].ended(State.COMPLETE, value=0.5))
    >>> [(each.index, each.value, each.source) for each in ended]
    [(0, 0.5, None), (2, 0.5, (0, 0))]
    """

    def __init__(
        self,
        number: int,
        candidates: Sequence[Candidate],
        seed: int,
        cache: Mapping[str, Evaluation] | None,
    ) -> None:
        self.number = number
        self.jobs = [
            Job(number, index, evaluation_seed(seed, number, index), candidate)
            for index, candidate in enumerate(candidates)
        ]
        self._keys = [candidate_key(candidate) for candidate in candidates]
        self._shared = cache is not None
        self._known = dict(cache or {})
        self._ended: dict[int, Evaluation] = {}
        self._taken: set[int] = set()

    @property
    def done(self) -> bool:
        """Whether every evaluation has ended."""
        return len(self._ended) == len(self.jobs)

    @property
    def table(self) -> list[Evaluation]:
        """Those that have ended, by index."""
        return [self._ended[index] for index in sorted(self._ended)]

    def served(self) -> list[Evaluation]:
        """End the evaluations whose value is known from earlier; return them."""
        return [
            self._end(self._copy(index, self._known[key]))
            for index, key in enumerate(self._keys)
            if index not in self._ended and key in self._known
        ]

    def take(self) -> Job | None:
        """Return an evaluation to be done now; None if there is none at present."""
        for job in self._free():
            self._taken.add(job.index)
            return job
        return None

    def give_back(self, index: int) -> None:
        """Let an evaluation that did not end be done again."""
        self._taken.discard(index)

    def record(self, evaluation: Evaluation) -> list[Evaluation]:
        """Take in how an evaluation ended.

        Returns
        -------
        list of Evaluation
            This one, and those of equal candidates that end with it.

        Raises
        ------
        ConfigError
            If it does not belong here, or has ended already.
        """
        index = evaluation.index
        if evaluation.generation != self.number or not 0 <= index < len(self.jobs):
            raise ConfigError(
                f"evaluation {evaluation.place} is none of generation {self.number}"
            )
        if index in self._ended:
            raise ConfigError(f"evaluation {evaluation.place} has ended already")
        if candidate_key(evaluation.candidate) != self._keys[index]:
            raise ConfigError(
                f"evaluation {evaluation.place} was of {evaluation.candidate!r}, but "
                f"the search proposes {self.jobs[index].candidate!r} there"
            )
        ended = [self._end(evaluation)]
        if self._shared and evaluation.complete:
            self._known.setdefault(self._keys[index], evaluation)
            ended += self.served()
        return ended

    def _end(self, evaluation: Evaluation) -> Evaluation:
        self._ended[evaluation.index] = evaluation
        self._taken.discard(evaluation.index)
        return evaluation

    def _copy(self, index: int, first: Evaluation) -> Evaluation:
        found = self.jobs[index].ended(
            first.state, value=first.value, attempts=0, source=first.place
        )
        # The one that was evaluated, if the first is itself a copy.
        return found if first.source is None else replace(found, source=first.source)

    def _free(self) -> Iterator[Job]:
        earlier: set[str] = set()
        for job, key in zip(self.jobs, self._keys, strict=True):
            if job.index in self._ended:
                continue
            waits = self._shared and key in earlier
            earlier.add(key)
            if job.index not in self._taken and not waits:
                yield job
