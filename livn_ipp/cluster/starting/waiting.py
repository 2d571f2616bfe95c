"""Waiting for worlds to come up: time in a queue does not count, and is told of."""

import sys
import time
from collections.abc import Sequence

from livn_ipp.cluster.starting.owned import OwnedProcesses

__all__ = ["Waiting"]

_SILENT = 3.0  # s; whoever waits longer is told why
_MOST = 4  # jobs in one line


class Waiting:
    """Sees that worlds may still come up; called again and again.

    Parameters
    ----------
    processes
        Of the cluster.
    worlds
        Names of the worlds.
    timeout
        Seconds that they have, once none of them waits to run.
    deadline
        Until when to wait if none does, on the monotonic clock, in s.
    tell
        Whether to write on the terminal what they wait for.
    """

    def __init__(
        self,
        processes: OwnedProcesses,
        worlds: Sequence[str],
        timeout: float,
        deadline: float | None = None,
        *,
        tell: bool = False,
    ) -> None:
        self._processes = processes
        self._worlds = worlds
        self._timeout = timeout
        self._tell = tell
        self._begin = time.monotonic()
        self._deadline = self._begin + timeout if deadline is None else deadline
        self._told = ""

    def __call__(self) -> float:
        """Look at the worlds.

        Returns
        -------
        float
            Until when to wait, on the monotonic clock, in s; moves on while a world
            waits to run.

        Raises
        ------
        PreflightError
            If one will not come up.
        """
        self._processes.check(self._worlds)
        running = self._processes.worlds
        found = [running[name] for name in self._worlds if name in running]
        pending = [each.status for each in found if each.pending]
        now = time.monotonic()
        if pending:
            self._deadline = now + self._timeout
        if self._tell and (self._told or now - self._begin > _SILENT):
            self._write(pending)
        return self._deadline

    def _write(self, pending: Sequence[str]) -> None:
        more = [f"{len(pending) - _MOST} more"] if len(pending) > _MOST else []
        text = ", ".join([*pending[:_MOST], *more]) or "engines to register"
        if text != self._told and (pending or self._told):
            sys.stderr.write(f"livn_ipp: waiting for {text}\n")
            sys.stderr.flush()
            self._told = text
