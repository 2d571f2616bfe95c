"""The window as the electrodes see it."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from livn_ipp.errors import ConfigError
from livn_ipp.run import Run, Series
from livn_ipp.types import Decoding

__all__ = ["ChannelRecording", "Recording", "potential_of"]

Recording: TypeAlias = tuple[
    dict[int, NDArray[np.uint32]] | None,
    dict[int, NDArray[np.float64]] | None,
    NDArray[np.uint32] | None,
    NDArray[np.float32] | None,
    NDArray[np.int64],
    NDArray[np.float64] | None,
]
"""What a :class:`ChannelRecording` returns."""


class ChannelRecording(Decoding):
    """Sort spikes by the channels that hear them, and record electrode potentials.

    Returns on rank `root` of the subworld the six-tuple ``(cell ids by channel, spike
    times by channel, voltage ids, voltage, channel ids, potentials)``, on the others
    None. Within it

    - ``{channel: cell ids}`` and ``{channel: times}`` (ms) hold the spikes of the cells
      within each channel's output radius, ordered by time, then cell. Channels that
      reach no cell are absent; a spike appears on every channel that hears it.
    - the voltage (mV) has one row for each recorded section.
    - the potentials (uV), [channels, samples], come from ``env.record_potential`` if
      that is on, else from recorded membrane currents. They are sums on a fixed grid,
      so they have the same bits for any number of ranks.
    - what was not recorded is None.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    root
        Rank of the subworld that gets the recording.
    spikes, voltages, membrane_currents
        What to return of what was recorded; without `membrane_currents` the potentials
        are None.
    """

    root: int = Field(default=0, ge=0)
    spikes: bool = True
    voltages: bool = True
    membrane_currents: bool = True

    def setup(self, env: Any) -> None:
        """Check that there are electrodes."""
        if env.io is None:
            raise ConfigError(
                "ChannelRecording needs an electrode array, and the system has none; "
                "give the environment one: io=MEA(...)"
            )

    def __call__(self, run: Run, env: Any = None) -> Recording | None:
        """Record what the electrodes see."""
        parts = env.comm.gather(self._part(run, env), self.root)
        if parts is None:
            return None
        whole = Run.merge(parts)
        cells = times = None
        if whole.spikes is not None:
            cells, times = env.channel_recording(whole.spikes.ids, whole.spikes.times)
        voltage, potential = whole.voltage, whole.potential
        return (
            cells,
            times,
            None if voltage is None else voltage.ids,
            None if voltage is None else voltage.values,
            env.io.channel_ids,
            None if potential is None else potential.values,
        )

    def _part(self, run: Run, env: Any) -> Run:
        signals: dict[str, Series] = {}
        if self.voltages and run.voltage is not None:
            signals["voltage"] = run.voltage
        if self.membrane_currents:
            potential = run.potential or potential_of(run.current, env)
            if potential is not None:
                signals["potential"] = potential
        return Run(run.t0, run.duration, run.spikes if self.spikes else None, signals)


def potential_of(current: Series | None, env: Any) -> Series | None:
    """Compute this rank's share of the potentials (uV) from membrane currents."""
    if current is None:
        return None
    values = env.potential_recording(current.values, current.ids)
    return Series(env.io.channel_ids, values, current.dt, current.start, "uV")
