"""The loop that simulates: chunk by chunk, in step with the other ranks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.neuron.drive import Drive
from livn_ipp.neuron.learning import INTERVAL, Learning
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.partition import World
from livn_ipp.neuron.program import Program, whole_steps
from livn_ipp.neuron.recorder import Gains, Place, Recorder
from livn_ipp.run import Events, Run
from livn_ipp.stimulus import Stimulus
from livn_ipp.subworld import Course
from livn_ipp.system import System

__all__ = ["Simulation", "checked_interval"]

_Spikes = tuple[NDArray[np.uint32], NDArray[np.int64]]
"""Cells, and the steps of their spikes since time zero."""
_Timed = tuple[NDArray[np.uint32], NDArray[np.float64]]

_DT: Final = 0.05  # ms
_CHUNK: Final = 10.0  # ms; by default, between two votes on whether to stop
_GRID: Final = 1e-6  # ms; times are exact decimal numbers on it


@dataclass(frozen=True, eq=False)
class _Plan:
    """What a rank is about to simulate; None where it has nothing to say."""

    dt: float
    steps: int
    pace: int  # interval in steps between two votes
    pauses: tuple[int, ...]  # intervals in steps of what NEURON must pause for
    learns: int  # interval in steps, since time zero, at which weights change; or 0
    program: Program | None

    def common(self) -> tuple[Any, ...]:
        """Return what must be the same on all ranks."""
        return self.steps, self.pace, self.pauses, self.learns


class Simulation:
    """A network in NEURON and how far its time has come.

    Parameters
    ----------
    world
        The process's place in MPI.
    system, model, seed, gids
        What to build; see :class:`livn_ipp.neuron.network.Network`.
    recorder
        What to record.
    sync_interval
        Longest time in ms between two votes on whether to stop.

    Attributes
    ----------
    network : Network
        This rank's cells.
    learning : Learning
        What their connections have learned.
    """

    def __init__(
        self,
        world: World,
        system: System,
        model: Model,
        seed: int,
        gids: NDArray[np.uint32],
        recorder: Recorder,
        sync_interval: float = _CHUNK,
    ) -> None:
        self._system, self._model = system, model
        self._subworld = world.subworld
        self._recorder = recorder
        self._sync_interval = sync_interval
        self._dt = 0.0  # 0 until time starts
        self.network = Network(world, system, model, seed, gids)
        self._drive = Drive(world.h, self.network, model.sections)
        self.learning = Learning(self.network, world.subworld)
        recorder.attach(Place(world.h, self.network, self._drive, self.learning))

    @property
    def t(self) -> float:
        """Biological time in ms."""
        return float(_exact(self.network.step * self._dt))

    def rewind(self) -> None:
        """Return to time zero; the next run starts anew."""
        self._dt = 0.0
        self.network.step = 0
        self.learning.reset()

    def close(self) -> None:
        """Remove the network."""
        self.network.close()
        self._recorder.detach()

    def run(
        self,
        duration: float,
        stimulus: Stimulus | None,
        dt: float | None,
        chunk: float | None,
        trial: int,
        gains: Gains,
    ) -> Run:
        """Simulate on from the present time. Collective.

        Everything is checked, and refused on every rank alike, before the first step.
        See ``Env.run``.
        """
        plan, refused = None, ""
        try:
            plan = self._plan(duration, stimulus, dt, chunk, gains)
        except ConfigError as error:
            refused = str(error)
        ends = self._agreed_ends(plan, refused)
        assert plan is not None
        if self._dt == 0.0:
            self.network.initialise(plan.dt, trial)
            self._dt = plan.dt
        first = self.network.step
        self.learning.see(*self.network.take_spikes())  # of a run that was stopped
        self._recorder.start(plan.steps)
        t0 = float(_exact(first * self._dt))
        t1 = float(_exact((first + plan.steps) * self._dt))
        spikes: list[_Spikes] = []
        course = Course(
            t0,
            t1,
            self._news(spikes, first),
            lambda: self._recorder.latest("potential"),
        )
        try:
            for end in ends:
                done = self.network.step - first
                with self._subworld.without_votes():
                    if plan.program is not None and plan.program.changes_at(done):
                        self._drive.apply(plan.program, done)
                    self.network.advance(end - done)
                if plan.learns and self.network.step % plan.learns == 0:
                    spikes.append(self._seen())
                    self.learning.update(self.network.step, self._dt)
                self._recorder.collect(end)
                if end % plan.pace == 0 or end == plan.steps:
                    self._subworld.checkpoint(self.t, course)
        finally:
            self._recorder.stop()
            self._drive.rest()
        spikes.append(self._seen())
        events = None
        if self._recorder.spiking() is not None:
            events = Events.of(*self._chosen(spikes, first))
        return Run(t0, float(duration), events, self._recorder.series())

    def _plan(
        self,
        duration: float,
        stimulus: Stimulus | None,
        dt: float | None,
        chunk: float | None,
        gains: Gains,
    ) -> _Plan:
        step = self._checked_dt(dt)
        if not duration > 0:
            raise ConfigError(f"the duration must be positive (ms), not {duration!r}")
        steps = whole_steps(duration, step, "the duration")
        pace = max(int(self._sync_interval / step + 1e-9), 1)
        if chunk is not None:
            pace = min(pace, whole_steps(chunk, step, "the chunk"))
        learns = 0
        if self.learning.active:
            learns = whole_steps(INTERVAL, step, "the interval of learning")
        program = None
        if stimulus is not None:
            program = Program(
                stimulus, self._system, self._model, self.network.gids, step, duration
            )
            self._drive.require(program)
        self._recorder.prepare(step, gains)
        pauses = tuple(self._recorder.pauses())
        return _Plan(step, steps, pace, pauses, learns, program)

    def _checked_dt(self, dt: float | None) -> float:
        step = float(dt or self._dt or _DT)
        finest = self._model.max_dt
        if not 0 < step <= finest:
            raise ConfigError(
                f"dt={dt} ms cannot be used: only up to {finest:g} ms are the model's "
                f"rates, intervals and latencies known to be right"
            )
        whole_steps(self._model.hold, step, "the background's interval")
        whole_steps(step, _GRID, "dt")
        if self._dt not in {0.0, step}:
            raise ConfigError(
                f"dt cannot change from {self._dt:g} to {step:g} ms while time runs; "
                f"call clear() first"
            )
        return step

    def _agreed_ends(self, plan: _Plan | None, refused: str) -> list[int]:
        """Agree with the other ranks on the steps at which chunks end."""
        common = None if plan is None else plan.common()
        program = None if plan is None else plan.program
        changes = np.zeros(0, np.int64) if program is None else program.changes
        plans = self._subworld.comm.allgather((refused, common, changes))
        refusals = [problem for problem, _, _ in plans if problem]
        if refusals:
            raise ConfigError(refusals[0])
        assert plan is not None
        if any(other != common for _, other, _ in plans):
            raise ConfigError(
                f"the ranks of this subworld ask for different runs; steps, intervals "
                f"and learning are {[other for _, other, _ in plans]}"
            )
        regular = {plan.pace, *plan.pauses}
        parts = [np.arange(every, plan.steps, every) for every in regular]
        if plan.learns:
            begin = plan.learns - self.network.step % plan.learns
            parts.append(np.arange(begin, plan.steps, plan.learns))
        joined = np.unique(
            np.concatenate([*parts, *(p[2] for p in plans), [plan.steps]])
        )
        inside = joined[(joined > 0) & (joined <= plan.steps)]
        ends: list[int] = inside.astype(int).tolist()
        return ends

    def _seen(self) -> _Spikes:
        """Take the spikes since the last time, and let connections learn from them."""
        spikes = self.network.take_spikes()
        self.learning.see(*spikes)
        return spikes

    def _news(self, spikes: list[_Spikes], first: int) -> Callable[[], _Timed]:
        """Return what takes new spikes to the others, and returns those untold."""
        told = 0

        def news() -> _Timed:
            nonlocal told
            spikes.append(self._seen())
            untold, told = spikes[told:], len(spikes)
            return self._chosen(untold, first)

        return news

    def _chosen(self, spikes: list[_Spikes], first: int) -> _Timed:
        """Return cell and time (ms from the run's start) of spikes that are recorded.

        If none are, return those of all cells.
        """
        ids = np.concatenate([part[0] for part in spikes])
        steps = np.concatenate([part[1] for part in spikes])
        wanted = self._recorder.spiking()
        if wanted is not None:
            chosen = np.isin(ids, wanted)
            ids, steps = ids[chosen], steps[chosen]
        return ids, _exact((steps - first) * self._dt)


def checked_interval(value: Any) -> float:
    """Refuse what is no interval between votes; 10 ms for None.

    Raises
    ------
    ConfigError
        If it is not a positive number of ms.
    """
    if value is None:
        return _CHUNK
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < float("inf"):
        raise ConfigError(f"sync_interval must be a positive time in ms, not {value!r}")
    return float(value)


def _exact(time: Any) -> Any:
    """Return the double nearest to the decimal number, so 0.15 for 3 * 0.05."""
    return np.round(time, 6)
