"""The panes of a dashboard: each a pure function from a snapshot to HTML.

A pane is either live, with inline SVG in the page's own colours, or static, with what
sanitizers let pass.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from livn_ipp.view import html, words
from livn_ipp.view.palette import GREY, colour
from livn_ipp.view.plan import heat_picture
from livn_ipp.view.raster import Rows, raster_png, raster_svg
from livn_ipp.view.snapshot import Recent, Snapshot, WorkerState, WorkerView
from livn_ipp.view.svg import Picture, polyline
from livn_ipp.view.trace import rate_line

__all__ = ["electrodes", "log", "overview", "raster", "rates", "static_page", "workers"]

_RASTER: Final = (540, 194)
_PIXELS: Final = (480, 150)
_FEWER: Final = (360, 112)  # in what is stored
_SPARK: Final = (170, 28)
_BINS: Final = 80
_LINES: Final = (40, 500)  # of the log: number and length
_FEW_LINES: Final = (12, 160)
_LIMIT: Final = 64  # workers in the table
_FEW: Final = 20  # in one that is stored
_UNITS: Final = {"rate": "Hz", "potential": "uV"}


def overview(seen: Snapshot) -> str:
    """Tell how many workers do what, and how far the calls are."""
    calls = seen.calls
    states = Counter(worker.state.value for worker in seen.workers)
    counted = " &nbsp; ".join(
        f"{states[state]} {html.sign(state)}"
        for state in (state.value for state in WorkerState)
        if states[state]
    )
    title = f"<strong>{html.escape(seen.name)}</strong>"
    many = html.muted(words.plural(len(seen.workers), "worker"))
    parts = [
        _line(f"{title} &nbsp; {many} &nbsp; {counted}"),
        _line(f"{html.progress(calls.fraction, 260)} &nbsp; {_told(seen)}"),
    ]
    return "".join(parts)


def workers(seen: Snapshot, *, live: bool = True) -> str:
    """Tabulate the workers."""
    rows = [
        _worker(worker, live=live)
        for worker in seen.workers[: _LIMIT if live else _FEW]
    ]
    columns = (
        "worker", "state", "host", "ranks", "call", "progress", "done", "failed",
        "retried", "memory", "last error",
    )  # fmt: skip
    more = len(seen.workers) - len(rows)
    rest = html.muted(f"and {more} more workers") if more > 0 else ""
    table = html.table(columns, rows, right=(0, 3, 6, 7, 8, 9), live=live)
    if live:
        table = f'{html.SHEET}<div style="overflow-x:auto">{table}</div>'
    return table + rest


def rates(seen: Snapshot, *, live: bool = True) -> str:
    """Tell how much each population fires, with the last seconds of one worker."""
    recent = seen.recent
    rows = []
    for index, population in enumerate(seen.populations):
        last = population.first + population.cells
        own = (recent.gids >= population.first) & (recent.gids < last)
        rows.append(
            (
                f"{_dot(index)} {html.escape(population.name)}",
                f"{population.rate:.2f} Hz",
                _spark(recent, own, population.cells, colour(index), live=live),
            )
        )
    return html.table(("population", "rate", "over time"), rows, right=(1,), live=live)


def raster(seen: Snapshot, *, live: bool = True) -> str:
    """Draw the spikes of the last seconds on one worker."""
    recent = seen.recent
    if recent.worker is None or recent.stop <= recent.start:
        return _line(html.muted("no spikes yet"))
    rows = [
        Rows(population.first, population.cells, colour(index))
        for index, population in enumerate(seen.populations)
    ]
    span = (recent.start, recent.stop)
    pixels = _PIXELS if live else _FEWER
    image = raster_png(recent.gids, recent.times, span, rows, pixels)
    cells = sum(block.cells for block in rows)
    marks = [(at, f"call {call}") for at, call in recent.begins[-8:]]
    ink = "currentColor" if live else GREY
    content = raster_svg(
        image, span, cells, _RASTER, ink=ink, unit=("s", 1000.0), marks=marks
    )
    label = f"{words.plural(len(recent.gids), 'spike')} of worker {recent.worker}"
    title = f"worker {recent.worker}, over the time that it has simulated"
    return _line(html.muted(title)) + _shown(
        Picture(content, _RASTER, label), live=live
    )


def electrodes(
    seen: Snapshot, by: Literal["rate", "potential"] = "rate", *, live: bool = True
) -> str:
    """Draw the electrodes coloured by the rate or the potential that they hear."""
    found = seen.electrodes
    if found is None:
        return _line(html.muted("no electrodes"))
    values = found.rates if by == "rate" else found.potentials
    if values is None:
        return _line(html.muted("no potentials reported; record_potential() first?"))
    picture = heat_picture(
        found.positions,
        values,
        found.ids.tolist(),
        ink="currentColor" if live else GREY,
        unit=_UNITS[by],
    )
    title = "rate of the cells heard" if by == "rate" else "potential"
    return _line(html.muted(title)) + _shown(picture, live=live)


def log(seen: Snapshot, *, live: bool = True) -> str:
    """Show the latest lines of the log, newest last."""
    lines = []
    number, length = _LINES if live else _FEW_LINES
    for line in seen.log[-number:]:
        clock = time.strftime("%H:%M:%S", time.localtime(line.time))
        who = "" if line.worker is None else f"worker {line.worker} "
        lines.append(html.escape(f"{clock}  {who}{line.text[:length]}"))
    return (
        '<pre style="font-size:12px;line-height:1.4;margin:0;max-height:160px;'
        f'overflow:auto;white-space:pre-wrap">{chr(10).join(lines) or "no news"}</pre>'
    )


def static_page(seen: Snapshot) -> str:
    """Draw everything that a page without a kernel can show."""
    pictures = [raster(seen, live=False)]
    if seen.electrodes is not None:
        pictures.append(electrodes(seen, live=False))
    beside = "".join(
        f'<div style="display:inline-block;vertical-align:top;margin:4px 16px 4px 0">'
        f"{picture}</div>"
        for picture in pictures
    )
    shown = [overview(seen), workers(seen, live=False)]
    if len(seen.recent.gids):
        shown.extend((rates(seen, live=False), beside))
    if seen.log:
        shown.append(log(seen, live=False))
    page = _framed(shown)
    if len(page.encode()) < html.MAX_BYTES:
        return page
    return _framed([overview(seen), workers(seen, live=False)])


def _framed(parts: Sequence[str]) -> str:
    return (
        f'<div style="border:{html.LINE};border-radius:4px;padding:6px 10px;'
        f'font-size:13px;line-height:1.5">{"".join(parts)}</div>'
    )


def _told(seen: Snapshot) -> str:
    calls = seen.calls
    if not calls.total:
        return html.muted("no calls yet")
    parts = [f"{calls.ended} of {words.plural(calls.total, 'call')}"]
    if calls.queued:
        parts.append(f"{calls.queued} {html.sign('queued')}")
    if calls.batch_failed:
        parts.append(f"{calls.batch_failed} {html.sign('failed')}")
    if calls.batch_cancelled:
        parts.append(f"{calls.batch_cancelled} {html.sign('cancelled')}")
    simulated = f"{words.biological(calls.biological)} simulated"
    parts.append(f"{simulated} in {words.seconds(calls.elapsed)}")
    if calls.unfinished:
        left = words.seconds(calls.remaining)
        if calls.remaining is None or calls.remaining_biological is None:
            parts.append(f"<strong>left {left}</strong>")
        else:
            more = words.biological(calls.remaining_biological)
            parts.append(f"<strong>{more} to go in {left}</strong>")
    return " &nbsp; ".join(parts)


def _worker(seen: WorkerView, *, live: bool) -> tuple[str, ...]:
    running = ""
    if seen.call is not None:
        reached = words.biological(seen.time)
        of = f" of {words.biological(seen.end)}" if seen.end else ""
        running = (
            f'{html.progress(seen.fraction, 90)} <span style="white-space:nowrap">'
            f"{reached}{of}, {words.seconds(seen.seconds)}</span>"
        )
    call = "" if seen.call is None else f"{seen.call}"
    if seen.attempt > 1:
        call += html.muted(f" attempt {seen.attempt}")
    if seen.ahead:
        call += html.muted(f" +{seen.ahead}")
    pids = ", ".join(map(str, seen.pids[:16]))
    ranks = f'<span title="pids {pids}">{seen.ranks or ""}</span>'
    used = words.memory(sum(seen.memory)) if seen.memory else ""
    each = ", ".join(words.memory(rank) for rank in seen.memory[:16])
    return (
        f"{seen.index}",
        html.sign(seen.state.value),
        html.escape(seen.host),
        ranks,
        call,
        running,
        f"{seen.done}",
        f"{seen.failed or ''}",
        f"{seen.retried or ''}",
        f'<span title="{each}">{used}</span>',
        _cut(seen.error, live=live),
    )


def _cut(text: str, most: int = 36, *, live: bool) -> str:
    first = text.strip().partition("\n")[0]
    shown = html.escape(first if len(first) <= most else first[: most - 3] + "...")
    return f'<span title="{html.escape(text[:300])}">{shown}</span>' if live else shown


def _dot(index: int) -> str:
    return f'<span style="color:{colour(index)}">●</span>'


def _spark(recent: Recent, own: np.ndarray, cells: int, ink: str, *, live: bool) -> str:
    width, height = _SPARK
    points, highest = rate_line(
        recent.times[own],
        (recent.start, recent.stop),
        cells,
        (1, 2, width - 2, height - 4),
        _BINS,
    )
    label = f"at most {highest:.3g} Hz"
    line = Picture(polyline(points, ink), (width, height), label)
    beside = '<span style="display:inline-block;vertical-align:middle">{}</span>'
    shown = beside.format(_shown(line, live=live))
    return f"{shown} {html.muted(f'max {highest:.3g} Hz')}"


def _shown(picture: Picture, *, live: bool) -> str:
    return picture.svg() if live else picture.img()


def _line(content: str) -> str:
    return f'<div style="line-height:1.6">{content}</div>'
