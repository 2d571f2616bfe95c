"""Building blocks of HTML that sanitizers let pass: literal inline styles, no script.

From notebooks that are not trusted, JupyterLab removes ``<style>``, ``<svg>``, scripts,
``aria-`` attributes, and every style that is not on its list: among them flex-wrap,
gap, and all values with ``var()``.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = [
    "LINE",
    "MAX_BYTES",
    "PALE",
    "SHEET",
    "escape",
    "facts",
    "muted",
    "progress",
    "sign",
    "table",
]

LINE: Final = "1px solid rgba(128,128,128,0.35)"
PALE: Final = "opacity:0.7"
MAX_BYTES: Final = 40_000  # of what is stored in a notebook

SHEET: Final = (
    "<style>.livn-table{border-collapse:collapse;margin:0 0 6px!important}"
    ".livn-table tbody tr{background:transparent!important}"
    ".livn-table td,.livn-table th{text-align:left!important;padding:2px 8px!important;"
    "border:none;font-size:13px;white-space:nowrap}"
    f".livn-table th{{border-bottom:{LINE}!important;font-weight:600}}"
    ".livn-table .n{text-align:right!important}</style>"
)
"""Styles of live tables; sanitizers would remove them."""

_SIGNS: Final = {
    "idle": ("○", "#888888"),
    "busy": ("●", "#2E8BCB"),
    "running": ("●", "#2E8BCB"),
    "starting": ("◌", "#888888"),
    "queued": ("◌", "#888888"),
    "being replaced": ("↻", "#D55E00"),
    "done": ("✓", "#009E73"),
    "ready": ("○", "#009E73"),
    "lost": ("✕", "#D55E00"),
    "failed": ("✕", "#D55E00"),
    "stopped": ("■", "#888888"),
    "cancelled": ("■", "#888888"),
    "shut down": ("■", "#888888"),
    "disconnected": ("■", "#888888"),
}


def escape(text: object) -> str:
    """Escape a text for HTML, inside attributes too."""
    return html.escape(str(text))


def sign(state: str) -> str:
    """Show a state as a sign and a word, so that it does not depend on colour.

    Examples
    --------
    >>> sign("idle")
    '<span style="white-space:nowrap"><span style="color:#888888">○</span> idle</span>'
    """
    symbol, colour = _SIGNS.get(state, ("○", "#888888"))
    return (
        f'<span style="white-space:nowrap"><span style="color:{colour}">{symbol}</span>'
        f" {escape(state)}</span>"
    )


def muted(text: str) -> str:
    """Show HTML less strongly."""
    return f'<span style="{PALE}">{text}</span>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Lay pairs of name and escaped HTML out below one another."""
    rows = "".join(
        f'<tr style="background:transparent"><td style="text-align:left;'
        f'padding:1px 12px 1px 0;border:none;white-space:nowrap;{PALE}">{escape(name)}'
        f'</td><td style="text-align:left;padding:1px 0;border:none">{value}</td></tr>'
        for name, value in pairs
    )
    return f'<table style="border-collapse:collapse;margin:0">{rows}</table>'


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    live: bool = False,
) -> str:
    """Lay escaped HTML out as a table.

    Parameters
    ----------
    columns
        The columns' names, escaped here.
    rows
        The cells.
    right
        Columns of numbers, which stand at the right.
    live
        Leave the styles to :data:`SHEET`, a third of the bytes.
    """
    if live:
        return _live_table(columns, rows, right)
    sides = ["right" if i in right else "left" for i in range(len(columns))]
    head = "".join(
        f'<th style="text-align:{side};padding:2px 8px;border-bottom:{LINE};'
        f'font-weight:600">{escape(name)}</th>'
        for side, name in zip(sides, columns, strict=True)
    )
    shape = "padding:2px 8px;border:none"
    body = "".join(
        '<tr style="background:transparent">'
        + "".join(
            f'<td style="text-align:{side};{shape}">{cell}</td>'
            if cell
            else "<td></td>"
            for side, cell in zip(sides, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse;margin:0 0 6px 0">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _live_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int]
) -> str:
    opened = ["<td class=n>" if i in right else "<td>" for i in range(len(columns))]
    head = "".join(
        f"<th{' class=n' if i in right else ''}>{escape(name)}"
        for i, name in enumerate(columns)
    )
    body = "".join(
        "<tr>" + "".join(map("".join, zip(opened, row, strict=True))) for row in rows
    )
    return f"<table class=livn-table><thead><tr>{head}<tbody>{body}</table>"


def progress(fraction: float | None, width: int = 120) -> str:
    """Show a bar; an empty one if it is not known how far it is.

    Parameters
    ----------
    fraction
        0 to 1.
    width
        In CSS pixels.
    """
    # Not <progress>: its track is white on dark paper too.
    shape = "display:inline-block;height:8px;border-radius:4px;vertical-align"
    percent = 100 * (fraction or 0.0)
    return (
        f'<span title="{percent:.0f} %" style="{shape}:middle;width:{width}px;'
        f'background:rgba(128,128,128,0.3)"><span style="{shape}:top;'
        f'width:{percent:.1f}%;background:#2E8BCB"></span></span>'
    )
