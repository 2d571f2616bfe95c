"""Which environment a worker builds: ours on NEURON, livn's, or a user's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from livn_ipp.env.livn import LivnEnv, simulator
from livn_ipp.errors import ConfigError
from livn_ipp.neuron.shares import checked_partition
from livn_ipp.neuron.simulation import checked_interval
from livn_ipp.subworld import Subworld
from livn_ipp.system import System
from livn_ipp.types import EnvFactory

__all__ = ["BackendFactory", "NeuronFactory", "check_ranks", "factory_for"]


@dataclass(frozen=True)
class NeuronFactory:
    """Builds :class:`livn_ipp.env.Env` on NEURON.

    Attributes
    ----------
    system
        The culture; one of a directory travels as its path.
    model, io
        As :class:`livn_ipp.env.Env` takes them.
    seed
        Seed of all randomness.
    partition, sync_interval
        How its ranks share the work; as :class:`livn_ipp.env.Env` takes them.
    """

    system: System
    model: Any = None
    io: Any = None
    seed: int = 123
    partition: str = "round_robin"
    sync_interval: float | None = None

    name: ClassVar[str] = "neuron"
    multirank: ClassVar[bool] = True

    def select(self, select: Any, method: str, bounds: Any) -> Self:
        """Return the factory of an environment of some of the cells."""
        chosen = self.system.whole.select(select, method, bounds, self.seed)
        return replace(self, system=chosen)

    def prepare(self, comm: Any, subworld_size: int) -> Subworld:
        """Boot NEURON and partition the world."""
        from livn_ipp.neuron.boot import boot

        return boot(comm, subworld_size)

    def build(self, subworld: Subworld) -> Any:
        """Build and initialise the environment."""
        from livn_ipp.neuron.env import Env

        return Env(
            self.system,
            self.model,
            self.io,
            self.seed,
            comm=subworld,
            partition=self.partition,
            sync_interval=self.sync_interval,
        ).init()

    def fingerprint(self) -> dict[str, str]:
        """Digest what is read from disk: the system and the mechanisms."""
        from livn_ipp.models import MECHANISMS
        from livn_ipp.neuron import mechanisms

        directories = (MECHANISMS, *getattr(self.model, "mechanisms", ()))
        return {
            "system": self.system.digest(),
            "mechanisms": mechanisms.digest(tuple(dict.fromkeys(directories))),
        }

    def namespace(self, _env: Any) -> dict[str, Any]:
        """Offer NEURON's ``h``."""
        from neuron import h

        return {"h": h}


@dataclass(frozen=True)
class BackendFactory:
    """Builds an environment of another class.

    Attributes
    ----------
    backend
        Called as ``backend(system, model=, io=, seed=, comm=)``, `comm` being the
        :class:`livn_ipp.subworld.Subworld`; :class:`livn_ipp.types.Backend` says what
        it has to return.
    system
        Passed on: the path of a system directory, or what else the user gave.
    model, io, seed
        Passed on.
    name
        What the backend is called in messages.
    multirank
        Whether its ranks simulate one network together.
    options
        Passed on too.
    selection
        What the environment's ``selection`` is called with before ``init``.
    """

    backend: Callable[..., Any]
    system: Any
    model: Any = None
    io: Any = None
    seed: int = 123
    name: str = "backend"
    multirank: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    selection: tuple[Any, str, Any] | None = None

    def select(self, select: Any, method: str, bounds: Any) -> Self:
        """Return the factory of an environment of some of the cells."""
        if not hasattr(self.backend, "selection"):
            raise ConfigError(f"the backend {self.name} offers no selection()")
        return replace(self, selection=(select, method, bounds))

    def prepare(self, comm: Any, subworld_size: int) -> Subworld:
        """Split the world into consecutive ranks."""
        check_ranks(self, subworld_size)
        if comm is None:
            return Subworld()
        rank = comm.Get_rank()
        return Subworld(comm.Split(rank // subworld_size, rank))

    def build(self, subworld: Subworld) -> Any:
        """Build and initialise the environment."""
        env = self.backend(
            self.system,
            model=self.model,
            io=self.io,
            seed=self.seed,
            comm=subworld,
            **self.options,
        )
        if self.selection is not None:
            env.selection(*self.selection)
        return env.init()

    def namespace(self, _env: Any) -> dict[str, Any]:
        """Offer nothing further."""
        return {}


def check_ranks(factory: EnvFactory, subworld_size: int) -> None:
    """Refuse several ranks to a backend that would simulate the whole on each.

    Raises
    ------
    ConfigError
        If `subworld_size` is more than the backend can use.
    """
    if subworld_size > 1 and not factory.multirank:
        raise ConfigError(
            f"the backend {factory.name} cannot divide a culture among ranks: with "
            f"subworld_size={subworld_size} each rank would simulate all cells, and "
            f"every spike would be counted {subworld_size} times. Use subworld_size=1 "
            "and more workers (num_workers=), or backend='neuron'. A class of your own "
            "whose ranks share one network says so: multirank = True"
        )


def factory_for(
    backend: str | Callable[..., Any],
    system: Any,
    model: Any,
    io: Any,
    seed: int,
    partition: str = "round_robin",
    sync_interval: float | None = None,
) -> NeuronFactory | BackendFactory:
    """Choose the factory of a backend.

    Raises
    ------
    ConfigError
        If the backend is neither ``"neuron"`` nor ``"livn"`` nor callable, or divides
        no cells among ranks.
    PreflightError
        If it is ``"livn"`` and livn cannot be used.
    """
    checked_partition(partition)
    interval = checked_interval(sync_interval)
    if backend == "neuron":
        return NeuronFactory(System(system), model, io, seed, partition, interval)
    if (partition, sync_interval) != ("round_robin", None):
        raise ConfigError(
            f"partition and sync_interval divide the work of backend='neuron', not of "
            f"{backend!r}; leave them out"
        )
    if hasattr(backend, "factory"):
        made: BackendFactory = backend.factory(system, model, io, seed)
        return made
    if backend == "livn":
        # Every worker runs what the controller found, whatever its own surroundings.
        simulated_by = simulator()
        return BackendFactory(
            LivnEnv,
            _plain(system),
            model,
            io,
            seed,
            f"livn ({simulated_by})",
            LivnEnv.multirank,
            {"livn_backend": simulated_by},
        )
    if callable(backend):
        name = getattr(backend, "__name__", type(backend).__name__)
        multirank = bool(getattr(backend, "multirank", False))
        return BackendFactory(backend, _plain(system), model, io, seed, name, multirank)
    raise ConfigError(
        f"unknown backend {backend!r}: use 'neuron', 'livn', or a class as "
        "livn_ipp.types.Backend describes"
    )


def _plain(system: Any) -> Any:
    """Name a directory by its path, which any backend understands."""
    if isinstance(system, (int, Mapping)):
        return system
    culture = System(system)
    if culture.source.path is None or culture.num_cells < culture.whole.num_cells:
        return culture
    return str(culture.path)
