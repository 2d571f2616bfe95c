"""A system's cells and connections in NEURON: this rank's share of them."""

import gc
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.models import Cell, Model, Receptor, reference
from livn_ipp.neuron.connections import (
    Connections,
    WeightKey,
    Weights,
    receptor_keys,
)
from livn_ipp.neuron.partition import World
from livn_ipp.system import System
from livn_ipp.system.layout import CONDUCTION

__all__ = ["Network"]

_SHORTEST_DELAY: Final = 0.1  # ms, two steps; spike exchange needs one
_WEIGHT_GRID: Final = 2.0**36  # per uS: sums of weights are exact in any order
_MAX_EXCHANGE: Final = 10.0  # ms
_SPREAD_OF_NOISE: Final = 1  # purpose of a random stream, with (seed, gid)


class Network:
    """The cells of this rank and the connections onto them.

    Everything random depends on the seed and the gid only, so the network is the same
    for every number of ranks and every division of the cells among them.

    Parameters
    ----------
    world
        The process's place in MPI; the network occupies it.
    system, model
        What to build.
    seed
        Root of all randomness.
    gids : array [n]
        The cells that this rank simulates, ascending.

    Attributes
    ----------
    gids : array [n], uint32
        This rank's cells, ascending.
    populations : list of str
        Their populations.
    cells : list of Cell
        Their NEURON objects.
    connections : dict
        Those onto them, by (pre, post).
    parameters : mapping
        Values of cells' parameters, by gid and name; they act from time zero on.
    step : int
        Steps simulated since time zero.
    closed : bool
        Whether its cells are gone.
    """

    def __init__(
        self,
        world: World,
        system: System,
        model: Model,
        seed: int,
        gids: NDArray[np.uint32],
    ) -> None:
        self._h, self._pc = world.h, world.pc
        self._model, self._seed = model, seed
        self.gids = gids
        self.populations = system.population_of(self.gids).tolist()
        self.step = 0
        self.closed = False
        self._dt = 0.0
        self._busy_before = float(self._pc.step_time())
        self._keep: list[Any] = []  # NEURON drops connections that nobody holds
        self._weights: dict[WeightKey, Weights] = {}
        self.connections: dict[tuple[str, str], Connections] = {}
        self.parameters: Mapping[int, Mapping[str, float]] = {}
        world.occupy(self)
        self.cells = [
            model.build(self._h, population, gid)
            for population, gid in zip(
                self.populations, self.gids.tolist(), strict=True
            )
        ]
        self._noise_factors = self._draw_noise_factors()
        self._register(world.subworld.rank)
        keys = list(receptor_keys(system, model).values())
        for pre, post in system.projections:
            self._connect(
                system, pre, post, [k for k in keys if (k.pre, k.post) == (pre, post)]
            )
        self._times, self._ids = self._h.Vector(), self._h.Vector()
        self._pc.spike_record(-1, self._times, self._ids)

    def set_weights(self, weights: Mapping[WeightKey, float]) -> None:
        """Set weights in uS; each connection multiplies its own factors to it."""
        for key, weight in weights.items():
            self._weights[key].base = weight
            self._write(key)

    def scale_weights(self, pre: str, post: str, scales: NDArray[np.float64]) -> None:
        """Multiply the weights of a projection's connections with learned factors."""
        connections = self.connections[pre, post]
        if np.array_equal(connections.scales, scales):
            return
        connections.scales[:] = scales
        for key in self._weights:
            if (key.pre, key.post) == (pre, post):
                self._write(key)

    def set_noise(self, noise: Mapping[str, Mapping[str, float]]) -> None:
        """Set the background of each population; see :data:`NOISE_NAMES`."""
        cells = zip(self.cells, self.populations, self._noise_factors, strict=True)
        for cell, population, factor in cells:
            if cell.background is None:
                continue
            for name, value in noise[population].items():
                varies = name in {"g_e0", "std_e"}
                setattr(cell.background, name, value * factor if varies else value)
            cell.background.background()

    def initialise(self, dt: float, trial: int) -> None:
        """Go to time zero with the randomness of a trial. Collective.

        Parameters
        ----------
        dt
            Step in ms.
        trial
            Selects the realisation of the background.
        """
        for cell, gid in zip(self.cells, self.gids.tolist(), strict=True):
            for name, value in self.parameters.get(gid, {}).items():
                cell.assign(name, value)
            if cell.background is not None:
                cell.background.rng.set_ids(self._seed, gid, trial)
        self._h.celsius = self._model.celsius
        self._h.secondorder = 2  # Crank-Nicolson: gates live at the middle of steps
        self._h.dt = dt
        self._dt = dt
        self._pc.set_maxstep(_MAX_EXCHANGE)
        self._h.finitialize(self._model.v_init)
        self.step = 0
        self.take_spikes()

    def advance(self, steps: int) -> None:
        """Simulate. Collective."""
        # NEURON's t gathers rounding errors, so time is counted in steps.
        self._pc.psolve(self._pc.t(0) + steps * self._dt)
        self.step += steps

    def reseed(self, trial: int) -> None:
        """Let the background go on with the randomness of another trial."""
        for cell, gid in zip(self.cells, self.gids.tolist(), strict=True):
            if cell.background is not None:
                cell.background.rng.set_ids(self._seed, gid, trial)
                cell.background.rng.set_seq(0)

    @property
    def busy(self) -> float:
        """Seconds that NEURON computed since the network was built, without waiting."""
        return float(self._pc.step_time()) - self._busy_before

    def take_spikes(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return cell and step of each spike since the last time this was called."""
        times, ids = np.array(self._times), np.array(self._ids)
        self._times.resize(0)
        self._ids.resize(0)
        # A spike of step k is stamped t_k plus NEURON's accumulated error.
        drift = self._pc.t(0) - self.step * self._dt if len(times) else 0.0
        steps = np.rint((times - drift) / self._dt)
        return ids.astype(np.uint32), steps.astype(np.int64)

    def close(self) -> None:
        """Remove everything from NEURON."""
        if self.closed:
            return
        self.closed = True
        self._pc.gid_clear()
        self._weights.clear()
        self.connections.clear()
        self._keep.clear()
        self.cells = []
        self._times = self._ids = None
        gc.collect()

    def _write(self, key: WeightKey) -> None:
        weights, connections = self._weights[key], self.connections[key.pre, key.post]
        if len(weights.factors):
            exact = weights.base * weights.factors * connections.scales
            weights.values[:] = np.rint(exact * _WEIGHT_GRID) / _WEIGHT_GRID
            weights.pointers.scatter(weights.buffer)

    def _draw_noise_factors(self) -> NDArray[np.float64]:
        draws = [
            np.random.default_rng(
                np.random.SeedSequence([self._seed, _SPREAD_OF_NOISE, gid])
            ).standard_normal()
            for gid in self.gids.tolist()
        ]
        factors = 1 + self._model.noise_spread * np.array(draws, np.float64)
        return np.maximum(factors, 0.0)

    def _register(self, rank: int) -> None:
        name = self._model.sections[0]
        for cell, gid in zip(self.cells, self.gids.tolist(), strict=True):
            section = cell.sections[name]
            detector = self._h.NetCon(reference(section(0.5), "v"), None, sec=section)
            detector.threshold = self._model.threshold
            self._pc.set_gid2node(gid, rank)
            self._pc.cell(gid, detector)

    def _connect(
        self, system: System, pre: str, post: str, keys: list[WeightKey]
    ) -> None:
        edges = system.projection(pre, post, self.gids)
        rows = np.searchsorted(self.gids, edges.post_gids).tolist()
        delays = np.maximum(edges.distance / CONDUCTION, _SHORTEST_DELAY)
        self.connections[pre, post] = Connections(
            edges.pre_gids, edges.post_gids, delays, np.ones(len(rows))
        )
        for together in self._by_process(post, keys):
            receptors = {
                row: _receptors(self.cells[row], together) for row in set(rows)
            }
            pointers = [self._h.PtrVector(max(len(rows), 1)) for _ in together]
            for at, (source, row, delay) in enumerate(
                zip(edges.pre_gids.tolist(), rows, delays.tolist(), strict=True)
            ):
                connection = self._pc.gid_connect(source, receptors[row][0].process)
                connection.delay = delay
                self._keep.append(connection)
                for pointer, receptor in zip(pointers, receptors[row], strict=True):
                    pointer.pset(at, reference(connection, "weight")[receptor.slot])
            for key, pointer in zip(together, pointers, strict=True):
                buffer = self._h.Vector(max(len(rows), 1))
                self._weights[key] = Weights(
                    pointer, buffer, buffer.as_numpy(), edges.factor
                )

    def _by_process(self, post: str, keys: list[WeightKey]) -> list[list[WeightKey]]:
        """Group keys whose receptors share a process: one connection serves them."""
        if post not in self.populations:
            return [keys]
        cell = self.cells[self.populations.index(post)]
        groups: dict[int, list[WeightKey]] = {}
        for key, receptor in zip(keys, _receptors(cell, keys), strict=True):
            groups.setdefault(id(receptor.process), []).append(key)
        return list(groups.values())


def _receptors(cell: Cell, keys: list[WeightKey]) -> list[Receptor]:
    return [cell.receptors[key.section, key.receptor] for key in keys]
