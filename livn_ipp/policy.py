"""Pulse programs: what each electrode commands, as a function of time."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from livn_ipp.errors import ConfigError
from livn_ipp.samples import DenseSamples, PulseSamples, Samples
from livn_ipp.types import Content

__all__ = [
    "BiphasicPulsePolicy",
    "ElectrodePolicy",
    "MonophasicPulsePolicy",
    "Policy",
    "PulseSweepPolicy",
]

_Rows = NDArray[np.float64]


class Policy(Content):
    """A program of commands, one column per channel, held over each interval `dt`.

    Row ``k`` acts from ``k * dt`` to ``(k + 1) * dt`` ms; after the last row nothing is
    commanded. Subclass it and implement ``__call__``, which returns all rows; a program
    that is long better implements :meth:`samples`, so that no more than a window of it
    is ever made.

    Parameters
    ----------
    dt
        Interval of the rows in ms.
    input_units
        Unit of the commands; that of the array it drives.

    Examples
    --------
    >>> class Ramp(Policy):
    ...     def __call__(self, observation=None):
    ...         return [[0.5], [1.0]]
    >>> Ramp(dt=2.0).window(2, 6).tolist()
    [[1.0], [0.0]]
    """

    model_config = ConfigDict(frozen=True)

    dt: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    input_units: str = "uA"

    def __call__(self, observation: Any = None) -> Any:
        """Return all rows [rows, channels].

        Parameters
        ----------
        observation
            What a closed loop saw; open programs do not look.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement __call__")

    def samples(self) -> Samples:
        """Return the program in a form that is rendered window by window."""
        return DenseSamples(self())

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.samples().num_rows

    @property
    def extent_ms(self) -> float:
        """Time in ms that a run must last at least."""
        return self.num_rows * self.dt

    def window(self, start_ms: float, stop_ms: float) -> _Rows:
        """Return the rows of a time window, both bounds multiples of `dt` in ms."""
        bounds = [
            _whole(time, self.dt, "a window's bound") for time in (start_ms, stop_ms)
        ]
        if not 0 <= bounds[0] < bounds[1]:
            raise ConfigError(
                f"window({start_ms}, {stop_ms}) is empty or starts before 0 ms"
            )
        return self.samples().rows(*bounds)

    def render(self) -> _Rows:
        """Return all rows [rows, channels]."""
        samples = self.samples()
        return samples.rows(0, samples.num_rows)

    def for_array(self, n_channels: int) -> Self:
        """Fit the program to an array.

        Raises
        ------
        ConfigError
            If it drives another number of channels.
        """
        width = self.samples().width
        if width != n_channels:
            raise ConfigError(
                f"{type(self).__name__} drives {width} channels, but the array "
                f"has {n_channels}"
            )
        return self

    def as_input_units(self, units: str | None) -> Self:
        """Return the program if its commands are in `units`.

        Raises
        ------
        ConfigError
            If they are not.
        """
        if units not in {None, self.input_units}:
            raise ConfigError(
                f"{type(self).__name__} commands {self.input_units}, but the array "
                f"takes {units}"
            )
        return self


