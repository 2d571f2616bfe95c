"""What a search tells of itself: a generation in numbers, and its table as a card."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from livn_ipp.display import Card, Shown
from livn_ipp.search.records import Evaluation, State
from livn_ipp.view.words import plural, seconds

__all__ = ["GenerationReport", "shown_value", "told"]


@dataclass(frozen=True)
class GenerationReport(Shown):
    """One generation in numbers.

    Attributes
    ----------
    generation
        Its number, from 0.
    evaluated
        Evaluations that a worker ran to their end, in this process's time.
    cached
        Those that took the value of an equal candidate.
    resumed
        Those that the journal had already.
    failed, lost
        Those without a value: the objective raised or took too long; the workers that
        ran it were lost.
    retried
        Those that ran again because their worker was lost.
    seconds
        That the generation took.
    busy
        By worker, the share of that time in which it evaluated; None stands for this
        process.
    best
        The best value of the generation; None if there is none.
    error
        What the first of those without a value says.
    """

    generation: int
    evaluated: int
    cached: int
    resumed: int
    failed: int
    lost: int
    retried: int
    seconds: float
    busy: dict[int | None, float] = field(default_factory=dict)
    best: float | None = None
    error: str = ""

    @classmethod
    def of(
        cls,
        table: Sequence[Evaluation],
        resumed: int,
        ran: Sequence[Evaluation],
        seconds: float,
        best: float | None,
    ) -> "GenerationReport":
        """Count.

        Parameters
        ----------
        table
            The generation.
        resumed
            How many of them the journal had.
        ran
            Those that ran in this process's time.
        seconds, best
            As above.
        """
        busy: dict[int | None, float] = defaultdict(float)
        for each in ran:
            busy[each.worker] += each.seconds
        states = [each.state for each in table]
        return cls(
            generation=table[0].generation,
            evaluated=sum(each.state is not State.LOST for each in ran),
            cached=sum(each.source is not None for each in table),
            resumed=resumed,
            failed=states.count(State.FAILED),
            lost=states.count(State.LOST),
            retried=sum(each.attempts > 1 for each in ran),
            seconds=seconds,
            busy={
                worker: min(1.0, spent / seconds) if seconds else 0.0
                for worker, spent in sorted(busy.items(), key=str)
            },
            best=best,
            error=next((each.error for each in table if not each.complete), ""),
        )

    def _card(self) -> Card:
        counts = ("evaluated", "cached", "resumed", "failed", "lost", "retried")
        facts = [
            (name, f"{getattr(self, name)}") for name in counts if getattr(self, name)
        ]
        facts += [("best", shown_value(self.best)), ("took", f"{self.seconds:.1f} s")]
        facts += [
            ("here" if worker is None else f"worker {worker}", f"busy {share:.0%}")
            for worker, share in self.busy.items()
        ]
        state = "failed" if self.failed or self.lost else "done"
        return Card(
            f"Generation {self.generation}", state, tuple(facts), details=self.error
        )


def shown_value(value: float | None) -> str:
    """Write a value for a table; a dash if there is none."""
    return "-" if value is None else f"{value:.5g}"


def told(
    algorithm: str,
    generations: int,
    table: Sequence[Evaluation],
    best: Evaluation | None,
) -> str:
    """Tell of a search in a few lines.

    Examples
    --------
    >>> row = Evaluation(0, 0, 1, {"x": 0.5}, State.COMPLETE, 0.25, seconds=2.0)
    >>> print(told("random", 1, [row], row))
    random: 1 generation, 1 evaluation, 2.0 s on workers
    best 0.25 at 0.0: x=0.5
    """
    spent = seconds(sum(each.seconds for each in table))
    counts = (plural(generations, "generation"), plural(len(table), "evaluation"))
    lines = [f"{algorithm}: {', '.join(counts)}, {spent} on workers"]
    copies = sum(each.source is not None for each in table)
    again = sum(each.attempts > 1 for each in table)
    if copies or again:
        lines.append(f"{copies} from the cache, {again} ran again after a loss")
    errors = Counter((str(each.state), each.error) for each in table if each.error)
    lines += [
        f"{count} {state}: {error}" for (state, error), count in errors.most_common(5)
    ]
    if best is not None:
        values = best.candidate if isinstance(best.candidate, dict) else {}
        shown = ", ".join(
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in values.items()
            if not isinstance(value, (list, dict))
        )
        place = f"best {shown_value(best.value)} at {best.generation}.{best.index}"
        lines.append(f"{place}: {shown}" if shown else place)
    return "\n".join(lines)
