"""What is recorded: voltages, membrane currents and potentials at chunk ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from livn_ipp.models import reference
from livn_ipp.neuron.drive import Drive
from livn_ipp.neuron.network import Network
from livn_ipp.run import Series
from livn_ipp.volume_conductor import round_currents

__all__ = ["CurrentProbe", "PotentialProbe", "Probe", "Request", "VoltageProbe"]

_NANO_PER_MICRO = 1000.0


@dataclass(frozen=True)
class Request:
    """What to sample: from which populations and how often.

    Attributes
    ----------
    populations
        Names of the populations.
    dt
        Sampling interval in ms.
    """

    populations: frozenset[str]
    dt: float


class Probe(Protocol):
    """Samples one signal during a run."""

    every: int

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""

    def sample(self, index: int) -> None:
        """Take a sample."""

    def series(self) -> Series:
        """Return the run's samples."""


class _Rows:
    """Sections of the cells of some populations, gathered into one vector."""

    def __init__(
        self,
        h: Any,
        network: Network,
        sections: Sequence[str],
        populations: frozenset[str],
        variable: str,
    ) -> None:
        wanted = [population in populations for population in network.populations]
        self.cells: NDArray[np.intp] = np.flatnonzero(wanted)
        self.ids = np.repeat(network.gids[self.cells], len(sections))
        self.sections = tuple(sections) * len(self.cells)
        self._h = h
        size = max(len(self.ids), 1)
        self._buffer, self._pointers = h.Vector(size), h.PtrVector(size)
        segments = [
            network.cells[cell].sections[name](0.5)
            for cell in self.cells
            for name in sections
        ]
        for at, segment in enumerate(segments):
            self._pointers.pset(at, reference(segment, variable))

    def values(self) -> NDArray[np.float64]:
        """Return the present values, one per row."""
        if len(self.ids) == 0:
            return np.zeros(0)
        self._pointers.gather(self._buffer)
        values: NDArray[np.float64] = self._buffer.as_numpy()
        return values


class VoltageProbe:
    """Membrane voltage, one row per section, float32 mV."""

    def __init__(
        self,
        h: Any,
        network: Network,
        sections: Sequence[str],
        request: Request,
        every: int,
    ) -> None:
        self.every = every
        self._dt = request.dt
        self._rows = _Rows(h, network, sections, request.populations, "v")
        self._samples = np.zeros((0, 0), np.float32)

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""
        self._samples = np.empty((samples, len(self._rows.ids)), np.float32)

    def sample(self, index: int) -> None:
        """Take a sample."""
        self._samples[index] = self._rows.values()

    def series(self) -> Series:
        """Return the run's samples."""
        return _series(self._rows, self._samples, self._dt, "mV")


class CurrentProbe:
    """Transmembrane current, one row per section, float32 uA, positive outward."""

    def __init__(
        self,
        h: Any,
        network: Network,
        sections: Sequence[str],
        request: Request,
        every: int,
        drive: Drive,
    ) -> None:
        self.every = every
        self._dt = request.dt
        self._currents = _Currents(h, network, sections, request.populations, drive)
        self._samples = np.zeros((0, 0), np.float32)

    def start(self, samples: int) -> None:
        """Make room for a run's samples."""
        self._samples = np.empty((samples, len(self._currents.rows.ids)), np.float32)

    def sample(self, index: int) -> None:
        """Take a sample."""
        self._samples[index] = self._currents.values() / _NANO_PER_MICRO

    def series(self) -> Series:
        """Return the run's samples."""
        return _series(self._currents.rows, self._samples, self._dt, "uA")


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
        sections: Sequence[str],
        request: Request,
        every: int,
        drive: Drive,
        channel_ids: NDArray[Any],
        gain: NDArray[np.float64],
    ) -> None:
        self.every = every
        self._dt = request.dt
        self._gain = gain
        self._channels = channel_ids
        self._currents = _Currents(h, network, sections, request.populations, drive)
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


class _Currents:
    """Transmembrane currents in nA.

    NEURON counts the stimulus as a part of the membrane's own current; what crosses the
    membrane is its figure without it.
    """

    def __init__(
        self,
        h: Any,
        network: Network,
        sections: Sequence[str],
        populations: frozenset[str],
        drive: Drive,
    ) -> None:
        self.rows = _Rows(h, network, sections, populations, "i_membrane_")
        self._drive = drive

    def values(self) -> NDArray[np.float64]:
        return self.rows.values() + self._drive.currents[self.rows.cells].ravel()


def _series(rows: _Rows, samples: NDArray[np.float32], dt: float, unit: str) -> Series:
    values = np.ascontiguousarray(samples.T)
    return Series(rows.ids, values, dt, dt, unit, rows.sections)