class ElectrodePolicy(Policy):
    """A program of pulses on some channels of an electrode array.

    Only the pulses are kept; rows are made for the window that is asked for.

    Parameters
    ----------
    n_channels
        Channels of the array; None until the array is known, see :meth:`for_array`.
    channels
        The columns that are driven, from 0.
    dt
        Interval of the rows in ms.
    """

    n_channels: int | None = Field(default=None, ge=1)
    channels: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _channels_are_on_the_array(self) -> Self:
        if (
            len(set(self.channels)) < len(self.channels)
            or min(self.channels, default=0) < 0
        ):
            raise ValueError(
                f"channels must be different columns from 0, not {self.channels}"
            )
        if self.n_channels is not None:
            outside = [c for c in self.channels if c >= self.n_channels]
            if outside:
                raise ValueError(
                    f"the array has {self.n_channels} channels, counted from 0; it has "
                    f"no {outside}"
                )
        return self

    def for_array(
        self, n_channels: int, channels: tuple[int, ...] | None = None
    ) -> Self:
        """Fit the program to an array, and to the channels to drive if given.

        Examples
        --------
        >>> MonophasicPulsePolicy(channels=[1]).for_array(2).render().tolist()
        [[0.0, 1.5]]
        """
        if self.n_channels not in {None, n_channels}:
            raise ConfigError(
                f"{type(self).__name__} is made for {self.n_channels} channels, but "
                f"the array has {n_channels}"
            )
        update: dict[str, Any] = {"n_channels": n_channels}
        if channels is not None:
            update["channels"] = channels
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**(given | update))

    def __call__(self, observation: Any = None) -> _Rows:  # noqa: ARG002
        """Return all rows [rows, channels]."""
        return self.render()

    def _phases(self) -> list[tuple[float, float, Any]]:
        """Return (start, length, level) of each stretch in ms and `input_units`."""
        raise NotImplementedError(f"{type(self).__name__} must implement _phases")

    def samples(self) -> PulseSamples:
        """Return the pulses.

        Raises
        ------
        ConfigError
            If no channel is driven, the array is not known, two pulses overlap or a
            time is not a multiple of `dt`.
        """
        if self.n_channels is None or not self.channels:
            raise ConfigError(
                f"{type(self).__name__} drives no channel yet; name channels=[...] and "
                f"n_channels, or let env.cell_stimulus(policy) do the latter"
            )
        phases = sorted(self._phases(), key=lambda phase: phase[0])
        lengths = [
            _whole(length, self.dt, "a pulse's length") for _, length, _ in phases
        ]
        starts = [
            _whole(start, self.dt, "the time of a pulse") for start, _, _ in phases
        ]
        first = np.array(starts, np.int64)
        last = first + np.array(lengths, np.int64)
        early = np.flatnonzero(first[1:] < last[:-1])
        if len(early):
            raise ConfigError(
                f"the pulse at {phases[early[0] + 1][0]:g} ms begins before the one "
                f"before it ends; leave more time between pulses"
            )
        shape = (len(phases), len(self.channels))
        levels = [np.broadcast_to(level, shape[1]) for _, _, level in phases]
        return PulseSamples(
            first,
            last,
            np.array(levels, np.float64).reshape(shape),
            self.channels,
            self.n_channels,
            max(self._rows_of_run(), *last.tolist(), 0),
        )

    def _rows_of_run(self) -> int:
        """Return how many rows the program has at least."""
        return 0


class BiphasicPulsePolicy(ElectrodePolicy):
    """Charge-balanced pulses: a phase, a gap, and the opposite phase.

    Both phases have the same length and size, so that what flows in flows out again, as
    is needed to spare tissue and electrodes (Merrill, Bikson & Jefferys 2005, J
    Neurosci Methods 141:171).

    Parameters
    ----------
    amplitude
        Size of each phase in uA.
    phase_duration, interphase_gap
        Lengths in ms, multiples of `dt`.
    pulse_times
        Beginning of each pulse in ms, multiples of `dt`.
    cathodic_first
        Whether the negative phase comes first.
    n_channels, channels, dt
        See :class:`ElectrodePolicy`.

    Examples
    --------
    >>> pulse = BiphasicPulsePolicy(n_channels=1, channels=[0], phase_duration=0.1)
    >>> pulse.render().ravel().tolist()
    [-1.5, -1.5, 0.0, 1.5, 1.5]
    """

    dt: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    amplitude: float = Field(default=1.5, allow_inf_nan=False)
    phase_duration: float = Field(default=0.2, gt=0, allow_inf_nan=False)
    interphase_gap: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    pulse_times: tuple[float, ...] = (0.0,)
    cathodic_first: bool = True

    def _phases(self) -> list[tuple[float, float, Any]]:
        level = -self.amplitude if self.cathodic_first else self.amplitude
        apart = self.phase_duration + self.interphase_gap
        return [
            (start, self.phase_duration, size)
            for time in self.pulse_times
            for start, size in ((time, level), (time + apart, -level))
        ]


class MonophasicPulsePolicy(ElectrodePolicy):
    """Pulses of one sign.

    Parameters
    ----------
    amplitude
        Size in uA, positive or negative: one number, or one for each of `channels`.
    pulse_width
        Length in ms, a multiple of `dt`.
    pulse_times
        Beginning of each pulse in ms, multiples of `dt`.
    n_channels, channels, dt
        See :class:`ElectrodePolicy`.

    Examples
    --------
    >>> pulse = MonophasicPulsePolicy(n_channels=2, channels=[1], pulse_times=[1.0])
    >>> pulse.render().tolist(), pulse.extent_ms
    ([[0.0, 0.0], [0.0, 1.5]], 2.0)
    """

    amplitude: float | tuple[float, ...] = 1.5
    pulse_width: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    pulse_times: tuple[float, ...] = (0.0,)

    @model_validator(mode="after")
    def _each_channel_has_its_amplitude(self) -> Self:
        sizes = np.atleast_1d(np.asarray(self.amplitude, np.float64))
        if not np.isfinite(sizes).all():
            raise ValueError(f"amplitude must be finite, not {self.amplitude}")
        if isinstance(self.amplitude, tuple) and len(sizes) != len(self.channels):
            raise ValueError(
                f"{len(sizes)} amplitudes for {len(self.channels)} channels; give one "
                f"number or one for each"
            )
        return self

    def _phases(self) -> list[tuple[float, float, Any]]:
        return [(time, self.pulse_width, self.amplitude) for time in self.pulse_times]


