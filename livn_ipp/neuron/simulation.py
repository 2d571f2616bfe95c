"""The loop that simulates: chunk by chunk, in step with the other ranks."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.neuron.drive import Drive, Program, whole_steps
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.partition import World
from livn_ipp.neuron.recorder import Recorder
from livn_ipp.run import Events, Run
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System

__all__ = ["Simulation"]

_DT: Final = 0.05  # ms
_CHUNK: Final = 10.0  # ms; the longest time between two votes on whether to stop
_GRID: Final = 1e-6  # ms; times are exact decimal numbers on it


class Simulation:
    """A network in NEURON and how far its time has come.

    Parameters
    ----------
    world
        The process's place in MPI.
    system, model, seed
        What to build.
    recorder
        What to record.

    Attributes
    ----------
    network : Network
        This rank's cells.
    """

    def __init__(
        self, world: World, system: System, model: Model, seed: int, recorder: Recorder
    ) -> None:
        self._system, self._model = system, model
        self._subworld = world.subworld
        self._recorder = recorder
        self._dt = 0.0  # 0 until time starts
        self.network = Network(world, system, model, seed)
        self._drive = Drive(world.h, self.network, model.sections)
        recorder.attach(world.h, self.network, self._drive, model.sections)

    @property
    def t(self) -> float:
        """Biological time in ms."""
        return float(_exact(self.network.step * self._dt))

    def rewind(self) -> None:
        """Return to time zero; the next run starts anew."""
        self._dt = 0.0
        self.network.step = 0

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
        gains: Callable[[], tuple[NDArray[Any], NDArray[np.float64]]],
    ) -> Run:
        """Simulate on from the present time. Collective.

        Everything is checked, on every rank, before the first step. See ``Env.run``.
        """
        step = self._checked_dt(dt)
        if not duration > 0:
            raise ConfigError(f"the duration must be positive (ms), not {duration!r}")
        steps = whole_steps(duration, step, "the duration")
        pace = whole_steps(_CHUNK if chunk is None else chunk, step, "the chunk")
        program = None
        if stimulus is not None:
            program = Program(
                stimulus, self._system, self._model, self.network.gids, step, duration
            )
        self._recorder.prepare(step, gains)
        ends = self._agreed_ends(steps, pace, program)
        if self._dt == 0.0:
            self.network.initialise(step, trial)
            self._dt = step
        first = self.network.step
        self.network.take_spikes()  # those of a run that was stopped
        self._recorder.start(steps)
        try:
            for end in ends:
                done = self.network.step - first
                if program is not None:
                    self._drive.apply(program, done)
                self.network.advance(end - done)
                self._recorder.sample(end)
                self._subworld.agree()
                self._subworld.report(self.t)
        finally:
            self._drive.rest()
        t0 = float(_exact(first * self._dt))
        return Run(t0, float(duration), self._spikes(first), self._recorder.series())

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

    def _agreed_ends(self, steps: int, pace: int, program: Program | None) -> list[int]:
        """Agree with the other ranks on the steps at which chunks end."""
        changes = np.zeros(0, np.int64) if program is None else program.changes
        regular = [pace, *self._recorder.intervals()]
        plans = self._subworld.comm.allgather((steps, regular, changes))
        if any(plan[:2] != plans[0][:2] for plan in plans):
            raise ConfigError(
                f"the ranks of this subworld ask for different runs; steps and "
                f"intervals are {[plan[:2] for plan in plans]}"
            )
        parts = [np.arange(every, steps, every) for every in set(regular)]
        joined = np.unique(np.concatenate([*parts, *(p[2] for p in plans), [steps]]))
        ends: list[int] = joined[(joined > 0) & (joined <= steps)].astype(int).tolist()
        return ends

    def _spikes(self, first: int) -> Events | None:
        ids, steps = self.network.take_spikes()
        wanted = self._recorder.spiking(self.network)
        if wanted is None:
            return None
        chosen = np.isin(ids, wanted)
        return Events.of(ids[chosen], _exact((steps[chosen] - first) * self._dt))


def _exact(time: Any) -> Any:
    """Return the double nearest to the decimal number, so 0.15 for 3 * 0.05."""
    return np.round(time, 6)
