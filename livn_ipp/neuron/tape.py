"""Voltages noted while NEURON steps, without leaving it for each sample."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tape"]


class Tape:
    """Voltages, noted every few steps.

    NEURON calls back once per step, after voltages and before states have advanced; a
    generator answers fastest. States would be a step late and cannot be taped.

    Parameters
    ----------
    h
        NEURON's interpreter.
    references
        NEURON's references to the voltages.
    every
        Interval in steps.
    """

    def __init__(self, h: Any, references: Sequence[Any], every: int) -> None:
        self._h, self._every = h, every
        self._width = len(references)
        self._pointers = h.PtrVector(max(self._width, 1))
        for at, reference in enumerate(references):
            self._pointers.pset(at, reference)
        self._rows: list[Any] = []
        self._views: list[NDArray[np.float64]] = []
        self._filled = 0
        self._solver = h.CVode()
        self._note: Any = None

    def start(self) -> None:
        """Begin to note; the present step counts as zero."""
        self.stop()
        self._filled = 0
        self._note = self._notes().__next__
        self._solver.extra_scatter_gather(0, self._note)

    def stop(self) -> None:
        """Note nothing more."""
        if self._note is not None:
            self._solver.extra_scatter_gather_remove(self._note)
        self._note = None

    def take(self) -> NDArray[np.float64]:
        """Return what was noted since the last time: [samples, voltages] in mV."""
        taken = np.empty((self._filled, self._width))
        if self._width and self._filled:
            # Half the time of np.stack, which looks at each row several times.
            np.concatenate(self._views[: self._filled], out=taken.reshape(-1))
        self._filled = 0
        return taken

    def _notes(self) -> Iterator[None]:
        gather = self._pointers.gather
        between = range(self._every - 1)
        while True:
            for _ in between:
                yield
            if self._filled == len(self._rows):
                self._rows.append(self._h.Vector(max(self._width, 1)))
                self._views.append(self._rows[-1].as_numpy())
            if self._width:
                gather(self._rows[self._filled])
            self._filled += 1
            yield
