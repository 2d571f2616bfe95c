"""Controls: buttons that ask for something and tell what became of it.

A button's handler may run on the main thread in the middle of anything, or on a thread
of the kernel's, depending on the kernel's version; so it only starts a thread.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from livn_ipp.view import html
from livn_ipp.view.snapshot import Snapshot, WorkerView

__all__ = ["Actions", "Controls", "close", "offer"]

_HINT: Final = (
    "While a cell runs, interrupt the kernel (■, or I I) to cancel its calls."
)
_MESSAGE_SHOWN: Final = 10.0  # s


class Actions(Protocol):
    """What a dashboard's buttons do; each may take its time and raise."""

    def cancel(self, call: int, /) -> None:
        """Give a call up."""

    def cancel_all(self) -> None:
        """Give all calls up."""

    def restart(self, worker: int, /) -> None:
        """End a worker's processes and bring others."""

    def scale(self, change: int, /) -> None:
        """Add so many workers, or remove them if negative."""


class Controls:
    """Buttons for the calls and workers of a dashboard.

    Parameters
    ----------
    actions
        What they do.

    Attributes
    ----------
    box
        The widget that holds them all.
    """

    def __init__(self, actions: Actions) -> None:
        import ipywidgets

        self._actions = actions
        self._workers: dict[int, WorkerView] = {}
        self.worker = ipywidgets.Dropdown(
            description="worker",
            tooltip="The worker that the two buttons beside act on",
            layout={"width": "150px"},
            style={"description_width": "50px"},
        )
        self.cancel = self._button(
            "Cancel call", "Give up the call that this worker runs", self._cancel
        )
        self.restart = self._button(
            "Restart worker", "End its processes and start others", self._restart
        )
        self.cancel_all = self._button(
            "Cancel all calls", "Give up all calls, queued and running",
            lambda: (actions.cancel_all, "all calls are cancelled"),
            style="danger",
        )  # fmt: skip
        self.add = self._button(
            "Add worker", "Start one more worker",
            lambda: (lambda: actions.scale(1), "one more worker"),
        )  # fmt: skip
        self.remove = self._button(
            "Remove worker", "Let one worker go when its calls have ended",
            lambda: (lambda: actions.scale(-1), "one worker less"),
        )  # fmt: skip
        self.worker.observe(self._name_call, "value")
        self.message = ipywidgets.HTML(_small(html.muted(_HINT)))
        self._told = 0.0  # when the message was changed
        row = [
            self.worker, self.cancel, self.restart, self.cancel_all, self.add,
            self.remove, self.message,
        ]  # fmt: skip
        self.box = ipywidgets.Box(row, layout={"flex_flow": "row wrap"})

    def follow(self, seen: Snapshot) -> None:
        """Offer the workers that there are, and what can be done with the chosen."""
        self._workers = {w.index: w for w in seen.workers}
        offer(self.worker, [(f"{index}", index) for index in self._workers])
        self._name_call()
        if time.monotonic() - self._told > _MESSAGE_SHOWN:
            _assign(self.message, "value", _small(html.muted(_HINT)))

    @property
    def _chosen(self) -> WorkerView | None:
        return self._workers.get(self.worker.value)

    def _name_call(self, _change: Any = None) -> None:
        call = None if self._chosen is None else self._chosen.call
        _assign(
            self.cancel, "description", f"Cancel call {'' if call is None else call}"
        )

    def _cancel(self) -> "_Task":
        if self._chosen is None or self._chosen.call is None:
            return _nothing, "this worker runs no call"
        call = self._chosen.call
        return lambda: self._actions.cancel(call), f"call {call} is cancelled"

    def _restart(self) -> "_Task":
        if self._chosen is None:
            return _nothing, "there is no worker"
        worker = self._chosen.index
        return (
            lambda: self._actions.restart(worker),
            f"worker {worker} is being replaced",
        )

    def _button(
        self, name: str, tooltip: str, task: Callable[[], "_Task"], style: str = ""
    ) -> Any:
        import ipywidgets

        button = ipywidgets.Button(
            description=name,
            tooltip=tooltip,
            button_style=style,
            layout={"width": "auto"},
        )
        button.on_click(lambda _: self._begin(button, *task()))
        return button

    def _begin(self, button: Any, action: Callable[[], None], success: str) -> None:
        button.disabled = True

        def run() -> None:
            try:
                action()
            except Exception as error:
                told = f"{html.sign('failed')}: {html.escape(error)}"
            else:
                told = html.escape(success)
            self.message.value, self._told = _small(told), time.monotonic()
            button.disabled = False

        threading.Thread(target=run, name="livn_ipp action", daemon=True).start()


_Task = tuple[Callable[[], None], str]


def offer(choice: Any, options: list[tuple[str, Any]]) -> None:
    """Change what a dropdown offers, and keep what is chosen if it is still there."""
    if list(choice.options) == options:
        return
    value = choice.value
    with choice.hold_sync():
        choice.options = options
        values = [each for _, each in options]
        if values:
            choice.value = value if value in values else values[0]


def close(widget: Any) -> None:
    """Close a widget and all that belongs to it."""
    own = [getattr(widget, name, None) for name in ("layout", "style")]
    for part in (*getattr(widget, "children", ()), *own):
        if part is not None:
            close(part)
    widget.close()


def _assign(widget: Any, name: str, value: Any) -> None:
    if getattr(widget, name) != value:
        setattr(widget, name, value)


def _nothing() -> None:
    pass


def _small(content: str) -> str:
    return f'<span style="font-size:12px">{content}</span>'
