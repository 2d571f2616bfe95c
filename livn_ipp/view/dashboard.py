"""Dashboard: a cluster at work in a notebook, brought up to date five times a second.

A thread of its own draws what changed and sends only that, so that the view goes on
while a cell blocks, awaits, or none runs.
"""

import contextlib
import threading
import weakref
from typing import Any, Final, Protocol

from livn_ipp.view import panes, words
from livn_ipp.view.controls import Actions, Controls, close, offer
from livn_ipp.view.snapshot import Snapshot

__all__ = ["Dashboard", "Source"]

_INTERVAL: Final = 0.2  # s between updates
_CLOCK: Final = 1.0  # s after which time alone is news
_REST: Final = 5.0  # s without news after which what is shown is worth keeping
_LIVE: Final = '<div class="jp-RenderedHTMLCommon" style="font-size:13px">{}</div>'


class Source(Protocol):
    """Where a dashboard gets what it shows."""

    @property
    def revision(self) -> int:
        """Grows with every change."""

    def snapshot(self, watch: int | None = None) -> Snapshot:
        """Tell what is so now, with the spikes of the worker that is watched."""


class Dashboard:
    """A live view of a cluster.

    In a front end without widgets, and in a notebook that is read without a kernel,
    what it showed when calls last ended, or when it was closed, stands in its place.

    Parameters
    ----------
    source
        What it shows, such as a :class:`livn_ipp.view.telemetry.Telemetry`.
    actions
        What its buttons do; without it, there are none.
    interval
        Seconds between updates.

    Examples
    --------
    >>> from livn_ipp.view.monitor import Monitor
    >>> from livn_ipp.view.telemetry import Telemetry
    >>> telemetry = Telemetry(Monitor(name="EI1"))
    >>> telemetry.joined(0)
    >>> dashboard = Dashboard(telemetry)
    >>> dashboard
    Dashboard(EI1: 1 worker, 0 calls unfinished)
    >>> dashboard.close()
    """

    def __init__(
        self,
        source: Source,
        actions: Actions | None = None,
        *,
        interval: float = _INTERVAL,
    ) -> None:
        self._source = source
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._seen = source.snapshot()
        self._contents: dict[str, str] = {}
        self._handles: list[Any] = []
        self._kept = 0  # calls that had ended in what the notebook keeps
        self._view = _View(actions)
        self._view.on_choice(weakref.WeakMethod(self.update))
        self.update()
        threading.Thread(
            target=_keep_up,
            args=(weakref.ref(self), self._closed, interval),
            name="livn_ipp dashboard",
            daemon=True,
        ).start()

    @property
    def widget(self) -> Any:
        """The ipywidgets widget that shows it all."""
        return self._view.box

    @property
    def closed(self) -> bool:
        """Whether it has stopped."""
        return self._closed.is_set()

    def update(self) -> int:
        """Bring the panes up to date and send those that changed.

        Returns
        -------
        int
            How many were sent.
        """
        with self._lock:
            if self._closed.is_set():
                return 0
            seen = self._source.snapshot(self._view.watched)
            self._view.follow(seen)
            drawn = self._drawn(seen)
            changed = {n: c for n, c in drawn.items() if self._contents.get(n) != c}
            self._seen = seen
            self._contents |= changed
            self._view.show(changed)
            return len(changed)

    def close(self) -> None:
        """Stop; what it showed last stays in its place as static HTML."""
        with self._lock:
            if self._closed.is_set():
                return
            with contextlib.suppress(Exception):  # its source may be gone
                self.update()
            self._closed.set()
            page = {"text/plain": repr(self), "text/html": self._repr_html_()}
            for handle in self._handles:
                handle.update(page, raw=True)
            self._view.close()

    def keep(self) -> bool:
        """Have the notebook keep what is shown now, if calls ended since the last time.

        Returns
        -------
        bool
            Whether there was something new to keep.
        """
        with self._lock:
            calls = self._seen.calls
            ended = calls.done + calls.failed + calls.cancelled
            if self._closed.is_set() or calls.unfinished or ended == self._kept:
                return False
            if self._source.snapshot().now - self._seen.now < _REST:
                return False  # to be drawn anew costs the front end its focus
            self._kept = ended
            for handle in self._handles:
                handle.update(self._page(), raw=True)
            return True

    def _ipython_display_(self) -> None:
        from IPython import display

        show: Any = display.display
        self._handles.append(show(self._page(), raw=True, display_id=True))

    def _page(self) -> dict[str, Any]:
        page = {"text/html": self._repr_html_()}
        if not self._closed.is_set():
            page |= self.widget._repr_mimebundle_()
        page["text/plain"] = "livn_ipp dashboard"  # the same whenever it is compared
        return page

    def _repr_html_(self) -> str:
        return panes.static_page(self._seen)

    def __repr__(self) -> str:
        many = words.plural(len(self._seen.workers), "worker")
        calls = words.plural(self._seen.calls.unfinished, "call")
        return f"Dashboard({self._seen.name}: {many}, {calls} unfinished)"

    def _drawn(self, seen: Snapshot) -> dict[str, str]:
        """Draw the panes that may have changed."""
        last, first = self._seen, not self._contents
        drawn = {"overview": panes.overview(seen), "workers": panes.workers(seen)}
        if first or seen.recent is not last.recent:
            drawn["raster"] = panes.raster(seen)
        if "raster" in drawn or seen.populations != last.populations:
            drawn["rates"] = panes.rates(seen)
        if first or seen.revision != last.revision or self._view.recoloured:
            drawn["electrodes"] = panes.electrodes(seen, self._view.coloured_by)
        if first or seen.log != last.log:
            drawn["log"] = panes.log(seen)
        return drawn

    def _outdated(self) -> bool:
        """Tell whether there is news; time alone is, while calls run."""
        if self._source.revision != self._seen.revision:
            return True
        running = self._seen.calls.unfinished > 0
        return running and self._source.snapshot().now - self._seen.now >= _CLOCK


