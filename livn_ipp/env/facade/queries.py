"""What a user may ask the workers for."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

__all__ = ["Queries"]


class Queries(ABC):
    """The queries of an Env, answered for the whole culture by any one worker."""

    system: System

    @property
    def weight_names(self) -> list[str]:
        """The keys that ``set_weights`` takes."""
        return list(self._ask("weight_names"))

    @property
    def voltage_recording_dt(self) -> Any:
        """Interval of recorded voltages in ms."""
        return self._ask("voltage_recording_dt")

    @property
    def membrane_current_recording_dt(self) -> Any:
        """Interval of recorded membrane currents in ms."""
        return self._ask("membrane_current_recording_dt")

    def recordable(self) -> list[str]:
        """Return what ``record`` takes."""
        return list(self._ask("recordable"))

    def admissible_params(self) -> dict[str, list[str]]:
        """Return what ``set_params`` takes; see the method of ``Env``."""
        return dict(self._ask("admissible_params"))

    def get_weights(self) -> dict[Any, Any]:
        """Return what connections have learned, of the whole culture.

        The answer is that of one worker, as its latest call left it. A decoding that
        returns ``env.get_weights()`` tells what was learned in its own call.
        """
        parts = self._ask_ranks("get_weights")
        return {key: value for part in parts for key, value in part.items()}

    def cell_stimulus(
        self, channel_inputs: Any, dt: float | None = None
    ) -> Stimulus | Any:
        """Turn electrode commands into what they make at all cells.

        An encoding that calls ``env.cell_stimulus`` does so on the workers, and nothing
        has to travel.

        Parameters
        ----------
        channel_inputs, dt
            As :meth:`livn_ipp.env.Env.cell_stimulus` takes them.
        """
        options = () if dt is None else (dt,)
        parts = self._ask_ranks("cell_stimulus", channel_inputs, *options)
        first = parts[0]
        if len(parts) == 1:
            return first
        return Stimulus(
            np.hstack([part.array for part in parts]),
            first.dt,
            np.concatenate([part.gids for part in parts]),
            [section for part in parts for section in part.sections],
            first.input_mode,
        )

    def channel_recording(self, ids: ArrayLike, *arrays: ArrayLike) -> Any:
        """Sort events by the channels that hear their cells; see ``MEA``."""
        return self._ask("channel_recording", np.asarray(ids), *map(np.asarray, arrays))

    def potential_recording(
        self, currents: ArrayLike, gids: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Compute electrode potentials from membrane currents.

        Parameters
        ----------
        currents : array [rows, T]
            Transmembrane currents in uA.
        gids : array [rows]
            The cell of each row, by default all cells, each with as many consecutive
            rows as fit.

        Returns
        -------
        array [C, T]
            The potential in uV.
        """
        values = np.asarray(currents)
        if gids is None:
            gids = np.repeat(self.system.gids, len(values) // len(self.system.gids))
        potential: NDArray[np.float64] = self._ask(
            "potential_recording", values, np.asarray(gids)
        )
        return potential

    def channel_reach(self) -> NDArray[np.float64]:
        """Effect [C, n] of one unit of each channel's command at each cell (mV/uA)."""
        return np.asarray(self._ask("channel_reach"))

    def source_gain(self) -> NDArray[np.float64]:
        """Potential [C, n] in uV/nA on each channel of a current at each cell."""
        return np.asarray(self._ask("source_gain"))

    def recording_distances(self) -> NDArray[np.float64]:
        """Rows (channel, gid, distance in um) [C * n, 3] of all cells."""
        return np.asarray(self._ask("recording_distances"))

    @abstractmethod
    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Ask one worker for an attribute or a method's answer."""

    @abstractmethod
    def _ask_ranks(self, name: str, *args: Any) -> list[Any]:
        """Ask every rank of one worker for an attribute or a method's answer."""
