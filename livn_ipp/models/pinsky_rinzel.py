"""Two-compartment Pinsky-Rinzel cells with receptors and a fluctuating background."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import MECHANISMS, Cell, Receptor, reference

__all__ = ["Background", "CellParameters", "PinskyRinzel"]

_DENDRITE: Final = 60.0  # um from the soma


@dataclass(frozen=True)
class CellParameters:
    """Membrane of one cell type; soma and dendrite have the same surface.

    Kinetics: Pinsky & Rinzel (1994) J Comput Neurosci 1:39-60. Densities follow that
    paper where they can; the others were set so that cells at rest, their f-I curves
    and the shipped cultures behave as cultured neurons do.

    Attributes
    ----------
    surface
        Membrane of one compartment in um2.
    cm
        Specific capacitance in uF/cm2.
    gc
        Coupling conductance in mS/cm2 of the whole cell's membrane.
    gl, el
        Leak of both compartments in mS/cm2 and mV.
    gna, gk
        Sodium and delayed rectifier of the soma in mS/cm2.
    gca, gkc, gahp
        Calcium, calcium-activated and after-hyperpolarisation current of the dendrite
        in mS/cm2.
    ena, ek, eca
        Reversal potentials in mV.
    q_init
        Activation of the after-hyperpolarisation current at time zero: its mean in the
        shipped cultures, which from rest would start with a second of high activity.
    """

    surface: float = 1200.0
    cm: float = 3.0
    gc: float = 2.1
    gl: float = 0.1
    el: float = -67.0
    gna: float = 30.0
    gk: float = 15.0
    gca: float = 5.0
    gkc: float = 15.0
    gahp: float = 1.2
    ena: float = 60.0
    ek: float = -75.0
    eca: float = 80.0
    q_init: float = 0.018

    @property
    def axial_resistance(self) -> float:
        """Resistance between the compartments in MOhm.

        Examples
        --------
        >>> round(CellParameters().axial_resistance, 2)
        19.84
        """
        siemens = self.gc * 1e-3 * 2 * self.surface * 1e-8
        return 1e-6 / siemens


@dataclass(frozen=True)
class Background:
    """Two fluctuating conductances on the dendrite.

    Ornstein-Uhlenbeck processes of Destexhe et al. (2001) Neuroscience 107:13-24, whose
    time constants these are; the conductances are scaled far down, because a
    dissociated culture is not in a high-conductance state.

    Attributes
    ----------
    g_e0, g_i0
        Means in uS.
    std_e, std_i
        Standard deviations in uS; conductances are cut at zero.
    tau_e, tau_i
        Time constants in ms.
    E_e, E_i
        Reversal potentials in mV.
    """

    g_e0: float = 0.15e-3
    g_i0: float = 0.5e-3
    std_e: float = 0.48e-3
    std_i: float = 0.25e-3
    tau_e: float = 2.728
    tau_i: float = 10.49
    E_e: float = 0.0
    E_i: float = -75.0


_CELLS: Final = MappingProxyType(
    {
        "EXC": CellParameters(),
        # Fast spiking: denser soma, smaller, no dendritic calcium.
        "INH": CellParameters(
            surface=600.0, cm=1.5, gna=60.0, gk=30.0, gca=0.0, gkc=0.0, gahp=0.0
        ),
    }
)
_BACKGROUNDS: Final = MappingProxyType(
    {
        "EXC": Background(),
        "INH": Background(g_e0=0.05e-3, g_i0=0.25e-3, std_e=0.17e-3, std_i=0.12e-3),
    }
)
_WEIGHTS: Final = MappingProxyType(
    {
        "EXC_EXC-dend-AMPA-weight": 1.1e-3,
        "EXC_EXC-dend-NMDA-weight": 1.1e-4,
        "INH_EXC-dend-AMPA-weight": 0.3e-3,
        "INH_EXC-dend-NMDA-weight": 6e-6,
        "EXC_INH-soma-GABA_A-weight": 2.0e-3,
        "INH_INH-soma-GABA_A-weight": 0.8e-3,
    }
)


@dataclass(frozen=True)
class PinskyRinzel:
    """Pinsky-Rinzel cells: a spiking soma and a dendrite with calcium.

    Receptors are AMPA (decay 2 ms) and NMDA (3 and 80 ms, 1 mM magnesium; Jahr &
    Stevens 1990, J Neurosci 10:3178) on the dendrite and GABA_A (0.5 and 8 ms, -75 mV)
    on the soma.

    Parameters
    ----------
    cells
        Membrane parameters by population.
    backgrounds
        Background by population.
    weights
        Peak conductance of each receptor in uS by ``POST_PRE-section-RECEPTOR-weight``,
        at the number of inputs per cell of the shipped cultures of 100 cells and more.
    noise_spread
        Standard deviation over cells of the factor on ``g_e0`` and ``std_e``.

    Examples
    --------
    >>> model = PinskyRinzel()
    >>> sorted(model.receptors("EXC"))
    [('dend', 'AMPA'), ('dend', 'NMDA'), ('soma', 'GABA_A')]
    >>> model.default_weight("EXC_EXC-dend-AMPA-weight")
    0.0011
    """

    cells: Mapping[str, CellParameters] = field(default_factory=lambda: _CELLS)
    backgrounds: Mapping[str, Background] = field(default_factory=lambda: _BACKGROUNDS)
    weights: Mapping[str, float] = field(default_factory=lambda: _WEIGHTS)
    noise_spread: float = 0.1

    @property
    def mechanisms(self) -> tuple[Path, ...]:
        """Directories of ``.mod`` files that the cells need."""
        return (MECHANISMS,)

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections of a cell, the spiking one first."""
        return ("soma", "dend")

    @property
    def celsius(self) -> float:
        """Temperature in degrees Celsius (the kinetics hold at this one only)."""
        return 36.0

    @property
    def v_init(self) -> float:
        """Voltage of every section at time zero in mV."""
        return -62.0

    @property
    def threshold(self) -> float:
        """Somatic voltage whose upward crossing is a spike, in mV."""
        return -10.0

    @property
    def hold(self) -> float:
        """Interval in ms for which the background is constant."""
        return 0.2

    @property
    def max_dt(self) -> float:
        """The coarsest step in ms: cells' rates are within 0.5 % of those at 0."""
        return 0.05

    def receptors(self, population: str) -> frozenset[tuple[str, str]]:
        """Return the (section, receptor) pairs that the population's cells have."""
        self._parameters(population)
        return frozenset({("dend", "AMPA"), ("dend", "NMDA"), ("soma", "GABA_A")})

    def default_weight(self, name: str) -> float:
        """Return the default weight in uS of ``POST_PRE-section-RECEPTOR-weight``.

        Raises
        ------
        ConfigError
            If the model knows no such connection.
        """
        if name not in self.weights:
            raise ConfigError(
                f"PinskyRinzel has no default for {name}; give one in "
                f"PinskyRinzel(weights=...)"
            )
        return self.weights[name]

    def default_noise(self, population: str) -> dict[str, float]:
        """Return the population's default background."""
        background = self.backgrounds.get(population)
        if background is None:
            raise ConfigError(
                f"PinskyRinzel has no background for population {population!r}, only "
                f"for {sorted(self.backgrounds)}; give one in "
                f"PinskyRinzel(backgrounds=...)"
            )
        return asdict(background)

    def points(
        self, positions: NDArray[np.float64], orientations: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where a field acts on each section: [n, sections, 3] in um.

        The dendrite is taken at 60 um from the soma, parallel to the electrodes' plane.
        """
        flat = np.zeros_like(orientations)
        direction = np.stack([np.cos(orientations), np.sin(orientations), flat], axis=1)
        return np.stack([positions, positions + _DENDRITE * direction], axis=1)

    def build(self, h: Any, population: str, gid: int) -> Cell:
        """Make one cell with NEURON's interpreter `h`."""
        parameters = self._parameters(population)
        soma, dend = (
            _compartment(h, f"{population}[{gid}].{name}", parameters)
            for name in self.sections
        )
        dend.connect(soma(1), 0)
        at_soma = h.livn_pr_soma(soma(0.5))
        at_dend = h.livn_pr_dendrite(dend(0.5))
        _assign(at_soma, parameters, ("gna", "gk", "ena"))
        _assign(at_dend, parameters, ("gca", "gkc", "gahp", "eca", "q_init"))
        for process in (at_soma, at_dend):
            _assign(process, parameters, ("gl", "el", "ek"))
            process.surface = parameters.surface
        at_dend.hold = self.hold
        return Cell(
            sections={"soma": soma, "dend": dend},
            receptors={
                ("dend", "AMPA"): Receptor(at_dend, 0),
                ("dend", "NMDA"): Receptor(at_dend, 1),
                ("soma", "GABA_A"): Receptor(at_soma, 0),
            },
            currents={
                "soma": reference(at_soma, "i_stim"),
                "dend": reference(at_dend, "i_stim"),
            },
            axial_resistance=parameters.axial_resistance,
            background=at_dend,
        )

    def _parameters(self, population: str) -> CellParameters:
        if population not in self.cells:
            raise ConfigError(
                f"PinskyRinzel has no cells for population {population!r}, only for "
                f"{sorted(self.cells)}; give some in PinskyRinzel(cells=...)"
            )
        return self.cells[population]


def _compartment(h: Any, name: str, parameters: CellParameters) -> Any:
    section = h.Section(name=name)
    side = math.sqrt(parameters.surface / math.pi)
    section.L = section.diam = side
    section.nseg = 1
    section.cm = parameters.cm
    # Two half cylinders lie between midpoints: R[MOhm] = 0.01 Ra L / (pi diam^2 / 4).
    section.Ra = parameters.axial_resistance * math.pi * side / 4 / 0.01
    return section


def _assign(process: Any, parameters: CellParameters, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(parameters, name)
        density = name.startswith("g")
        setattr(process, name, value * 1e-3 if density else value)
