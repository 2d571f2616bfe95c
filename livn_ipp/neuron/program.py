"""A stimulus as it meets the cells of one rank; made row by row as time goes on."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

__all__ = ["Program", "whole_steps"]

_ABSENT: Final = -1
_WINDOW: Final = 256  # rows made at once
_TOLERANCE: Final = 1e-6  # ms


def whole_steps(interval: float, dt: float, what: str) -> int:
    """Return how many steps `dt` make up an interval.

    Raises
    ------
    ConfigError
        If they do not make it up, or it is not positive.
    """
    ratio = interval / dt
    steps = round(ratio) if np.isfinite(ratio) else 0
    if steps < 1 or abs(ratio - steps) > 1e-6 * steps:
        raise ConfigError(
            f"{what} of {interval:g} ms is not a multiple of the simulation's step of "
            f"{dt:g} ms; choose one that is"
        )
    return steps


class Program:
    """A stimulus as it meets the cells of one rank.

    Parameters
    ----------
    stimulus
        What drives the cells.
    system, model
        Whose cells; columns of cells on other ranks are ignored.
    gids : array [n]
        This rank's cells.
    dt
        Step of the simulation in ms.
    duration
        Length of the run in ms.

    Attributes
    ----------
    mode
        The stimulus's input mode.
    reversal
        Potential in mV to which a conductance opens.
    changes : array, int64
        The steps, from the run's start, at which this rank's drive may change.

    Raises
    ------
    ConfigError
        If the stimulus does not fit the system, the run or the step, or is stronger
        than the model bears.
    """

    def __init__(
        self,
        stimulus: Stimulus,
        system: System,
        model: Model,
        gids: NDArray[np.uint32],
        dt: float,
        duration: float,
    ) -> None:
        self._stimulus = stimulus
        self.mode = stimulus.input_mode
        self.reversal = stimulus.reversal
        self._interval = whole_steps(stimulus.dt, dt, "the stimulus's dt")
        if stimulus.extent > duration + _TOLERANCE:
            raise ConfigError(
                f"the stimulus lasts {stimulus.extent:g} ms but the run only "
                f"{duration:g} ms; run longer or cut the stimulus"
            )
        self._columns = _columns(stimulus, system, model.sections, gids)
        rows = stimulus.changes()
        self._check_amplitudes(rows, model)
        self.changes: NDArray[np.int64] = rows * self._interval
        self._steps = frozenset(self.changes.tolist())

    def changes_at(self, step: int) -> bool:
        """Whether this rank's drive may change at a step."""
        return step in self._steps

    def at(self, step: int) -> NDArray[np.float64]:
        """Return the samples [n, sections] that act from a step on."""
        row = step // self._interval
        samples = self._stimulus.rows(row, row + 1)[0]
        if samples.size == 0:
            return np.zeros(self._columns.shape)
        return np.where(self._columns == _ABSENT, 0.0, samples[self._columns])

    def _check_amplitudes(self, rows: NDArray[np.int64], model: Model) -> None:
        bounds = model.amplitude_bounds.get(self.mode)
        own = np.unique(self._columns[self._columns != _ABSENT])
        if bounds is None or len(own) == 0:
            return
        for first, last in _windows(rows):
            samples = self._stimulus.rows(first, last)[:, own]
            beyond = np.argwhere((samples < bounds[0]) | (samples > bounds[1]))
            if len(beyond):
                row, column = beyond[0]
                unit = self._stimulus.units
                raise ConfigError(
                    f"the stimulus reaches {samples[row, column]:g} {unit} at "
                    f"{(first + row) * self._stimulus.dt:g} ms in column {own[column]}"
                    f", but {type(model).__name__} takes only {bounds[0]:g} to "
                    f"{bounds[1]:g} {unit}; make it weaker"
                )


def _windows(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Return windows of rows that hold all the given ones, none much longer."""
    start = 0
    while start < len(rows):
        first = int(rows[start])
        stop = int(np.searchsorted(rows, first + _WINDOW))
        yield first, int(rows[stop - 1]) + 1
        start = stop


def _columns(
    stimulus: Stimulus,
    system: System,
    sections: Sequence[str],
    gids: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Return the stimulus's column of each cell and section, or _ABSENT."""
    width = stimulus.width
    given = system.gids if stimulus.gids is None else stimulus.gids
    if len(given) != width:
        raise ConfigError(
            f"the stimulus has {width} columns for the {len(given)} cells of "
            f"{system.name}; name the cell of each column in gids, or use "
            f"env.cell_stimulus(channel_inputs)"
        )
    unknown = np.setdiff1d(given, system.gids)
    if len(unknown):
        raise ConfigError(
            f"the stimulus drives cells {unknown[:5].tolist()}, which {system.name} "
            f"does not have"
        )
    names = stimulus.sections or (sections[0],) * width
    wrong = sorted(set(names) - set(sections))
    if wrong:
        raise ConfigError(
            f"the stimulus drives sections {wrong}; the cells have {list(sections)}"
        )
    section = np.array([sections.index(name) for name in names], np.int64)
    places = given.astype(np.int64) * len(sections) + section
    if len(np.unique(places)) < width:
        raise ConfigError("the stimulus has two columns for the same section of a cell")
    columns = np.full((len(gids), len(sections)), _ABSENT, np.int64)
    here = np.flatnonzero(np.isin(given, gids))
    columns[np.searchsorted(gids, given[here]), section[here]] = here
    return columns
