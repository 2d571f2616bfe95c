"""What drives the cells: a field or a current, set at the ends of chunks."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.neuron.network import Network
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

__all__ = ["Drive", "Program", "whole_steps"]

_MAX_FIELD_DIFFERENCE: Final = 1000.0  # mV between soma and dendrite
_ABSENT: Final = -1


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
    changes : array, int64
        The steps, from the run's start, at which this rank's drive changes.

    Raises
    ------
    ConfigError
        If the stimulus does not fit the system, the run or the step.
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
        if stimulus.input_mode not in {"extracellular", "current"}:
            raise ConfigError(
                f"input_mode {stimulus.input_mode!r} is not simulated; use "
                f"'extracellular' (mV) or 'current' (nA)"
            )
        self.field = stimulus.input_mode == "extracellular"
        self.rows = stimulus.array
        self.interval = whole_steps(stimulus.dt, dt, "the stimulus's dt")
        self._check_length(stimulus, duration)
        self.columns = _columns(stimulus, system, model.sections, gids)
        different = np.any(np.diff(self.rows, axis=0) != 0, axis=1)
        last = len(self.rows)
        starts = np.concatenate([[0], np.flatnonzero(different) + 1, [last]])
        self.changes: NDArray[np.int64] = starts.astype(np.int64) * self.interval

    def at(self, step: int) -> NDArray[np.float64]:
        """Return the samples [n, sections] that act from a step on."""
        row = step // self.interval
        if row >= len(self.rows):
            return np.zeros(self.columns.shape)
        return np.where(self.columns == _ABSENT, 0.0, self.rows[row][self.columns])

    @staticmethod
    def _check_length(stimulus: Stimulus, duration: float) -> None:
        beyond = round(duration / stimulus.dt)
        if stimulus.array[beyond:].any():
            raise ConfigError(
                f"the stimulus lasts {stimulus.duration:g} ms but the run only "
                f"{duration:g} ms; run longer or cut the stimulus"
            )


class Drive:
    """The current that a stimulus puts into each section of each cell.

    A field acts on a cell of two compartments exactly as a pair of currents: the
    difference of the extracellular potential between dendrite and soma, divided by the
    resistance between them, into the soma and out of the dendrite. The difference is
    cut at 1000 mV.

    Attributes
    ----------
    currents : array [n, sections]
        What acts now, in nA.
    """

    def __init__(self, h: Any, network: Network, sections: Sequence[str]) -> None:
        cells = network.cells
        self.currents = np.zeros((len(cells), len(sections)))
        self._conductance = np.array([1 / c.axial_resistance for c in cells])
        self._buffer = h.Vector(max(self.currents.size, 1))
        self._pointers = h.PtrVector(max(self.currents.size, 1))
        references = [cell.currents[name] for cell in cells for name in sections]
        for at, reference in enumerate(references):
            self._pointers.pset(at, reference)

    def apply(self, program: Program, step: int) -> None:
        """Let a program's samples act from a step on."""
        samples = program.at(step)
        if program.field:
            difference = samples[:, 1] - samples[:, 0]
            bounded = np.clip(difference, -_MAX_FIELD_DIFFERENCE, _MAX_FIELD_DIFFERENCE)
            axial = bounded * self._conductance  # mV/MOhm = nA
            samples = np.stack([axial, -axial], axis=1)
        self._set(samples)

    def rest(self) -> None:
        """Let nothing act."""
        self._set(np.zeros_like(self.currents))

    def _set(self, currents: NDArray[np.float64]) -> None:
        self.currents = currents
        if currents.size:
            self._buffer.as_numpy()[:] = currents.ravel()
            self._pointers.scatter(self._buffer)


def _columns(
    stimulus: Stimulus,
    system: System,
    sections: Sequence[str],
    gids: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Return the stimulus's column of each cell and section, or _ABSENT."""
    width = stimulus.array.shape[1]
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
