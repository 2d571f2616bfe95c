"""What is recorded: voltages, currents, potentials, states and weights."""

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.models import reference
from livn_ipp.neuron.currents import Currents, Rows, voltage
from livn_ipp.neuron.drive import Drive
from livn_ipp.neuron.learning import Learning
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.tape import Tape
from livn_ipp.run import Series
from livn_ipp.volume_conductor import round_currents

__all__ = [
    "CurrentProbe",
    "PotentialProbe",
    "Probe",
    "StateProbe",
    "VoltageProbe",
    "WeightProbe",
]

_NANO_PER_MICRO: Final = 1000.0
_SMALL_PRODUCT: Final = 2**18  # multiplications
_Floats = NDArray[np.float64]


class Probe(ABC):
    """Samples one signal during a run.

    Parameters
    ----------
    every
        Sampling interval in steps.
    dt
        The same in ms.
    unit
        The signal's.
    tape
        What notes it while NEURON steps; without one, NEURON must pause for each
        sample.
    """

    dtype: type = np.float32

    def __init__(
        self, every: int, dt: float, unit: str, tape: Tape | None = None
    ) -> None:
        self.every = every
        self._dt, self._unit, self._tape = dt, unit, tape
        self._samples: NDArray[Any] = np.empty((0, 0), self.dtype)
        self._next = 0

    @property
    def pause(self) -> int:
        """Interval in steps at which NEURON must pause for a sample; 0 if none."""
        return 0 if self._tape else self.every

    def start(self, steps: int) -> None:
        """Make room for a run's samples."""
        self._samples = np.empty((steps // self.every, len(self.rows()[0])), self.dtype)
        self._next = 0
        if self._tape:
            self._tape.start()

    def collect(self, step: int) -> None:
        """Take what is due at a chunk's end, `step` steps after the run's start."""
        if self._tape or step % self.every == 0:
            block = self.block()
            self._samples[self._next : self._next + len(block)] = block
            self._next += len(block)

    def latest(self) -> NDArray[Any] | None:
        """Return the last sample [rows] of the run so far, if there is one."""
        return self._samples[self._next - 1] if self._next else None

    def stop(self) -> None:
        """Take nothing more."""
        if self._tape:
            self._tape.stop()

    def series(self) -> Series:
        """Return the run's samples."""
        values = np.ascontiguousarray(self._samples.T)
        self._samples = self._samples[:0]
        ids, names = self.rows()
        return Series(ids, values, self._dt, self._dt, self._unit, names)

    @abstractmethod
    def rows(self) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Return id and section of each row."""

    @abstractmethod
    def block(self) -> _Floats:
        """Return the samples [samples, rows] since the last time."""


class _SectionProbe(Probe):
    """A probe with one row per section."""

    _rows: Rows

    def rows(self) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Return id and section of each row."""
        return self._rows.ids, self._rows.names


class VoltageProbe(_SectionProbe):
    """Membrane voltage, float32 mV, one row per section."""

    def __init__(
        self, h: Any, network: Network, rows: Rows, every: int, dt: float
    ) -> None:
        self._rows = rows
        places = zip(rows.cells, rows.names, strict=True)
        voltages = [voltage(network.cells[cell], name) for cell, name in places]
        self._voltages = Tape(h, voltages, every)
        super().__init__(every, dt, "mV", self._voltages)

    def block(self) -> _Floats:
        """Return the samples since the last time."""
        return self._voltages.take()


class CurrentProbe(_SectionProbe):
    """Transmembrane current, one row per section, float32 uA, positive outward."""

    def __init__(
        self, h: Any, network: Network, rows: Rows, every: int, dt: float, drive: Drive
    ) -> None:
        self._rows = rows
        self._currents = Currents(h, network, rows, every, drive)
        super().__init__(every, dt, "uA", self._currents.tape)

    def block(self) -> _Floats:
        """Return the samples since the last time."""
        return self._currents.take() / _NANO_PER_MICRO


class PotentialProbe(Probe):
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

    dtype = np.float64

    def __init__(
        self,
        h: Any,
        network: Network,
        rows: Rows,
        every: int,
        dt: float,
        drive: Drive,
        channel_ids: NDArray[Any],
        gain: _Floats,
    ) -> None:
        self._channels, self._gain = channel_ids, np.ascontiguousarray(gain.T)
        self._of_pair = self._gain[0::2] - self._gain[1::2]
        self._currents = Currents(h, network, rows, every, drive)
        super().__init__(every, dt, "uV", self._currents.tape)

    def rows(self) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Return the electrodes."""
        return self._channels, ()

    def block(self) -> _Floats:
        """Return the samples since the last time."""
        paired = self._currents.take_pairs()
        if paired is None:
            currents, gain = self._currents.take(), self._gain
        else:  # half the work, and exactly the same
            currents, gain = paired, self._of_pair
        return _product(round_currents(currents), gain)


class StateProbe(_SectionProbe):
    """A state of the model, float32, one row per section that has it."""

    def __init__(
        self,
        h: Any,
        network: Network,
        rows: Rows,
        every: int,
        dt: float,
        name: str,
        unit: str,
    ) -> None:
        super().__init__(every, dt, unit)
        self._rows = rows
        size = max(len(rows.ids), 1)
        self._buffer, self._pointers = h.Vector(size), h.PtrVector(size)
        self._present = self._buffer.as_numpy()  # once: each call leaks 400 bytes
        for at, (cell, section) in enumerate(zip(rows.cells, rows.names, strict=True)):
            owner = network.cells[cell].states[section, name]
            self._pointers.pset(at, reference(owner, name))

    def block(self) -> _Floats:
        """Return the present sample."""
        count = len(self._rows.ids)
        if count:
            self._pointers.gather(self._buffer)
        present: _Floats = self._present[None, :count]
        return present


class WeightProbe(Probe):
    """What this rank's plastic connections have learned, float32, one row for each."""

    def __init__(self, learning: Learning, every: int, dt: float) -> None:
        super().__init__(every, dt, "")
        self._learning = learning

    def rows(self) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Return the postsynaptic cell of each connection, and its source's name."""
        sources = tuple(f"from {gid}" for gid in self._learning.pre_gids.tolist())
        return self._learning.post_gids, sources

    def block(self) -> _Floats:
        """Return the present sample."""
        return self._learning.factors[None]


def _product(currents: _Floats, gain: _Floats) -> _Floats:
    """Multiply in parts that are too small for a threaded BLAS to wake its threads."""
    rows = max(_SMALL_PRODUCT // max(gain.size, 1), 1)
    product = np.empty((len(currents), gain.shape[1]))
    for first in range(0, len(currents), rows):
        part = slice(first, first + rows)
        np.matmul(currents[part], gain, out=product[part])
    return product
