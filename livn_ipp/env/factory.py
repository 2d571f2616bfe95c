"""Which environment a worker builds: ours on NEURON, or a user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livn_ipp.errors import ConfigError
from livn_ipp.subworld import Subworld
from livn_ipp.types import EnvFactory

__all__ = ["BackendFactory", "NeuronFactory", "factory_for"]


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
    """Builds an environment of a user's own class.

    Attributes
    ----------
    backend
        Called as ``backend(system, model=, io=, seed=, comm=)``, `comm` being the
        :class:`livn_ipp.subworld.Subworld`; :class:`livn_ipp.types.Backend` says what
        it has to return.
    system, model, io, seed
        Passed on.
    """

    backend: Callable[..., Any]
    system: str
    model: Any = None
    io: Any = None
    seed: int = 123

    def prepare(self, comm: Any, subworld_size: int) -> Subworld:
        """Split the world into consecutive ranks."""
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


def factory_for(
    backend: str | Callable[..., Any], system: str, model: Any, io: Any, seed: int
) -> EnvFactory:
    """Choose the factory of a backend.

    Raises
    ------
    ConfigError
        If the backend is neither ``"neuron"`` nor callable.
    """
    if backend == "neuron":
        return NeuronFactory(system, model, io, seed)
    if callable(backend):
        return BackendFactory(backend, system, model, io, seed)
    raise ConfigError(
        f"unknown backend {backend!r}: use 'neuron', or a class as "
        "livn_ipp.types.Backend describes"
    )
