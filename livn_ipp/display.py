"""How things show themselves in a notebook: each tells facts, the view room draws."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

__all__ = ["Card", "Shown", "new_dashboard", "new_telemetry"]


@dataclass(frozen=True)
class Card:
    """What a notebook shows of a thing.

    Attributes
    ----------
    title
        What it is, and its name.
    state
        What it does, in one word; empty if it does nothing.
    facts
        Pairs of what is told and what is so.
    columns, rows
        A table: the columns' names, and the cells' texts.
    details
        A longer text to be opened on demand, such as a traceback.
    picture
        What to draw: a System, an electrode array or a Run; or what the view room drew;
        None for no picture.
    """

    title: str
    state: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    details: str = ""
    picture: Any = None


class Shown:
    """Something that notebooks show as a card: static HTML that needs no script."""

    @abstractmethod
    def _card(self) -> Card:
        """Tell what to show, without asking any worker."""

    def _repr_html_(self) -> str:
        from livn_ipp.view.static import card_html

        return card_html(self._card())


def new_telemetry(name: str) -> Any:
    """Make a :class:`livn_ipp.view.telemetry.Telemetry` of what has this name."""
    from livn_ipp.view.monitor import Monitor
    from livn_ipp.view.telemetry import Telemetry

    return Telemetry(Monitor(name=name))


def new_dashboard(source: Any) -> Any:
    """Make a :class:`livn_ipp.view.dashboard.Dashboard` without buttons."""
    from livn_ipp.view.dashboard import Dashboard

    return Dashboard(source)
