"""IPython profiles: where controllers leave word how to reach them."""

import json
import re
import socket
from pathlib import Path
from typing import Any

from livn_ipp.errors import ConfigError

__all__ = [
    "checked_id",
    "claim",
    "connection_file",
    "listens",
    "profile_directory",
    "reach",
    "read_connection",
]


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
        return Path(profiles.create_profile_dir_by_name(directory, name).location)
    try:
        return Path(profiles.find_profile_dir_by_name(directory, name).location)
    except profiledir.ProfileDirError as error:
        raise ConfigError(
            f"No IPython profile {name!r} in {directory}, so no cluster was started "
            f"with it here. Start one with `ipcluster start --profile={name} "
            f"--engines=mpi -n 6`; or was it started by another user, or with another "
            f"IPYTHONDIR?"
        ) from error


def connection_file(profile_dir: Path, cluster_id: str, role: str) -> Path:
    """Tell where a controller writes how to reach it.

    Parameters
    ----------
    profile_dir
        Directory of the IPython profile.
    cluster_id
        Empty for the profile's default cluster.
    role
        "client" or "engine".

    Returns
    -------
    Path
        Of a JSON file.

    Examples
    --------
    >>> connection_file(Path("profile_default"), "left", "client").name
    'ipcontroller-left-client.json'
    """
    middle = f"-{cluster_id}" if cluster_id else ""
    return profile_dir / "security" / f"ipcontroller{middle}-{role}.json"


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
    except FileNotFoundError as error:
        others = sorted(map(_cluster_id, file.parent.glob("ipcontroller*-client.json")))
        raise ConfigError(
            f"No cluster {cluster_id or '(default)'} in {profile_dir}; there are: "
            f"{', '.join(others) or 'none'}. Start one with "
            f"`ipcluster start --engines=mpi -n 6`"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Cannot read {file}: {error}. Restart the cluster that wrote it"
        ) from error
    if not isinstance(content, dict) or not {"interface", "registration"} <= set(
        content
    ):
        raise ConfigError(f"{file} is no connection file of ipyparallel")
    return content


def claim(profile_dir: Path, cluster_id: str) -> None:
    """Make sure that no cluster of a name is running, and forget one that ended.

    Parameters
    ----------
    profile_dir
        Directory of the IPython profile.
    cluster_id
        Name of the cluster.

    Raises
    ------
    ConfigError
        If there is such a cluster.
    """
    try:
        information = read_connection(profile_dir, cluster_id)
    except ConfigError:  # no such file, or only half of one
        information = {}
    if information and listens(information):
        raise ConfigError(
            f"Cluster {cluster_id} is running already; attach to it by "
            f"Cluster.attach(cluster_id={cluster_id!r}), or choose another cluster_id"
        )
    for role in ("client", "engine"):
        connection_file(profile_dir, cluster_id, role).unlink(missing_ok=True)


def listens(information: dict[str, Any]) -> bool:
    """Tell whether there is a controller where a connection file says.

    Parameters
    ----------
    information
        What ``ipyparallel.Client`` takes.

    Returns
    -------
    bool
        True as well where only trying to connect would tell, as through ssh.
    """
    try:
        reach(information)
    except OSError:
        return False
    return True


def reach(information: dict[str, Any]) -> None:
    """Connect to where a controller should listen, and hang up.

    Does nothing where only trying to connect would tell, as through ssh.

    Parameters
    ----------
    information
        What ``ipyparallel.Client`` takes.

    Raises
    ------
    OSError
        Why it cannot be reached; within 2 s, unless its name is looked up for longer.
    """
    host = str(information["interface"]).removeprefix("tcp://")
    if information.get("ssh") or host in {"*", "0.0.0.0"}:  # noqa: S104
        return
    with socket.create_connection((host, information["registration"]), 2.0):
        pass


def checked_id(cluster_id: str) -> str:
    """Refuse a name of a cluster that cannot be part of a file's name.

    Parameters
    ----------
    cluster_id
        Name of the cluster.

    Returns
    -------
    str
        The name.

    Raises
    ------
    ConfigError
        If it has other characters than letters, digits, "_", "." and "-".
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", cluster_id):
        raise ConfigError(
            f"cluster_id must consist of letters, digits, '_', '.' and '-', "
            f"got {cluster_id!r}"
        )
    return cluster_id


def _cluster_id(file: Path) -> str:
    middle = file.name.removeprefix("ipcontroller").removesuffix("client.json")
    return middle.strip("-") or "(default)"
