"""The medium between electrodes and cells: potentials of point sources.

Both directions use the point source in a homogeneous medium, ``V = I / (4 pi sigma
r)`` (McNeal 1976, IEEE Trans Biomed Eng 23:329; Malmivuo & Plonsey 1995,
Bioelectromagnetism), with livn's numbers. Each value depends on its own electrode and
point only, to the last bit, however the points are shared out over ranks.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["distance", "gain", "round_currents", "transfer"]

_Floats = NDArray[np.float64]

# Stimulation: a medium of 3.5 Ohm m; the distance is kept finite by the electrode's
# radius of 15 um and a height of 50 um, as in livn.
_STIMULATION: Final = 1000 * 3.5 / (4 * np.pi)  # mV um / uA
_HEIGHT_SQUARED: Final = 15.0**2 + 50.0**2  # um^2, h = 52.2015 um
# Recording: a medium of 0.3 S/m (Goto et al. 2010, J Neurophysiol 104:3388).
_RECORDING: Final = 1000 / (4 * np.pi * 0.3)  # uV um / nA
_NEAREST: Final = 5.0  # um, added to the distance

# On these grids every product and every sum below 2^15 uV is exact in float64.
_GAIN_GRID: Final = 2.0**18  # steps per uV/nA
_CURRENT_GRID: Final = 2.0**20  # steps per nA


def distance(electrodes: _Floats, points: _Floats) -> _Floats:
    """Distance [C, n] in um between positions [C, 3] and [n, 3]."""
    return np.sqrt(_squared_distance(electrodes, points))


def transfer(electrodes: _Floats, points: _Floats) -> _Floats:
    """Field [C, n] in mV/uA of each electrode [C, 3] at each point [n, 3].

    ``V = I 1000 rho / (4 pi sqrt(r^2 + h^2))`` with rho = 3.5 Ohm m, h = 52.2015 um, r
    in um.
    """
    return _STIMULATION / np.sqrt(
        _squared_distance(electrodes, points) + _HEIGHT_SQUARED
    )


def gain(electrodes: _Floats, points: _Floats, reach: float) -> _Floats:
    """Potential [C, n] in uV/nA at each electrode of a current at each point.

    ``V = I 1000 / (4 pi sigma (r + 5 um))`` with sigma = 0.3 S/m, r in um; zero beyond
    `reach` um; in steps of 2^-18 uV/nA.
    """
    apart = distance(electrodes, points)
    gains = _to_grid(_RECORDING / (apart + _NEAREST), _GAIN_GRID)
    return np.where(apart <= reach, gains, 0.0)


def round_currents(currents: _Floats) -> _Floats:
    """Currents in nA, rounded to steps of 2^-20 nA (1 fA)."""
    return _to_grid(currents, _CURRENT_GRID)


def _squared_distance(electrodes: _Floats, points: _Floats) -> _Floats:
    dx, dy, dz = (points[:, k] - electrodes[:, k, None] for k in range(3))
    return dx * dx + dy * dy + dz * dz


def _to_grid(values: _Floats, steps: float) -> _Floats:
    return np.round(values * steps) / steps
