"""What a user may set on an environment: recordings, weights, background."""

from abc import ABC, abstractmethod
from typing import Self

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.neuron.electrodes import Electrodes
from livn_ipp.neuron.recorder import Recorder
from livn_ipp.neuron.settings import Settings
from livn_ipp.system import System

__all__ = ["Configurable"]


class Configurable(ABC):
    """Setters of an environment.

    They return the environment and check everything before they change anything. None
    communicates, so one that fails does so on every rank alike.

    Parameters
    ----------
    system, model
        What is simulated.
    electrodes
        What it is stimulated and recorded with.
    """

    def __init__(self, system: System, model: Model, electrodes: Electrodes) -> None:
        self.system = system
        self.model = model
        self._electrodes = electrodes
        self._settings = Settings(system, model)
        self._recorder = Recorder(system.populations)

    @property
    def weight_names(self) -> list[str]:
        """The names that :meth:`set_weights` takes."""
        return list(self._settings.keys)

    def record_spikes(self, population: str | list[str] | None = None) -> Self:
        """Record spikes of one, several or all populations."""
        self._recorder.request("spikes", population)
        return self

    def record_voltage(
        self, population: str | list[str] | None = None, dt: float = 0.1
    ) -> Self:
        """Record membrane voltages in mV every `dt` ms, soma and dendrite."""
        self._recorder.request("voltage", population, dt)
        return self

    def record_membrane_current(
        self, population: str | list[str] | None = None, dt: float = 0.1
    ) -> Self:
        """Record transmembrane currents in uA every `dt` ms, soma and dendrite."""
        self._recorder.request("current", population, dt)
        return self

    def record_potential(self, dt: float = 0.1) -> Self:
        """Record the electrodes' potential in uV every `dt` ms."""
        _ = self._electrodes.io  # there must be some
        self._recorder.request("potential", None, dt)
        return self

    def clear_recordings(self) -> Self:
        """Record nothing from now on."""
        self._recorder.clear()
        return self

    def apply_model_defaults(self, weights: bool = True, noise: bool = True) -> Self:
        """Return to the model's own weights and background."""
        self._settings.set_defaults(weights=weights, noise=noise)
        return self._apply()

    def apply_default_params(self, group: str | None = None) -> Self:
        """Apply a group of parameters that the system brings for this model.

        Parameters
        ----------
        group
            Its name; by default ``"default"``, or the model's defaults if the system
            brings nothing.
        """
        groups = self.system.default_params().get(type(self.model).__name__, {})
        if group is None and "default" not in groups:
            return self.apply_model_defaults()
        name = "default" if group is None else group
        if name not in groups:
            raise ConfigError(
                f"{self.system.name} has no parameter group {name!r} for "
                f"{type(self.model).__name__}, only {sorted(groups)}"
            )
        self._settings.set_params(groups[name]["params"])
        return self._apply()

    def set_weights(self, weights: dict[str, float]) -> Self:
        """Set synaptic weights.

        Parameters
        ----------
        weights
            Peak conductance in uS by ``POST_PRE-section-RECEPTOR-weight``; see
            :attr:`weight_names`.

        Raises
        ------
        ConfigError
            If a name or value cannot be used; nothing was changed then.
        """
        self._settings.set_weights(weights)
        return self._apply()

    def set_noise(self, noise: dict[str, float]) -> Self:
        """Set the background.

        Parameters
        ----------
        noise
            ``g_e0, g_i0, std_e, std_i`` (uS), ``tau_e, tau_i`` (ms), ``E_e, E_i`` (mV),
            each for all populations, or as ``population-name`` for one.

        Raises
        ------
        ConfigError
            If a name or value cannot be used; nothing was changed then.
        """
        self._settings.set_noise(noise)
        return self._apply()

    @abstractmethod
    def _apply(self) -> Self:
        """Hand weights and background to the network, if there is one."""
