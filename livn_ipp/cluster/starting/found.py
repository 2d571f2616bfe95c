"""A world that another process started on this machine."""

from collections.abc import Mapping
from pathlib import Path

import psutil

from livn_ipp.cluster.machine.processes import end, marked

__all__ = ["FoundWorld"]

_UNKNOWN = 1
"""In place of an exit code that only the one who started it was told."""


class FoundWorld:
    """What holds a world's ranks together, found by its marks.

    Parameters
    ----------
    marks
        Variables that identify the world's processes.
    log
        Where its output goes.
    """

    def __init__(self, marks: Mapping[str, str], log: Path) -> None:
        self.command: tuple[str, ...] = ("(started by another process)",)
        self.log = log
        self.job: str | None = None
        self.pending = False
        members = marked(marks)
        pids = {process.pid for process in members}
        # The launcher is the one whose parent is none of them.
        tops = [each for each in members if _parent(each) not in pids]
        self._process = tops[0] if tops else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        gone = self._process is None or not self._process.is_running()
        return _UNKNOWN if gone else None

    @property
    def status(self) -> str:
        """What it does, in words."""
        if self._process is None or self.exit_code is not None:
            return "ended"
        return f"process {self._process.pid} running"

    @property
    def trouble(self) -> str:
        """Why it will not come up, to follow a subject; empty while it may."""
        return "" if self.exit_code is None else "ended"

    @property
    def why(self) -> str:
        """Nothing: its log tells why it ended."""
        return ""

    def end(self, marks: Mapping[str, str], grace: float = 3.0) -> None:
        """End all processes with these marks, by force after the grace."""
        end(marks, first=self._process and self._process.pid, grace=grace)

    def reap(self, timeout: float = 5.0) -> None:
        """Do nothing: it is another's child."""


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0
