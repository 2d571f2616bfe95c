"""The cluster file: all that another process needs to find, join or end a cluster."""

import contextlib
import dataclasses
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from livn_ipp.errors import ConfigError

__all__ = [
    "ClusterFile",
    "check_trusted",
    "default_path",
    "engine_connection",
    "write_private",
]

_FORMAT: Final = 1
_CONNECTION: Final = {"interface", "registration"}


@dataclass(frozen=True)
class ClusterFile:
    """What a cluster file tells. It holds the cluster's keys: only its owner reads it.

    Attributes
    ----------
    cluster_id
        Name of the cluster.
    num_workers, subworld_size, workers_per_world
        Its shape, as it was started.
    launcher, arguments, options
        How its worlds are started, and further arguments and options for that.
    interface
        Address that the controller listens on.
    profile_dir
        Directory of the IPython profile with its logs.
    marks
        Variables that mark its processes.
    client, engine
        How clients and engines reach the controller.
    software
        Versions that joining ranks have to agree with.
    detached
        Whether it outlives the process that started it.
    host
        Where the controller runs.
    started
        When, as seconds since 1970.

    Examples
    --------
    >>> ClusterFile.read("gone.json")
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: There is no cluster file gone.json. Its cluster has
    ended, or never was; start one with Cluster(...) or `livn-ipp start`
    """

    cluster_id: str
    num_workers: int
    subworld_size: int
    workers_per_world: int
    launcher: str
    arguments: tuple[str, ...]
    options: Mapping[str, Any]
    interface: str
    profile_dir: str
    marks: Mapping[str, str]
    client: Mapping[str, Any]
    engine: Mapping[str, Any]
    software: Mapping[str, str]
    detached: bool
    host: str = field(default_factory=platform.node)
    started: float = field(default_factory=time.time)

    def write(self, path: Path) -> None:
        """Write the file, readable by its owner only."""
        content = {"format": _FORMAT, **dataclasses.asdict(self)}
        write_private(path, json.dumps(content, indent=1, default=str).encode())

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a cluster file.

        Raises
        ------
        ConfigError
            If it is missing or something else.
        """
        content = _json(Path(path))
        wanted = {each.name for each in dataclasses.fields(cls)}
        if content.pop("format", None) != _FORMAT or content.keys() != wanted:
            raise ConfigError(
                f"{path} is no cluster file of this version of livn_ipp; the path of "
                f"a cluster's own one is Cluster.file"
            )
        content["arguments"] = tuple(content["arguments"])
        return cls(**content)

    def describe(self) -> str:
        """Tell in a few words which cluster it is."""
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started))
        return f"cluster {self.cluster_id} (started on {self.host} at {began})"


def default_path(profile_dir: Path, cluster_id: str) -> Path:
    """Tell where a cluster's file is, unless its owner wants it elsewhere.

    Examples
    --------
    >>> default_path(Path("profile_default"), "left").name
    'livn_ipp-left.json'
    """
    return profile_dir / "security" / f"livn_ipp-{cluster_id}.json"


def engine_connection(path: str | Path) -> tuple[dict[str, Any], ClusterFile | None]:
    """Read how engines reach a controller.

    Parameters
    ----------
    path
        A cluster file, or ipyparallel's own connection file for engines.

    Returns
    -------
    tuple
        What ``ipyparallel.engine`` takes; and the cluster file, if it is one.

    Raises
    ------
    ConfigError
        If the file is missing or neither of the two.
    """
    content = _json(Path(path))
    if content.keys() >= _CONNECTION:
        return content, None
    file = ClusterFile.read(path)
    return dict(file.engine), file


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once by one that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def check_trusted(path: Path) -> None:
    """Refuse a file that somebody else may have written: it decides what runs here.

    Raises
    ------
    ConfigError
        If another user owns it or may write to it.
    OSError
        If it is not there.
    """
    found = path.stat()
    if found.st_uid not in {os.getuid(), 0} or found.st_mode & 0o022:
        raise ConfigError(
            f"{path} may have been written by another user, and what it says decides "
            f"what runs here. If it is yours: chmod 600 {path}"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        check_trusted(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no cluster file {path}. Its cluster has ended, or never was; "
            f"start one with Cluster(...) or `livn-ipp start`"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read the cluster file {path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no cluster file")
    return content
