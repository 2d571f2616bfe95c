"""Which signals are recorded, and their samples during a run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.drive import Drive, whole_steps
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.probes import (
    CurrentProbe,
    PotentialProbe,
    Probe,
    Request,
    VoltageProbe,
)
from livn_ipp.neuron.settings import known
from livn_ipp.run import Series

__all__ = ["Recorder"]


class Recorder:
    """Keeps what was asked to be recorded and the probes that record it.

    Parameters
    ----------
    populations
        The system's populations.
    """

    def __init__(self, populations: Sequence[str]) -> None:
        self._populations = populations
        self._requests: dict[str, Request] = {}
        self._probes: dict[str, Probe] = {}
        self._made_for = 0.0
        self._place: tuple[Any, Network, Drive, Sequence[str]] | None = None

    def request(
        self, signal: str, population: str | list[str] | None, dt: float = 0.0
    ) -> None:
        """Record a signal of one, several or all populations as well.

        Raises
        ------
        ConfigError
            If a population is unknown, or the signal is recorded at another interval.
        """
        names = [population] if isinstance(population, str) else population
        for name in names or ():
            known(name, self._populations, "population")
        if signal != "spikes" and not (np.isfinite(dt) and dt > 0):
            raise ConfigError(
                f"{signal}: dt must be a positive number of ms, not {dt!r}"
            )
        chosen = frozenset(self._populations if names is None else names)
        before = self._requests.get(signal)
        if before is not None and before.dt != dt:
            raise ConfigError(
                f"{signal} is already recorded every {before.dt:g} ms; use that "
                f"interval for all populations, or call clear_recordings() first"
            )
        together = chosen | (before.populations if before else frozenset())
        self._requests[signal] = Request(together, dt)
        self._probes.clear()

    def clear(self) -> None:
        """Record nothing."""
        self._requests.clear()
        self._probes.clear()

    def attach(
        self, h: Any, network: Network, drive: Drive, sections: Sequence[str]
    ) -> None:
        """Record from a network."""
        self._place = (h, network, drive, sections)
        self._probes.clear()

    def detach(self) -> None:
        """Let go of the network."""
        self._place = None
        self._probes.clear()

    def prepare(
        self, dt: float, gains: Callable[[], tuple[NDArray[Any], NDArray[np.float64]]]
    ) -> None:
        """Make the probes for a simulation with step `dt`.

        Parameters
        ----------
        dt
            Step in ms.
        gains
            Returns the channel ids and the gain [C, rows] of each section.

        Raises
        ------
        ConfigError
            If a sampling interval is not a multiple of the step.
        """
        signals = [signal for signal in self._requests if signal != "spikes"]
        if self._made_for == dt and len(self._probes) == len(signals):
            return
        every = {
            signal: whole_steps(self._requests[signal].dt, dt, f"{signal}'s dt")
            for signal in signals
        }
        assert self._place is not None
        h, network, drive, sections = self._place
        if {"current", "potential"} & every.keys():
            network.track_membrane_currents()
        common = {s: (h, network, sections, self._requests[s], every[s]) for s in every}
        probes: dict[str, Probe] = {}
        if "voltage" in every:
            probes["voltage"] = VoltageProbe(*common["voltage"])
        if "current" in every:
            probes["current"] = CurrentProbe(*common["current"], drive)
        if "potential" in every:
            probes["potential"] = PotentialProbe(*common["potential"], drive, *gains())
        self._probes, self._made_for = probes, dt

    def intervals(self) -> list[int]:
        """Return the sampling intervals in steps."""
        return sorted({probe.every for probe in self._probes.values()})

    def start(self, steps: int) -> None:
        """Make room for a run's samples."""
        for probe in self._probes.values():
            probe.start(steps // probe.every)

    def sample(self, step: int) -> None:
        """Take the samples that are due, `step` steps after the run's start."""
        for probe in self._probes.values():
            if step % probe.every == 0:
                probe.sample(step // probe.every - 1)

    def series(self) -> dict[str, Series]:
        """Return the run's samples by signal."""
        return {name: probe.series() for name, probe in self._probes.items()}

    def spiking(self, network: Network) -> NDArray[np.uint32] | None:
        """Return the cells whose spikes are recorded; None if spikes are not."""
        request = self._requests.get("spikes")
        if request is None:
            return None
        wanted = [p in request.populations for p in network.populations]
        gids: NDArray[np.uint32] = network.gids[np.array(wanted, bool)]
        return gids
