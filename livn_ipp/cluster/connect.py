"""Clients of a cluster's controller."""

import json
import warnings
from pathlib import Path
from typing import Any

from livn_ipp.cluster.owned import connection_file
from livn_ipp.errors import ClusterLost, ConfigError

__all__ = [
    "activate",
    "connect",
    "connection_of",
    "profile_directory",
    "read_connection",
]

_TIMEOUT = 8.0  # s, for a controller to answer
_PORTS = (
    "control",
    "task",
    "mux",
    "iopub",
    "notification",
    "registration",
    "broadcast",
)


def profile_directory(profile: str | None, *, create: bool) -> Path:
    """Find the directory of an IPython profile.

    Parameters
    ----------
    profile
        Name; None for the current IPython session's, else "default".
    create
        Whether to make it if it is not there.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    ConfigError
        If there is no such profile.
    """
    from IPython import get_ipython
    from IPython.core import profiledir
    from IPython.paths import get_ipython_dir

    profiles: Any = profiledir.ProfileDir
    shell = get_ipython()
    if profile is None and shell is not None and hasattr(shell, "profile_dir"):
        return Path(shell.profile_dir.location)
    directory = get_ipython_dir()
    name = profile or "default"
    if create:
        made = profiles.create_profile_dir_by_name(directory, name)
        return Path(made.location)
    try:
        return Path(profiles.find_profile_dir_by_name(directory, name).location)
    except profiledir.ProfileDirError as error:
        raise ConfigError(
            f"No IPython profile {name!r} in {directory}; was the cluster started by "
            f"another user, or with another IPYTHONDIR?"
        ) from error


def read_connection(profile_dir: Path, cluster_id: str) -> dict[str, Any]:
    """Read how to reach a cluster.

    Parameters
    ----------
    profile_dir
        Directory of the IPython profile.
    cluster_id
        Empty for the profile's default cluster.

    Returns
    -------
    dict
        What ``ipyparallel.Client`` takes.

    Raises
    ------
    ConfigError
        If there is no such cluster; names those that are there.
    """
    file = connection_file(profile_dir, cluster_id, "client")
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        content = None
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {file}: {error}") from error
    if not isinstance(content, dict):
        others = sorted(
            path.name.removeprefix("ipcontroller")
            .removesuffix("client.json")
            .strip("-")
            or "(default)"
            for path in file.parent.glob("ipcontroller*-client.json")
        )
        raise ConfigError(
            f"No cluster {cluster_id or '(default)'} in {profile_dir}; there are: "
            f"{', '.join(others) or 'none'}. Start one with "
            f"`ipcluster start --engines=mpi -n 6`"
        )
    return content


def connection_of(client: Any) -> dict[str, Any]:
    """Tell how a client reached its cluster, so that another can.

    Parameters
    ----------
    client
        A connected ``ipyparallel.Client``.

    Returns
    -------
    dict
        What ``ipyparallel.Client`` takes.
    """
    connection = dict(client._config)  # noqa: SLF001
    for name in _PORTS:
        connection[name] = int(str(connection[name]).rpartition(":")[2])
    return connection


def connect(connection: dict[str, Any], cluster_id: str) -> Any:
    """Open a client.

    Parameters
    ----------
    connection
        As :func:`read_connection` returns it.
    cluster_id
        Name of the cluster.

    Returns
    -------
    ipyparallel.Client
        With sockets of its own.

    Raises
    ------
    ClusterLost
        If the controller does not answer.
    """
    import ipyparallel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # about odd host names
            return ipyparallel.Client(
                dict(connection), cluster_id=cluster_id, timeout=_TIMEOUT
            )
    except (OSError, TimeoutError) as error:
        raise ClusterLost(
            f"Cluster {cluster_id or '(default)'} does not answer at "
            f"{connection['interface']}:{connection['registration']}: {error}. Its "
            f"controller has ended or is not reachable from here; start it again"
        ) from error


def activate(client: Any) -> None:
    """Make ``%%px`` use this client; does nothing outside IPython.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    client.activate()
    # The bar is a widget, which a notebook that is run unattended cannot show.
    shell.magics_manager.registry["ParallelMagics"].progress_after_seconds = -1
