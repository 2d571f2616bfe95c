"""Where the sections of cells are, and what electrodes hear of them."""

import numpy as np
from numpy.typing import NDArray

from livn_ipp import volume_conductor
from livn_ipp.io import MEA
from livn_ipp.models import Model
from livn_ipp.system import System

__all__ = ["section_gains", "section_points"]

_Floats = NDArray[np.float64]


def section_points(system: System, model: Model, gids: NDArray[np.uint32]) -> _Floats:
    """Return the position of each section of some cells: [n, sections, 3] in um."""
    rows = np.searchsorted(system.gids, gids)
    return model.points(system.coordinates()[rows, 1:], system.orientations()[rows])


def section_gains(
    io: MEA, system: System, model: Model, gids: NDArray[np.uint32]
) -> _Floats:
    """Return the potential that a current of each section makes at each electrode.

    The currents of a cell's sections cancel, so what an electrode sees is how far they
    are apart. It hears either all sections of a cell or, beyond its reach, none.

    Returns
    -------
    array [C, n, sections]
        uV/nA, on the grid that makes sums exact.
    """
    points = section_points(system, model, gids)
    heard = io.gain(points[:, 0]) > 0
    positions = io.electrode_coordinates[:, 1:]
    gains = volume_conductor.gain(positions, points.reshape(-1, 3), np.inf)
    shaped = gains.reshape(len(positions), *points.shape[:2])
    return np.where(heard[:, :, None], shaped, 0.0)