class _View:
    """The widgets of a dashboard."""

    def __init__(self, actions: Actions | None) -> None:
        import ipywidgets

        names = ("overview", "workers", "rates", "raster", "electrodes", "log")
        self.panes = {name: ipywidgets.HTML() for name in names}
        self.controls = None if actions is None else Controls(actions)
        narrow = {"description_width": "auto"}
        self.watch = ipywidgets.Dropdown(
            description="spikes of", tooltip="The worker whose spikes are drawn",
            options=[_ANY], style=narrow, layout={"width": "220px"},
        )  # fmt: skip
        self.colour = ipywidgets.Dropdown(
            description="colour by", tooltip="What the electrodes are coloured by",
            options=["rate", "potential"], style=narrow, layout={"width": "180px"},
        )  # fmt: skip
        self.recoloured = False
        left = ipywidgets.VBox([self.watch, self.panes["raster"], self.panes["rates"]])
        right = ipywidgets.VBox([self.colour, self.panes["electrodes"]])
        activity = ipywidgets.Box([left, right], layout={"flex_flow": "row wrap"})
        controls = [] if self.controls is None else [self.controls.box]
        self.box = ipywidgets.VBox(
            [
                self.panes["overview"],
                *controls,
                self.panes["workers"],
                activity,
                self.panes["log"],
            ]
        )

    @property
    def watched(self) -> int | None:
        """The worker to watch; None for one that is busy."""
        chosen: int = self.watch.value
        return None if chosen == _ANY[1] else chosen

    @property
    def coloured_by(self) -> Any:
        """What electrodes are coloured by."""
        return self.colour.value

    def on_choice(self, update: "weakref.WeakMethod[Any]") -> None:
        """Update when something else is chosen."""

        def chosen(change: Any) -> None:
            self.recoloured = change["owner"] is self.colour
            call = update()
            if call is not None:
                call()
            self.recoloured = False

        for choice in (self.watch, self.colour):
            choice.observe(chosen, "value")

    def follow(self, seen: Snapshot) -> None:
        """Offer the workers that there are."""
        workers = [(f"worker {w.index}", w.index) for w in seen.workers]
        offer(self.watch, [_ANY, *workers])
        if self.controls is not None:
            self.controls.follow(seen)

    def show(self, contents: dict[str, str]) -> None:
        """Send these panes."""
        for name, content in contents.items():
            self.panes[name].value = _LIVE.format(content)

    def close(self) -> None:
        """Close every widget."""
        close(self.box)


_ANY: Final = ("a busy worker", -1)  # None would select no option


def _keep_up(
    reference: "weakref.ref[Dashboard]", closed: threading.Event, interval: float
) -> None:
    # Holds no dashboard while it waits: one that nobody needs any more goes away.
    while not closed.wait(interval):
        dashboard = reference()
        if dashboard is None:
            return
        with contextlib.suppress(Exception):  # the next update may do better
            if dashboard._outdated():  # noqa: SLF001 (its own thread)
                dashboard.update()
            else:
                dashboard.keep()
        del dashboard
