"""Two-compartment Booth-Rinzel-Kiehn motoneurons with Pinsky-Rinzel interneurons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from livn_ipp.models import Cell, Receptor, reference
from livn_ipp.models.pinsky_rinzel import CellParameters, PinskyRinzel
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

__all__ = ["BoothRinzelKiehn", "MotoneuronParameters"]


@dataclass(frozen=True)
class MotoneuronParameters:
    """Membrane of the motoneuron.

    Equations: Booth, Rinzel & Kiehn (1997) J Neurophysiol 78:3371-3385. The paper's
    cell is a turtle's at room temperature; sizes, densities and calcium handling here
    are those to which livn fits spinal motoneurons in culture at 36 C. livn drives
    calcium by the Goldman-Hodgkin-Katz equation, here the paper's ohmic form stands.

    Attributes
    ----------
    surface_soma, surface_dend
        Membrane of the compartments in um2.
    cm_soma, cm_dend
        Specific capacitance in uF/cm2.
    gc
        Coupling conductance in mS/cm2 of the whole cell's membrane.
    gl_soma, gl_dend, el
        Leak in mS/cm2 and mV.
    gna, gk
        Sodium and delayed rectifier of the soma in mS/cm2.
    gcan_soma, gcan_dend, gcal
        N-type calcium current of both compartments and persistent L-type current of the
        dendrite in mS/cm2.
    gkca_soma, gkca_dend
        Calcium-activated potassium current in mS/cm2.
    ena, ek, eca
        Reversal potentials in mV; of sodium and potassium the Nernst potentials of
        15/145 and 145/5 mM at 36 C.
    free_soma, free_dend
        Fraction of calcium that is not bound.
    alpha_soma, alpha_dend
        Calcium that a current brings in, in mM/ms per mA/cm2.
    pump_soma, pump_dend
        Rate of its removal in 1/ms.
    """

    surface_soma: float = 306.5
    surface_dend: float = 2758.0
    cm_soma: float = 10.61
    cm_dend: float = 1.296
    gc: float = 8.255
    gl_soma: float = 0.1452
    gl_dend: float = 0.0139
    el: float = -62.0
    gna: float = 105.0
    gk: float = 45.15
    gcan_soma: float = 1.068
    gcan_dend: float = 0.2881
    gcal: float = 0.01
    gkca_soma: float = 0.2959
    gkca_dend: float = 0.2370
    ena: float = 60.4
    ek: float = -89.7
    eca: float = 80.0
    free_soma: float = 1.005e-3
    free_dend: float = 1.195e-3
    alpha_soma: float = 0.2102
    alpha_dend: float = 0.6776
    pump_soma: float = 1.528
    pump_dend: float = 3.331

    @property
    def axial_resistance(self) -> float:
        """Resistance between the compartments in MOhm.

        Examples
        --------
        >>> round(MotoneuronParameters().axial_resistance, 2)
        3.95
        """
        surface = (self.surface_soma + self.surface_dend) * 1e-8
        return 1e-6 / (self.gc * 1e-3 * surface)


_INTERNEURON: Final = PinskyRinzel()
_BACKGROUNDS: Final = MappingProxyType(
    {
        "EXC": Background(std_e=0.8e-3),
        "INH": _INTERNEURON.backgrounds["INH"],
    }
)
_WEIGHTS: Final = MappingProxyType(
    {
        "EXC_EXC-dend-AMPA-weight": 1.4e-3,
        "EXC_EXC-dend-NMDA-weight": 1.4e-4,
        "INH_EXC-dend-AMPA-weight": 0.3e-3,
        "INH_EXC-dend-NMDA-weight": 6e-6,
        "EXC_INH-soma-GABA_A-weight": 1.8e-3,
        "INH_INH-soma-GABA_A-weight": 0.8e-3,
    }
)
_SETTINGS: Final = MappingProxyType(
    {
        "cm_soma": Setting("uF/cm2", (("soma section", "cm"),), lower=1e-3),
        "cm_dend": Setting("uF/cm2", (("dend section", "cm"),), lower=1e-3),
        "gl_soma": density("gl", "soma"),
        "gl_dend": density("gl", "dend"),
        "el": potential("el", "soma", "dend"),
        "gna": density("gna", "soma"),
        "gk": density("gk", "soma"),
        "gcan_soma": density("gcan", "soma"),
        "gcan_dend": density("gcan", "dend"),
        "gcal": density("gcal", "dend"),
        "gkca_soma": density("gkca", "soma"),
        "gkca_dend": density("gkca", "dend"),
        "ena": potential("ena", "soma"),
        "ek": potential("ek", "soma", "dend"),
        "eca": potential("eca", "soma", "dend"),
        "free_soma": Setting("", (("soma", "free"),), 1.0, 1e-9, 1.0),
        "free_dend": Setting("", (("dend", "free"),), 1.0, 1e-9, 1.0),
        "alpha_soma": Setting("mM/ms per mA/cm2", (("soma", "alpha"),), lower=0.0),
        "alpha_dend": Setting("mM/ms per mA/cm2", (("dend", "alpha"),), lower=0.0),
        "pump_soma": Setting("1/ms", (("soma", "pump"),), lower=1e-9),
        "pump_dend": Setting("1/ms", (("dend", "pump"),), lower=1e-9),
    }
)
_SOMA_STATES: Final = MappingProxyType(
    {"h": "", "n": "", "m_can": "", "h_can": "", "ca": "mM", "rise": "uS"}
    | {"decay": "uS"}
)
_DENDRITE_STATES: Final = MappingProxyType(
    {"m_can": "", "h_can": "", "m_cal": "", "ca": "mM"}
    | {**EXCITATORY_STATES, **BACKGROUND_STATES}
)


@dataclass(frozen=True, kw_only=True)
class BoothRinzelKiehn(TwoCompartmentModel):
    """Booth-Rinzel-Kiehn motoneurons (EXC) and Pinsky-Rinzel interneurons (INH).

    Receptors are those of :class:`livn_ipp.models.pinsky_rinzel.PinskyRinzel`.

    The motoneuron rests near -67 mV, needs 10 pA to fire and adapts: 50 pA make it fire
    at 47 Hz at first and at 11 Hz after a second. Up to dt = 0.05 ms intervals are
    within 0.2 % and the rate of fluctuating cells within 0.5 % of those at dt / 8.

    Background and weights were found by hand, by simulation of the shipped cultures:
    the interneurons keep theirs; of the motoneurons the deviation of excitation was
    raised until the unconnected cells fired at 2-3 Hz, then excitation among them until
    1 spike in 10 fell into population bursts, and inhibition lowered until both
    populations fired as in the default culture (5 s, 4-6 seeds: EXC 1.9-3.3 Hz, INH
    6.1-8.7 Hz, no cell above 13 Hz). A fifth more or less of each weight or of the
    background leaves EXC at 1-6 Hz; inhibition halved makes it burst at 11 Hz. No
    recording was fitted: neither its rates nor its bursts are those of a real culture
    of motoneurons, nor is its response to electrodes.

    Parameters
    ----------
    motoneuron
        Membrane of the excitatory cells.
    interneuron
        Membrane of the inhibitory cells.
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
    >>> model = BoothRinzelKiehn()
    >>> model.parameters("EXC")["gna"].default
    105.0
    >>> model.parameters("INH")["gna"].default
    60.0
    >>> model.states("EXC")["dend", "m_cal"]
    ''
    """

    motoneuron: MotoneuronParameters = field(default_factory=MotoneuronParameters)
    interneuron: CellParameters = field(
        default_factory=lambda: _INTERNEURON.cells["INH"]
    )
    backgrounds: Mapping[str, Background] = field(default_factory=lambda: _BACKGROUNDS)
    weights: Mapping[str, float] = field(default_factory=lambda: _WEIGHTS)

    def settings(self, population: str) -> Mapping[str, Setting]:
        """Return where each of the population's parameters goes."""
        if population == "INH":
            return self._interneurons().settings(population)
        return {**_SETTINGS, **super().settings(population)}

    def default(self, population: str, name: str) -> float:
        """Return the value of a parameter that nobody has set."""
        if population == "INH":
            return self._interneurons().default(population, name)
        if name in _SETTINGS:
            return float(getattr(self.motoneuron, name))
        return super().default(population, name)

    def states(self, population: str) -> Mapping[tuple[str, str], str]:
        """Return the unit of each (section, variable) that can be recorded.

        ``rise`` and ``decay`` are those of GABA_A on the soma and of NMDA on the
        dendrite.
        """
        self._check(population)
        if population == "INH":
            return self._interneurons().states(population)
        soma = {("soma", name): unit for name, unit in _SOMA_STATES.items()}
        dend = {("dend", name): unit for name, unit in _DENDRITE_STATES.items()}
        return soma | dend

    def build(self, h: Any, population: str, gid: int) -> Cell:
        """Make one cell with NEURON's interpreter `h`."""
        self._check(population)
        if population == "INH":
            return self._interneurons().build(h, population, gid)
        cell = self.motoneuron
        name = f"{population}[{gid}]"
        resistance = cell.axial_resistance
        soma = compartment(h, f"{name}.soma", cell.surface_soma, resistance)
        dend = compartment(h, f"{name}.dend", cell.surface_dend, resistance)
        dend.connect(soma(1), 0)
        at_soma = h.livn_brk_soma(soma(0.5))
        at_dend = h.livn_brk_dendrite(dend(0.5))
        at_soma.surface, at_dend.surface = cell.surface_soma, cell.surface_dend
        at_dend.hold = self.hold
        owners = {"soma": at_soma, "dend": at_dend}
        membranes = {"soma section": soma, "dend section": dend}
        assign = assigner(self.settings(population), owners | membranes)
        for parameter, value in self.parameters(population).items():
            assign(parameter, value.default)
        return Cell(
            sections={"soma": soma, "dend": dend},
            receptors={
                ("dend", "AMPA"): Receptor(at_dend, 0),
                ("dend", "NMDA"): Receptor(at_dend, 1),
                ("soma", "GABA_A"): Receptor(at_soma, 0),
            },
            currents={s: reference(p, "i_stim") for s, p in owners.items()},
            axial_resistance=resistance,
            background=at_dend,
            conductances={s: reference(p, "g_stim") for s, p in owners.items()},
            assign=assign,
            states={state: owners[state[0]] for state in self.states(population)},
        )

    def _interneurons(self) -> PinskyRinzel:
        return PinskyRinzel(
            cells={"INH": self.interneuron},
            backgrounds=self.backgrounds,
            weights=self.weights,
            depression=self.depression,
        )
