"""What stands where: the shipped cultures, and names within a system directory."""

import os
from pathlib import Path
from typing import Final

from livn_ipp.errors import ConfigError

__all__ = [
    "ANGLE",
    "CONDUCTION",
    "COORDINATES",
    "DENDRITE",
    "DISTANCE",
    "FACTOR",
    "VERSION",
    "locate",
    "shipped",
]

VERSION: Final = 1  # the newest ``graph.json`` that is understood

# Namespace and attribute of cells; livn passes over groups it does not know.
COORDINATES: Final = tuple(
    ("Generated Coordinates", f"{axis} Coordinate") for axis in "XYZ"
)
ANGLE: Final = ("livn_ipp", "Dendrite Angle")  # rad

DENDRITE: Final = 60.0  # um from the soma to the dendrite's point, as in livn

# Columns of edges.
DISTANCE: Final = "Connections/distance"  # um
CONDUCTION: Final = 250.0  # um/ms, at which livn and we turn it into the delay
FACTOR: Final = "livn_ipp/Weight Factor"


def shipped(name: str) -> Path:
    """Directory of a culture that comes with livn_ipp.

    Parameters
    ----------
    name
        Such as ``"EI1"``.

    Raises
    ------
    ConfigError
        If there is none of this name; it lists those there are.

    Examples
    --------
    >>> shipped("EI1").name
    'EI1'
    """
    path = _shipped_root() / name
    if name not in _shipped_names():
        raise ConfigError(
            f"no culture named {name!r} is shipped; choose from {_shipped_names()}"
        )
    return path


def locate(path: str | Path) -> Path:
    """Find a system directory from its path, or from a shipped culture's name.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    if not isinstance(path, (str, Path)):
        raise ConfigError(
            f"a system is given by its path, not by a {type(path).__name__}"
        )
    wanted = Path(os.path.normpath(Path(path).expanduser().absolute()))
    if wanted.is_dir():
        return wanted
    if wanted.exists():
        raise ConfigError(f"{wanted} is a file; a system is a directory")
    if str(path) in _shipped_names():
        return shipped(str(path))
    raise ConfigError(
        f"no system directory at {wanted}; give the path of one, the name of a shipped "
        f"culture {_shipped_names()}, or make one with livn-ipp generate"
    )


def _shipped_root() -> Path:
    package = Path(__file__).resolve().parents[1]
    bundled = package / "_graphs"  # in a wheel
    return bundled if bundled.is_dir() else package.parent / "systems" / "graphs"


def _shipped_names() -> list[str]:
    return sorted(entry.parent.name for entry in _shipped_root().glob("*/graph.json"))
