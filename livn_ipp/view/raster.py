"""Rasters: each spike as a dot, as pixels and with axes around them."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livn_ipp.view.png import data_url, png
from livn_ipp.view.svg import nice_step, text, written

__all__ = ["Rows", "raster_png", "raster_svg"]

_LEFT: Final = 44
_RIGHT: Final = 16
_BELOW: Final = 30
_TOP: Final = 14  # for the names of marks
_LETTER: Final = 6  # width of one in a mark's name, and some room


class Rows(NamedTuple):
    """A block of a raster's rows, from the bottom up.

    Attributes
    ----------
    first, cells
        First gid, and number of gids.
    colour
        Hexadecimal.
    """

    first: int
    cells: int
    colour: str


def raster_png(
    gids: NDArray[Any],
    times: NDArray[np.float64],
    span: tuple[float, float],
    rows: Sequence[Rows],
    size: tuple[int, int],
) -> bytes:
    r"""Draw spikes as pixels.

    Parameters
    ----------
    gids, times
        Cell and time of each spike; those outside are left out.
    span
        First and last time of the picture.
    rows
        Blocks of cells, ascending and not overlapping.
    size
        Width and height in pixels.

    Examples
    --------
    >>> rows = [Rows(0, 10, "#0072B2")]
    >>> raster_png(np.array([3]), np.array([5.0]), (0, 10), rows, (100, 50))[:4]
    b'\x89PNG'
    """
    width, height = size
    pixels = np.zeros((height, width), np.uint8)
    cells = sum(block.cells for block in rows)
    start, stop = span
    if cells and len(gids) and stop > start:
        # One row of a table for each gid: where it is drawn, and in which colour.
        first = rows[0].first
        place = np.full(rows[-1].first + rows[-1].cells - first, -1, np.int64)
        paint = np.zeros(len(place), np.uint8)
        below = 0
        for index, block in enumerate(rows):
            own = slice(block.first - first, block.first - first + block.cells)
            place[own] = below + np.arange(block.cells)
            paint[own] = index + 1
            below += block.cells
        cell = gids.astype(np.int64) - first
        known = (cell >= 0) & (cell < len(place)) & (times >= start) & (times <= stop)
        cell = cell[known]
        seen = place[cell] >= 0
        cell = cell[seen]
        x = ((times[known][seen] - start) * (width / (stop - start))).astype(np.int64)
        x = np.minimum(x, width - 1)
        y = height - 1 - place[cell] * height // cells
        colours = paint[cell]
        for up in range(max(1, int(0.7 * height / cells))):
            pixels[np.maximum(y - up, 0), x] = colours
    return png(pixels, [block.colour for block in rows] or ["#000000"])


def raster_svg(
    image: bytes,
    span: tuple[float, float],
    cells: int,
    size: tuple[int, int],
    *,
    ink: str,
    unit: tuple[str, float] = ("ms", 1.0),
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Put axes around a raster.

    Parameters
    ----------
    image
        The pixels, as PNG.
    span
        First and last time in ms.
    cells
        Number of rows.
    size
        Width and height of the picture in CSS pixels, with axes.
    ink
        Colour of lines and text.
    unit
        Name of the axis's unit, and its length in ms.
    marks
        Times and names of vertical lines, such as where calls began.
    """
    width, height = size
    inner, tall = width - _LEFT - _RIGHT, height - _TOP - _BELOW
    start, stop = span
    scale = inner / max(stop - start, 1e-9)
    bottom = _TOP + tall
    pixels = (
        f'<image x="{_LEFT}" y="{_TOP}" width="{inner}" height="{tall}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{data_url(image)}"/>'
    )
    axes = f'<path d="M{_LEFT} {_TOP}v{tall}h{inner}" stroke="{ink}" fill="none"/>'
    parts = [pixels, axes]
    free = 0.0  # where there is room for the next name
    for time, name in marks:
        if start <= time <= stop:
            at = _LEFT + (time - start) * scale
            parts.append(
                f'<path d="M{written(at)} {_TOP}v{tall}" stroke="{ink}" '
                f'stroke-dasharray="2 3" opacity="0.6"/>'
            )
            reach = at + _LETTER * len(name)
            if at >= free and reach <= width:
                parts.append(text(name, at, _TOP - 4, ink, size=9, dx=-2))
                free = reach
    name, length = unit
    step = nice_step((stop - start) / length, inner / 70) * length
    for tick in np.arange(np.ceil(start / step) * step, stop + step * 1e-6, step):
        x = written(_LEFT + (tick - start) * scale)
        parts.append(f'<path d="M{x} {bottom}v4" stroke="{ink}"/>')
        parts.append(text(written(tick / length), x, bottom + 14, ink, anchor="middle"))
    parts.extend(
        (
            text(f"time ({name})", _LEFT + inner / 2, height - 2, ink, anchor="middle"),
            text(str(cells), _LEFT - 4, _TOP + 9, ink, anchor="end"),
            text("0", _LEFT - 4, bottom, ink, anchor="end"),
            text("cells", 12, _TOP + tall / 2, ink, anchor="middle", turn=-90),
        )
    )
    return "".join(parts)
