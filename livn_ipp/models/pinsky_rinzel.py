"""Two-compartment Pinsky-Rinzel cells with receptors and a fluctuating background."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from livn_ipp.errors import ConfigError
from livn_ipp.models import Cell, Receptor, reference
from livn_ipp.models.two_compartment import (
    BACKGROUND_STATES,
    EXCITATORY_STATES,
    Background,
    Setting,
    TwoCompartmentModel,
    assigner,
    compartment,
    density,
    potential,
)

__all__ = ["Background", "CellParameters", "PinskyRinzel"]


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


_MEMBRANES: Final = (("soma section", "cm"), ("dend section", "cm"))
_SETTINGS: Final = MappingProxyType(
    {
        "cm": Setting("uF/cm2", _MEMBRANES, lower=1e-3),
        "gl": density("gl", "soma", "dend"),
        "el": potential("el", "soma", "dend"),
        "gna": density("gna", "soma"),
        "gk": density("gk", "soma"),
        "gca": density("gca", "dend"),
        "gkc": density("gkc", "dend"),
        "gahp": density("gahp", "dend"),
        "ena": potential("ena", "soma"),
        "ek": potential("ek", "soma", "dend"),
        "eca": potential("eca", "dend"),
        "q_init": Setting("", (("dend", "q_init"),), 1.0, 0.0, 1.0),
    }
)
_SOMA_STATES: Final = MappingProxyType({"h": "", "n": "", "rise": "uS", "decay": "uS"})
_DENDRITE_STATES: Final = MappingProxyType(
    {"s": "", "c": "", "q": "", "ca": "", **EXCITATORY_STATES, **BACKGROUND_STATES}
)


@dataclass(frozen=True, kw_only=True)
class PinskyRinzel(TwoCompartmentModel):
    """Pinsky-Rinzel cells: a spiking soma and a dendrite with calcium.

    Receptors are AMPA (decay 2 ms) and NMDA (3 and 80 ms, 1 mM magnesium; Jahr &
    Stevens 1990, J Neurosci 10:3178) on the dendrite and GABA_A (0.5 and 8 ms, -75 mV)
    on the soma. Up to dt = 0.05 ms cells' rates are within 0.5 % of those at dt / 8.

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
    depression
        Depression of AMPA synapses; the weights were set without.

    Examples
    --------
    >>> model = PinskyRinzel()
    >>> sorted(model.receptors("EXC"))
    [('dend', 'AMPA'), ('dend', 'NMDA'), ('soma', 'GABA_A')]
    >>> model.default_weight("EXC_EXC-dend-AMPA-weight")
    0.0011
    >>> model.states("EXC")["soma", "n"]
    ''
    """

    cells: Mapping[str, CellParameters] = field(default_factory=lambda: _CELLS)
    backgrounds: Mapping[str, Background] = field(default_factory=lambda: _BACKGROUNDS)
    weights: Mapping[str, float] = field(default_factory=lambda: _WEIGHTS)

    def states(self, population: str) -> Mapping[tuple[str, str], str]:
        """Return the unit of each (section, variable) that can be recorded.

        ``ca`` is the paper's dimensionless calcium level; ``rise`` and ``decay`` are
        those of GABA_A on the soma and of NMDA on the dendrite.
        """
        self._parameters(population)
        soma = {("soma", name): unit for name, unit in _SOMA_STATES.items()}
        dend = {("dend", name): unit for name, unit in _DENDRITE_STATES.items()}
        return soma | dend

    def settings(self, population: str) -> Mapping[str, Setting]:
        """Return where each of the population's parameters goes."""
        return {**_SETTINGS, **super().settings(population)}

    def default(self, population: str, name: str) -> float:
        """Return the value of a parameter that nobody has set."""
        if name in _SETTINGS:
            return float(getattr(self._parameters(population), name))
        return super().default(population, name)

    def build(self, h: Any, population: str, gid: int) -> Cell:
        """Make one cell with NEURON's interpreter `h`."""
        parameters = self._parameters(population)
        resistance = parameters.axial_resistance
        soma, dend = (
            compartment(h, f"{population}[{gid}].{s}", parameters.surface, resistance)
            for s in self.sections
        )
        dend.connect(soma(1), 0)
        at_soma = h.livn_pr_soma(soma(0.5))
        at_dend = h.livn_pr_dendrite(dend(0.5))
        at_soma.surface = at_dend.surface = parameters.surface
        at_dend.hold = self.hold
        owners = {"soma": at_soma, "dend": at_dend}
        membranes = {"soma section": soma, "dend section": dend}
        assign = assigner(self.settings(population), owners | membranes)
        for name, parameter in self.parameters(population).items():
            assign(name, parameter.default)
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
            axial_resistance=resistance,
            background=at_dend,
            conductances={
                "soma": reference(at_soma, "g_stim"),
                "dend": reference(at_dend, "g_stim"),
            },
            assign=assign,
            states={state: owners[state[0]] for state in self.states(population)},
        )

    def _parameters(self, population: str) -> CellParameters:
        if population not in self.cells:
            raise ConfigError(
                f"PinskyRinzel has no cells for population {population!r}, only for "
                f"{sorted(self.cells)}; give some in PinskyRinzel(cells=...)"
            )
        return self.cells[population]

    def _check(self, population: str) -> None:
        self._parameters(population)
        super()._check(population)
