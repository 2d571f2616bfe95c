"""``graph.json``: the description of a culture beside its arrays."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import SystemFormatError
from livn_ipp.json_file import read_json
from livn_ipp.system.layout import VERSION

__all__ = ["Graph"]


class Graph:
    """The content of a ``graph.json``.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SystemFormatError
        If it is missing, broken or newer than this livn_ipp.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = read_json(path)
        version = self._content.get("version", 0)
        if not isinstance(version, int) or not 0 <= version <= VERSION:
            raise SystemFormatError(
                path,
                "version",
                f"is {version!r}; this livn_ipp reads up to {VERSION}, a newer system "
                f"needs a newer livn_ipp",
            )
        if version == 0:
            warnings.warn(
                f"{path}: version is missing; it is read as version {VERSION}",
                stacklevel=3,
            )

    @property
    def uuid(self) -> str | None:
        """The architecture's identity, to which stored selections refer."""
        architecture = self._content.get("architecture")
        found = architecture.get("uuid") if isinstance(architecture, dict) else None
        return found if isinstance(found, str) else None

    def synapses(self, pre: str, post: str) -> dict[str, Any]:
        """Describe the synapses of a projection: sections, receptors, delay."""
        # As in livn only the first entry counts.
        try:
            first = next(iter(self._content["connections"].values()))
            return dict(first["config"]["synapses"][post][pre])
        except (KeyError, TypeError, AttributeError, StopIteration) as error:
            field = f"connections.*.config.synapses.{post}.{pre}"
            raise self._error(field, "the entry is missing") from error

    def bounding_box(self) -> NDArray[np.float64]:
        """Lowest and highest corner [2, 3] of all layers in um."""
        try:
            extents = self._content["architecture"]["config"]["layer_extents"]
            corners = np.array(list(extents.values()), np.float64)
            lowest, highest = corners.reshape(-1, 2, 3).transpose(1, 0, 2)
            return np.stack([lowest.min(axis=0), highest.max(axis=0)])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            field = "architecture.config.layer_extents"
            problem = "two corners [x, y, z] in um are due for each layer"
            raise self._error(field, problem) from error

    def _error(self, field: str, problem: str) -> SystemFormatError:
        return SystemFormatError(self.path, field, problem)
