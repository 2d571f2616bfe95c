"""Search: look for the candidates that an objective likes best, over the workers."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from livn_ipp.cluster.limits import check_limit
from livn_ipp.display import Card, Shown
from livn_ipp.errors import ConfigError
from livn_ipp.search.choose import algorithm_for, describe, space_for
from livn_ipp.search.controllers import Controllers
from livn_ipp.search.evaluate import Objective
from livn_ipp.search.evaluators import Ended, evaluator_for
from livn_ipp.search.generation import Generation
from livn_ipp.search.journal import Journal
from livn_ipp.search.live import Live
from livn_ipp.search.records import (
    Candidate,
    Direction,
    Evaluation,
    best_of,
    row,
    table_digest,
)
from livn_ipp.search.report import GenerationReport, shown_value, told
from livn_ipp.search.study import Study
from livn_ipp.view.fitness import Fitness

__all__ = ["Search"]

OnError = Literal["raise", "skip", "penalise"]

_ON_ERROR: Final = ("raise", "skip", "penalise")
_DIRECTIONS: Final = ("minimize", "maximize")
_SHOWN: Final = 5  # best evaluations in a notebook


class Search(Shown):
    """Looks for the best candidate, generation by generation.

    Each evaluation is a call of its own on whichever worker is free. Its seed follows
    from the search's seed and its place in the table, so the table is the same in one
    process and on any number of workers, whatever becomes of them meanwhile. With a
    `storage`, every evaluation that ended is on disk: make the same Search again and
    it goes on from there, to the same table.

    Parameters
    ----------
    env
        An initialised DistributedEnv, or Env of this process.
    space
        The parameters by name: ``(low, high)``, ``(low, high, "log")``, a ``range`` or
        a list of choices; see :class:`livn_ipp.search.Space`. Those whose names begin
        with ``weights.``, ``noise.`` or ``params.`` are settings of the culture, which
        each evaluation has for itself. :class:`livn_ipp.search.Controllers` for
        networks; None for candidates that only the algorithm knows.
    objective
        Called as ``objective(env, candidate, seed)`` on every rank of a worker, with
        the environment at t = 0 of a trial of its own; returns a number, or None on
        ranks that have none. :class:`livn_ipp.search.Response` makes one from a
        decoding and a score. None if the workers bring theirs; see
        :class:`livn_ipp.search.Worker`.
    algorithm
        ``"random"``, ``"grid"``, ``"sobol"``, ``"cmaes"``, ``"neat"``; an Optuna
        sampler; or an object with ``ask`` and ``tell``; see
        :class:`livn_ipp.search.Algorithm`.
    population_size
        Evaluations per generation.
    direction
        ``"minimize"`` or ``"maximize"``.
    seed
        Root of all randomness.
    storage
        Path of the journal, an SQLite file; None to keep nothing.
    algorithm_options
        Of an algorithm chosen by name, such as ``{"sigma": 0.1}``.
    trial
        Trial that every evaluation begins with; by default its own seed.
    cache
        Whether a candidate that was evaluated before takes the value it had.
    on_error
        What becomes of an evaluation without a value: ``"raise"`` ends the generation
        with the error, and it is evaluated again when the search goes on; ``"skip"``
        leaves it in the table as failed or lost, and ranks it behind all others;
        ``"penalise"`` does so too, but tells the algorithm `penalty` for it.
    penalty
        A value, for ``on_error="penalise"``.
    min_workers
        Workers that must be ready before a generation begins.
    connect_timeout
        Seconds to wait for them.
    task_timeout
        Seconds that an evaluation may take; by default what `env` allows a call.
    max_retries
        How many times an evaluation runs again after its worker was lost; by default as
        `env` has it.
    batch_size
        Evaluations that are handed out ahead for each worker; by default all.

    Raises
    ------
    ConfigError
        If a value cannot be used, or the journal belongs to another search.
    JournalError
        If the journal cannot be read or written.

    Examples
    --------
    >>> from livn_ipp.testing import LightEnv
    >>> def far(env, candidate, seed):
    ...     return (candidate["x"] - 0.3) ** 2
    >>> search = Search(LightEnv("EI1").init(), {"x": (0, 1)}, far, population_size=8)
    >>> search.run(3)[-1].evaluated
    8
    >>> search.best.value < 0.05
    True
    """

    def __init__(
        self,
        env: Any,
        space: Any,
        objective: Objective | None = None,
        *,
        algorithm: Any = "random",
        population_size: int,
        direction: Direction = "minimize",
        seed: int = 123,
        storage: str | Path | None = None,
        algorithm_options: Mapping[str, Any] | None = None,
        trial: int | None = None,
        cache: bool = True,
        on_error: OnError = "raise",
        penalty: float | None = None,
        min_workers: int | None = None,
        connect_timeout: float = 120.0,
        task_timeout: float | None = None,
        max_retries: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        options = dict(algorithm_options or {})
        _check(objective, population_size, direction, seed, on_error, penalty)
        _check_limits(
            min_workers=min_workers,
            connect_timeout=connect_timeout,
            task_timeout=task_timeout,
            max_retries=max_retries,
            batch_size=batch_size,
        )
        self.space = space_for(space)
        if isinstance(self.space, Controllers) and algorithm == "random":
            algorithm = "neat"  # the only one that searches networks
        self.direction: Direction = direction
        self.population_size = population_size
        self.reports: list[GenerationReport] = []
        self._env = env
        self._on_error = on_error
        self._min_workers = min_workers
        self._connect_timeout = connect_timeout
        self._algorithm = algorithm_for(
            algorithm, self.space, population_size, seed, options
        )
        self._study = Study(
            self._algorithm,
            seed,
            direction,
            cache=cache,
            penalty=penalty if on_error == "penalise" else None,
        )
        self._evaluator = evaluator_for(
            env,
            objective,
            self.phenotype,
            trial=trial,
            task_timeout=task_timeout,
            max_retries=max_retries,
            batch_size=batch_size,
        )
        self._told = describe(algorithm, options)
        self._journal: Journal | None = None
        if storage is not None:
            settings = {
                "space": None if self.space is None else self.space.told(),
                "algorithm": self._told,
                "population_size": population_size,
                "direction": direction,
                "seed": seed,
                "trial": trial,
                "cache": cache,
                "penalty": penalty,
            }
            self._resume(storage, settings)

    # What was found

    @property
    def table(self) -> list[Evaluation]:
        """All evaluations that have ended, by generation and index."""
        return self._study.table

    @property
    def generations(self) -> int:
        """How many generations are done, those of former processes included."""
        return self._study.generations

    @property
    def best(self) -> Evaluation | None:
        """The first evaluation that has the best value; None if none has one."""
        return best_of(self.table, self.direction)

    @property
    def num_workers(self) -> int:
        """How many evaluations run side by side at this moment."""
        return self._evaluator.num_workers

    def digest(self) -> str:
        """Fingerprint of the table: equal for searches that found the same.

        Who evaluated, how often and how long does not count.
        """
        return table_digest(self.table)

    def rows(self) -> list[dict[str, Any]]:
        """Return the table as rows, for ``pandas.DataFrame(search.rows())``."""
        return [dict(row(each)) for each in self.table]

    def phenotype(self, candidate: Candidate) -> Any:
        """Return what the objective is given for a candidate.

        For networks it is a :class:`livn_ipp.search.Controller`, else the candidate.
        """
        make = getattr(self._algorithm, "phenotype", None)
        return candidate if make is None else make(candidate)

    def fitness(self) -> Fitness:
        """Return the values by generation, to be drawn."""
        table = self.table
        count = 1 + max((each.generation for each in table), default=-1)
        values: list[list[float]] = [[] for _ in range(count)]
        for each in table:
            if each.value is not None:
                values[each.generation].append(each.value)
        return Fitness(values, self.direction == "maximize")

    def plot(self, ax: Any = None) -> Any:
        """Draw the values over the generations; returns the matplotlib axes.

        Parameters
        ----------
        ax
            The axes to draw into; new ones if None.
        """
        from livn_ipp.view.figures import plot_fitness

        return plot_fitness(self.fitness(), ax)

    def report(self) -> str:
        """Tell in words what was done and found, for a terminal or a log."""
        return told(self._told, self.generations, self.table, self.best)

    # What is done

    def wait_for_workers(self, num_workers: int, timeout: float = 120.0) -> Self:
        """Wait until so many workers are ready; see the method of ``Cluster``."""
        if num_workers > self.num_workers:
            if not hasattr(self._env, "wait_for_workers"):
                raise ConfigError(
                    f"{num_workers} workers will never be there: the search runs on an "
                    f"Env of this process; give it a DistributedEnv"
                )
            self._env.wait_for_workers(num_workers, timeout)
        return self

    def run_generation(self) -> GenerationReport | None:
        """Evaluate one generation, or the rest of one that was interrupted.

        Returns
        -------
        GenerationReport or None
            None if the algorithm has nothing more to propose.

        Raises
        ------
        CallError
            With ``on_error="raise"``, if an evaluation has no value.
        ConfigError
            If none of them has one.
        """
        if self._min_workers is not None:
            self.wait_for_workers(self._min_workers, self._connect_timeout)
        began = time.perf_counter()
        generation = self._study.begin()
        if generation is None:
            return None
        resumed = len(generation.table)
        ran: list[Evaluation] = []
        with (
            self._writing(),
            contextlib.closing(self._evaluator.run(generation)) as running,
        ):
            self._write(generation.served())
            for ended in running:
                ran += [each for each, _ in ended]
                self._take_in(generation, ended)
        self._study.end()
        best = best_of(generation.table, self.direction)
        report = GenerationReport.of(
            generation.table,
            resumed,
            ran,
            time.perf_counter() - began,
            None if best is None else best.value,
        )
        self.reports.append(report)
        return report

    def run(
        self,
        generations: int,
        *,
        target: float | None = None,
        callback: Callable[["Search", GenerationReport], Any] | None = None,
        progress: bool = True,
    ) -> list[GenerationReport]:
        """Go on until so many generations are done in all.

        Parameters
        ----------
        generations
            How many, those of former processes included.
        target
            A value that ends the search when it is reached.
        callback
            Called as ``callback(search, report)`` after each generation; True ends the
            search.
        progress
            Whether a notebook shows the search while it runs.

        Returns
        -------
        list of GenerationReport
            One for each generation that was done now.
        """
        reports = []
        with Live(self, show=progress) as live:
            while self.generations < generations and not self._reached(target):
                report = self.run_generation()
                if report is None:
                    break
                reports.append(report)
                live.update()
                if callback is not None and callback(self, report) is True:
                    break
        return reports

    # Inside

    def _resume(self, storage: str | Path, settings: Mapping[str, Any]) -> None:
        self._journal = Journal(storage, settings)
        self._study.resume(self._journal.read())

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        if self._journal is None:
            return contextlib.nullcontext()
        return self._journal.writing(len(self.table))

    def _take_in(self, generation: Generation, ended: list[Ended]) -> None:
        """Record what ended; the disk has it before anything else is done."""
        bad: Exception | None = None
        settled: list[Evaluation] = []
        for evaluation, error in ended:
            if error is not None and self._on_error == "raise":
                generation.give_back(evaluation.index)
                bad = bad or error
            else:
                settled += generation.record(evaluation)
        self._write(settled)
        if bad is not None:
            raise bad

    def _write(self, evaluations: list[Evaluation]) -> None:
        if self._journal is not None:
            self._journal.write(evaluations)

    def _reached(self, target: float | None) -> bool:
        best = self.best
        if target is None or best is None or best.value is None:
            return False
        if self.direction == "minimize":
            return best.value <= target
        return best.value >= target

    def _card(self) -> Card:
        table = self.table
        best = self.best
        failed = sum(not each.complete for each in table)
        where = "no storage" if self._journal is None else self._journal.path.name
        facts = [
            ("algorithm", f"{self._told}, {self.population_size} per generation"),
            ("evaluations", f"{len(table)} in {self.generations} generations"),
            ("best", shown_value(None if best is None else best.value)),
            ("journal", where),
        ]
        if failed:
            facts.insert(2, ("without a value", f"{failed}"))
        sign = 1 if self.direction == "minimize" else -1
        ranked = sorted(
            (each for each in table if each.value is not None),
            key=lambda each: (sign * (each.value or 0.0), each.place),
        )
        columns, rows = _shown(ranked[:_SHOWN])
        return Card("Search", "", tuple(facts), columns, rows, picture=self.fitness())

    def __repr__(self) -> str:
        best = self.best
        value = shown_value(None if best is None else best.value)
        return (
            f"Search({self._told}: {self.generations} generations, "
            f"{len(self.table)} evaluations, best {value})"
        )


def _shown(
    evaluations: list[Evaluation],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Lay the best evaluations out; values of parameters where there are few."""
    names: list[str] = []
    if evaluations and isinstance(evaluations[0].candidate, dict):
        flat = evaluations[0].candidate.items()
        names = [n for n, value in flat if not isinstance(value, (list, dict))][:6]
    rows = tuple(
        (
            f"{each.generation}.{each.index}",
            shown_value(each.value),
            *(_cell(each.candidate[name]) for name in names),
        )
        for each in evaluations
    )
    return ("evaluation", "value", *names) if rows else (), rows


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check(
    objective: Any,
    population_size: Any,
    direction: Any,
    seed: Any,
    on_error: Any,
    penalty: Any,
) -> None:
    if objective is not None and not callable(objective):
        raise ConfigError(
            f"objective must be callable as objective(env, candidate, seed), not "
            f"{objective!r}"
        )
    for name, value, least in (
        ("population_size", population_size, 1),
        ("seed", seed, 0),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(
                f"{name} must be a whole number from {least} on, not {value!r}"
            )
    for name, value, choices in (
        ("direction", direction, _DIRECTIONS),
        ("on_error", on_error, _ON_ERROR),
    ):
        if value not in choices:
            raise ConfigError(f"{name} must be one of {choices}, not {value!r}")
    number = isinstance(penalty, (int, float)) and math.isfinite(penalty)
    if number != (on_error == "penalise"):
        raise ConfigError(
            "on_error='penalise' goes with a finite penalty=, and only that does; got "
            f"on_error={on_error!r}, penalty={penalty!r}"
        )


def _check_limits(**limits: Any) -> None:
    for name, value in limits.items():
        check_limit(name, value, optional=name != "connect_timeout")
        if name in {"min_workers", "batch_size"} and not isinstance(value, int | None):
            raise ConfigError(f"{name} must be a whole number, got {value!r}")
