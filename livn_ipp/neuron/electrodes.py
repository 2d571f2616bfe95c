"""Between the electrodes and the sections of cells."""

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp import volume_conductor
from livn_ipp.errors import ConfigError
from livn_ipp.io import IO
from livn_ipp.models import Model
from livn_ipp.policy import Policy
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

__all__ = ["Electrodes"]

_Floats = NDArray[np.float64]
_NANO_PER_MICRO: Final = 1000.0


class Electrodes:
    """An electrode array over a culture.

    Parameters
    ----------
    io
        The array; None if there is none.
    system, model
        Where cells and their sections are.
    """

    def __init__(self, io: IO | None, system: System, model: Model) -> None:
        self._io, self._system, self._model = io, system, model

    @property
    def io(self) -> IO:
        """The array.

        Raises
        ------
        ConfigError
            If there is none.
        """
        if self._io is None:
            raise ConfigError(f"{self._system.name} has no mea.json; pass io=MEA(...)")
        return self._io

    @property
    def revision(self) -> int:
        """Count of changes of the array's settings."""
        return 0 if self._io is None else self._io.revision

    @property
    def params(self) -> dict[str, float]:
        """The array's settings; none if there is no array."""
        return {} if self._io is None else self._io.params

    def stimulus(
        self,
        channel_inputs: ArrayLike | Policy,
        dt: float | None,
        gids: NDArray[np.uint32],
    ) -> Stimulus:
        """Return the field at the sections of some cells; see ``Env.cell_stimulus``."""
        sections = self._model.sections
        columns = np.repeat(gids, len(sections)), sections * len(gids)
        points = self._points(gids).reshape(-1, 3)
        if not isinstance(channel_inputs, Policy):
            field = self.io.cell_stimulus(channel_inputs, points)
            interval = 1.0 if dt is None else dt
            return Stimulus(field, interval, *columns, self.io.input_mode)
        transfer = self.io.transfer(points)
        policy = channel_inputs.for_array(len(transfer))
        policy = policy.as_input_units(self.io.input_units)
        if dt is not None and dt != policy.dt:
            raise ConfigError(
                f"dt={dt:g} ms, but {type(policy).__name__} has rows of "
                f"{policy.dt:g} ms; leave dt out"
            )
        return Stimulus.from_policy(policy, transfer, *columns, self.io.input_mode)

    def sort(self, ids: ArrayLike, *arrays: ArrayLike) -> Any:
        """Sort events by the channels that hear their cells."""
        return self.io.channel_recording(self._system.coordinates(), ids, *arrays)

    def gains(self, gids: NDArray[np.uint32]) -> _Floats:
        """Return the potential that a current of each section makes at each electrode.

        Returns
        -------
        array [C, n * sections]
            uV/nA, on the grid that makes sums exact.
        """
        return self.io.section_gain(self._points(gids))

    def potential(self, currents: ArrayLike, gids: NDArray[Any]) -> _Floats:
        """Return the potentials [C, T] in uV that currents [rows, T] in uA make.

        Parameters
        ----------
        currents
            Transmembrane currents.
        gids
            The cell of each row; each has consecutive rows for all its sections.
        """
        samples = np.atleast_2d(np.asarray(currents, np.float64)) * _NANO_PER_MICRO
        sections = self._model.sections
        cells = gids[:: len(sections)]
        if len(samples) != len(gids) or not np.array_equal(
            np.repeat(cells, len(sections)), gids
        ):
            raise ConfigError(
                f"{len(samples)} rows of currents for {len(gids)} gids: each needs "
                f"consecutive rows for {sections}, as record_membrane_current() makes"
            )
        return self.gains(cells) @ volume_conductor.round_currents(samples)

    def _points(self, gids: NDArray[np.uint32]) -> _Floats:
        rows = np.searchsorted(self._system.gids, gids)
        return self._model.points(
            self._system.coordinates()[rows, 1:], self._system.orientations()[rows]
        )
