"""The lease on a cluster: a process that ends the cluster when its owner is gone.

It holds the read end of a pipe whose write end only the owner has. The end of the
pipe, or of the owner, is noticed whatever ended it, SIGKILL included.
"""

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from livn_ipp.cluster.machine.environment import python_path, standalone
from livn_ipp.cluster.machine.processes import end

__all__ = ["Lease", "main"]

_RELEASED = b"released"
_LOOK_AGAIN = 1.0  # s
_COMMAND_TIMEOUT = 20.0  # s
_ATTEMPTS = 3


class Lease:
    """A running supervisor of the processes with some marks; held by their owner.

    Parameters
    ----------
    marks
        Variables that identify the processes; see
        :func:`livn_ipp.cluster.machine.processes.marked`.
    files
        Files to remove with them.
    commands
        What to run besides, to end what the marks are not found on: jobs elsewhere.
    """

    def __init__(
        self,
        marks: Mapping[str, str],
        files: Sequence[Path] = (),
        commands: Sequence[Sequence[str]] = (),
    ) -> None:
        environment = standalone(os.environ)
        environment["PYTHONPATH"] = python_path(environment.get("PYTHONPATH", ""))
        # On the command line: as variables, they would mark the supervisor itself.
        told = [f"{name}={value}" for name, value in marks.items()]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "livn_ipp.cluster.machine.lease",
                str(os.getpid()),
                *(f"--mark={mark}" for mark in told),
                *(f"--run={shlex.join(command)}" for command in commands),
                *map(str, files),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    def release(self) -> None:
        """End the supervisor, and leave the processes alone; may be called again."""
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate(_RELEASED, timeout=5.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def main(arguments: Sequence[str]) -> None:
    """Wait for the owner to end or to release the lease; be the supervisor.

    Parameters
    ----------
    arguments
        The owner's process id, ``--mark=NAME=VALUE``, ``--run=COMMAND`` and files to
        remove.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner, *rest = arguments
    marks = dict(text.split("=", 1) for text in _values("--mark=", rest))
    commands = [shlex.split(text) for text in _values("--run=", rest)]
    if not marks or _released(int(owner)):
        return
    _run(commands)
    end(marks, grace=2.0, limit=20.0)
    _run(commands)  # a submission may just have been under way
    for file in rest:
        if not file.startswith(("--mark=", "--run=")):
            Path(file).unlink(missing_ok=True)
    from livn_ipp.cluster.keeping.scratch import sweep  # late: with numpy, it is large

    sweep()


def _values(option: str, arguments: Sequence[str]) -> list[str]:
    return [text.removeprefix(option) for text in arguments if text.startswith(option)]


def _run(commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                if subprocess.run(command, timeout=_COMMAND_TIMEOUT).returncode == 0:
                    break
            time.sleep(_LOOK_AGAIN)


def _released(owner_pid: int) -> bool:
    """Block until the owner speaks (True) or is gone (False)."""
    try:
        owner = psutil.Process(owner_pid)
        # A child forked by the owner may keep the pipe open, hence the look at the
        # owner itself.
        while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
            ready, _, _ = select.select([0], [], [], _LOOK_AGAIN)
            if ready:
                return os.read(0, len(_RELEASED)) == _RELEASED
    except psutil.Error:
        pass
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
