"""What models of two compartments share, and what one's own model starts from."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import MECHANISMS, Cell, Parameter

__all__ = [
    "AMPLITUDES",
    "BACKGROUND_STATES",
    "EXCITATORY_STATES",
    "Background",
    "Depression",
    "Setting",
    "TwoCompartmentModel",
    "assigner",
    "compartment",
    "density",
    "potential",
]

_DENDRITE: Final = 60.0  # um from the soma

AMPLITUDES: Final = MappingProxyType(
    {
        "extracellular": (-1000.0, 1000.0),  # mV
        "current": (-100.0, 100.0),  # nA
        "current_density": (-10.0, 10.0),  # mA/cm2
        "conductance": (0.0, 1.0),  # uS
    }
)
"""Lowest and highest sample by input mode; what lies beyond is a mistake of unit."""

EXCITATORY_STATES: Final = MappingProxyType({"ampa": "uS", "rise": "uS", "decay": "uS"})
"""AMPA's conductance; NMDA's is their ``decay - rise``, before the block."""

BACKGROUND_STATES: Final = MappingProxyType({"g_e": "uS", "g_i": "uS"})
"""The fluctuating conductances."""


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


@dataclass(frozen=True)
class Depression:
    """Depression of AMPA synapses: transmitter is used up and recovers.

    Tsodyks & Markram (1997) Proc Natl Acad Sci USA 94:719-723, with the fast recovery
    from inactivation left out. A spike finds the fraction R of the transmitter; the
    conductance grows by the weight times R, R falls by `use` times R and returns to 1
    with `recovery`. The weight is thus that of a first spike after rest.

    Attributes
    ----------
    use
        Fraction of the available transmitter that a spike releases.
    recovery
        Time constant in ms.

    Raises
    ------
    ConfigError
        If `use` is not above 0 and at most 1, or `recovery` is not positive.

    Examples
    --------
    >>> Depression().steady_state(interval=250.0)  # at 4 Hz
    0.776...
    """

    use: float = 0.25
    recovery: float = 400.0

    def __post_init__(self) -> None:
        if not (0 < self.use <= 1 and 0 < self.recovery < math.inf):
            raise ConfigError(
                f"{self}: use must be above 0 and at most 1, recovery positive (ms)"
            )

    def steady_state(self, interval: float) -> float:
        """Return R at the spikes of a regular train, one every `interval` ms."""
        forgotten = math.exp(-interval / self.recovery)
        return (1 - forgotten) / (1 - (1 - self.use) * forgotten)


@dataclass(frozen=True)
class Setting:
    """Where a parameter of a cell goes.

    Attributes
    ----------
    unit
        The parameter's.
    places
        (owner, variable) pairs, the owner being a section or process by a name that
        the model chooses.
    scale
        What the value is multiplied by on its way.
    lower, upper
        Bounds of the value.
    """

    unit: str
    places: tuple[tuple[str, str], ...]
    scale: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf


def density(variable: str, *owners: str) -> Setting:
    """Return the setting of a conductance, mS/cm2 in Python and S/cm2 in NEURON."""
    return Setting("mS/cm2", tuple((o, variable) for o in owners), 1e-3, 0.0)


def potential(variable: str, *owners: str) -> Setting:
    """Return the setting of a reversal potential in mV."""
    return Setting("mV", tuple((o, variable) for o in owners))


_DEPRESSION: Final = MappingProxyType(
    {
        "dend-AMPA-use": Setting("", (("dend", "use"),), 1.0, 0.0, 1.0),
        "dend-AMPA-tau_rec": Setting("ms", (("dend", "tau_rec"),), 1.0, 1e-3),
    }
)


@dataclass(frozen=True, kw_only=True)
class TwoCompartmentModel(ABC):
    """A model whose cells have a spiking soma and a dendrite that receives excitation.

    A model of one's own is a subclass that gives its cells in :meth:`build`, its
    directories of ``.mod`` files in :attr:`mechanisms`, and defaults for the fields
    below. It may use the shipped process ``livn_inputs`` (receptors, background and
    stimulus of a section) with any channels; ``examples/own_model.py`` does.

    Parameters
    ----------
    backgrounds
        Background by population.
    weights
        Peak conductance of each receptor in uS by ``POST_PRE-section-RECEPTOR-weight``,
        at the number of inputs per cell of the shipped cultures of 100 cells and more.
    noise_spread
        Standard deviation over cells of the factor on ``g_e0`` and ``std_e``.
    depression
        Depression of AMPA synapses; None for none.
    """

    backgrounds: Mapping[str, Background] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    noise_spread: float = 0.1
    depression: Depression | None = None

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
        """Temperature in degrees Celsius."""
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
        """The coarsest step in ms at which the model keeps its accuracy."""
        return 0.05

    @property
    def amplitude_bounds(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest sample that the cells are made for, by input mode."""
        return AMPLITUDES

    def receptors(self, population: str) -> frozenset[tuple[str, str]]:
        """Return the (section, receptor) pairs that the population's cells have."""
        self._check(population)
        return frozenset({("dend", "AMPA"), ("dend", "NMDA"), ("soma", "GABA_A")})

    def settings(self, population: str) -> Mapping[str, Setting]:
        """Return where each of the population's parameters goes.

        Depression goes to the process called ``dend``.
        """
        self._check(population)
        return _DEPRESSION

    def parameters(self, population: str) -> Mapping[str, Parameter]:
        """Return what can be set on the population's cells, by name."""
        return {
            name: Parameter(
                self.default(population, name),
                setting.unit,
                setting.lower,
                setting.upper,
            )
            for name, setting in self.settings(population).items()
        }

    def default(self, _population: str, name: str) -> float:
        """Return the value of a parameter that nobody has set."""
        depression = self.depression or Depression()
        if name == "dend-AMPA-use":
            return 0.0 if self.depression is None else depression.use
        return depression.recovery

    def states(self, population: str) -> Mapping[tuple[str, str], str]:
        """Return the unit of each (section, variable) that can be recorded."""
        self._check(population)
        return {}

    def default_weight(self, name: str) -> float:
        """Return the default weight in uS of ``POST_PRE-section-RECEPTOR-weight``.

        Raises
        ------
        ConfigError
            If the model knows no such connection.
        """
        if name not in self.weights:
            model = type(self).__name__
            raise ConfigError(
                f"{model} has no default for {name}; give one in {model}(weights=...)"
            )
        return self.weights[name]

    def default_noise(self, population: str) -> dict[str, float]:
        """Return the population's default background."""
        self._check(population)
        return asdict(self.backgrounds[population])

    def points(
        self, positions: NDArray[np.float64], orientations: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where a field acts on each section: [n, sections, 3] in um.

        The dendrite is taken at 60 um from the soma, parallel to the electrodes' plane.
        """
        flat = np.zeros_like(orientations)
        direction = np.stack([np.cos(orientations), np.sin(orientations), flat], axis=1)
        return np.stack([positions, positions + _DENDRITE * direction], axis=1)

    @abstractmethod
    def build(self, h: Any, population: str, gid: int) -> Cell:
        """Make one cell with NEURON's interpreter `h`."""

    def _check(self, population: str) -> None:
        if population not in self.backgrounds:
            model = type(self).__name__
            raise ConfigError(
                f"{model} has no background for population {population!r}, only for "
                f"{sorted(self.backgrounds)}; give one in {model}(backgrounds=...)"
            )


def assigner(
    settings: Mapping[str, Setting], owners: Mapping[str, Any]
) -> Callable[[str, float], None]:
    """Return what sets a cell's parameters by name; see ``Cell.assign``."""

    def assign(name: str, value: float) -> None:
        setting = settings[name]
        for owner, variable in setting.places:
            setattr(owners[owner], variable, value * setting.scale)

    return assign


def compartment(
    h: Any, name: str, surface: float, axial_resistance: float, cm: float = 1.0
) -> Any:
    """Make a section of one compartment, as long as it is wide.

    Parameters
    ----------
    h
        NEURON's interpreter.
    name
        Name of the section.
    surface
        Its membrane in um2.
    axial_resistance
        Resistance in MOhm between its middle and that of a section made alike, when
        the end of one is connected to the start of the other.
    cm
        Specific capacitance in uF/cm2.
    """
    section = h.Section(name=name)
    side = math.sqrt(surface / math.pi)
    section.L = section.diam = side
    section.nseg = 1
    section.cm = cm
    # Of the half cylinder up to its end: R/2 [MOhm] = 0.01 Ra (L/2) / (pi diam^2 / 4).
    section.Ra = axial_resistance * math.pi * side / 4 / 0.01
    return section
