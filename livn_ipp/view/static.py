"""Cards as static HTML, the same in a live, a reopened and an exported notebook."""

from typing import Any, Final

from livn_ipp.display import Card
from livn_ipp.io import IO
from livn_ipp.run import Run
from livn_ipp.system import System
from livn_ipp.view import html
from livn_ipp.view.fitness import Fitness, fitness_picture
from livn_ipp.view.palette import GREY, colour
from livn_ipp.view.plan import culture_picture
from livn_ipp.view.svg import Picture
from livn_ipp.view.trace import run_picture

__all__ = ["card_html", "picture_of"]

_ROWS: Final = 32
_DETAILS: Final = 4000


def card_html(card: Card) -> str:
    """Draw a card.

    Parameters
    ----------
    card
        What to show.

    Returns
    -------
    str
        HTML of less than :data:`livn_ipp.view.html.MAX_BYTES`; without its picture
        where that would be larger.

    Examples
    --------
    >>> "○" in card_html(Card("Worker 3", state="idle"))
    True
    """
    picture = picture_of(card.picture)
    text = _framed(card, "" if picture is None else picture.img())
    return text if len(text.encode()) < html.MAX_BYTES else _framed(card, "")


def picture_of(thing: Any) -> Picture | None:
    """Draw a system, an electrode array or a run; a picture is drawn already."""
    if isinstance(thing, Picture):
        return thing
    if isinstance(thing, System):
        return culture_picture(thing, thing.default_io(), ink=GREY)
    if isinstance(thing, Run):
        return run_picture(thing, ink=GREY)
    if isinstance(thing, Fitness):
        return fitness_picture(thing, ink=GREY)
    if isinstance(thing, IO):
        return culture_picture(None, thing, ink=GREY, width=240)
    return None


def _framed(card: Card, drawn: str) -> str:
    state = f" &nbsp;{html.sign(card.state)}" if card.state else ""
    parts = [f"<div><strong>{html.escape(card.title)}</strong>{state}</div>"]
    if isinstance(card.picture, System):
        parts.append(_legend(card.picture))
    if card.facts:
        parts.append(html.facts((n, html.escape(v)) for n, v in card.facts))
    if card.columns:
        parts.append(_table(card))
    if card.details:
        parts.append(_details(card.details))
    words = (
        '<div style="display:inline-block;vertical-align:top;margin:4px 16px 4px 0">'
        + "".join(parts)
        + "</div>"
    )
    if drawn:
        drawn = f'<div style="display:inline-block;vertical-align:top">{drawn}</div>'
    return (
        f'<div style="border:{html.LINE};border-radius:4px;padding:6px 10px;'
        f'margin:2px 0;font-size:13px;line-height:1.5">{words}{drawn}</div>'
    )


def _legend(system: System) -> str:
    of = system.population_ranges
    return " &nbsp; ".join(
        f'<span style="color:{colour(index)}">●</span> {html.escape(name)} '
        + (f"{count}" if count == of[name][1] else f"{count} of {of[name][1]}")
        for index, (name, count) in enumerate(system.population_counts.items())
    )


def _table(card: Card) -> str:
    rows = [[html.escape(cell) for cell in row] for row in card.rows[:_ROWS]]
    if "state" in card.columns:
        at = card.columns.index("state")
        for shown, row in zip(rows, card.rows, strict=False):
            shown[at] = html.sign(row[at])
    numeric = [
        index
        for index in range(len(card.columns))
        if card.rows and all(_number(row[index]) for row in card.rows)
    ]
    more = len(card.rows) - len(rows)
    rest = html.muted(f"and {more} more") if more else ""
    return html.table(card.columns, rows, right=numeric) + rest


def _number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit()


def _details(text: str) -> str:
    cut = text if len(text) <= _DETAILS else "... " + text[-_DETAILS:]
    return (
        '<details><summary style="cursor:pointer">details</summary>'
        f'<pre style="font-size:12px;white-space:pre-wrap;margin:4px 0">'
        f"{html.escape(cut)}</pre></details>"
    )
