"""Env: one culture on one subworld, and the loop that simulates it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.display import Card, Shown
from livn_ipp.errors import ConfigError
from livn_ipp.io import IO
from livn_ipp.models import Cell, Model
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.neuron import mechanisms
from livn_ipp.neuron.boot import boot, world
from livn_ipp.neuron.channels import Channels
from livn_ipp.neuron.configurable import Configurable
from livn_ipp.neuron.electrodes import Electrodes
from livn_ipp.neuron.learning import Learning
from livn_ipp.neuron.partition_report import PartitionReport, RankShare
from livn_ipp.neuron.recorder import Gains
from livn_ipp.neuron.shares import cell_costs, checked_partition, own_gids
from livn_ipp.neuron.simulation import Simulation, checked_interval
from livn_ipp.policy import Policy
from livn_ipp.run import Run
from livn_ipp.stimulus import Stimulus
from livn_ipp.subworld import Subworld
from livn_ipp.system import System

__all__ = ["Env"]

_LARGEST_KEY: Final = 2**32 - 1  # of NEURON's random streams


class Env(Configurable, Channels, Shown):
    """A culture that can be driven, simulated and recorded.

    All ranks of a subworld hold one Env together and call its methods alike; each
    simulates and returns its own share of the cells. A process holds one initialised
    Env at a time.

    Parameters
    ----------
    system
        A system directory, the name of a shipped culture, a System, or a number of
        unconnected cells, also by population, such as ``{"EXC": 3, "INH": 5}``.
    model
        Dynamics of cells and synapses; by default what the system's ``model.json``
        names, or else Pinsky-Rinzel cells.
    io
        The electrodes, or another IO; by default the system's own.
    seed
        Root of all randomness, 0 to 2^32 - 1.
    comm
        mpi4py's ``COMM_WORLD``, to divide its ranks anew; or a Subworld that
        :func:`livn_ipp.neuron.boot.boot` returned; by default the latest of these, or
        this process alone.
    subworld_size
        Ranks per subworld; by default all ranks of `comm`.
    partition
        How cells are divided among the ranks: ``"round_robin"`` in turn, ``"cost"`` by
        what they cost to simulate, ``"spatial"`` by where they are. Results do not
        depend on it.
    sync_interval
        Biological time in ms, 10 by default, between two points at which the ranks
        agree on whether to go on and publish how far they are.

    Attributes
    ----------
    system, model, io, seed, partition, sync_interval
        As above.
    subworld : Subworld
        The ranks that hold this Env.
    comm : Communicator
        Their guarded collectives.
    trial : int
        Selects the realisation of all randomness of the simulation.
    encoding, decoding
        Those of the latest call.

    Raises
    ------
    ConfigError
        If an argument cannot be used.

    Examples
    --------
    >>> env = Env("EI1").init().record_spikes()
    >>> run = env.run(50)
    >>> run.digest() == env.clear(trial=0).run(50).digest()
    True
    >>> env.close()
    """

    def __init__(
        self,
        system: System | str | Path | int | Mapping[str, int],
        model: Model | None = None,
        io: IO | None = None,
        seed: int = 123,
        comm: Any = None,
        subworld_size: int | None = None,
        *,
        partition: str = "round_robin",
        sync_interval: float | None = None,
    ) -> None:
        self.partition = checked_partition(partition)
        self.sync_interval = checked_interval(sync_interval)
        culture = System(system)
        dynamics: Model = model or culture.default_model() or PinskyRinzel()
        self.io: IO | None = culture.default_io() if io is None else io
        super().__init__(culture, dynamics, Electrodes(self.io, culture, dynamics))
        self.seed = _key("seed", seed)
        self.trial = 0
        self.encoding: Any = None
        self.decoding: Any = None
        self._simulation: Simulation | None = None
        self._own: NDArray[np.uint32] | None = None
        self.subworld = _place(comm, subworld_size)
        self.comm = self.subworld.comm

    @property
    def t(self) -> float:
        """Biological time in ms."""
        return self._simulation.t if self._simulation else 0.0

    @property
    def active_gids(self) -> NDArray[np.uint32]:
        """The cells that this rank simulates."""
        if self._own is None:
            rank, size = self.subworld.rank, self.subworld.size
            self._own = own_gids(self.system, self.model, self.partition, rank, size)
        return self._own

    def selection(
        self, select: Any, method: str = "first", bounds: ArrayLike | None = None
    ) -> Self:
        """Simulate some of the culture's cells only.

        Connections from and onto other cells vanish; :attr:`system` becomes the culture
        of the chosen cells. A later selection replaces this one. Everything that is
        random about a cell stays as it is in the whole culture.

        Parameters
        ----------
        select, method, bounds
            As :meth:`livn_ipp.system.System.selection` takes them, ``"random"`` being
            keyed by the environment's seed; None for all cells.

        Raises
        ------
        ConfigError
            If the network is built already, or the cells cannot be chosen.
        """
        if self._simulation is not None:
            raise ConfigError(
                "the network is built already; call selection() before init(), or "
                "close() first"
            )
        self.system = self.system.whole.select(select, method, bounds, self.seed)
        self._own = None
        self._electrodes = Electrodes(self.io, self.system, self.model)
        self._settings.use(self.system)
        self._recorder.system = self.system
        return self

    def init(self) -> Self:
        """Build the network. Collective; an Env that this process held is closed."""
        live = world()
        if live is None or live.subworld is not self.subworld:
            raise ConfigError(
                "the ranks were partitioned anew after this Env was made; make another"
            )
        mechanisms.load(live.h, self.model.mechanisms)
        self._simulation = Simulation(
            live,
            self.system,
            self.model,
            self.seed,
            self.active_gids,
            self._recorder,
            self.sync_interval,
        )
        return self._apply()

    def close(self) -> None:
        """Remove the network. The Env can be initialised again."""
        if self._simulation is not None:
            self._simulation.close()
        self._simulation = None

    def run(
        self,
        duration: float,
        stimulus: Any = None,
        dt: float | None = None,
        *,
        chunk: float | None = None,
    ) -> Run:
        """Simulate on from the present time. Collective.

        Parameters
        ----------
        duration
            Length in ms.
        stimulus
            What drives the cells, its times counted from the start of the run; see
            :meth:`livn_ipp.stimulus.Stimulus.from_arg`.
        dt
            Step in ms; 0.05 by default. It stays the same until :meth:`clear`.
        chunk
            Longest time in ms, at most the `sync_interval`, between two votes on
            whether to stop; the result does not depend on it.

        Returns
        -------
        Run
            What this rank's cells did. The window of spikes includes its start, not its
            end. Signals are sampled at dt, 2 dt, ..., each with its own dt.

        Raises
        ------
        ConfigError
            If an argument does not fit; nothing was simulated then.
        """
        simulation = self._live()
        if isinstance(stimulus, Policy):
            stimulus = self.cell_stimulus(stimulus)
        driven = Stimulus.from_arg(stimulus)
        gains = Gains(self._electrodes.revision, self._gains)
        return simulation.run(duration, driven, dt, chunk, self.trial, gains)

    def partition_report(self) -> PartitionReport:
        """Tell how the ranks share the culture, and how busy each was. Collective.

        Returns
        -------
        PartitionReport
            The same on every rank.

        Examples
        --------
        >>> Env("EI1").init().partition_report()
        PartitionReport(round_robin: 10 cells on 1 rank, balance 1.00)
        """
        network = self._live().network
        own, rank = self.active_gids, self.subworld.rank
        compartments = sum(
            int(section.nseg)
            for cell in network.cells
            for section in cell.sections.values()
        )
        synapses = sum(len(each.post_gids) for each in network.connections.values())
        cost = float(cell_costs(compartments, synapses))
        share = RankShare(rank, len(own), compartments, synapses, cost, network.busy)
        return PartitionReport.of(self.partition, self.comm.allgather(share))

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> Self:
        """Return to time zero.

        Parameters
        ----------
        reseed
            Go to the next trial; False repeats the present one.
        trial
            Go to this trial.
        """
        if trial is not None:
            self.trial = _key("trial", trial)
        elif reseed:
            self.trial += 1
        if self._simulation is not None:
            self._simulation.rewind()
        return self

    def reseed_noise(self, stream: int | None = None) -> Self:
        """Let the background go on with the randomness of another trial.

        Time goes on; :meth:`clear` with ``reseed=False`` then repeats that trial from
        time zero.

        Parameters
        ----------
        stream
            The trial; by default the next.
        """
        trial = self.trial + 1 if stream is None else _key("stream", stream)
        self.trial = trial
        simulation = self._present()
        if simulation is not None:
            simulation.network.reseed(trial)
        return self

    def __call__(
        self, decoding: Any, inputs: Any = None, encoding: Any = None, **options: Any
    ) -> Any:
        """Encode, simulate, decode. Collective.

        Parameters
        ----------
        decoding
            A Decoding; or a duration in ms, to get the Run itself.
        inputs
            What the encoding encodes; without encoding, the stimulus.
        encoding
            An Encoding or a function ``(env, duration, inputs) -> stimulus``.
        **options
            ``dt`` and ``chunk`` of :meth:`run`; ``duration`` in ms, instead of the
            decoding's.
        """
        self.encoding, self.decoding = encoding, decoding
        raw = isinstance(decoding, (int, float))
        if not raw:
            _check_decoding(decoding)
            decoding.setup(self)
        duration = options.pop("duration", decoding if raw else decoding.duration)
        stimulus = inputs if encoding is None else encoding(self, duration, inputs)
        run = self.run(duration, stimulus, **options)
        return run if raw else decoding(run, self)

    def _card(self) -> Card:
        facts = (
            ("culture", self.system.told),
            ("time", f"{self.t:g} ms, trial {self.trial}"),
            ("model", type(self.model).__name__),
            ("ranks", f"this is {self.subworld}"),
        )
        state = "ready" if self._simulation else "not initialised"
        return Card(f"Env of {self.system.name}", state, facts)

    def __repr__(self) -> str:
        state = f"t={self.t:g} ms" if self._simulation else "not initialised"
        return f"Env({self.system.name}, trial {self.trial}, {state}, {self.subworld})"

    def _live(self) -> Simulation:
        if self._simulation is None:
            raise ConfigError("this Env is not initialised; call init() first")
        if self._simulation.network.closed:
            raise ConfigError(
                "this Env was closed because another was initialised in this process, "
                "or the ranks were partitioned anew; a process holds one at a time: "
                "call init() again"
            )
        return self._simulation

    def _gains(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        channels = self._electrodes.io.channel_ids
        return channels, self._electrodes.gains(self.active_gids)

    def _present(self) -> Simulation | None:
        simulation = self._simulation
        return None if simulation is None or simulation.network.closed else simulation

    def _apply(self) -> Self:
        simulation = self._present()
        if simulation is None:
            return self
        simulation.network.set_weights(self._settings.weights())
        simulation.network.set_noise(self._settings.noise())
        simulation.network.parameters = self._settings.cells()
        if self._rules is not None:
            simulation.learning.enable(self._rules)
        elif simulation.learning.active:
            simulation.learning.disable()
        return self

    def _built(self, gid: int) -> Cell | None:
        simulation = self._present()
        if simulation is None or gid not in simulation.network.gids:
            return None
        network = simulation.network
        return network.cells[int(np.searchsorted(network.gids, gid))]

    def _learning(self) -> Learning | None:
        simulation = self._present()
        return None if simulation is None else simulation.learning


def _check_decoding(decoding: Any) -> None:
    missing = [name for name in ("setup", "duration") if not hasattr(decoding, name)]
    if missing:
        raise ConfigError(
            f"{decoding!r} is no decoding: it does not tell how long to simulate. Pass "
            f"a duration in ms to get the Run itself, or a Decoding, such as\n"
            f"class Count(Decoding):\n"
            f"    def __call__(self, run, env):\n"
            f"        return len(run.spikes)\n"
            f"as Count(duration=100)"
        )


def _place(comm: Any, subworld_size: int | None) -> Subworld:
    if isinstance(comm, Subworld):
        return comm
    live = world()
    if live is not None and comm is None and subworld_size is None:
        return live.subworld
    return boot(comm, subworld_size)


def _key(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or not 0 <= value <= _LARGEST_KEY:
        raise ConfigError(
            f"{name} must be a whole number from 0 to 2^32 - 1, not {value!r}"
        )
    return int(value)
