"""Processes of a cluster: started with a log and a mark, found and ended by the mark.

Every process of a cluster inherits environment variables that name the cluster and
the world. They identify it whatever happened to its parents, so ending needs no
record that was kept while the processes lived.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

__all__ = ["CLUSTER", "WORLD", "Started", "end", "marked", "tail"]

CLUSTER = "LIVN_IPP_CLUSTER"
"""Variable that is unique to one started cluster."""

WORLD = "LIVN_IPP_WORLD"
"""Variable that names the world inside the cluster."""


class Started:
    """A process that this one started, its output in a log file.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        All its environment variables.
    log
        Where its output goes; appended to.
    descriptors
        Of open files that it inherits.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.command = tuple(command)
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o600)  # what ranks print is the user's alone
        with log.open("ab") as output:
            # In a session of its own, so that Ctrl-C in a terminal does not reach it.
            self._process = subprocess.Popen(
                self.command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=descriptors,
            )
        self.pid = self._process.pid
        self.job: str | None = None
        self.pending = False

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.poll()

    @property
    def status(self) -> str:
        """What it does, in words."""
        code = self.exit_code
        return f"process {self.pid} running" if code is None else self.trouble

    @property
    def trouble(self) -> str:
        """Why it will not come up, to follow a subject; empty while it may."""
        code = self.exit_code
        return "" if code is None else f"ended with exit code {code}"

    @property
    def why(self) -> str:
        """Nothing: its log tells why it ended."""
        return ""

    def end(self, marks: Mapping[str, str], grace: float = 3.0) -> None:
        """End it and all processes with these marks.

        Asked alone, mpiexec ends the ranks, and each rank's nanny lives long enough to
        tell the hub; without that it would take the heartbeat's 6 s.

        Parameters
        ----------
        marks
            Variables that identify them; see :func:`marked`.
        grace
            Seconds between asking and forcing.
        """
        end(marks, first=self.pid, grace=grace)
        self.reap()

    def reap(self, timeout: float = 5.0) -> None:
        """Take the exit code of a process that was ended.

        Parameters
        ----------
        timeout
            Seconds to wait.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)


def tail(log: Path, lines: int = 30) -> str:
    """Read the end of a log.

    Parameters
    ----------
    log
        Path of the file.
    lines
        How many lines at most.

    Returns
    -------
    str
        Empty if there is no such file.
    """
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def marked(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Find the processes whose environment carries all of these variables.

    Parameters
    ----------
    marks
        Names and values.

    Returns
    -------
    list of psutil.Process
        Living processes, not this one.
    """
    found = []
    for process in psutil.process_iter():
        # Other users' processes do not tell; others end while they are looked at.
        with contextlib.suppress(psutil.Error, OSError):
            environ = process.environ()
            if all(environ.get(name) == value for name, value in marks.items()):
                found.append(process)
    return [each for each in found if each.pid != os.getpid() and _alive(each)]


def end(
    marks: Mapping[str, str],
    *,
    first: int | None = None,
    grace: float = 3.0,
    limit: float = 10.0,
) -> bool:
    """End all processes with these marks: asked first, then forced.

    Parameters
    ----------
    marks
        Variables that identify them; see :func:`marked`.
    first
        Process id of the only one to ask, which then ends the others; by default all
        are asked.
    grace
        Seconds between asking and forcing.
    limit
        Seconds after which to give up.

    Returns
    -------
    bool
        Whether none is left.
    """
    deadline = time.monotonic() + limit
    found = marked(marks)
    for process in found:
        if first is None or process.pid == first:
            _signal(process, "terminate")
    _wait(found, min(time.monotonic() + grace, deadline))
    while left := marked(marks):
        if time.monotonic() > deadline:
            return False
        for process in left:
            _signal(process, "kill")
        _wait(left, time.monotonic() + 1.0)
    return True


def _signal(process: psutil.Process, method: str) -> None:
    with contextlib.suppress(psutil.Error):
        getattr(process, method)()


def _wait(processes: list[psutil.Process], deadline: float) -> None:
    while any(_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _alive(process: psutil.Process) -> bool:
    # A zombie only waits for its parent; in a container nobody may ever come for it.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
