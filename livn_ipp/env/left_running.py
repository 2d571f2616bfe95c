"""Environments that a notebook still holds when it starts another."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any

__all__ = ["left_running", "warn_of_those_left_running"]


def left_running(names: Mapping[str, Any], kind: type) -> list[str]:
    """Name the environments that hold a cluster and were not shut down.

    Parameters
    ----------
    names
        What a notebook has named.
    kind
        The class of the environments.

    Returns
    -------
    list of str
        One name of each, in order; those of IPython's history are left out.
    """
    found = {
        id(value): name
        for name, value in reversed(list(names.items()))
        if isinstance(value, kind)
        and not name.startswith("_")
        and value.running_since is not None  # type: ignore[attr-defined]
        and value.cluster is not None  # type: ignore[attr-defined]
    }
    return sorted(found.values())


def warn_of_those_left_running(env: Any) -> None:
    """Tell a notebook that starts a cluster which others it has running.

    Parameters
    ----------
    env
        The environment that is about to start workers of its own.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or env.cluster is not None:
        return
    for name in left_running(shell.user_ns, type(env)):
        many = len(shell.user_ns[name].cluster.workers)
        warnings.warn(
            f"{name!r} still has {many} workers running, and this starts others beside "
            f"them. Call {name}.shutdown() before you run such a cell again: workers "
            f"whose environment has lost its name run until the kernel ends",
            RuntimeWarning,
            stacklevel=3,
        )
