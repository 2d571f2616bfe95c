"""What is recorded: signals of sections, potentials and weights, at chunk ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from livn_ipp.models import Cell, reference
from livn_ipp.neuron.drive import Drive
from livn_ipp.neuron.learning import Learning
from livn_ipp.neuron.network import Network
from livn_ipp.run import Series
from livn_ipp.volume_conductor import round_currents

__all__ = [
    "CurrentProbe",
    "PotentialProbe",
    "Probe",
    "Rows",
    "SectionProbe",
    "WeightProbe",
]

_NANO_PER_MICRO = 1000.0


class Probe(Protocol):
    """Samples one signal during a run, every `every` steps."""

    every: int

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""

    def sample(self, index: int) -> None:
        """Take a sample."""

    def series(self) -> Series:
        """Return the run's samples."""


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


class _Samples:
    """A variable of some sections, gathered into one vector."""

    def __init__(
        self, h: Any, network: Network, rows: Rows, variable: Callable[[Cell, str], Any]
    ) -> None:
        size = max(len(rows.ids), 1)
        self._empty = len(rows.ids) == 0
        self._buffer, self._pointers = h.Vector(size), h.PtrVector(size)
        for at, (cell, name) in enumerate(zip(rows.cells, rows.names, strict=True)):
            self._pointers.pset(at, variable(network.cells[cell], name))

    def values(self) -> NDArray[np.float64]:
        """Return the present values, one per row."""
        if self._empty:
            return np.zeros(0)
        self._pointers.gather(self._buffer)
        values: NDArray[np.float64] = self._buffer.as_numpy()
        return values


class SectionProbe:
    """A variable of sections, float32, one row per section.

    Parameters
    ----------
    rows
        The sections.
    variable
        Returns NEURON's reference to the variable, of a cell and a section's name.
    every
        Sampling interval in steps.
    dt
        The same in ms.
    unit
        Of the variable.
    """

    def __init__(
        self,
        h: Any,
        network: Network,
        rows: Rows,
        variable: Callable[[Cell, str], Any],
        every: int,
        dt: float,
        unit: str,
    ) -> None:
        self.every = every
        self._dt, self._unit, self._rows = dt, unit, rows
        self._present = _Samples(h, network, rows, variable)
        self._samples = np.zeros((0, 0), np.float32)

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""
        self._samples = np.empty((samples, len(self._rows.ids)), np.float32)

    def sample(self, index: int) -> None:
        """Take a sample."""
        self._samples[index] = self._values()

    def series(self) -> Series:
        """Return the run's samples."""
        values = np.ascontiguousarray(self._samples.T)
        rows = self._rows
        return Series(rows.ids, values, self._dt, self._dt, self._unit, rows.names)

    def _values(self) -> NDArray[np.float64]:
        return self._present.values()


class CurrentProbe(SectionProbe):
    """Transmembrane current, one row per section, float32 uA, positive outward."""

    def __init__(
        self, h: Any, network: Network, rows: Rows, every: int, dt: float, drive: Drive
    ) -> None:
        super().__init__(h, network, rows, _membrane_current, every, dt, "uA")
        self._currents = _Currents(h, network, rows, drive)

    def _values(self) -> NDArray[np.float64]:
        return self._currents.values() / _NANO_PER_MICRO


class PotentialProbe:
    """Potential at the electrodes made by this rank's cells, float64 uV.

    Currents and gains lie on grids that make all sums exact, so the potential is the
    same for every number of ranks.

    Parameters
    ----------
    channel_ids : array [C]
        The electrodes.
    gain : array [C, rows]
        Potential at each electrode per current of each section of this rank's cells, in
        uV/nA.
    """

    def __init__(
        self,
        h: Any,
        network: Network,
        rows: Rows,
        every: int,
        dt: float,
        drive: Drive,
        channel_ids: NDArray[Any],
        gain: NDArray[np.float64],
    ) -> None:
        self.every = every
        self._dt, self._gain, self._channels = dt, gain, channel_ids
        self._currents = _Currents(h, network, rows, drive)
        self._samples = np.zeros((0, 0))

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""
        self._samples = np.empty((samples, len(self._channels)))

    def sample(self, index: int) -> None:
        """Take a sample."""
        self._samples[index] = self._gain @ round_currents(self._currents.values())

    def series(self) -> Series:
        """Return the run's samples."""
        values = np.ascontiguousarray(self._samples.T)
        return Series(self._channels, values, self._dt, self._dt, "uV")


class WeightProbe:
    """What this rank's plastic connections have learned, float32, one row for each."""

    def __init__(self, learning: Learning, every: int, dt: float) -> None:
        self.every = every
        self._learning, self._dt = learning, dt
        self._samples = np.zeros((0, 0), np.float32)

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""
        self._samples = np.empty((samples, len(self._learning.factors)), np.float32)

    def sample(self, index: int) -> None:
        """Take a sample."""
        self._samples[index] = self._learning.factors

    def series(self) -> Series:
        """Return the run's samples."""
        values = np.ascontiguousarray(self._samples.T)
        ids = self._learning.post_gids
        sources = tuple(f"from {gid}" for gid in self._learning.pre_gids.tolist())
        return Series(ids, values, self._dt, self._dt, "", sources)


class _Currents:
    """Transmembrane currents in nA.

    NEURON counts an injected current as a part of the membrane's own; what crosses the
    membrane is its figure without it.
    """

    def __init__(self, h: Any, network: Network, rows: Rows, drive: Drive) -> None:
        self._present = _Samples(h, network, rows, _membrane_current)
        self._rows, self._drive = rows, drive

    def values(self) -> NDArray[np.float64]:
        injected = self._drive.currents[self._rows.cells, self._rows.sections]
        return self._present.values() + injected


def _membrane_current(cell: Cell, section: str) -> Any:
    return reference(cell.sections[section](0.5), "i_membrane_")
