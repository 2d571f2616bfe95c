"""What a closed loop plays and hears: pulses on electrodes, rates of channels."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra
from livn_ipp.policy import ElectrodePolicy
from livn_ipp.run import Run
from livn_ipp.types import Decoding, Encoding

__all__ = ["ChannelPulses", "ChannelRates"]


class ChannelPulses(Encoding):
    """Play biphasic pulses on some channels, each as strong as the action says.

    An action is one number from 0 to 1 for each channel, the part of the full
    amplitude. The pulses of a step are charge-balanced, the negative phase first.

    Parameters
    ----------
    channels
        Ids of the channels.
    amplitude
        Full size of each phase in uA. The fields of the channels add up at a cell, and
        all of them at full strength must not exceed what the model takes.
    phase_duration
        Length of each phase in ms, a multiple of 0.05.
    pulse_times
        Begin of each pulse in ms from the start of the step, multiples of 0.05.

    Examples
    --------
    >>> pulses = ChannelPulses(channels=(2, 5), amplitude=30)
    >>> pulses.input_space
    Box(0.0, 1.0, (2,), float32)
    """

    channels: tuple[int, ...] = Field(min_length=1)
    amplitude: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    phase_duration: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    pulse_times: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, io: Any, channels: Sequence[int] | None = None, **fields: Any) -> Self:
        """Drive an array: all its channels, or some by their ids."""
        return cls(channels=_chosen(io, channels), **fields)

    @property
    def input_space(self) -> Any:
        """The strengths, 0 to 1 for each channel."""
        spaces = extra("gymnasium.spaces", "gymnasium")
        return spaces.Box(0.0, 1.0, (len(self.channels),))

    def __call__(self, env: Any, t_end: Any, inputs: Any) -> Any:  # noqa: ARG002
        """Hand the pulses to the cells."""
        strengths = np.clip(np.asarray(inputs, np.float64).ravel(), 0.0, 1.0)
        if len(strengths) != len(self.channels):
            raise ConfigError(
                f"an action has {len(self.channels)} numbers, one for each channel, "
                f"not {len(strengths)}"
            )
        ids = env.io.channel_ids
        pulses = _Pulses(
            n_channels=len(ids),
            channels=tuple(int(np.flatnonzero(ids == c)[0]) for c in self.channels),
            amplitudes=tuple(self.amplitude * strengths),
            phase_duration=self.phase_duration,
            pulse_times=self.pulse_times,
        )
        return env.cell_stimulus(pulses)


class ChannelRates(Decoding):
    """Rate of what each channel hears in a step, in Hz.

    Every rank returns the same array; as only whole numbers are added up, its bits do
    not depend on the number of ranks. Needs ``env.record_spikes()``.

    Parameters
    ----------
    channels
        Ids of the channels.
    duration
        Length of a step in ms.
    highest
        Highest rate of the observation space in Hz; what is above is cut off.

    Examples
    --------
    >>> ChannelRates(channels=(0, 1, 4), duration=50).output_space.shape
    (3,)
    """

    channels: tuple[int, ...] = Field(min_length=1)
    highest: float = Field(default=1e5, gt=0, allow_inf_nan=False)

    @classmethod
    def of(cls, io: Any, channels: Sequence[int] | None = None, **fields: Any) -> Self:
        """Listen to an array: all its channels, or some by their ids."""
        return cls(channels=_chosen(io, channels), **fields)

    @property
    def output_space(self) -> Any:
        """The rates, 0 to `highest` for each channel."""
        spaces = extra("gymnasium.spaces", "gymnasium")
        return spaces.Box(0.0, self.highest, (len(self.channels),))

    def __call__(self, run: Run, env: Any = None) -> NDArray[np.float32]:
        """Count what each channel hears."""
        if run.spikes is None:
            raise ConfigError("ChannelRates needs spikes; call env.record_spikes()")
        heard = env.channel_recording(run.spikes.ids)
        counts = np.array([len(heard.get(c, ())) for c in self.channels], np.int64)
        whole = env.comm.allreduce(counts)
        rates = whole / (run.duration / 1000)
        return np.asarray(np.minimum(rates, self.highest), np.float32)


class _Pulses(ElectrodePolicy):
    """Biphasic pulses with an amplitude for each channel."""

    dt: float = 0.05
    amplitudes: tuple[float, ...]
    phase_duration: float
    pulse_times: tuple[float, ...]

    def _phases(self) -> list[tuple[float, float, Any]]:
        sizes = np.array(self.amplitudes)
        return [
            (start, self.phase_duration, level)
            for time in self.pulse_times
            for start, level in ((time, -sizes), (time + self.phase_duration, sizes))
        ]


def _chosen(io: Any, channels: Sequence[int] | None) -> tuple[int, ...]:
    if io is None:
        raise ConfigError("the culture has no electrodes; give it some: io=MEA(...)")
    ids = [int(channel) for channel in io.channel_ids]
    unknown = sorted({*(channels or ())} - {*ids})
    if unknown:
        raise ConfigError(f"the array has no channels {unknown}; it has {ids}")
    return tuple(ids if channels is None else map(int, channels))
