"""Pictures of a culture from above: cells, electrodes, a bar for the scale."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livn_ipp.io import IO
from livn_ipp.system import System
from livn_ipp.view.palette import colour
from livn_ipp.view.png import data_url, png
from livn_ipp.view.svg import Picture, dots, nice_step, text, written

__all__ = ["Plane", "culture_picture", "electrodes_of", "heat_picture"]

_MARGIN: Final = 14
_BELOW: Final = 16  # for the bar
_DRAWN: Final = 1200  # points beyond which pixels are smaller than paths
_CIRCLES: Final = 256  # electrodes beyond which pixels are smaller than circles
_REACHES: Final = 100  # electrodes beyond which circles would cover all
_PIXELS: Final = 220


class Plane:
    """Where points of the plane are in a picture.

    Parameters
    ----------
    points : array [n, 2]
        What has to be inside, in um.
    width, highest
        Width of the picture, and its greatest height, in CSS pixels.

    Attributes
    ----------
    size : (int, int)
        Width and height of the picture.
    scale : float
        CSS pixels per um.
    """

    def __init__(self, points: NDArray[Any], width: int, highest: int) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        extent = np.maximum(high - low, 1.0)
        inner = np.array([width - 2 * _MARGIN, highest - 2 * _MARGIN - _BELOW])
        self.scale = float((inner / extent).min())
        drawn = extent * self.scale
        self._left = (width - drawn[0]) / 2
        self._bottom = _MARGIN + drawn[1]
        self._low = low
        self.size = width, int(drawn[1]) + 2 * _MARGIN + _BELOW

    def __call__(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Place points [n, 2] in um, y upwards, in the picture."""
        across = self._left + (points[:, 0] - self._low[0]) * self.scale
        down = self._bottom - (points[:, 1] - self._low[1]) * self.scale
        return np.column_stack([across, down])

    def bar(self, ink: str) -> str:
        """Draw a bar of a round length."""
        length = nice_step(self.size[0] / self.scale, 4)
        y, x = self.size[1] - 6, _MARGIN
        drawn = written(length * self.scale)
        return f'<path d="M{x} {y}h{drawn}" stroke="{ink}" stroke-width="2"/>' + text(
            f"{written(length)} um", x + length * self.scale + 5, y + 3, ink
        )


class _Layer(NamedTuple):
    points: NDArray[Any]
    colour: str
    width: float
    cap: str


def electrodes_of(io: Any) -> NDArray[np.float64]:
    """Rows (channel, x, y) of the electrodes that have a place."""
    places = getattr(io, "electrode_coordinates", None)
    if places is None:
        return np.zeros((0, 3))
    return np.asarray(places, np.float64)[:, :3]


def culture_picture(
    system: System | None, io: IO | None, *, ink: str, width: int = 300
) -> Picture | None:
    """Draw cells by population, and electrodes with how far they hear.

    Parameters
    ----------
    system, io
        The culture and the electrodes; either may be missing.
    ink
        Colour of electrodes and text.
    width
        Of the picture in CSS pixels.

    Returns
    -------
    Picture or None
        None if nothing has a place.
    """
    electrodes = electrodes_of(io)[:, 1:]
    cells = np.zeros((0, 2)) if system is None else system.coordinates()[:, 1:3]
    everything = np.concatenate([cells, electrodes])
    if not len(everything) or not np.isfinite(everything).all():
        return None
    plane = Plane(_with_reach(everything, electrodes, io), width, int(1.2 * width))
    parts = []
    if 0 < len(electrodes) <= _REACHES:
        parts.append(_reaches(plane, electrodes, io, ink))
    size = float(np.clip(90 / max(len(cells), 1) ** 0.5, 1.5, 7))
    layers = _populations(plane, system, size)
    layers.append(_Layer(plane(electrodes), ink, 4.0, "square"))
    parts.append(_drawn(layers, plane.size))
    parts.append(plane.bar(ink))
    what = "" if system is None else f"{len(cells)} cells of {system.name}, "
    label = f"{what}{len(electrodes)} electrodes, seen from above"
    return Picture("".join(parts), plane.size, label)


