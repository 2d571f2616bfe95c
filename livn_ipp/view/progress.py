"""Progress: a bar while a caller waits for calls, in a notebook or a terminal.

It appears after a second, from a thread, since the caller waits. Tests, and programs
whose output goes to a file, see none.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self, TextIO

from livn_ipp.view import html, words

__all__ = ["Call", "Progress", "Tally", "in_notebook", "painter"]

_DELAY: Final = 1.0  # s that a caller may wait without a bar
_INTERVAL: Final = 0.2
_OFF: Final = frozenset({"0", "no", "off", "false"})
_SIGNS: Final = {"done": "✓", "failed": "✕", "cancelled": "■"}

_Painter = Callable[["Tally"], None]


class Call(Protocol):
    """What a bar needs to know of a call."""

    end: float | None

    @property
    def progress(self) -> float:
        """Biological time reached, in ms."""

    def done(self) -> bool:
        """Tell whether it has ended."""

    def exception(self) -> BaseException | None:
        """Tell with which error it ended, if it did."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How far some calls are.

    Attributes
    ----------
    total, ended
        Number of calls, and of those that ended.
    biological
        Biological time simulated, in ms.
    fraction
        How much is done, 0 to 1.
    elapsed
        Seconds since the caller began to wait.
    how
        "running", or how the wait ended: "done", "failed" or "cancelled".
    """

    total: int
    ended: int
    biological: float
    fraction: float
    elapsed: float
    how: Literal["running", "done", "failed", "cancelled"] = "running"

    @property
    def remaining(self) -> float | None:
        """Estimate of the seconds that are left, if there is one."""
        if self.fraction <= 0:
            return None
        return self.elapsed * (1 - self.fraction) / self.fraction

    def told(self) -> str:
        """Tell it in words.

        Examples
        --------
        >>> Tally(40, 10, 5000.0, 0.25, 20.0).told()
        '10 of 40 calls, 5.0 s simulated in 20 s, left 1:00 min'
        >>> Tally(1, 1, 5000.0, 1.0, 20.0, "done").told()
        '✓ 1 of 1 call, 5.0 s simulated in 20 s'
        """
        text = f"{self.ended} of {words.plural(self.total, 'call')}"
        if self.biological:
            text += f", {words.biological(self.biological)} simulated"
        text += f" in {words.seconds(self.elapsed)}"
        if self.how != "running":
            return f"{_SIGNS[self.how]} {text}"
        return f"{text}, left {words.seconds(self.remaining)}"


class Progress:
    """Shows a bar as long as it is entered, if that is long enough.

    Parameters
    ----------
    total
        Number of calls, if it is known before all are added.
    show
        False for no bar.
    paint
        What draws a tally; by default what :func:`painter` chooses.
    delay, interval
        Seconds before the first and between further drawings.

    Examples
    --------
    >>> with Progress(show=False) as progress:
    ...     progress.add([])
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        show: bool = True,
        paint: _Painter | None = None,
        delay: float = _DELAY,
        interval: float = _INTERVAL,
    ) -> None:
        self._total = total
        chosen = painter() if paint is None else paint
        self._paint = chosen if show else None
        self._delay, self._interval = delay, interval
        self._lock = threading.Lock()
        self._unfinished: list[Call] = []
        self._added = self._ended = 0
        self._biological = 0.0
        self._left = threading.Event()
        self._painted = False
        self._began = 0.0

    def add(self, calls: Iterable[Call]) -> None:
        """Take further calls in."""
        if self._paint is None:
            return
        with self._lock:
            before = len(self._unfinished)
            self._unfinished += calls
            self._added += len(self._unfinished) - before

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._paint is not None:
            threading.Thread(
                target=self._keep_up, name="livn_ipp progress", daemon=True
            ).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._left.set()
        how: Literal["done", "failed", "cancelled"] = "done"
        if kind is not None:
            how = "failed" if issubclass(kind, Exception) else "cancelled"
        with self._lock:
            if self._painted and self._paint is not None:
                with contextlib.suppress(Exception):
                    self._paint(self._tally(how))

    def _keep_up(self) -> None:
        wait = self._delay
        while not self._left.wait(wait):
            wait = self._interval
            with self._lock:
                if self._left.is_set() or self._paint is None:
                    return
                try:
                    self._paint(self._tally("running"))
                except Exception:  # nothing to draw on any more
                    return
                self._painted = True

    def _tally(self, how: Literal["running", "done", "failed", "cancelled"]) -> Tally:
        running = []
        for call in self._unfinished:
            if call.done():
                self._ended += 1
                whole = call.end if call.exception() is None else None
                self._biological += whole or call.progress
            else:
                running.append(call)
        self._unfinished = running
        total = max(self._added, self._total or 0)
        reached = sum(call.progress for call in running)
        part = sum(min(1.0, call.progress / call.end) for call in running if call.end)
        return Tally(
            total,
            self._ended,
            self._biological + reached,
            min(1.0, (self._ended + part) / total) if total else 0.0,
            time.monotonic() - self._began,
            how,
        )


def painter() -> _Painter | None:
    """Choose where a bar goes; None if nobody would see it.

    None under pytest, and so in notebooks that nbval runs; with LIVN_IPP_PROGRESS=0;
    and where standard error is no terminal.
    """
    if not _wanted():
        return None
    if in_notebook():
        return _InNotebook()
    if sys.stderr is not None and sys.stderr.isatty():
        return _InTerminal(sys.stderr)
    return None


def in_notebook() -> bool:
    """Tell whether what changes may be shown in the output of a notebook's cell."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return _wanted() and getattr(shell, "kernel", None) is not None


def _wanted() -> bool:
    wanted = os.environ.get("LIVN_IPP_PROGRESS", "").lower() not in _OFF
    return wanted and "PYTEST_VERSION" not in os.environ


class _InTerminal:
    """Draws on one line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, tally: Tally) -> None:
        columns = shutil.get_terminal_size().columns - 1
        text = tally.told()
        room = min(40, columns - len(text) - 3)
        if tally.how == "running" and room >= 10:
            filled = round(tally.fraction * room)
            text = f"[{'#' * filled}{'.' * (room - filled)}] {text}"
        end = "\r" if tally.how == "running" else "\n"
        self._out.write(f"\r{text[:columns]:<{columns}}{end}")
        self._out.flush()


class _InNotebook:
    """Draws into an output of the cell that waits, which keeps the last drawing.

    An output that is displayed anew needs no widgets, and the saved notebook shows it.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, tally: Tally) -> None:
        from IPython import display

        page = {"text/plain": tally.told(), "text/html": self._html(tally)}
        show: Any = display.display
        if self._handle is None:
            self._handle = show(page, raw=True, display_id=True)
        else:
            self._handle.update(page, raw=True)

    @staticmethod
    def _html(tally: Tally) -> str:
        told = html.escape(tally.told())
        if tally.how == "running":
            told = f"{html.progress(tally.fraction, 260)} &nbsp; {told}"
        return f'<div style="font-size:13px">{told}</div>'
