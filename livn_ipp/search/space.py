"""Space: the parameters that a search may choose, by name, and the unit cube below."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError

__all__ = ["Choice", "Integer", "Parameter", "Real", "Space"]

_BELOW_ONE = math.nextafter(1.0, 0.0)


@dataclass(frozen=True)
class Real:
    """A number between two bounds, both included.

    Attributes
    ----------
    low, high
        The bounds.
    log
        Whether equal ratios, not differences, are equally far apart.
    """

    low: float
    high: float
    log: bool = False

    def value(self, unit: float) -> float:
        """Return the value at a place between 0 and 1."""
        if unit <= 0 or unit >= 1:  # the bounds themselves, without rounding
            return self.low if unit <= 0 else self.high
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            found = math.exp(low + unit * (high - low))
        else:
            found = self.low * (1 - unit) + self.high * unit  # no overflow
        return min(max(found, self.low), self.high)

    def unit(self, value: Any) -> float:
        """Return the place of a value."""
        if self.log:
            span = math.log(self.high) - math.log(self.low)
            found = (math.log(value) - math.log(self.low)) / span
        else:
            span = self.high / 2 - self.low / 2
            found = (value / 2 - self.low / 2) / span
        return min(max(float(found), 0.0), 1.0)

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one of these."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    def points(self, number: int) -> list[float]:
        """Return so many values at equal distances, the bounds among them."""
        if number == 1:
            return [self.value(0.5)]
        return [self.value(place) for place in np.linspace(0, 1, number).tolist()]


class _Counted:
    """A parameter with a number of values, each with an equal share of the unit."""

    @property
    def values(self) -> Sequence[Any]:
        raise NotImplementedError

    def value(self, unit: float) -> Any:
        """Return the value at a place between 0 and 1."""
        values = self.values
        return values[int(min(max(unit, 0.0), _BELOW_ONE) * len(values))]

    def unit(self, value: Any) -> float:
        """Return the middle of a value's share."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one of these."""
        return value in self.values

    def points(self, _number: int) -> list[Any]:
        """Return all values."""
        return list(self.values)


@dataclass(frozen=True)
class Integer(_Counted):
    """A whole number of a range.

    Attributes
    ----------
    numbers
        The range.
    """

    numbers: range

    @property
    def values(self) -> Sequence[int]:
        """The numbers."""
        return self.numbers


@dataclass(frozen=True)
class Choice(_Counted):
    """One of some values that have no order.

    Attributes
    ----------
    options
        The values: texts, numbers, True, False or None.
    """

    options: tuple[Any, ...]

    @property
    def values(self) -> Sequence[Any]:
        """The options."""
        return self.options


Parameter = Real | Integer | Choice


class Space(Mapping[str, Parameter]):
    """What a search may choose.

    Parameters
    ----------
    parameters
        By name: ``(low, high)`` or ``(low, high, "log")`` for a number between bounds,
        a ``range`` for a whole number, a list for one of its items.

    Raises
    ------
    ConfigError
        If one of them cannot be searched.

    Examples
    --------
    >>> space = Space({"gain": (1e-4, 1.0, "log"), "cells": range(1, 5), "on": [0, 1]})
    >>> space.from_unit([0.5, 0.3, 0.9])
    {'gain': 0.01..., 'cells': 2, 'on': 1}
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        given: Any = parameters
        if not isinstance(given, Mapping) or not given:
            raise ConfigError(
                f"space must name at least one parameter, such as "
                f'{{"gain": (0.0, 1.0)}}, not {parameters!r}'
            )
        self._parameters = {str(n): _parameter(n, p) for n, p in parameters.items()}

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def from_unit(self, units: Sequence[float] | NDArray[np.float64]) -> dict[str, Any]:
        """Return the candidate at a point of the unit cube.

        Parameters
        ----------
        units
            One number from 0 to 1 for each parameter.
        """
        places = [float(unit) for unit in units]
        pairs = zip(self.items(), places, strict=True)
        return {name: parameter.value(place) for (name, parameter), place in pairs}

    def to_unit(self, candidate: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the point of the unit cube where a candidate is.

        Raises
        ------
        ConfigError
            If it is not a candidate of this space.
        """
        self.check(candidate)
        return np.array([p.unit(candidate[n]) for n, p in self.items()])

    def check(self, candidate: Any) -> None:
        """Refuse what is not a candidate of this space.

        Raises
        ------
        ConfigError
            Naming the parameter at fault.
        """
        if not isinstance(candidate, Mapping) or set(candidate) != set(self):
            raise ConfigError(
                f"a candidate has values for {', '.join(self)}; got {candidate!r}"
            )
        for name, parameter in self.items():
            if not parameter.contains(candidate[name]):
                raise ConfigError(f"{name}={candidate[name]!r} is not in {parameter}")

    def grid(self, points: int) -> Iterator[dict[str, Any]]:
        """Go through all combinations, the last parameter first.

        Parameters
        ----------
        points
            Values of each real parameter; the others are taken whole.
        """
        axes = [parameter.points(points) for parameter in self.values()]
        for values in itertools.product(*axes):
            yield dict(zip(self, values, strict=True))

    def told(self) -> dict[str, str]:
        """Describe each parameter, for comparison and display."""
        return {name: repr(parameter) for name, parameter in self.items()}

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{n}: {p!r}' for n, p in self.items())})"


def _parameter(name: Any, given: Any) -> Parameter:
    match given:
        case Real() | Integer() | Choice():
            return given
        case range() if len(given):
            return Integer(given)
        case list() if given:
            return Choice(tuple(_option(name, option) for option in given))
        case (low, high):
            return _real(name, low, high, log=False)
        case (low, high, "log"):
            return _real(name, low, high, log=True)
    raise ConfigError(
        f'{name!r} must be (low, high), (low, high, "log"), a range of whole numbers '
        f"or a list of choices, not {given!r}"
    )


def _real(name: Any, low: Any, high: Any, *, log: bool) -> Real:
    try:
        bounds = Real(float(low), float(high), log)
    except (TypeError, ValueError):
        raise ConfigError(f"{name!r} needs numbers as bounds, not {low!r}") from None
    finite = math.isfinite(bounds.low) and math.isfinite(bounds.high)
    if not finite or bounds.low >= bounds.high or (log and bounds.low <= 0):
        least = "0 < low" if log else "low"
        raise ConfigError(
            f"{name!r} needs finite bounds, {least} < high, not {low!r} and {high!r}"
        )
    return bounds


def _option(name: Any, option: Any) -> Any:
    if option is None or isinstance(option, (str, bool, int, float)):
        return option
    raise ConfigError(
        f"the choices of {name!r} must be texts, numbers, True, False or None, which a "
        f"journal can hold, not {option!r}"
    )
