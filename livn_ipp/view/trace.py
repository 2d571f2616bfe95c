"""Pictures of a run: its spikes and their rate, or its signals."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.run import Run, Series
from livn_ipp.view.palette import colour
from livn_ipp.view.raster import Rows, raster_png, raster_svg
from livn_ipp.view.svg import Picture, polyline, text, written

__all__ = ["rate_line", "run_picture"]

_SIZE: Final = (520, 178)
_PIXELS: Final = (460, 134)
_RATE: Final = 44  # px for the rate under a raster
_BINS: Final = 92
_TRACES: Final = 8
_SAMPLES: Final = 230


def run_picture(run: Run, *, ink: str) -> Picture | None:
    """Draw a run: a raster above the rate over time, or else traces of a signal.

    Parameters
    ----------
    run
        What was simulated.
    ink
        Colour of lines and text.

    Returns
    -------
    Picture or None
        None if nothing was recorded.
    """
    if run.spikes is not None and len(run.spikes):
        return _spikes(run, ink)
    for name, series in run.channels.items():
        if series.values.size:
            return _signal(run, name, series, ink)
    return None


def rate_line(
    times: NDArray[Any],
    span: tuple[float, float],
    cells: int,
    box: tuple[float, float, float, float],
    bins: int,
) -> tuple[NDArray[np.float64], float]:
    """Lay the rate over time out as points of a line in a box.

    Parameters
    ----------
    times, span
        Times of spikes, first and last time in ms.
    cells
        How many cells they are of.
    box
        Left, top, width, height.
    bins
        How many points.

    Returns
    -------
    points : array [bins, 2]
        In the box, y downwards.
    highest : float
        The rate at its top, in Hz per cell.
    """
    start, stop = span
    left, top, width, height = box
    # As np.histogram, in a fifth of its time.
    bin_of = (times - start) * (bins / max(stop - start, 1e-9))
    inside = (times >= start) & (times <= stop)
    where = np.minimum(bin_of[inside].astype(np.int64), bins - 1)
    counts = np.bincount(where, minlength=bins)
    rate = counts / (max(cells, 1) * max(stop - start, 1e-9) / bins / 1000)
    highest = float(rate.max(initial=0.0))
    x = left + width * (np.arange(bins) + 0.5) / bins
    y = top + height * (1 - rate / (highest or 1.0))
    return np.column_stack([x, y]), highest


def _spikes(run: Run, ink: str) -> Picture:
    assert run.spikes is not None
    ids, times = run.spikes.ids, run.spikes.times
    first, last = int(ids.min()), int(ids.max())
    cells = last - first + 1
    span = (run.t0, run.t1)
    image = raster_png(
        ids, run.t0 + times, span, [Rows(first, cells, colour(0))], _PIXELS
    )
    width, height = _SIZE
    upper = raster_svg(image, span, cells, (width, height), ink=ink)
    active = len(np.unique(ids))
    left, inner = 44, width - 60
    points, highest = rate_line(
        run.t0 + times, span, active, (left, 0, inner, _RATE - 4), _BINS
    )
    base = [[left + inner, _RATE - 4], [left, _RATE - 4]]
    lower = polyline(np.concatenate([points, base]), colour(0), fill=True)
    note = text(f"{highest:.3g} Hz", left - 4, 9, ink, anchor="end")
    label = f"{len(times)} spikes of {active} cells in {run.duration:g} ms"
    return Picture(
        f'{upper}<g transform="translate(0 {height + 2})" opacity="0.9">'
        f"{lower}{note}</g>",
        (width, height + _RATE),
        label,
    )


def _signal(run: Run, name: str, series: Series, ink: str) -> Picture:
    width, height = _SIZE
    left, inner, tall = 44, width - 60, height - 36
    chosen = np.linspace(
        0, len(series.values) - 1, min(_TRACES, len(series.values))
    ).astype(int)
    every = max(1, series.values.shape[1] // _SAMPLES)
    traces = series.values[chosen, ::every].astype(np.float64)
    middle = traces - traces.mean(axis=1, keepdims=True)
    extent = float(np.ptp(middle, axis=1).max(initial=0.0)) or 1.0
    step = tall / len(chosen)
    x = left + inner * (np.arange(traces.shape[1]) + 0.5) / traces.shape[1]
    parts = []
    for row, trace in enumerate(middle):
        y = 6 + step * (len(chosen) - row - 0.5) - trace / extent * step * 0.9
        parts.append(
            polyline(np.column_stack([x, y]), colour(0), width=0.8)
            + text(
                str(series.ids[chosen[row]]),
                left - 4,
                6 + step * (len(chosen) - row - 0.5) + 3,
                ink,
                anchor="end",
            )
        )
    bottom = 6 + tall
    for time, at, anchor in (
        (run.t0, left, "start"),
        (run.t1, left + inner, "end"),
    ):
        parts.append(text(f"{written(time)} ms", at, bottom + 14, ink, anchor=anchor))
    parts.append(
        text(
            f"{name}, widest {extent:.3g} {series.unit}", left + inner / 2,
            bottom + 14, ink, anchor="middle",
        )
    )  # fmt: skip
    axis = f'<path d="M{left} {bottom}h{inner}" stroke="{ink}"/>'
    label = f"{name} of {len(chosen)} of {len(series.values)} rows"
    return Picture(axis + "".join(parts), (width, height), label)
