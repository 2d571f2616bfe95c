"""Which signals are recorded, and their samples during a run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.neuron.currents import Rows
from livn_ipp.neuron.drive import Drive
from livn_ipp.neuron.learning import Learning
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.probes import (
    CurrentProbe,
    PotentialProbe,
    Probe,
    StateProbe,
    VoltageProbe,
    WeightProbe,
)
from livn_ipp.neuron.program import whole_steps
from livn_ipp.neuron.settings import known
from livn_ipp.run import Series
from livn_ipp.system import System

__all__ = ["Gains", "Place", "Recorder"]

_OF_SECTIONS: Final = ("voltage", "current", "potential")


@dataclass(frozen=True, eq=False)
class Place:
    """What there is to record from.

    Attributes
    ----------
    h
        NEURON's interpreter.
    network, drive, learning
        This rank's share of the simulation.
    """

    h: Any
    network: Network
    drive: Drive
    learning: Learning


@dataclass(frozen=True, eq=False)
class Gains:
    """How the electrodes hear this rank's cells.

    Attributes
    ----------
    revision
        Counts the changes of the array's settings.
    compute
        Returns the channel ids and the gain [C, rows] of each section.
    """

    revision: int
    compute: Callable[[], tuple[NDArray[Any], NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class _Request:
    """A signal, how often, and of which sections: gid times sections plus section."""

    dt: float
    places: NDArray[np.int64]


class Recorder:
    """Keeps what was asked to be recorded and the probes that record it.

    Parameters
    ----------
    system, model
        What is simulated.
    """

    def __init__(self, system: System, model: Model) -> None:
        self.system = system
        self._model = model
        self._requests: dict[str, _Request] = {}
        self._probes: dict[str, Probe] = {}
        self._made_for: tuple[float, int] | None = None
        self._place: Place | None = None

    @property
    def states(self) -> dict[str, str]:
        """Units of the model's states, by name."""
        return {
            name: unit
            for population in self.system.populations
            for (_, name), unit in self._model.states(population).items()
        }

    def request(
        self,
        signal: str,
        population: str | Iterable[str] | None = None,
        dt: float = 0.0,
        gids: ArrayLike | None = None,
        sections: str | Sequence[str] | None = None,
    ) -> None:
        """Record a signal of some cells and sections as well.

        Raises
        ------
        ConfigError
            If a name or cell is unknown, or the signal is recorded at another interval.
        """
        if signal != "spikes" and not (np.isfinite(dt) and dt > 0):
            raise ConfigError(
                f"{signal}: dt must be a positive number of ms, not {dt!r}"
            )
        before = self._requests.get(signal)
        if before is not None and before.dt != dt:
            raise ConfigError(
                f"{signal} is already recorded every {before.dt:g} ms; use that "
                f"interval for all populations, or call clear_recordings() first"
            )
        places = np.zeros(0, np.int64)
        if signal != "weights":
            places = self._places(signal, population, gids, sections)
        if before is not None:
            places = np.union1d(before.places, places)
        self._requests[signal] = _Request(dt, places)
        self.forget()

    def interval(self, signal: str, default: float) -> float:
        """Return how often a signal is recorded, in ms."""
        request = self._requests.get(signal)
        return default if request is None else request.dt

    def clear(self) -> None:
        """Record nothing."""
        self._requests.clear()
        self.forget()

    def attach(self, place: Place) -> None:
        """Record from a network."""
        self._place = place
        self.forget()

    def detach(self) -> None:
        """Let go of the network."""
        self._place = None
        self.forget()

    def forget(self) -> None:
        """Make the probes anew at the next run."""
        self._probes.clear()
        self._made_for = None

    def prepare(self, dt: float, gains: Gains) -> None:
        """Make the probes for a simulation with step `dt` (ms).

        Raises
        ------
        ConfigError
            If a sampling interval is not a multiple of the step.
        """
        if self._made_for == (dt, gains.revision):
            return
        every = {
            signal: whole_steps(request.dt, dt, f"{signal}'s dt")
            for signal, request in self._requests.items()
            if signal != "spikes"
        }
        assert self._place is not None
        self._probes = {
            signal: self._probe(self._place, signal, steps, gains)
            for signal, steps in every.items()
        }
        self._made_for = dt, gains.revision

    def pauses(self) -> list[int]:
        """Return the intervals in steps at which NEURON must pause for samples."""
        return sorted({probe.pause for probe in self._probes.values()} - {0})

    def start(self, steps: int) -> None:
        """Make room for a run's samples."""
        for probe in self._probes.values():
            probe.start(steps)

    def collect(self, step: int) -> None:
        """Take what is due, `step` steps after the run's start."""
        for probe in self._probes.values():
            probe.collect(step)

    def latest(self, signal: str) -> NDArray[Any] | None:
        """Return this rank's last sample of a signal in the run under way, if any."""
        probe = self._probes.get(signal)
        return None if probe is None else probe.latest()

    def stop(self) -> None:
        """Take nothing more."""
        for probe in self._probes.values():
            probe.stop()

    def series(self) -> dict[str, Series]:
        """Return the run's samples by signal."""
        return {name: probe.series() for name, probe in self._probes.items()}

    def spiking(self) -> NDArray[np.int64] | None:
        """Return the cells whose spikes are recorded; None if spikes are not."""
        request = self._requests.get("spikes")
        if request is None:
            return None
        return request.places // len(self._model.sections)

    def _probe(self, place: Place, signal: str, every: int, gains: Gains) -> Probe:
        request = self._requests[signal]
        if signal == "weights":
            return WeightProbe(place.learning, every, request.dt)
        rows = self._rows(place.network, request.places)
        at = (place.h, place.network, rows)
        if signal == "voltage":
            return VoltageProbe(*at, every, request.dt)
        if signal == "current":
            return CurrentProbe(*at, every, request.dt, place.drive)
        if signal == "potential":
            heard = gains.compute()
            return PotentialProbe(*at, every, request.dt, place.drive, *heard)
        return StateProbe(*at, every, request.dt, signal, self.states[signal])

    def _rows(self, network: Network, places: NDArray[np.int64]) -> Rows:
        names = self._model.sections
        gids, sections = np.divmod(places, len(names))
        here = np.isin(gids, network.gids)
        ids = gids[here].astype(np.uint32)
        return Rows(
            np.searchsorted(network.gids, ids),
            sections[here],
            ids,
            tuple(names[section] for section in sections[here]),
        )

    def _places(
        self,
        signal: str,
        population: str | Iterable[str] | None,
        gids: ArrayLike | None,
        sections: str | Sequence[str] | None,
    ) -> NDArray[np.int64]:
        asked = [population] if isinstance(population, str) else population
        wanted = [sections] if isinstance(sections, str) else sections
        populations = list(self.system.populations if asked is None else asked)
        for name in populations:
            known(name, self.system.populations, "population")
        names = self._model.sections
        cells = self.system.gids
        its = self.system.population_of(cells)
        member = np.isin(its, populations)
        if gids is not None:
            _check_cells(gids, cells[member], populations)
            member &= np.isin(cells, gids)
        places = [np.zeros(0, np.int64)]
        for each in populations:
            offered = self._sections(signal, each)
            if asked is not None and not offered:
                raise ConfigError(f"{each} cells have no {signal} to record")
            for section in offered if wanted is None else wanted:
                if asked is None and wanted is not None and not offered:
                    continue
                known(section, offered, f"section of {each} cells with {signal}")
                chosen = cells[member & (its == each)].astype(np.int64)
                places.append(chosen * len(names) + names.index(section))
        return np.unique(np.concatenate(places))

    def _sections(self, signal: str, population: str) -> list[str]:
        names = list(self._model.sections)
        if signal == "spikes":
            return names[:1]
        if signal in _OF_SECTIONS:
            return names
        states = self._model.states(population)
        return [name for name in names if (name, signal) in states]


def _check_cells(
    gids: ArrayLike, cells: NDArray[np.uint32], populations: list[str]
) -> None:
    unknown = np.setdiff1d(np.asarray(gids), cells)
    if len(unknown):
        raise ConfigError(
            f"cells {unknown[:5].tolist()} are not among the {len(cells)} simulated "
            f"cells of {populations}"
        )
