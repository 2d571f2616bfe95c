"""What a user may set on all workers at once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

__all__ = ["Configuration"]


class Configuration(ABC):
    """The setters of an Env, for every rank of every worker.

    A setter becomes a numbered entry of the config log: every rank acknowledges it, a
    call submitted later finds it applied, and a worker that is replaced gets it again.
    A setter that fails raises here and leaves no worker different from the others.
    """

    def record(self, what: str, population: Any = None, **options: Any) -> Self:
        """Record something by name; see :meth:`livn_ipp.env.Env.record`."""
        return self._configure("record", what, population, **options)

    def record_spikes(self, population: Any = None) -> Self:
        """Record spikes; see :meth:`livn_ipp.env.Env.record_spikes`."""
        return self._configure("record_spikes", population)

    def record_voltage(
        self,
        population: Any = None,
        dt: float = 0.1,
        gids: Any = None,
        sections: Any = None,
    ) -> Self:
        """Record membrane voltage; see :meth:`livn_ipp.env.Env.record_voltage`."""
        return self._configure("record_voltage", population, dt, gids, sections)

    def record_membrane_current(
        self,
        population: Any = None,
        dt: float = 0.1,
        gids: Any = None,
        sections: Any = None,
    ) -> Self:
        """Record membrane current; see the method of :class:`livn_ipp.env.Env`."""
        options = {"gids": gids, "sections": sections}
        given = {name: value for name, value in options.items() if value is not None}
        return self._configure("record_membrane_current", population, dt, **given)

    def record_potential(self, dt: float = 0.1) -> Self:
        """Record potentials; see :meth:`livn_ipp.env.Env.record_potential`."""
        return self._configure("record_potential", dt=dt)

    def record_state(
        self,
        name: str,
        population: Any = None,
        dt: float = 0.1,
        gids: Any = None,
        sections: Any = None,
    ) -> Self:
        """Record a state of the model; see :meth:`livn_ipp.env.Env.record_state`."""
        return self._configure("record_state", name, population, dt, gids, sections)

    def record_weights(self, dt: float = 10.0) -> Self:
        """Record what connections learn; see the method of ``Env``."""
        return self._configure("record_weights", dt)

    def clear_recordings(self) -> Self:
        """Record nothing any more."""
        return self._configure("clear_recordings")

    def apply_model_defaults(self, weights: bool = True, noise: bool = True) -> Self:
        """Return to the model's weights and noise."""
        return self._configure("apply_model_defaults", weights=weights, noise=noise)

    def apply_default_params(
        self, group: str | None = None, strict: bool = False
    ) -> Self:
        """Apply a named group of the system's parameters; see the method of ``Env``."""
        return self._configure("apply_default_params", group, strict=strict)

    def set_weights(self, weights: Mapping[str, float]) -> Self:
        """Set synaptic weights; see :meth:`livn_ipp.env.Env.set_weights`."""
        return self._configure("set_weights", weights)

    def set_noise(self, noise: Mapping[str, float]) -> Self:
        """Set the background; see :meth:`livn_ipp.env.Env.set_noise`."""
        return self._configure("set_noise", noise)

    def set_params(self, params: Mapping[str, Any]) -> Self:
        """Set parameters of any kind; see :meth:`livn_ipp.env.Env.set_params`."""
        return self._configure("set_params", params)

    def enable_plasticity(self, config: Mapping[str, Any] | None = None) -> Self:
        """Let connections learn; see :meth:`livn_ipp.env.Env.enable_plasticity`.

        Calls are isolated, so each begins with unlearned connections.
        """
        return self._configure("enable_plasticity", config)

    def disable_plasticity(self) -> Self:
        """Keep all weights as they are; see the method of ``Env``."""
        return self._configure("disable_plasticity")

    def normalize_weights(self, target: float | None = None) -> Self:
        """Scale what was learned; see :meth:`livn_ipp.env.Env.normalize_weights`.

        It acts on what the latest call of each worker left. Within a call, a decoding
        may do so with ``env.normalize_weights()``.
        """
        return self._configure("normalize_weights", target)

    @abstractmethod
    def _configure(self, method: str, *args: Any, **kwargs: Any) -> Self:
        """Call a setter on every rank of every worker."""