def heat_picture(
    positions: NDArray[Any],
    values: NDArray[np.float64],
    ids: Sequence[int],
    *,
    ink: str,
    unit: str,
    width: int = 260,
) -> Picture:
    """Draw electrodes, each the more filled the greater the size of its value.

    Parameters
    ----------
    positions : array [C, 2]
        Where they are in um.
    values : array [C]
        What they are coloured by; nan for none.
    ids
        Their channels.
    ink
        Colour of outlines and text.
    unit
        Of the values.
    width
        Of the picture in CSS pixels.
    """
    plane = Plane(positions, width, width)
    spots = plane(positions)
    radius = _radius(spots)
    size = np.abs(values)
    most = float(np.nanmax(size, initial=0.0))
    shades = np.nan_to_num(size / most if most else size)
    if len(values) > _CIRCLES:
        parts = [_pixels(spots, shades, plane.size, radius)]
    else:
        circles = "".join(
            f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:g}" '
            f'fill-opacity="{shade:.2f}"><title>{channel}: {_told(value, unit)}</title>'
            "</circle>"
            for (x, y), shade, channel, value in zip(
                spots, shades, ids, values, strict=True
            )
        )
        style = f'fill="{colour(1)}" stroke="{ink}" stroke-opacity="0.5"'
        parts = [f"<g {style}>{circles}</g>"]
    right = plane.size[0] - _MARGIN
    parts.extend(
        (
            plane.bar(ink),
            text(f"max {_told(most, unit)}", right, plane.size[1] - 3, ink,
                 anchor="end"),
        )
    )  # fmt: skip
    label = f"{len(values)} electrodes, at most {_told(most, unit)}"
    return Picture("".join(parts), plane.size, label)


def _told(value: float, unit: str) -> str:
    return "no cells heard" if np.isnan(value) else f"{value:.3g} {unit}"


def _radius(spots: NDArray[Any]) -> float:
    if len(spots) < 2:
        return 12.0
    # The nearest neighbour of one of them tells the pitch of an array.
    apart = np.hypot(*(spots[1:] - spots[0]).T)
    return float(np.clip(0.4 * apart.min(), 2.0, 12.0).round(1))


def _pixels(
    spots: NDArray[Any],
    shades: NDArray[np.float64],
    size: tuple[int, int],
    radius: float,
) -> str:
    levels = [f"{colour(1)}{17 * level:02x}" for level in range(1, 16)]
    width, height = size
    pixels = np.zeros((height, width), np.uint8)
    reach = max(1, int(radius))
    shade = np.clip((shades * 15).round(), 1, 15).astype(np.uint8)
    x, y = spots.round().astype(int).T
    for right in range(-reach, reach):
        for down in range(-reach, reach):
            at = np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)
            pixels[at] = shade
    image = data_url(png(pixels, levels))
    return f'<image width="{width}" height="{height}" href="{image}"/>'


def _reaches(plane: Plane, electrodes: NDArray[Any], io: Any, ink: str) -> str:
    radius = float(getattr(io, "output_radius", 0.0)) * plane.scale
    return "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.1f}" fill="{ink}" '
        f'fill-opacity="0.05" stroke="{ink}" stroke-opacity="0.35"/>'
        for x, y in plane(electrodes)
    )


def _with_reach(
    points: NDArray[Any], electrodes: NDArray[Any], io: Any
) -> NDArray[np.float64]:
    """Add corners, so that what an electrode hears is inside unless it is much."""
    if not len(electrodes):
        return points
    most = 0.15 * float(np.ptp(points, axis=0).max())
    reach = min(float(getattr(io, "output_radius", 0.0)), most)
    low, high = electrodes.min(axis=0) - reach, electrodes.max(axis=0) + reach
    return np.concatenate([points, [low, high]])


def _populations(plane: Plane, system: System | None, size: float) -> list[_Layer]:
    if system is None:
        return []
    return [
        _Layer(plane(system.coordinates(name)[:, 1:3]), colour(index), size, "round")
        for index, name in enumerate(system.populations)
    ]


def _drawn(layers: Sequence[_Layer], size: tuple[int, int]) -> str:
    if sum(len(layer.points) for layer in layers) <= _DRAWN:
        return "".join(
            dots(layer.points, layer.width, layer.colour, cap=layer.cap)
            for layer in layers
            if len(layer.points)
        )
    width, height = size
    shrink = _PIXELS / max(size)
    pixels = np.zeros((int(height * shrink) + 1, int(width * shrink) + 1), np.uint8)
    for index, layer in enumerate(layers):
        x, y = (layer.points * shrink).astype(int).T
        pixels[np.clip(y, 0, len(pixels) - 1), np.clip(x, 0, pixels.shape[1] - 1)] = (
            index % 15 + 1
        )
    image = data_url(png(pixels, [layer.colour for layer in layers][:15]))
    return (
        f'<image width="{pixels.shape[1] / shrink:g}" '
        f'height="{pixels.shape[0] / shrink:g}" href="{image}"/>'
    )
