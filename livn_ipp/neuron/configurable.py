"""What a user may set on an environment: weights, background, cells, electrodes."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from livn_ipp.errors import ConfigError
from livn_ipp.models import Cell, Model
from livn_ipp.neuron.cells import Cells
from livn_ipp.neuron.electrodes import Electrodes
from livn_ipp.neuron.plastic import Plastic
from livn_ipp.neuron.recorder import Recorder
from livn_ipp.neuron.recordings import Recordings
from livn_ipp.neuron.settings import Settings
from livn_ipp.system import System

__all__ = ["Configurable"]


class Configurable(Recordings, Plastic):
    """Setters of an environment.

    They return the environment and check everything before they change anything. None
    communicates, so one that fails does so on every rank alike.

    Parameters
    ----------
    system, model
        What is simulated.
    electrodes
        What it is stimulated and recorded with.

    Attributes
    ----------
    cells : Cells
        The culture's cells and their parameters.
    """

    def __init__(self, system: System, model: Model, electrodes: Electrodes) -> None:
        self.system = system
        self.model = model
        self._electrodes = electrodes
        self._settings = Settings(system, model)
        self._recorder = Recorder(system, model)
        self.cells = Cells(
            self, lambda: self.system, self._settings, self._built, self._apply
        )

    @property
    def weight_names(self) -> list[str]:
        """The names that :meth:`set_weights` takes."""
        return list(self._settings.keys)

    def apply_model_defaults(self, weights: bool = True, noise: bool = True) -> Self:
        """Return to the model's own weights and background."""
        self._settings.set_defaults(weights=weights, noise=noise)
        return self._apply()

    def apply_default_params(
        self, group: str | None = None, strict: bool = False
    ) -> Self:
        """Apply a group of parameters that the system brings for this model.

        Parameters
        ----------
        group
            Its name; by default ``"default"``, or the model's defaults if the system
            brings nothing.
        strict
            Whether a parameter that matches nothing is an error; else it is left out
            with a warning.

        Raises
        ------
        ConfigError
            If there is no such group, or a value cannot be used; nothing was changed
            then.
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
        params = dict(groups[name]["params"])
        if not strict:
            for key, problem in self._settings.unknown(params).items():
                warnings.warn(f"{name}: {problem}; it is left out", stacklevel=2)
                del params[key]
        return self.set_params(params)

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

    def set_params(self, params: Mapping[str, Any]) -> Self:
        """Set parameters of any kind at once.

        Parameters
        ----------
        params
            By name as in :meth:`admissible_params`: ``weight-...`` or without prefix
            for weights and receptors, ``noise-...`` for the background, ``cells-...``
            for cells, ``io-...`` for the electrodes.

        Raises
        ------
        ConfigError
            If a name or value cannot be used; nothing was changed then.

        Examples
        --------
        >>> from livn_ipp.env import Env
        >>> env = Env("EI1").set_params({"noise-EXC-std_e": 4e-4, "cells-EXC:gna": 28})
        >>> env.set_params({"noise-EXC-std": 4e-4})
        Traceback (most recent call last):
            ...
        livn_ipp.errors.ConfigError: there is no noise parameter named 'EXC-std'; ...
        """
        electrodes = {
            key.removeprefix("io-"): value
            for key, value in params.items()
            if key.startswith("io-")
        }
        others = {k: v for k, v in params.items() if not k.startswith("io-")}
        if electrodes:
            self._electrodes.io.check_params(electrodes)
        self._settings.set_params(others)
        if electrodes:
            self._electrodes.io.set_params(electrodes)
        return self._apply()

    @contextmanager
    def settings_kept(self) -> Iterator[Self]:
        """Return to the present weights, background, cells and electrodes at the end.

        Examples
        --------
        >>> from livn_ipp.env import Env
        >>> env = Env("EI1")
        >>> with env.settings_kept():
        ...     env.set_noise({"EXC-std_e": 4e-4}).run(100)  # doctest: +SKIP
        """
        before, electrodes = self._settings.copied(), dict(self._electrodes.params)
        try:
            yield self
        finally:
            self._settings.restore(before)
            if self._electrodes.params != electrodes:
                self._electrodes.io.set_params(electrodes)
            self._apply()

    def admissible_params(self) -> dict[str, list[str]]:
        """Return the names that :meth:`set_params` takes.

        Returns
        -------
        dict
            ``weights`` and ``mechanisms`` (parameters of receptors), which need no
            prefix, ``noise``, ``cells`` and ``io`` with theirs.
        """
        settings = self._settings
        return {
            "weights": self.weight_names,
            "mechanisms": settings.mechanism_names,
            "noise": [f"noise-{name}" for name in settings.noise_names],
            "cells": [f"cells-{name}" for name in settings.cell_names],
            "io": [f"io-{name}" for name in self._electrodes.params],
        }

    @abstractmethod
    def _built(self, gid: int) -> Cell | None:
        """Return what NEURON holds of a cell in this process."""
