"""What a search keeps of each evaluation: plain data, the rows of its table."""

import enum
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from livn_ipp.errors import ConfigError

__all__ = [
    "Candidate",
    "Direction",
    "Evaluation",
    "State",
    "best_of",
    "candidate_key",
    "evaluation_seed",
    "row",
    "table_digest",
]

Candidate = Any
"""What an algorithm proposes: data that JSON can hold, most often values by name."""

Direction = Literal["minimize", "maximize"]


class State(enum.StrEnum):
    """How an evaluation ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation that has ended.

    Attributes
    ----------
    generation, index
        Its place in the table.
    seed
        Of its randomness; follows from the search's seed and the place alone.
    candidate
        What was evaluated.
    state
        How it ended.
    value
        What the objective returned; None if it did not.
    error
        What went wrong, in a line; the same wherever it ran.
    traceback
        The tracebacks of the ranks that raised, or the workers that were lost.
    worker
        The worker that ran it last; None in this process, or from the cache.
    attempts
        How many times it was handed to a worker; 0 from the cache.
    seconds
        That the worker took for it.
    source
        The place of the equal candidate whose value this is, if it was not evaluated.
    """

    generation: int
    index: int
    seed: int
    candidate: Candidate
    state: State
    value: float | None = None
    error: str = ""
    traceback: str = ""
    worker: int | None = None
    attempts: int = 1
    seconds: float = 0.0
    source: tuple[int, int] | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Generation and index."""
        return self.generation, self.index

    @property
    def complete(self) -> bool:
        """Whether it has a value."""
        return self.state is State.COMPLETE


def candidate_key(candidate: Candidate) -> str:
    """Write a candidate as text that is equal for equal candidates.

    Raises
    ------
    ConfigError
        If JSON cannot hold it.

    Examples
    --------
    >>> candidate_key({"b": 2, "a": 0.1}) == candidate_key({"a": 0.1, "b": 2})
    True
    """
    try:
        return json.dumps(candidate, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "a candidate must be made of dicts, lists, texts and finite numbers, which "
            f"a journal can hold, not {candidate!r}: {error}"
        ) from None


def evaluation_seed(seed: int, generation: int, index: int) -> int:
    """Return the seed of an evaluation, whoever runs it: 0 to 2^32 - 1.

    Examples
    --------
    >>> evaluation_seed(7, 0, 1) == evaluation_seed(7, 0, 1) != evaluation_seed(7, 1, 0)
    True
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(generation, index))
    return int(sequence.generate_state(1, np.uint32)[0])


def best_of(table: Iterable[Evaluation], direction: Direction) -> Evaluation | None:
    """Return the first of the evaluations with the best value, if any has one."""
    sign = 1.0 if direction == "minimize" else -1.0
    best, least = None, math.inf
    for each in table:
        if each.value is not None and (best is None or sign * each.value < least):
            best, least = each, sign * each.value
    return best


def table_digest(table: Iterable[Evaluation]) -> str:
    """Fingerprint of what was found: the same for equal tables.

    Who evaluated, how often and how long does not count.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    rows = [
        [
            *each.place,
            each.seed,
            candidate_key(each.candidate),
            each.state,
            None if each.value is None else each.value.hex(),
            each.error,
            *(each.source or ()),
        ]
        for each in table
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]


def row(evaluation: Evaluation) -> Mapping[str, Any]:
    """Return an evaluation as a row of a table, its values in columns of their own."""
    told = {
        "generation": evaluation.generation,
        "index": evaluation.index,
        "state": str(evaluation.state),
        "value": evaluation.value,
    }
    candidate = evaluation.candidate
    values = candidate if isinstance(candidate, dict) else {"candidate": candidate}
    return told | dict(values) | {"seed": evaluation.seed, "error": evaluation.error}
