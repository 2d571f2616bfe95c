"""No test may leave a process behind, nor touch the user's IPython profile."""

import os
import signal
import time
import uuid

import psutil
import pytest

from livn_ipp.cluster.machine.processes import marked

_MARK = "LIVN_IPP_TEST"
_PATIENCE = 15.0  # s, for what ends by itself


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heeded():
    """Undo what a shell does to programs that it starts in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_ipython_directory(tmp_path_factory):
    previous = os.environ.get("IPYTHONDIR")
    os.environ["IPYTHONDIR"] = str(tmp_path_factory.mktemp("ipython"))
    yield
    if previous is None:
        del os.environ["IPYTHONDIR"]
    else:
        os.environ["IPYTHONDIR"] = previous


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_running(_own_ipython_directory):
    """Mark whatever the session starts, and look for it at the end."""
    mark = {_MARK: uuid.uuid4().hex}
    os.environ.update(mark)
    yield
    del os.environ[_MARK]
    deadline = time.monotonic() + _PATIENCE
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = [_describe_and_kill(process) for process in left]
    assert not found, "processes were left running:\n" + "\n".join(found)


def _describe_and_kill(process):
    try:
        text = f"{process.pid}: {' '.join(process.cmdline())}"
        process.kill()
    except psutil.NoSuchProcess:
        text = f"{process.pid}: ended late"
    return text
