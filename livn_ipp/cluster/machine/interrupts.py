"""Keeps Ctrl-C, or a notebook's stop button, out of what must not be left half done."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar, Final, Self

try:
    # What the module signal wraps to look up names, which takes 5 us each time.
    from _signal import (  # type: ignore[import-not-found] # no stubs
        getsignal as _get,
    )
    from _signal import signal as _set
except ImportError:
    from signal import getsignal as _get
    from signal import signal as _set

__all__ = ["InterruptsDeferred"]

_MAIN: Final = threading.main_thread().ident


class InterruptsDeferred:
    """Lets an interrupt that comes meanwhile take effect at the end.

    Only the main thread is interrupted, so others pass unchanged; so does what is
    deferred already.

    Parameters
    ----------
    tell
        Called when one comes, so that what goes on may be brought to an end.

    Attributes
    ----------
    came : bool
        Whether one came that has not taken effect.

    Examples
    --------
    >>> import os
    >>> done = []
    >>> try:
    ...     with InterruptsDeferred(lambda: done.append("told")):
    ...         os.kill(os.getpid(), signal.SIGINT)
    ...         done.append("all of it")
    ... except KeyboardInterrupt:
    ...     done.append("interrupted")
    >>> done
    ['told', 'all of it', 'interrupted']
    """

    _outermost: ClassVar["InterruptsDeferred | None"] = None

    def __init__(self, tell: Callable[[], Any] = lambda: None) -> None:
        self.came = False
        self._tell = tell
        self._usual: Any = None

    def take_effect(self) -> None:
        """Do what an interrupt does, if one came; usually raises KeyboardInterrupt."""
        if self.came:
            self.came = False
            self._usual(signal.SIGINT, None)

    def __enter__(self) -> Self:
        if threading.get_ident() == _MAIN and self._outermost is None:
            usual = _get(signal.SIGINT)
            # What is ignored stays so; what Python did not set, it could not set again.
            if callable(usual):
                self._usual = usual
                InterruptsDeferred._outermost = self
                _set(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._outermost is self:
            InterruptsDeferred._outermost = None
            _set(signal.SIGINT, self._usual)
            self.take_effect()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        self._tell()
