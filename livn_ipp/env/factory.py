"""Which environment a worker builds: ours on NEURON, livn's, or a user's own."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from livn_ipp.env.livn import LivnEnv, simulator
from livn_ipp.errors import ConfigError
from livn_ipp.subworld import Subworld
from livn_ipp.types import EnvFactory

__all__ = ["BackendFactory", "NeuronFactory", "check_ranks", "factory_for"]


@dataclass(frozen=True)
class NeuronFactory:
    """Builds :class:`livn_ipp.env.Env` on NEURON.

    Attributes
    ----------
    system
        Path of the system directory.
    model, io
        As :class:`livn_ipp.env.Env` takes them.
    seed
        Seed of all randomness.
    """

    system: str
    model: Any = None
    io: Any = None
    seed: int = 123

    name: ClassVar[str] = "neuron"
    multirank: ClassVar[bool] = True

    def prepare(self, comm: Any, subworld_size: int) -> Subworld:
        """Boot NEURON and partition the world."""
        from livn_ipp.neuron.boot import boot

        return boot(comm, subworld_size)

    def build(self, subworld: Subworld) -> Any:
        """Build and initialise the environment."""
        from livn_ipp.neuron.env import Env

        return Env(self.system, self.model, self.io, self.seed, comm=subworld).init()

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
    system, model, io, seed
        Passed on.
    name
        What the backend is called in messages.
    multirank
        Whether its ranks simulate one network together.
    """

    backend: Callable[..., Any]
    system: str
    model: Any = None
    io: Any = None
    seed: int = 123
    name: str = "backend"
    multirank: bool = False

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
            self.system, model=self.model, io=self.io, seed=self.seed, comm=subworld
        )
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
    backend: str | Callable[..., Any], system: Any, model: Any, io: Any, seed: int
) -> EnvFactory:
    """Choose the factory of a backend.

    Raises
    ------
    ConfigError
        If the backend is neither ``"neuron"`` nor ``"livn"`` nor callable.
    PreflightError
        If it is ``"livn"`` and livn cannot be used.
    """
    if backend == "neuron":
        return NeuronFactory(system, model, io, seed)
    if backend == "livn":
        found = simulator()
        # Every worker runs what the controller found, whatever its own surroundings.
        build = functools.partial(LivnEnv, livn_backend=found)
        return BackendFactory(
            build, system, model, io, seed, f"livn ({found})", LivnEnv.multirank
        )
    if callable(backend):
        name = getattr(backend, "__name__", type(backend).__name__)
        multirank = bool(getattr(backend, "multirank", False))
        return BackendFactory(backend, system, model, io, seed, name, multirank)
    raise ConfigError(
        f"unknown backend {backend!r}: use 'neuron', 'livn', or a class as "
        "livn_ipp.types.Backend describes"
    )
