"""Picture of a search: what its evaluations found, and the best of them so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from livn_ipp.view.palette import colour
from livn_ipp.view.svg import Picture, dots, nice_step, polyline, text, written

__all__ = ["Fitness", "fitness_picture"]

_SIZE: Final = (420, 200)
_BOX: Final = (52, 12, 356, 150)  # left, top, width, height of the plot
_DOTS: Final = 1500  # beyond which some are left out
_DECADES: Final = 2.0  # of values, from which on equal ratios are equally far apart


@dataclass(frozen=True)
class Fitness:
    """The values of a search.

    Attributes
    ----------
    generations
        The values of each generation; those without a value are left out.
    maximize
        Whether high values are wanted.
    """

    generations: Sequence[Sequence[float]]
    maximize: bool = False

    @property
    def best(self) -> list[float]:
        """The best value up to each generation, from the first that has one."""
        choose = max if self.maximize else min
        found: list[float] = []
        for values in self.generations:
            known = [*found[-1:], *values]
            if known:
                found.append(choose(known))
        return found

    @property
    def by_ratio(self) -> bool:
        """Whether equal ratios, not differences, are better drawn equally far apart."""
        values = [value for each in self.generations for value in each]
        least, most = min(values, default=0.0), max(values, default=0.0)
        return least > 0 and math.log10(most) - math.log10(least) > _DECADES


def fitness_picture(fitness: Fitness, *, ink: str) -> Picture | None:
    """Draw the values over the generations, and the best so far as a line.

    Parameters
    ----------
    fitness
        The values.
    ink
        Colour of lines and text.

    Returns
    -------
    Picture or None
        None if there is no value.
    """
    pairs = [(g, v) for g, each in enumerate(fitness.generations) for v in each]
    if not pairs:
        return None
    values = np.array(pairs)[:, 1]
    log = fitness.by_ratio
    low, high = _bounds(values, log=log)
    left, top, width, height = _BOX
    count = len(fitness.generations)

    def x(generation: float) -> float:
        return left + width * (generation + 0.5) / count

    def y(value: float) -> float:
        return top + height * (high - _scaled(value, log=log)) / (high - low)

    every = -(-len(pairs) // _DOTS)
    points = np.array([(x(g), y(v)) for g, v in pairs[::every]])
    first = next(g for g, each in enumerate(fitness.generations) if each)
    best = [(x(first + n), y(value)) for n, value in enumerate(fitness.best)]
    line = polyline(np.array(best), colour(1), width=2) if len(best) > 1 else ""
    content = (
        _frame(ink)
        + _left_labels(low, high, ink, log=log)
        + _bottom_labels(count, ink)
        + f'<g stroke-opacity="0.55">{dots(points, 4, colour(0))}</g>'
        + line
        + dots(np.array(best[-1:]), 7, colour(1))
    )
    label = (
        f"{len(pairs)} values in {count} generations, the best {fitness.best[-1]:.4g}"
    )
    return Picture(content, _SIZE, label)


def _scaled(value: float, *, log: bool) -> float:
    return math.log10(value) if log else value


def _bounds(
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]", *, log: bool
) -> tuple[float, float]:
    low, high = (_scaled(float(v), log=log) for v in (values.min(), values.max()))
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def _frame(ink: str) -> str:
    left, top, width, height = _BOX
    path = f"M{left} {top}v{height}h{width}"
    return f'<path d="{path}" fill="none" stroke="{ink}" stroke-width="1"/>'


def _left_labels(low: float, high: float, ink: str, *, log: bool) -> str:
    left, top, _, height = _BOX
    step = max(1.0, nice_step(high - low, 5)) if log else nice_step(high - low, 5)
    places = [
        n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)
    ]
    drawn = []
    for place in places:
        at = top + height * (high - place) / (high - low)
        told = f"{10**place:g}" if log else f"{place:.6g}"
        drawn.append(f'<path d="M{left - 3} {written(at)}h3" stroke="{ink}"/>')
        drawn.append(text(told, left - 6, at + 3, ink, anchor="end"))
    return "".join(drawn)


def _bottom_labels(count: int, ink: str) -> str:
    left, top, width, height = _BOX
    bottom = top + height
    step = max(1, round(nice_step(count, 8)))
    drawn = [
        text(
            str(generation),
            left + width * (generation + 0.5) / count,
            bottom + 13,
            ink,
            anchor="middle",
        )
        for generation in range(0, count, step)
    ]
    middle = left + width / 2
    drawn.append(text("generation", middle, bottom + 28, ink, anchor="middle"))
    return "".join(drawn)
