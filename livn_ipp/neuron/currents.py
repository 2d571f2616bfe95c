"""Currents through the membrane of two compartments, from their voltages."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.models import Cell, reference
from livn_ipp.neuron.drive import Drive
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.tape import Tape

__all__ = ["Currents", "Rows", "voltage"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Sections of this rank's cells, one per row.

    Attributes
    ----------
    cells, sections : array [rows]
        Index of each row's cell and section.
    ids : array [rows]
        The gid of each.
    names : tuple of str
        The section of each.
    """

    cells: NDArray[np.intp]
    sections: NDArray[np.intp]
    ids: NDArray[np.uint32]
    names: tuple[str, ...]


class Currents:
    """Transmembrane currents in nA.

    What crosses the membrane of a compartment is what comes along the axis from the
    other one, and what is injected (Kirchhoff); a field's current along the axis is
    among the injected.
    """

    def __init__(
        self, h: Any, network: Network, rows: Rows, every: int, drive: Drive
    ) -> None:
        cells = np.unique(rows.cells)
        own = [network.cells[cell] for cell in cells]
        names = list(own[0].sections) if own else []
        # All somas, then all dendrites: differences of contiguous rows are faster.
        voltages = [voltage(cell, name) for name in names for cell in own]
        self.tape = Tape(h, voltages, every)
        self._axial = np.array([1 / cell.axial_resistance for cell in own])
        self._rows, self._drive = rows, drive
        self._of_row = np.searchsorted(cells, rows.cells)
        self._sign = np.where(rows.sections == 0, 1.0, -1.0)

    def take_pairs(self) -> _Floats | None:
        """As `take`, for somas only, if dendrites' currents are their negatives.

        None, with nothing taken, if a stimulus injects net current into a cell.
        """
        injected = self._drive.currents
        if injected.sum(axis=1).any():
            return None
        currents = self._along_the_axis()
        currents += injected[:, 0]
        return currents

    def take(self) -> _Floats:
        """Return the currents [samples, rows] since the last time."""
        axial = self._along_the_axis()
        rows = self._rows
        injected = self._drive.currents[rows.cells, rows.sections]
        currents: _Floats = axial[:, self._of_row] * self._sign + injected
        return currents

    def _along_the_axis(self) -> _Floats:
        voltages = self.tape.take()
        count = len(self._axial)
        axial: _Floats = voltages[:, count:] - voltages[:, :count]
        axial *= self._axial  # mV/MOhm = nA
        return axial


def voltage(cell: Cell, section: str) -> Any:
    """Return NEURON's reference to a section's voltage."""
    return reference(cell.sections[section](0.5), "v")
