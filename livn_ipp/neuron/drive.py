"""What drives the cells: a field, current or conductance, set at the ends of chunks."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.program import Program

__all__ = ["Drive"]

_NANO_PER_DENSITY: Final = 1e-2  # nA for each mA/cm2 on 1 um2


class Drive:
    """What a stimulus puts into each section of each cell.

    A field acts on a cell of two compartments exactly as a pair of currents: the
    difference of the extracellular potential between dendrite and soma, divided by the
    resistance between them, into the soma and out of the dendrite. A current density
    is multiplied with the membrane of the section. A conductance is a channel in the
    membrane that opens to the stimulus's reversal potential.

    Attributes
    ----------
    currents : array [n, sections]
        What enters the cells from outside their membrane now, in nA.
    """

    def __init__(self, h: Any, network: Network, sections: Sequence[str]) -> None:
        cells = network.cells
        self.currents = np.zeros((len(cells), len(sections)))
        self._axial = np.array([1 / cell.axial_resistance for cell in cells])
        self._membrane = np.array(
            [
                sum(segment.area() for segment in cell.sections[name])
                for cell in cells
                for name in sections
            ]
        ).reshape(self.currents.shape)
        self._injected = _Targets(
            h, [cell.currents[name] for cell in cells for name in sections]
        )
        self._opened = None
        if all(set(sections) <= cell.conductances.keys() for cell in cells):
            self._opened = _Targets(
                h, [cell.conductances[name] for cell in cells for name in sections]
            )

    def require(self, program: Program) -> None:
        """Check that the cells can be driven in the program's mode.

        Raises
        ------
        ConfigError
            If they take no conductance.
        """
        if program.mode == "conductance" and self._opened is None:
            raise ConfigError(
                "the model's cells take no conductance stimulus (Cell.conductances is "
                "empty); use 'extracellular', 'current' or 'current_density'"
            )

    def apply(self, program: Program, step: int) -> None:
        """Let a program's samples act from a step on."""
        samples = program.at(step)
        if program.mode == "conductance":
            assert self._opened is not None
            self._opened.set(samples)
            self._injected.set(samples * program.reversal)  # uS mV = nA
            return
        if program.mode == "extracellular":
            axial = (samples[:, 1] - samples[:, 0]) * self._axial  # mV/MOhm = nA
            samples = np.stack([axial, -axial], axis=1)
        elif program.mode == "current_density":
            samples = samples * self._membrane * _NANO_PER_DENSITY
        self.currents = samples
        self._injected.set(samples)

    def rest(self) -> None:
        """Let nothing act."""
        self.currents = np.zeros_like(self.currents)
        self._injected.set(self.currents)
        if self._opened is not None:
            self._opened.set(self.currents)


class _Targets:
    """A variable of each section, set at once."""

    def __init__(self, h: Any, references: Sequence[Any]) -> None:
        size = max(len(references), 1)
        self._buffer, self._pointers = h.Vector(size), h.PtrVector(size)
        self._values = self._buffer.as_numpy()  # once: each call leaks 400 bytes
        self._empty = not references
        for at, reference in enumerate(references):
            self._pointers.pset(at, reference)

    def set(self, values: NDArray[np.float64]) -> None:
        if not self._empty:
            self._values[:] = values.ravel()
            self._pointers.scatter(self._buffer)
