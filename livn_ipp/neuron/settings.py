"""The weights, background and cell parameters that a user asked for, checked."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from livn_ipp.errors import ConfigError
from livn_ipp.models import NOISE_NAMES, Model, Parameter
from livn_ipp.neuron.connections import WeightKey, receptor_keys
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
    parameters : dict
        What can be set on a population's cells: Parameter by population and name.
    """

    def __init__(self, system: System, model: Model) -> None:
        self.keys: dict[str, WeightKey] = receptor_keys(system, model)
        self.parameters: dict[str, Mapping[str, Parameter]] = {
            population: model.parameters(population)
            for population in system.populations
        }
        self._model = model
        self._populations = system.populations
        self._weights: dict[str, float] = {}
        self._noise: dict[tuple[str, str], float] = {}
        self._cells: dict[int, dict[str, float]] = {}
        self.use(system)

    def use(self, system: System) -> None:
        """Take per-cell values for the cells of a selection from now on."""
        self._gids: list[int] = system.gids.tolist()
        self._population_of: list[str] = system.population_of(system.gids).tolist()

    @property
    def mechanism_names(self) -> list[str]:
        """Parameters of receptors, as ``POPULATION-section-RECEPTOR-name``."""
        return [
            f"{population}-{name}"
            for population, parameters in self.parameters.items()
            for name in parameters
            if _of_receptor(name)
        ]

    @property
    def cell_names(self) -> list[str]:
        """Parameters of cells, as ``name`` and ``POPULATION:name``."""
        own = {
            population: [name for name in parameters if not _of_receptor(name)]
            for population, parameters in self.parameters.items()
        }
        everywhere = dict.fromkeys(name for names in own.values() for name in names)
        return [*everywhere, *(f"{p}:{name}" for p in own for name in own[p])]

    @property
    def noise_names(self) -> list[str]:
        """Parameters of the background, as ``name`` and ``POPULATION-name``."""
        single = [f"{p}-{name}" for p in self._populations for name in NOISE_NAMES]
        return [*NOISE_NAMES, *single]

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Set weights in uS, and parameters of receptors, by name.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is out of range.
        """
        mechanisms = set(self.mechanism_names)
        with self._whole():
            for name, value in weights.items():
                if name in mechanisms:
                    population, _, parameter = name.partition("-")
                    self._set_cells(parameter, population, value)
                else:
                    known(name, [*self.keys, *mechanisms], "weight")
                    self._weights[name] = _number(name, value, "uS", at_least=0.0)

    def set_noise(self, noise: Mapping[str, Any]) -> None:
        """Set parameters of the background, as ``name`` or ``population-name``.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is out of range.
        """
        everywhere, single = {}, {}
        for key, value in noise.items():
            known(key, self.noise_names, "noise parameter")
            population, _, name = key.rpartition("-")
            number = _noise_number(key, name, value)
            if population:
                single[population, name] = number
            else:
                everywhere.update({(p, name): number for p in self._populations})
        self._noise.update(everywhere | single)

    def set_cells(self, parameters: Mapping[str, Any], gid: int | None = None) -> None:
        """Set parameters of cells, as ``name`` or ``population:name``.

        Parameters
        ----------
        parameters
            A number, or one for each cell of the system by ascending gid.
        gid
            The only cell that is meant; all by default.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is out of range.
        """
        names = self.cell_names
        with self._whole():
            for key, value in parameters.items():
                known(key, names, "cell parameter")
                population, _, name = key.rpartition(":")
                self._set_cells(name, population, value, gid)

    def set_defaults(self, *, weights: bool, noise: bool) -> None:
        """Return to the model's defaults."""
        if weights:
            self._weights.clear()
        if noise:
            self._noise.clear()

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set weights, background and cells at once.

        Names begin with ``weight-``, ``noise-`` or ``cells-``; those without are
        weights, or background if they end so.
        """
        parts = self._sorted(params)
        with self._whole():
            self.set_weights(parts["weight"])
            self.set_cells(parts["cells"])
            self.set_noise(parts["noise"])

    def unknown(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Return the names that match nothing, with what is wrong with each."""
        found = {}
        for key in params:
            if not key.startswith("io-"):
                try:
                    self._check_name(key)
                except ConfigError as error:
                    found[key] = str(error)
        return found

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
        values = {p: self._model.default_noise(p) for p in self._populations}
        for (population, name), value in self._noise.items():
            values[population][name] = value
        return values

    def cells(self) -> Mapping[int, Mapping[str, float]]:
        """Return what differs from the model's defaults, by gid and name."""
        return self._cells

    def cell(self, gid: int, population: str) -> dict[str, float]:
        """Return all parameters of one cell."""
        defaults = {n: p.default for n, p in self.parameters[population].items()}
        return defaults | self._cells.get(gid, {})

    def _sorted(self, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Sort parameters by kind, and take the prefixes off."""
        parts: dict[str, dict[str, Any]] = {"weight": {}, "noise": {}, "cells": {}}
        for key, value in params.items():
            kind, _, name = key.partition("-")
            if kind not in parts:
                kind, name = "noise" if key in self.noise_names else "weight", key
            parts[kind][name] = value
        return parts

    def _check_name(self, key: str) -> None:
        parts = self._sorted({key: None})
        for name in parts["weight"]:
            known(name, [*self.keys, *self.mechanism_names], "weight")
        for name in parts["noise"]:
            known(name, self.noise_names, "noise parameter")
        for name in parts["cells"]:
            known(name, self.cell_names, "cell parameter")

    def _set_cells(
        self, name: str, population: str, value: Any, gid: int | None = None
    ) -> None:
        values = _for_each(name, value, len(self._gids))
        cells = zip(self._gids, self._population_of, values, strict=True)
        for cell, its, number in cells:
            parameter = self.parameters[its].get(name)
            if (
                parameter is not None
                and (gid is None or cell == gid)
                and population in {"", its}
            ):
                checked = _within(name, number, parameter)
                self._cells.setdefault(cell, {})[name] = checked

    def copied(self) -> tuple[Any, ...]:
        """Copy all that was set, for :meth:`restore`."""
        cells = {gid: dict(values) for gid, values in self._cells.items()}
        return dict(self._weights), dict(self._noise), cells

    def restore(self, before: tuple[Any, ...]) -> None:
        """Return to what :meth:`copied` returned.

        What was set on cells since then is set to its default, for those cells that
        have it already.
        """
        since = self._cells
        self._weights, self._noise, self._cells = before
        if since:
            population_of = dict(zip(self._gids, self._population_of, strict=True))
            for gid in since.keys() & population_of.keys():
                values = since[gid]
                defaults = self.parameters[population_of[gid]]
                own = {name: defaults[name].default for name in values}
                self._cells[gid] = own | self._cells.get(gid, {})

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Undo everything if something fails."""
        before = self.copied()
        try:
            yield
        except ConfigError:
            self._weights, self._noise, self._cells = before
            raise


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


def _within(name: str, value: Any, parameter: Parameter) -> float:
    number = _number(name, value, parameter.unit or "no unit", at_least=-math.inf)
    if not parameter.lower <= number <= parameter.upper:
        raise ConfigError(
            f"{name} must be {parameter.lower:g} to {parameter.upper:g} "
            f"{parameter.unit}, not {value!r}"
        )
    return number


def _for_each(name: str, value: Any, cells: int) -> list[Any]:
    if np.ndim(value) == 0:
        return [value] * cells
    if np.ndim(value) != 1 or len(value) != cells:
        raise ConfigError(
            f"{name}: give one number, or one for each of the {cells} cells, not "
            f"values of shape {np.shape(value)}"
        )
    return list(value)


def _of_receptor(name: str) -> bool:
    return "-" in name
