"""A system's cells and connections in NEURON: this rank's share of them."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Cell, Model, Receptor, reference
from livn_ipp.neuron.partition import World
from livn_ipp.subworld import Subworld
from livn_ipp.system import System

__all__ = ["Network", "WeightKey", "own_gids", "receptor_keys"]

_CONDUCTION: Final = 250.0  # um/ms, unmyelinated axons in culture
_SYNAPTIC_DELAY: Final = 1.0  # ms; also the shortest delay, which spike exchange needs
_WEIGHT_GRID: Final = 2.0**36  # per uS: sums of weights are exact in any order
_MAX_EXCHANGE: Final = 10.0  # ms
_SPREAD_OF_NOISE: Final = 1  # purpose of a random stream, with (seed, gid)


@dataclass(frozen=True)
class WeightKey:
    """Which weights a name stands for.

    Examples
    --------
    >>> str(WeightKey("EXC", "INH", "soma", "GABA_A"))
    'EXC_INH-soma-GABA_A-weight'
    """

    post: str
    pre: str
    section: str
    receptor: str

    def __str__(self) -> str:
        return f"{self.post}_{self.pre}-{self.section}-{self.receptor}-weight"


def receptor_keys(system: System, model: Model) -> dict[str, WeightKey]:
    """Return what the system's projections drive, by weight name.

    Raises
    ------
    ConfigError
        If the model's cells lack a receptor that the system asks for.
    """
    keys = {}
    for pre, post in system.projections:
        available = model.receptors(post)
        synapses = system.synapses(pre, post)
        mechanisms = synapses.get("mechanisms", {})
        first: Any = next(iter(mechanisms.values()), {})
        receptors = mechanisms.get("default") or first
        for section in synapses.get("sections", ()):
            for receptor in receptors:
                if (section, receptor) not in available:
                    raise ConfigError(
                        f"{system.name} puts {receptor} on the {section} of {post} "
                        f"cells (from {pre}), but {type(model).__name__} has only "
                        f"{', '.join('-'.join(p) for p in sorted(available))}"
                    )
                key = WeightKey(post, pre, section, receptor)
                keys[str(key)] = key
    return keys


def own_gids(system: System, subworld: Subworld) -> NDArray[np.uint32]:
    """Return the cells that this rank of a subworld simulates, ascending."""
    gids = system.gids
    own: NDArray[np.uint32] = gids[gids % subworld.size == subworld.rank]
    return own


class Network:
    """The cells of this rank and the connections onto them.

    Cell `gid` lives on rank ``gid % size`` of the subworld. Everything random depends
    on the seed and the gid only, so the network is the same for every number of ranks.

    Parameters
    ----------
    world
        The process's place in MPI; the network occupies it.
    system, model
        What to build.
    seed
        Root of all randomness.

    Attributes
    ----------
    gids : array [n], uint32
        This rank's cells, ascending.
    populations : list of str
        Their populations.
    cells : list of Cell
        Their NEURON objects.
    step : int
        Steps simulated since time zero.
    closed : bool
        Whether its cells are gone.
    """

    def __init__(self, world: World, system: System, model: Model, seed: int) -> None:
        self._h, self._pc = world.h, world.pc
        self._model, self._seed = model, seed
        self.gids = own_gids(system, world.subworld)
        self.populations = system.population_of(self.gids).tolist()
        self.step = 0
        self.closed = False
        self._dt = 0.0
        self._keep: list[Any] = []  # NEURON drops connections that nobody holds
        self._weights: dict[WeightKey, tuple[Any, NDArray[np.float64]]] = {}
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
        """Set weights in uS; each connection multiplies its own factor to it."""
        for key, weight in weights.items():
            pointers, factors = self._weights[key]
            if len(factors):
                values = np.rint(weight * factors * _WEIGHT_GRID) / _WEIGHT_GRID
                pointers.scatter(self._h.Vector(values))

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

    def take_spikes(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return cell and step of each spike since the last time this was called."""
        times, ids = np.array(self._times), np.array(self._ids)
        self._times.resize(0)
        self._ids.resize(0)
        # A spike of step k is stamped t_k plus NEURON's accumulated error.
        drift = self._pc.t(0) - self.step * self._dt if len(times) else 0.0
        steps = np.rint((times - drift) / self._dt)
        return ids.astype(np.uint32), steps.astype(np.int64)

    def track_membrane_currents(self) -> None:
        """Let NEURON compute the current through each section's membrane."""
        if self.cells:  # NEURON aborts the process if it has no cells
            self._h.CVode().use_fast_imem(True)

    def close(self) -> None:
        """Remove everything from NEURON."""
        if self.closed:
            return
        self.closed = True
        self._h.CVode().use_fast_imem(False)
        self._pc.gid_clear()
        self._weights.clear()
        self._keep.clear()
        self.cells = []
        self._times = self._ids = None
        gc.collect()

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
        delays = _SYNAPTIC_DELAY + edges.distance / _CONDUCTION
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
                self._weights[key] = (pointer, edges.factor)

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
