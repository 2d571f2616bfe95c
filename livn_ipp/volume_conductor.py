"""The medium between electrodes and cells: potentials of point sources.

Both directions use the point source in a homogeneous medium, ``V = I / (4 pi sigma
r)`` (McNeal 1976, IEEE Trans Biomed Eng 23:329; Malmivuo & Plonsey 1995,
Bioelectromagnetism), with livn's numbers. Each value depends on its own electrode and
point only, to the last bit, however the points are shared out over ranks.
"""

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError

__all__ = ["PointSource", "distance", "round_currents", "round_gains"]

_Floats = NDArray[np.float64]

_OHM_METRES: Final = 3.5  # of the medium that is stimulated
# Goto et al. 2010, J Neurophysiol 104:3388
_SIEMENS_PER_METRE: Final = 0.3  # of the medium that is recorded from
_RADIUS, _HEIGHT, _NEAREST = 15.0, 50.0, 5.0  # um

# On these grids every product and every sum below 2^15 uV is exact in float64.
_GAIN_GRID: Final = 2.0**18  # steps per uV/nA
_CURRENT_GRID: Final = 2.0**20  # steps per nA


@dataclass(frozen=True)
class PointSource:
    """A medium in which electrodes and membranes are point sources.

    Stimulation: ``V = I stimulation_gain h / sqrt(r^2 + h^2)`` in mV, with I in uA, r
    in um and h^2 = electrode_radius_um^2 + culture_height_um^2. The default gain is
    that of a medium of 3.5 Ohm m, ``1000 rho / (4 pi h)``.

    Recording: ``V = I recording_gain m / (r + m)`` in uV, with I in uA and m =
    min_distance_um. The default gain is that of a medium of 0.3 S/m, ``10^6 / (4 pi
    sigma m)``.

    Attributes
    ----------
    stimulation_gain : float
        Field at the electrode in mV/uA.
    recording_gain : float
        Potential at the electrode in uV/uA.
    min_distance_um : float
        What keeps the recorded potential finite, in um.
    electrode_radius_um, culture_height_um : float
        What keeps the field finite, in um.

    Examples
    --------
    >>> medium = PointSource()
    >>> electrode = np.zeros((1, 3))
    >>> medium.transfer(electrode, np.array([[0.0, 0, 0], [100.0, 0, 0]])).round(4)
    array([[5.3355, 2.469 ]])
    """

    stimulation_gain: float = (
        1000 * _OHM_METRES / (4 * np.pi) / np.sqrt(_RADIUS**2 + _HEIGHT**2)
    )
    recording_gain: float = 1000 / (4 * np.pi * _SIEMENS_PER_METRE) / _NEAREST * 1000
    min_distance_um: float = _NEAREST
    electrode_radius_um: float = _RADIUS
    culture_height_um: float = _HEIGHT

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = np.nan
            if not 0 < number < np.inf:
                raise ConfigError(
                    f"volume_conductor: {name} must be a positive number, not {value!r}"
                )
            object.__setattr__(self, name, number)

    def transfer(self, electrodes: _Floats, points: _Floats) -> _Floats:
        """Field [C, n] in mV/uA of each electrode [C, 3] at each point [n, 3]."""
        squared_height = self.electrode_radius_um**2 + self.culture_height_um**2
        scale = self.stimulation_gain * np.sqrt(squared_height)
        squared = _squared_distance(electrodes, points)
        field: _Floats = scale / np.sqrt(squared + squared_height)
        return field

    def lead_field(self, electrodes: _Floats, points: _Floats) -> _Floats:
        """Potential [C, n] in uV/nA at each electrode of a current at each point."""
        scale = self.recording_gain * self.min_distance_um / 1000
        gains: _Floats = scale / (distance(electrodes, points) + self.min_distance_um)
        return gains


def distance(electrodes: _Floats, points: _Floats) -> _Floats:
    """Distance [C, n] in um between positions [C, 3] and [n, 3]."""
    return np.sqrt(_squared_distance(electrodes, points))


def round_gains(gains: _Floats) -> _Floats:
    """Gains in uV/nA, rounded to steps of 2^-18 uV/nA."""
    return _to_grid(gains, _GAIN_GRID)


def round_currents(currents: _Floats) -> _Floats:
    """Currents in nA, rounded to steps of 2^-20 nA (1 fA)."""
    return _to_grid(currents, _CURRENT_GRID)


def _squared_distance(electrodes: _Floats, points: _Floats) -> _Floats:
    dx, dy, dz = (points[:, k] - electrodes[:, k, None] for k in range(3))
    return dx * dx + dy * dy + dz * dz


def _to_grid(values: _Floats, steps: float) -> _Floats:
    return np.round(values * steps) / steps
