"""The description of a cultured network, and the cultures that are shipped.

Numbers without another source were tuned on the default model, so that cultures of
10 to 1,000 cells are alive and stable: EXC 1-6 Hz, INH 2-25 Hz without a stimulus.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np

from livn_ipp.errors import ConfigError

__all__ = ["PRESETS", "CultureSpec", "PopulationSpec", "ProjectionSpec"]


@dataclass(frozen=True)
class PopulationSpec:
    """One kind of cell.

    Attributes
    ----------
    name : str
        Such as ``"EXC"``.
    share : float
        Part of all cells.
    length_constant : float
        In um: a cell is chosen as a source with a probability that falls as
        ``exp(-distance / length_constant)``.
    weight_cap : float
        Largest compensation of weights for a low in-degree.
    background : mapping of str to float
        Ornstein-Uhlenbeck conductances of each cell (Destexhe et al. 2001, Neuroscience
        107:13, scaled down to a culture): ``g_e0, g_i0, std_e, std_i`` in uS, ``tau_e,
        tau_i`` in ms, ``E_e, E_i`` in mV.
    """

    name: str
    share: float
    length_constant: float
    weight_cap: float
    background: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ProjectionSpec:
    """Connections from one population to another.

    Attributes
    ----------
    pre, post : str
        The populations.
    in_degree : int
        Connections onto each cell, as far as there are candidates.
    reference_in_degree : int
        The in-degree that `weights` are meant for. With K connections they are
        multiplied with ``min(sqrt(reference_in_degree / K), weight_cap)``, which keeps
        the variance of the input.
    section : str
        Where the synapses sit: ``"soma"`` or ``"dend"``.
    weights : mapping of str to float
        Peak conductance of each receptor in uS.
    """

    pre: str
    post: str
    in_degree: int
    reference_in_degree: int
    section: str
    weights: Mapping[str, float]


def _background(
    g_e0: float, g_i0: float, std_e: float, std_i: float
) -> dict[str, float]:
    levels = {"g_e0": g_e0, "g_i0": g_i0, "std_e": std_e, "std_i": std_i}
    return levels | {"tau_e": 2.728, "tau_i": 10.49, "E_e": 0.0, "E_i": -75.0}


_POPULATIONS: Final = (
    PopulationSpec(
        "EXC", 0.8, 300.0, 1.6, _background(0.15e-3, 0.5e-3, 0.48e-3, 0.25e-3)
    ),
    PopulationSpec(
        "INH", 0.2, 200.0, 2.0, _background(0.05e-3, 0.25e-3, 0.17e-3, 0.12e-3)
    ),
)
_PROJECTIONS: Final = (
    ProjectionSpec("EXC", "EXC", 20, 20, "dend", {"AMPA": 1.1e-3, "NMDA": 1.1e-4}),
    ProjectionSpec("INH", "EXC", 8, 8, "soma", {"GABA_A": 2e-3}),
    ProjectionSpec("EXC", "INH", 20, 20, "dend", {"AMPA": 0.3e-3, "NMDA": 6e-6}),
    ProjectionSpec("INH", "INH", 5, 5, "soma", {"GABA_A": 0.8e-3}),
)


@dataclass(frozen=True)
class CultureSpec:
    """A two-dimensional culture; the same spec always generates the same system.

    Attributes
    ----------
    cells : int
        Number of cells of all populations.
    side : float
        Length of the square's side in um.
    seed : int
        Seed of positions, directions, connections and weights.
    depth : float
        Thickness of the slab in um.
    spacing : float
        Least distance of two cells in the plane, in units of ``side / sqrt(cells)``.
    populations, projections
        The cells and their connections.
    weight_sd : float
        Standard deviation of the logarithm of the weight factors, whose mean is 1.
    synaptic_delay : float
        In ms; the delay of a connection is this plus the distance divided by
        `conduction_velocity` (um/ms).
    conduction_velocity : float
        In um/ms.
    electrodes_per_side : int
        The array is a square grid.
    electrode_pitch : float or None
        In um: as many electrodes as fit at this distance take the place of
        `electrodes_per_side`, by powers of two; see ``MEA.for_area``.
    electrode_height : float
        The electrodes' z in um.
    input_radius, output_radius : float
        Reach of the electrodes in um.

    Raises
    ------
    ConfigError
        If a value cannot be used.

    Examples
    --------
    >>> spec = CultureSpec.preset("EI2")
    >>> spec.counts
    {'EXC': 80, 'INH': 20}
    """

    cells: int
    side: float
    seed: int = 1
    depth: float = 20.0
    spacing: float = 0.6
    populations: tuple[PopulationSpec, ...] = _POPULATIONS
    projections: tuple[ProjectionSpec, ...] = _PROJECTIONS
    weight_sd: float = 0.3
    synaptic_delay: float = 1.0
    conduction_velocity: float = 250.0
    electrodes_per_side: int = 4
    electrode_pitch: float | None = None
    electrode_height: float = 0.0
    input_radius: float = 250.0
    output_radius: float = 125.0

    def __post_init__(self) -> None:
        for name in ("cells", "electrodes_per_side"):
            if not _is_whole(getattr(self, name), 1):
                raise _fault(name, getattr(self, name), "a positive whole number")
        if not _is_whole(self.seed, 0):
            raise _fault("seed", self.seed, "a whole number from 0")
        for name in ("side", "conduction_velocity", "input_radius", "output_radius"):
            if not (_is_finite(getattr(self, name)) and getattr(self, name) > 0):
                raise _fault(name, getattr(self, name), "positive")
        for name in ("depth", "spacing", "weight_sd", "synaptic_delay"):
            if not (_is_finite(getattr(self, name)) and getattr(self, name) >= 0):
                raise _fault(name, getattr(self, name), "zero or positive")
        if not _is_finite(self.electrode_height):
            raise _fault("electrode_height", self.electrode_height, "a number of um")
        pitch = self.electrode_pitch
        if pitch is not None and not (_is_finite(pitch) and pitch > 0):
            raise _fault("electrode_pitch", pitch, "positive")
        names = [population.name for population in self.populations]
        if not names or names != sorted(set(names)):
            raise _fault("populations", names, "distinct, in alphabetical order")
        shares = [population.share for population in self.populations]
        if min(shares) < 0 or not np.isclose(sum(shares), 1):
            raise _fault("populations", shares, "shares from 0 to 1 with a sum of 1")
        for population in self.populations:
            if not population.length_constant > 0:
                raise _fault(
                    f"{population.name}.length_constant",
                    population.length_constant,
                    "positive (um)",
                )
        for projection in self.projections:
            self._check(projection, names)

    @classmethod
    def preset(cls, name: str) -> Self:
        """One of the cultures EI1 (10 cells), EI2 (100), EI3 (1,000), EI4 (10,000).

        Raises
        ------
        ConfigError
            If there is none of this name.
        """
        if name not in PRESETS:
            raise ConfigError(
                f"no preset is named {name!r}; choose from {sorted(PRESETS)}"
            )
        return cls(**PRESETS[name])

    @property
    def preset_name(self) -> str | None:
        """Name of the preset that this is, if any."""
        equal = (name for name in PRESETS if self.preset(name) == self)
        return next(equal, None)

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells of each population; the last one takes the remainder."""
        counts = {}
        left = self.cells
        for population in self.populations[:-1]:
            counts[population.name] = min(left, round(population.share * self.cells))
            left -= counts[population.name]
        return counts | {self.populations[-1].name: left}

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain numbers, lists and dictionaries."""
        return {name: v for name, v in asdict(self).items() if v is not None}

    def _check(self, projection: ProjectionSpec, names: list[str]) -> None:
        label = f"projection {projection.pre} to {projection.post}"
        if projection.pre not in names or projection.post not in names:
            raise _fault(label, (projection.pre, projection.post), f"among {names}")
        if projection.in_degree < 0 or projection.reference_in_degree < 1:
            degrees = (projection.in_degree, projection.reference_in_degree)
            raise _fault(f"{label}: in-degrees", degrees, "from 0 and from 1")
        if projection.section not in ("soma", "dend"):
            raise _fault(f"{label}: section", projection.section, "soma or dend")
        if unknown := set(projection.weights) - {"AMPA", "NMDA", "GABA_A"}:
            raise _fault(f"{label}: receptors", sorted(unknown), "AMPA, NMDA or GABA_A")


PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "EI1": {"cells": 10, "side": 400.0, "seed": 21},
    "EI2": {"cells": 100, "side": 800.0, "seed": 1},
    "EI3": {"cells": 1000, "side": 1600.0, "seed": 1},
    "EI4": {"cells": 10000, "side": 4000.0, "seed": 1, "output_radius": 250.0},
}
"""What the presets differ in; size is in um."""


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and value >= least


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def _fault(name: str, value: Any, due: str) -> ConfigError:
    return ConfigError(f"{name} must be {due}, not {value!r}")
