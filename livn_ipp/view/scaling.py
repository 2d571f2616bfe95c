"""A picture of how a simulation gets faster with ranks."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.view.palette import colour
from livn_ipp.view.svg import Picture, polyline, text, written

__all__ = ["speed_picture"]

_SIZE: Final = (320, 200)
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 12, 22, 34


def speed_picture(
    ranks: Sequence[int],
    speeds: Sequence[float],
    cores: int,
    *,
    ink: str,
) -> Picture:
    """Draw the speed against one rank by the number of ranks.

    Parameters
    ----------
    ranks
        Numbers of ranks, ascending from 1.
    speeds
        How many times as fast as one rank each was.
    cores
        Of the machine: to its right, ranks share cores.
    ink
        Colour of lines and text.
    """
    most = max(ranks)
    highest = max(*speeds, float(min(most, cores)), 1.0) * 1.05
    width, height = _SIZE

    def place(xs: Any, ys: Any) -> NDArray[np.float64]:
        across = _LEFT + np.asarray(xs, float) / most * (width - _LEFT - _RIGHT)
        down = (
            height
            - _BOTTOM
            - np.asarray(ys, float) / highest * (height - _TOP - _BOTTOM)
        )
        return np.column_stack([across, down])

    (left, bottom), (right, top) = place([0, most], [0, highest]).tolist()
    axes = np.array([[left, top], [left, bottom], [right, bottom]])
    best = place([0, min(most, cores), most], [0, min(most, cores), min(most, cores)])
    parts = [
        polyline(axes, ink),
        f'<g stroke-dasharray="4 3">{polyline(best, ink)}</g>',
        polyline(place(ranks, speeds), colour(0), width=2),
    ]
    for count, speed in zip(ranks, speeds, strict=True):
        ((x, y),) = place([count], [speed]).tolist()
        filled = "none" if count > cores else colour(0)
        parts += [
            _spot(x, y, filled, f"{count} ranks: {speed:.2f} times as fast"),
            text(f"{count}", x, bottom + 13, ink, anchor="middle"),
        ]
    for level in range(1, int(highest) + 1):
        ((_, y),) = place([0], [level]).tolist()
        parts.append(text(f"{level}", left - 6, y + 3, ink, anchor="end"))
    parts += [
        text("times as fast as 1 rank", 4, 12, ink),
        text("ranks per worker", right, height - 5, ink, anchor="end"),
    ]
    if most > cores:
        parts.append(text(f"hollow: more than {cores} cores", left, height - 5, ink))
    told = ", ".join(
        f"{n} ranks {written(speed)} times"
        for n, speed in zip(ranks, speeds, strict=True)
    )
    return Picture("".join(parts), _SIZE, f"speed against 1 rank: {told}")


def _spot(x: float, y: float, filled: str, title: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{filled}" '
        f'stroke="{colour(0)}" stroke-width="2"><title>{title}</title></circle>'
    )
