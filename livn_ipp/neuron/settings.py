"""The weights and the background that a user asked for, checked."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from livn_ipp.errors import ConfigError
from livn_ipp.models import NOISE_NAMES, Model
from livn_ipp.neuron.network import WeightKey, receptor_keys
from livn_ipp.system import System

__all__ = ["Settings", "known"]


class Settings:
    """What differs from the model's defaults. Every change is made whole or not at all.

    Parameters
    ----------
    system, model
        What the names refer to.

    Attributes
    ----------
    keys : dict
        What can be weighted, by name.
    """

    def __init__(self, system: System, model: Model) -> None:
        self.keys: dict[str, WeightKey] = receptor_keys(system, model)
        self._system, self._model = system, model
        self._weights: dict[str, float] = {}
        self._noise: dict[tuple[str, str], float] = {}

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Set weights in uS by name.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is not a number from 0.
        """
        checked = {}
        for name, value in weights.items():
            known(name, self.keys, "weight")
            checked[name] = _number(name, value, "uS", at_least=0.0)
        self._weights.update(checked)

    def set_noise(self, noise: Mapping[str, Any]) -> None:
        """Set parameters of the background, as ``name`` or ``population-name``.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is out of range.
        """
        populations = self._system.populations
        names = [*NOISE_NAMES, *(f"{p}-{n}" for p in populations for n in NOISE_NAMES)]
        everywhere, single = {}, {}
        for key, value in noise.items():
            known(key, names, "noise parameter")
            population, _, name = key.rpartition("-")
            number = _noise_number(key, name, value)
            if population:
                single[population, name] = number
            else:
                everywhere.update({(p, name): number for p in populations})
        self._noise.update(everywhere | single)

    def set_defaults(self, *, weights: bool, noise: bool) -> None:
        """Return to the model's defaults."""
        if weights:
            self._weights.clear()
        if noise:
            self._noise.clear()

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set weights and background at once.

        The prefixes ``weight-`` and ``noise-`` may be left out.
        """
        weights, noise = {}, {}
        for key, value in params.items():
            if key.startswith(("cells-", "io-")):
                raise ConfigError(
                    f"{key!r}: only weights and noise can be set this way"
                )
            name = key.removeprefix("noise-")
            if name != key or name.rpartition("-")[2] in NOISE_NAMES:
                noise[name] = value
            else:
                weights[key.removeprefix("weight-")] = value
        before = dict(self._weights)
        self.set_weights(weights)
        try:
            self.set_noise(noise)
        except ConfigError:
            self._weights = before
            raise

    def weights(self) -> dict[WeightKey, float]:
        """Return all weights in uS."""
        return {
            key: self._weights[name]
            if name in self._weights
            else self._model.default_weight(name)
            for name, key in self.keys.items()
        }

    def noise(self) -> dict[str, dict[str, float]]:
        """Return the background of each population."""
        values = {p: self._model.default_noise(p) for p in self._system.populations}
        for (population, name), value in self._noise.items():
            values[population][name] = value
        return values


def known(name: str, names: Iterable[str], what: str) -> None:
    """Check that a name is one of the known ones.

    Raises
    ------
    ConfigError
        If not; it names those that are near.
    """
    choices = list(names)
    if name in choices:
        return
    near = difflib.get_close_matches(str(name), choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {choices}"
    raise ConfigError(f"there is no {what} named {name!r}; {hint}")


def _noise_number(key: str, name: str, value: Any) -> float:
    if name.startswith("E_"):
        return _number(key, value, "mV", at_least=-math.inf)
    if name.startswith("tau_"):
        return _number(key, value, "ms", at_least=1e-3)
    return _number(key, value, "uS", at_least=0.0)


def _number(name: str, value: Any, unit: str, at_least: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < at_least:
        bound = "" if at_least == -math.inf else f" from {at_least:g}"
        raise ConfigError(
            f"{name} must be a finite number of {unit}{bound}, not {value!r}"
        )
    return number
