"""Which algorithm a search uses, and what makes two searches the same."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from livn_ipp.errors import ConfigError
from livn_ipp.search.algorithms import CmaEs, Grid, OptunaSampler, Random, Sobol
from livn_ipp.search.controllers import Controllers, Neat
from livn_ipp.search.space import Space
from livn_ipp.search.study import Algorithm

__all__ = ["algorithm_for", "describe", "space_for"]

_BY_NAME: Final[dict[str, Any]] = {
    "random": Random,
    "grid": Grid,
    "sobol": Sobol,
    "cmaes": CmaEs,
    "neat": Neat,
}
_GIVEN: Final = ("space", "population_size", "seed")


def space_for(space: Any) -> Space | Controllers | None:
    """Take a space in any of its forms."""
    if space is None or isinstance(space, (Space, Controllers)):
        return space
    return Space(space)


def algorithm_for(
    algorithm: Any,
    space: Space | Controllers | None,
    population_size: int,
    seed: int,
    options: Mapping[str, Any],
) -> Algorithm:
    """Make, or take, the algorithm of a search.

    Parameters
    ----------
    algorithm
        A name; an Optuna sampler or study; or an object with ``ask`` and ``tell``.
    space, population_size, seed, options
        As :class:`livn_ipp.search.Search` takes them.

    Raises
    ------
    ConfigError
        If it is none of these, or does not fit to the space or the options.
    """
    if not isinstance(algorithm, str):
        return _given(algorithm, space, population_size, options)
    if algorithm not in _BY_NAME:
        raise ConfigError(
            f"unknown algorithm {algorithm!r}; choose from {', '.join(_BY_NAME)}, or "
            f"give an Optuna sampler or an object with ask() and tell()"
        )
    kind = _BY_NAME[algorithm]
    taken = list(inspect.signature(kind).parameters)
    own = [name for name in taken if name not in _GIVEN]
    if unknown := sorted(set(options) - set(own)):
        raise ConfigError(
            f"algorithm {algorithm!r} has no options {', '.join(unknown)}; it has "
            f"{', '.join(own) or 'none'}"
        )
    if kind is not Neat and not isinstance(space, Space):
        raise ConfigError(
            f"algorithm {algorithm!r} needs a space of named parameters, such as "
            f'{{"gain": (0.0, 1.0)}}, not {space!r}'
        )
    given = {"space": space, "population_size": population_size, "seed": seed}
    made: Algorithm = kind(**{n: v for n, v in given.items() if n in taken}, **options)
    return made


def describe(algorithm: Any, options: Mapping[str, Any]) -> str:
    """Name an algorithm and its options, for comparison and display."""
    name = algorithm if isinstance(algorithm, str) else _name(type(algorithm))
    more = ", ".join(f"{option}={value!r}" for option, value in sorted(options.items()))
    return f"{name}({more})" if more else name


def _given(
    algorithm: Any,
    space: Space | Controllers | None,
    population_size: int,
    options: Mapping[str, Any],
) -> Algorithm:
    if options:
        raise ConfigError(
            "algorithm_options are for an algorithm chosen by name; "
            f"{_name(type(algorithm))} is made already"
        )
    if type(algorithm).__module__.partition(".")[0] == "optuna":
        if not isinstance(space, Space):
            raise ConfigError("an Optuna sampler needs a space of named parameters")
        return OptunaSampler(space, population_size, algorithm)
    if not isinstance(algorithm, Algorithm):
        raise ConfigError(
            f"algorithm must be a name, an Optuna sampler or an object with ask() and "
            f"tell(), not {algorithm!r}"
        )
    return algorithm


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
