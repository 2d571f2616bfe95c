"""Building blocks of SVG pictures."""

import html
import math
from typing import Any, NamedTuple

from numpy.typing import NDArray

from livn_ipp.view.png import data_url

__all__ = ["Picture", "dots", "nice_step", "polyline", "text", "written"]


class Picture(NamedTuple):
    """A picture in the making.

    Attributes
    ----------
    content
        Its SVG elements.
    size
        Width and height in CSS pixels.
    label
        What it shows, for those who do not see it.
    """

    content: str
    size: tuple[int, int]
    label: str

    def svg(self) -> str:
        """Return it as an SVG element."""
        width, height = self.size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{html.escape(self.label)}" font-family="sans-serif" '
            f'font-size="10">{self.content}</svg>'
        )

    def img(self) -> str:
        """Return it as an ``<img>``, which sanitizers let pass where SVG is not."""
        url = data_url(self.svg().encode("utf-8"), "image/svg+xml")
        width, height = self.size
        return (
            f'<img src="{url}" width="{width}" height="{height}" '
            f'alt="{html.escape(self.label)}">'
        )

    def _repr_html_(self) -> str:
        return self.img()


def text(
    content: str,
    x: float | str,
    y: float | str,
    ink: str,
    *,
    size: int = 10,
    anchor: str = "start",
    dx: float = 0,
    turn: float = 0,
) -> str:
    """Write a text, escaped."""
    at = f'x="{written(x)}" y="{written(y)}"'
    turned = f' transform="rotate({turn:g} {written(x)} {written(y)})"' if turn else ""
    moved = f' dx="{dx:g}"' if dx else ""
    return (
        f'<text {at}{moved}{turned} fill="{ink}" font-size="{size}" '
        f'text-anchor="{anchor}">{html.escape(content)}</text>'
    )


def dots(points: NDArray[Any], width: float, colour: str, *, cap: str = "round") -> str:
    """Draw a dot, or with ``cap="square"`` a square, at each of the points [n, 2]."""
    path = "".join(f"M{x} {y}h0" for x, y in points.round().astype(int).tolist())
    return (
        f'<path d="{path}" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-linecap="{cap}"/>'
    )


def polyline(
    points: NDArray[Any], colour: str, *, fill: bool = False, width: float = 1.2
) -> str:
    """Draw a line through points [n, 2], or fill the area under it."""
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points.round(1).tolist())
    paint = f'fill="{colour}"' if fill else f'fill="none" stroke="{colour}"'
    return f'<path d="{path}" {paint} stroke-width="{width:g}"/>'


def nice_step(span: float, ticks: float) -> float:
    """Distance 1, 2 or 5 times a power of ten, for about so many ticks in a span.

    Examples
    --------
    >>> nice_step(5000, 7), nice_step(0.3, 4)
    (1000.0, 0.1)
    """
    least = span / max(ticks, 1.0)
    if not math.isfinite(least) or least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    factor = next(f for f in (1, 2, 5, 10) if f * power >= least * (1 - 1e-9))
    return float(f"{factor * power:g}")


def written(value: float | str) -> str:
    """Write a number with no more digits than are seen.

    Examples
    --------
    >>> written(12.0), written(0.25001), written("7")
    ('12', '0.25', '7')
    """
    return value if isinstance(value, str) else f"{round(value, 2):.12g}"
