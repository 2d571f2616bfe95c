"""Ask engines who they are.

The functions that run on engines carry their imports with them: an engine that a user
started by hand may lack livn_ipp, and has to be able to say so.
"""

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import ClusterLost

__all__ = ["REFUSAL", "ask", "refuse", "registered", "software"]

REFUSAL = "LIVN_IPP_REFUSAL"
"""Variable of a joining world: where its ranks write why they were refused."""


def software() -> dict[str, str]:
    """Tell the versions that ranks and controller have to agree on.

    Returns
    -------
    dict
        Of Python and numpy as far as pickles and arrays depend on them, of livn_ipp
        and neuron in full; empty for what is not installed.

    Examples
    --------
    >>> sorted(software())
    ['livn_ipp', 'neuron', 'numpy', 'python']
    """
    import importlib.metadata
    import importlib.util
    import sys

    def version(package: str) -> str:
        if importlib.util.find_spec(package) is None:
            return ""
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "a source tree"

    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "livn_ipp": version("livn_ipp"),
        "neuron": version("neuron"),
        "numpy": version("numpy").partition(".")[0],
    }


def _describe() -> dict[str, Any]:
    """Tell this engine's place in MPI; takes no part in any communication."""
    import os
    import socket

    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    known = os.environ.get("LIVN_IPP_WORLD") or os.environ.get("PMIX_NAMESPACE")
    alone = f"{socket.gethostname()}:{os.getpid()}" if comm.size == 1 else ""
    return {
        "world": known or alone,
        "rank": comm.rank,
        "size": comm.size,
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


def _agree_on_name() -> str:
    """Name the world; collective, for MPI libraries that have no name for a job."""
    import os
    import uuid

    from mpi4py import MPI

    name: str = MPI.COMM_WORLD.bcast(uuid.uuid4().hex[:12])
    os.environ["LIVN_IPP_WORLD"] = name
    return name


def registered(client: Any) -> dict[str, int]:
    """List the engines that are registered now.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.

    Returns
    -------
    dict
        Engine ids by the engines' own unique names, which are never used again.
    """
    return {str(uuid): engine for engine, uuid in dict(client._engines).items()}  # noqa: SLF001


def ask(client: Any, engines: Mapping[str, int], timeout: float) -> dict[str, Rank]:
    """Ask engines for their place in MPI and their software.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.
    engines
        Whom to ask, as :func:`registered` lists them.
    timeout
        Seconds to wait for the answers.

    Returns
    -------
    dict
        Ranks by the engines' unique names.

    Raises
    ------
    ClusterLost
        If an engine does not answer in time or ends.
    """
    deadline = time.monotonic() + timeout
    versions = _run(client, software, engines, deadline)
    places = _run(client, _describe, {u: engines[u] for u in versions}, deadline)
    nameless = {uuid: engines[uuid] for uuid in places if not places[uuid]["world"]}
    for uuid, name in _run(client, _agree_on_name, nameless, deadline).items():
        places[uuid]["world"] = name
    return {
        uuid: Rank(engine=engines[uuid], versions=versions[uuid], uuid=uuid, **place)
        for uuid, place in places.items()
        if place["world"]
    }


def _leave(message: str) -> None:
    """Say why this engine is refused, and end it if it joined by itself."""
    import os
    import pathlib
    import sys

    sys.stderr.write(f"refused: {message}\n")
    sys.stderr.flush()
    if file := os.environ.get("LIVN_IPP_REFUSAL"):
        partial = pathlib.Path(f"{file}.{os.getpid()}")
        partial.write_text(message, encoding="utf-8")
        partial.replace(file)
        os._exit(3)


def refuse(client: Any, engines: Iterable[int], message: str) -> None:
    """Tell engines that the cluster will not use them; those that joined end.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.
    engines
        Their ids.
    message
        Why.
    """
    import ipyparallel

    sent = ipyparallel.interactive(_leave)
    for engine in engines:
        with contextlib.suppress(LookupError):  # it ended a moment ago
            client[engine].apply_async(sent, message)


def _run(
    client: Any, function: Any, engines: Mapping[str, int], deadline: float
) -> dict[str, Any]:
    """Run a function on engines; those that end meanwhile are left out."""
    import ipyparallel

    # Sent as code, not by name: see the module's docstring.
    sent = ipyparallel.interactive(function)
    answers = {}
    pending = {}
    for uuid, engine in engines.items():
        with contextlib.suppress(LookupError):  # it ended a moment ago
            pending[uuid] = client[engine].apply_async(sent)
    for uuid, result in pending.items():
        try:
            answers[uuid] = result.get(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise ClusterLost(
                f"Engine {engines[uuid]} did not tell its MPI rank in time: it is busy "
                f"with a cell that has not ended, or is gone. Wait for the cell, or "
                f"restart the cluster"
            ) from error
        except (OSError, ipyparallel.error.KernelError) as error:
            if uuid in registered(client):
                raise ClusterLost(
                    f"Engine {engines[uuid]} could not tell its MPI rank: {error}. "
                    f"Engines need mpi4py in their Python environment"
                ) from error
    return answers
