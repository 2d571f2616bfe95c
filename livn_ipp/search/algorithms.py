"""Algorithms: random, grid, Sobol, CMA-ES, and whatever a user or Optuna brings.

Each follows from its seed and from what it was told alone.
"""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra
from livn_ipp.search.records import Candidate
from livn_ipp.search.space import Choice, Space

__all__ = ["CmaEs", "Grid", "OptunaSampler", "Random", "Sobol"]

_OF_ALGORITHM: Final = (0, 0, 0)
"""Spawn key of an algorithm's randomness; those of evaluations have two numbers."""
_SIGMA: Final = 0.3  # of the unit cube's edge, around its middle


def _sequence(seed: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=_OF_ALGORITHM)


class _Deaf:
    """An algorithm that does not learn, and can go on from nothing."""

    learns = False

    def tell(
        self, candidates: Sequence[Candidate], losses: Sequence[float | None]
    ) -> None:
        """Learn nothing."""


class Random(_Deaf):
    """Points of the space, each independent of the others.

    Parameters
    ----------
    space, population_size, seed
        As :class:`livn_ipp.search.Search` takes them.

    Examples
    --------
    >>> space = Space({"x": (0, 1)})
    >>> Random(space, 3, seed=1).ask() == Random(space, 3, seed=1).ask()
    True
    """

    def __init__(self, space: Space, population_size: int, seed: int) -> None:
        self._space = space
        self._size = population_size
        self._random = np.random.default_rng(_sequence(seed))

    def ask(self) -> list[Candidate]:
        """Draw a generation."""
        units = self._random.random((self._size, len(self._space)))
        return [self._space.from_unit(point) for point in units]


class Grid(_Deaf):
    """All combinations of values at equal distances, the last parameter first.

    Parameters
    ----------
    space, population_size
        As :class:`livn_ipp.search.Search` takes them.
    points
        Values of each real parameter.

    Examples
    --------
    >>> grid = Grid(Space({"x": (0, 1), "on": [False, True]}), 4, points=3)
    >>> len(grid.ask()), len(grid.ask()), len(grid.ask())
    (4, 2, 0)
    """

    def __init__(self, space: Space, population_size: int, points: int = 5) -> None:
        self._size = population_size
        self._left = space.grid(points)

    def ask(self) -> list[Candidate]:
        """Take the next combinations."""
        return list(itertools.islice(self._left, self._size))


class Sobol(_Deaf):
    """Points of a scrambled Sobol sequence, which fill the space evenly.

    Parameters
    ----------
    space, population_size, seed
        As :class:`livn_ipp.search.Search` takes them; a population of a power of two
        fills it best.
    """

    def __init__(self, space: Space, population_size: int, seed: int) -> None:
        from scipy.stats import qmc

        self._space = space
        self._size = population_size
        random = np.random.default_rng(_sequence(seed))
        self._sequence = qmc.Sobol(len(space), scramble=True, seed=random)

    def ask(self) -> list[Candidate]:
        """Take the next points of the sequence."""
        with warnings.catch_warnings():  # a population need not be a power of two
            warnings.simplefilter("ignore", UserWarning)
            points = self._sequence.random(self._size)
        return [self._space.from_unit(point) for point in points]


class CmaEs:
    """Covariance matrix adaptation: learns where, and in which directions, to look.

    Parameters
    ----------
    space, population_size, seed
        As :class:`livn_ipp.search.Search` takes them; no parameter may be a choice.
    start
        The candidate to begin at; by default the middle of the space.
    sigma
        How far to look around it at first, as a share of each parameter's range.

    Raises
    ------
    ConfigError
        If the space or an option does not fit.
    MissingExtra
        If the package cmaes is not installed.
    """

    def __init__(
        self,
        space: Space,
        population_size: int,
        seed: int,
        start: Mapping[str, Any] | None = None,
        sigma: float = _SIGMA,
    ) -> None:
        if choices := [n for n, p in space.items() if isinstance(p, Choice)]:
            raise ConfigError(
                f"CMA-ES needs parameters that have an order, and {', '.join(choices)} "
                f"has none; use algorithm='random' or 'sobol', or an Optuna sampler"
            )
        if population_size < 2:
            raise ConfigError("CMA-ES needs a population_size of at least 2")
        if not 0 < sigma < math.inf:
            raise ConfigError(f"sigma must be a positive number, not {sigma!r}")
        middle = np.full(len(space), 0.5)
        self._space = space
        self._cma = extra("cmaes", "search").CMA(
            mean=middle if start is None else space.to_unit(start),
            sigma=sigma,
            bounds=np.tile([0.0, 1.0], (len(space), 1)),
            seed=int(_sequence(seed).generate_state(1)[0]),
            population_size=population_size,
        )
        self._points: list[NDArray[np.float64]] = []

    def ask(self) -> list[Candidate]:
        """Draw a generation from the present distribution."""
        self._points = [self._cma.ask() for _ in range(self._cma.population_size)]
        return [self._space.from_unit(point) for point in self._points]

    def tell(
        self, candidates: Sequence[Candidate], losses: Sequence[float | None]
    ) -> None:
        """Move towards the better ones; those without a value rank last."""
        del candidates
        ranked = [math.inf if loss is None else loss for loss in losses]
        with np.errstate(invalid="ignore"):
            self._cma.tell(list(zip(self._points, ranked, strict=True)))


class OptunaSampler:
    """A sampler of Optuna, asked for a generation at a time.

    Parameters
    ----------
    space, population_size
        As :class:`livn_ipp.search.Search` takes them.
    sampler
        A new sampler with a seed of its own, such as ``TPESampler(seed=7)``; or a study
        that has no trials yet. Give a search that is resumed a new one again.

    Raises
    ------
    ConfigError
        If a study has trials already, or looks for high values.
    """

    def __init__(self, space: Space, population_size: int, sampler: Any) -> None:
        optuna = extra("optuna", "search")
        is_study = isinstance(sampler, optuna.study.Study)
        self._study = sampler if is_study else _new_study(optuna, sampler)
        if self._study.trials or self._study.direction.name != "MINIMIZE":
            raise ConfigError(
                "the study must have no trials yet and direction='minimize': the "
                "search tells it values of which the lower are better"
            )
        self._failed = optuna.trial.TrialState.FAIL
        self._space = space
        self._size = population_size
        self._distributions = {n: _distribution(optuna, p) for n, p in space.items()}
        self._trials: list[Any] = []

    def ask(self) -> list[Candidate]:
        """Ask for so many trials."""
        self._trials = [self._study.ask(self._distributions) for _ in range(self._size)]
        return [dict(trial.params) for trial in self._trials]

    def tell(
        self, candidates: Sequence[Candidate], losses: Sequence[float | None]
    ) -> None:
        """Tell the trials' values."""
        del candidates
        for trial, loss in zip(self._trials, losses, strict=True):
            if loss is None:
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, loss)


def _new_study(optuna: Any, sampler: Any) -> Any:
    logging = optuna.logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)  # a new study is no news
    try:
        return optuna.create_study(sampler=sampler)
    finally:
        logging.set_verbosity(before)


def _distribution(optuna: Any, parameter: Any) -> Any:
    from livn_ipp.search.space import Integer, Real

    made = optuna.distributions
    if isinstance(parameter, Real):
        return made.FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Integer):
        numbers = parameter.numbers
        low, high = min(numbers), max(numbers)
        return made.IntDistribution(low, high, step=abs(numbers.step))
    return made.CategoricalDistribution(parameter.options)
