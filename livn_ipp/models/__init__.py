"""Cell and synapse dynamics, and what the simulation asks of them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MECHANISMS",
    "NOISE_NAMES",
    "Cell",
    "Model",
    "Parameter",
    "Receptor",
    "reference",
]

MECHANISMS: Final = Path(str(files("livn_ipp.models"))) / "mechanisms"
"""Directory of the ``.mod`` files that come with the package."""

NOISE_NAMES: Final = (
    "g_e0",
    "g_i0",
    "std_e",
    "std_i",
    "tau_e",
    "tau_i",
    "E_e",
    "E_i",
)
"""Parameters of the background, in uS, uS, uS, uS, ms, ms, mV, mV."""


def reference(owner: Any, variable: str) -> Any:
    """Return NEURON's pointer to a variable of a segment, process or connection."""
    return getattr(owner, f"_ref_{variable}")


@dataclass(frozen=True, eq=False)
class Receptor:
    """Where the events of one receptor go.

    Attributes
    ----------
    process
        The NEURON point process that receives them.
    slot
        Index of the receptor's weight in the process's ``NET_RECEIVE`` block.
    """

    process: Any
    slot: int


@dataclass(frozen=True)
class Parameter:
    """A number of a cell that may be set before a simulation starts.

    Attributes
    ----------
    default
        What it is if nobody sets it.
    unit
        Its unit; ``""`` for a pure number.
    lower, upper
        Bounds, both allowed.
    """

    default: float
    unit: str
    lower: float = -math.inf
    upper: float = math.inf


def _no_parameters(name: str, _value: float) -> None:
    raise LookupError(name)


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell as NEURON objects, whatever mechanisms it is made of.

    Attributes
    ----------
    sections
        Section by name, in the order in which they are recorded.
    receptors
        Receptor by section and name.
    currents
        For each section, a reference to the variable that takes a stimulus current in
        nA (positive depolarises), which acts from the next step on.
    axial_resistance
        Resistance between soma and dendrite in MOhm.
    background
        The process whose variables are the :data:`NOISE_NAMES`, whose ``rng`` is its
        random stream and whose ``background()`` follows a change of time constants;
        None if the cell has no background.
    conductances
        For each section, a reference to the variable that takes a stimulus conductance
        in uS, which acts from the next step on; what drives it (conductance times
        reversal potential) belongs to the stimulus current.
    assign
        Sets one of :meth:`Model.parameters`, in its unit, by name; it acts from the
        next time zero on.
    states
        For each (section, variable) of :meth:`Model.states`, what :func:`reference`
        finds the variable in: a process, or a segment for mechanisms with a SUFFIX.
    """

    sections: Mapping[str, Any]
    receptors: Mapping[tuple[str, str], Receptor]
    currents: Mapping[str, Any]
    axial_resistance: float
    background: Any
    conductances: Mapping[str, Any] = field(default_factory=dict)
    assign: Callable[[str, float], None] = _no_parameters
    states: Mapping[tuple[str, str], Any] = field(default_factory=dict)


class Model(Protocol):
    """What the simulation asks of a model.

    :class:`livn_ipp.models.two_compartment.TwoCompartmentModel` answers most of it.
    """

    @property
    def mechanisms(self) -> tuple[Path, ...]:
        """Directories of ``.mod`` files that the cells need."""

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections of a cell, the spiking one first."""

    @property
    def celsius(self) -> float:
        """Temperature in degrees Celsius."""

    @property
    def v_init(self) -> float:
        """Voltage of every section at time zero in mV."""

    @property
    def threshold(self) -> float:
        """Voltage of the first section whose upward crossing is a spike, in mV."""

    @property
    def hold(self) -> float:
        """Interval in ms for which the background is constant; steps divide it."""

    @property
    def max_dt(self) -> float:
        """The coarsest step in ms at which the model keeps its accuracy."""

    @property
    def noise_spread(self) -> float:
        """Standard deviation over cells of the factor on ``g_e0`` and ``std_e``."""

    @property
    def amplitude_bounds(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest sample that the cells are made for, by input mode.

        In the mode's unit (:data:`livn_ipp.stimulus.UNITS`); a mode that is not named
        has no bounds.
        """

    def parameters(self, population: str) -> Mapping[str, Parameter]:
        """Return what can be set on the population's cells, by name.

        Those of a receptor are named ``section-RECEPTOR-name``.
        """

    def states(self, population: str) -> Mapping[tuple[str, str], str]:
        """Return what else can be recorded: the unit of each (section, variable).

        The unit of a pure number is ``""``.
        """

    def receptors(self, population: str) -> frozenset[tuple[str, str]]:
        """Return the (section, receptor) pairs that the population's cells have."""

    def default_weight(self, name: str) -> float:
        """Return the default of ``POST_PRE-section-RECEPTOR-weight`` in uS."""

    def default_noise(self, population: str) -> dict[str, float]:
        """Return the population's default background by :data:`NOISE_NAMES`."""

    def points(
        self, positions: NDArray[np.float64], orientations: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where a field acts on each section: [n, sections, 3] in um.

        Parameters
        ----------
        positions : array [n, 3]
            The cells in um.
        orientations : array [n]
            Direction of their dendrites in rad.
        """

    def build(self, h: Any, population: str, gid: int) -> Cell:
        """Make one cell with NEURON's interpreter `h`."""