class PulseSweepPolicy(ElectrodePolicy):
    """Trials of equal length, in each a biphasic pulse of another size.

    Parameters
    ----------
    amplitudes
        Sizes to try, in uA.
    repeats
        How often all are tried in turn.
    trial_ms, onset_ms
        Length of a trial, and when in it the pulse begins, in ms.
    pulse_ms
        Length of the pulse in ms; its first half is negative, its second positive.
    order
        Index into `amplitudes` for each trial, in place of `repeats`.
    start_ms
        Beginning of the first trial in ms.
    total_ms
        Length of the run in ms, to check that all trials fit.
    n_channels, channels, dt
        See :class:`ElectrodePolicy`.

    Examples
    --------
    >>> sweep = PulseSweepPolicy(amplitudes=[2, 4], repeats=1, trial_ms=10, onset_ms=5)
    >>> sweep.schedule()
    [(5.0, 2.0), (15.0, 4.0)]
    >>> sweep.extent_ms
    20.0
    """

    dt: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    amplitudes: tuple[float, ...] = Field(
        default=(300.0, 400.0, 500.0, 600.0), min_length=1
    )
    repeats: int = Field(default=8, ge=1)
    trial_ms: float = Field(default=2000.0, gt=0, allow_inf_nan=False)
    onset_ms: float = Field(default=1000.0, ge=0, allow_inf_nan=False)
    pulse_ms: float = Field(default=0.2, gt=0, allow_inf_nan=False)
    order: tuple[int, ...] = ()
    start_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    total_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _everything_fits(self) -> Self:
        if not np.isfinite(self.amplitudes).all():
            raise ValueError(f"amplitudes must be finite, not {self.amplitudes}")
        if self.onset_ms + self.pulse_ms > self.trial_ms:
            raise ValueError(
                f"a pulse of {self.pulse_ms:g} ms at {self.onset_ms:g} ms does not fit "
                f"a trial of {self.trial_ms:g} ms"
            )
        wrong = [i for i in self.order if not 0 <= i < len(self.amplitudes)]
        if wrong:
            raise ValueError(
                f"order: there are {len(self.amplitudes)} amplitudes, counted from 0, "
                f"no {wrong}"
            )
        if self.total_ms is not None and self.total_ms < self.extent_ms:
            raise ValueError(
                f"{self.n_trials} trials of {self.trial_ms:g} ms from "
                f"{self.start_ms:g} ms do not fit total_ms={self.total_ms:g}"
            )
        return self

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.order) or self.repeats * len(self.amplitudes)

    @property
    def duration_ms(self) -> float:
        """Length of all trials in ms."""
        return self.n_trials * self.trial_ms

    @property
    def extent_ms(self) -> float:
        """Time in ms at which the last trial ends; a run lasts at least as long."""
        return self.start_ms + self.duration_ms

    def _rows_of_run(self) -> int:
        return _whole(self.total_ms or self.extent_ms, self.dt, "the sweep")

    def schedule(self, start_ms: float | None = None) -> list[tuple[float, float]]:
        """Return the time in ms and the amplitude in uA of each pulse.

        Parameters
        ----------
        start_ms
            Beginning of the first trial in ms, by default the sweep's own.
        """
        start = self.start_ms if start_ms is None else start_ms
        order = self.order or tuple(range(len(self.amplitudes))) * self.repeats
        return [
            (start + trial * self.trial_ms + self.onset_ms, self.amplitudes[index])
            for trial, index in enumerate(order)
        ]

    def _phases(self) -> list[tuple[float, float, Any]]:
        half = self.pulse_ms / 2
        return [
            (time + shift, half, size)
            for time, amplitude in self.schedule()
            for shift, size in ((0.0, -amplitude), (half, amplitude))
        ]


def _whole(time: float, dt: float, what: str) -> int:
    """Return how many rows make up a time."""
    rows = round(time / dt)
    if rows < 0 or abs(time / dt - rows) > 1e-6 * max(rows, 1):
        raise ConfigError(
            f"{what}, {time:g} ms, is not a multiple of the policy's dt of {dt:g} ms"
        )
    return rows
