"""Between channels and cells: the part of an environment that speaks electrodes."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.models import Model
from livn_ipp.neuron.electrodes import Electrodes
from livn_ipp.policy import Policy
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

__all__ = ["Channels"]


class Channels(ABC):
    """What an environment tells about its electrodes. Nothing here communicates."""

    system: System
    model: Model
    _electrodes: Electrodes

    @property
    @abstractmethod
    def active_gids(self) -> NDArray[np.uint32]:
        """The cells that this rank simulates."""

    def cell_stimulus(
        self, channel_inputs: ArrayLike | Policy, dt: float | None = None
    ) -> Stimulus:
        """Turn electrode commands into what they make at this rank's cells.

        Parameters
        ----------
        channel_inputs : array [T, C] or Policy
            Current of each channel in uA; a policy is rendered as the run goes on.
        dt
            Interval of the rows in ms; 1 by default, and a policy's own.
        """
        return self._electrodes.stimulus(channel_inputs, dt, self.active_gids)

    def channel_recording(self, ids: ArrayLike, *arrays: ArrayLike) -> Any:
        """Sort events by the channels that hear their cells; see ``MEA``."""
        return self._electrodes.sort(ids, *arrays)

    def potential_recording(
        self, currents: ArrayLike, gids: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Compute electrode potentials from membrane currents.

        Parameters
        ----------
        currents : array [rows, T]
            Transmembrane currents in uA.
        gids : array [rows]
            The cell of each row, by default this rank's, with as many consecutive rows
            as a cell has sections (soma, dendrite): the ids of ``run.current``.

        Returns
        -------
        array [C, T]
            This rank's share of the potential in uV; the ranks' sum is the potential.
        """
        rows = np.repeat(self.active_gids, len(self.model.sections))
        cells = rows if gids is None else np.asarray(gids)
        return self._electrodes.potential(currents, cells)

    def channel_reach(self) -> NDArray[np.float64]:
        """Effect [C, n] of one unit of each channel's command at each of all cells.

        mV/uA for electrodes.
        """
        return self._electrodes.io.reach(self.system.coordinates())

    def source_gain(self) -> NDArray[np.float64]:
        """Potential [C, n] in uV/nA on each channel of a current at each of all cells.

        Zero where a channel does not hear the cell.
        """
        return self._electrodes.io.source_gain(self.system.coordinates())

    def recording_distances(self) -> NDArray[np.float64]:
        """Rows (channel, gid, distance in um) [C * n, 3] of all cells."""
        return self._electrodes.io.distances(self.system.coordinates())
