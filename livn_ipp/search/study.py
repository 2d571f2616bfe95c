"""Study: generation after generation, what an algorithm asks for and is told.

Pure: no environment, no file, no clock. An algorithm is told of a generation when all
of it has ended, in the order of the table, so what it asks for next follows from the
table alone; from the same table another process comes to the same point.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from livn_ipp.errors import ConfigError
from livn_ipp.search.generation import Generation
from livn_ipp.search.records import (
    Candidate,
    Direction,
    Evaluation,
    candidate_key,
)

__all__ = ["Algorithm", "Study"]


@runtime_checkable
class Algorithm(Protocol):
    """What proposes candidates; any object with these two methods.

    It may have a method ``phenotype(candidate)`` too, which makes what the objective is
    given from a candidate; and an attribute ``learns = False`` if it can go on from a
    generation that has no value at all.
    """

    def ask(self) -> Sequence[Candidate]:
        """Propose the candidates of the next generation; none if it is at its end."""

    def tell(
        self, candidates: Sequence[Candidate], losses: Sequence[float | None]
    ) -> None:
        """Hear how they did: the lower the better; None for those without a value."""


class Study:
    """The course of a search.

    Parameters
    ----------
    algorithm
        What proposes candidates.
    seed
        Of the search.
    direction
        Whether low or high values are wanted.
    cache
        Whether equal candidates are evaluated once.
    penalty
        The value that the algorithm is told for those that have none; None to tell it
        that there is none.

    Attributes
    ----------
    table : list of Evaluation
        All that have ended, by generation and index.
    generations : int
        How many generations are done.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        seed: int,
        direction: Direction = "minimize",
        *,
        cache: bool = True,
        penalty: float | None = None,
    ) -> None:
        self.generations = 0
        self._algorithm = algorithm
        self._seed = seed
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._penalty = penalty
        self._cache: dict[str, Evaluation] | None = {} if cache else None
        self._past: list[Evaluation] = []
        self._present: Generation | None = None

    @property
    def table(self) -> list[Evaluation]:
        """All evaluations that have ended, by generation and index."""
        return self._past + (self._present.table if self._present else [])

    def begin(self) -> Generation | None:
        """Return the generation that is to be done; None if the algorithm is done."""
        if self._present is None:
            candidates = list(self._algorithm.ask())
            if not candidates:
                return None
            self._present = Generation(
                self.generations, candidates, self._seed, self._cache
            )
        return self._present

    def end(self) -> None:
        """Tell the algorithm of the present generation, which is done.

        Raises
        ------
        ConfigError
            If there is no value at all to go on from.
        """
        generation = self._present
        if generation is None or not generation.done:
            raise ConfigError("the generation is not done; evaluate the rest of it")
        table = generation.table
        losses = [self._loss(each) for each in table]
        learns = getattr(self._algorithm, "learns", True)
        if learns and all(loss is None for loss in losses):
            raise ConfigError(
                f"none of the {len(table)} evaluations of generation "
                f"{generation.number} has a value, so the search cannot go on. The "
                f"first says: {table[0].error}\n{table[0].traceback}"
            )
        self._algorithm.tell([each.candidate for each in table], losses)
        self._past += table
        if self._cache is not None:
            for each in table:
                if each.complete:
                    self._cache.setdefault(candidate_key(each.candidate), each)
        self._present = None
        self.generations += 1

    def resume(self, table: Sequence[Evaluation]) -> None:
        """Take in what a former process found, before anything else.

        Raises
        ------
        ConfigError
            If the algorithm proposes other candidates than it did then.
        """
        rows = sorted(table, key=lambda each: each.place)
        while rows:
            number = self.generations
            mine = [each for each in rows if each.generation == number]
            generation = self.begin()
            if not mine or generation is None:
                raise ConfigError(
                    f"evaluation {rows[0].place} was recorded, but this search has no "
                    f"place for it in generation {number}"
                )
            for each in mine:
                # Copies end with the one they are copies of.
                if each.place not in {known.place for known in generation.table}:
                    generation.record(each)
            rows = rows[len(mine) :]
            if generation.done:
                self.end()

    def _loss(self, evaluation: Evaluation) -> float | None:
        value: Any = self._penalty if evaluation.value is None else evaluation.value
        if value is None or not math.isfinite(value):
            return None
        return self._sign * float(value)
