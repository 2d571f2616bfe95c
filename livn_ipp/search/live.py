"""Live: a search in the output of the cell that runs it, drawn anew as it goes on."""

import contextlib
from types import TracebackType
from typing import Any, Self

from livn_ipp.view.progress import in_notebook

__all__ = ["Live"]


class Live:
    """Shows something in a notebook as long as it is entered.

    Nothing is shown elsewhere, in tests, and with ``LIVN_IPP_PROGRESS=0``.

    Parameters
    ----------
    thing
        What is shown: it draws itself by ``_repr_html_``.
    show
        False to show nothing.
    """

    def __init__(self, thing: Any, *, show: bool = True) -> None:
        self._thing = thing
        self._show = show and in_notebook()
        self._handle: Any = None

    def update(self) -> None:
        """Draw it as it is now."""
        if not self._show:
            return
        from IPython import display

        show: Any = display.display
        if self._handle is None:
            self._handle = show(self._thing, display_id=True)
        else:
            with contextlib.suppress(Exception):  # nothing to draw on any more
                self._handle.update(self._thing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.update()
