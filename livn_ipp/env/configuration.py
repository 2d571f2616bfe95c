"""What a user may set on all workers at once, and what may be asked of one."""

from abc import ABC, abstractmethod
from typing import Any, Self

__all__ = ["Configuration"]


class Configuration(ABC):
    """The setters and queries of an Env, for every rank of every worker.

    A setter becomes a numbered entry of the config log: every rank acknowledges it, a
    call submitted later finds it applied, and a worker that is replaced gets it again.
    A setter that fails raises here and leaves no worker different from the others.
    """

    def record_spikes(self, population: Any = None) -> Self:
        """Record spikes; see :meth:`livn_ipp.env.Env.record_spikes`."""
        return self._configure("record_spikes", population)

    def record_voltage(self, population: Any = None, dt: float = 0.1) -> Self:
        """Record membrane voltage; see :meth:`livn_ipp.env.Env.record_voltage`."""
        return self._configure("record_voltage", population, dt=dt)

    def record_membrane_current(self, population: Any = None, dt: float = 0.1) -> Self:
        """Record membrane current; see the method of :class:`livn_ipp.env.Env`."""
        return self._configure("record_membrane_current", population, dt=dt)

    def record_potential(self, dt: float = 0.1) -> Self:
        """Record potentials; see :meth:`livn_ipp.env.Env.record_potential`."""
        return self._configure("record_potential", dt=dt)

    def clear_recordings(self) -> Self:
        """Record nothing any more."""
        return self._configure("clear_recordings")

    def apply_model_defaults(self, weights: bool = True, noise: bool = True) -> Self:
        """Return to the model's weights and noise."""
        return self._configure("apply_model_defaults", weights=weights, noise=noise)

    def apply_default_params(self, group: str | None = None) -> Self:
        """Apply a named group of the system's parameters."""
        return self._configure("apply_default_params", group)

    def set_weights(self, weights: dict[str, float]) -> Self:
        """Set synaptic weights; see :meth:`livn_ipp.env.Env.set_weights`."""
        return self._configure("set_weights", weights)

    def set_noise(self, noise: dict[str, float]) -> Self:
        """Set the background; see :meth:`livn_ipp.env.Env.set_noise`."""
        return self._configure("set_noise", noise)

    @property
    def weight_names(self) -> Any:
        """The keys that :meth:`set_weights` takes."""
        return self._ask("weight_names")

    @abstractmethod
    def _configure(self, method: str, *args: Any, **kwargs: Any) -> Self:
        """Call a setter on every rank of every worker."""

    @abstractmethod
    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Ask one worker for an attribute or a method's answer."""
