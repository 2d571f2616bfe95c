"""What a worker does for one evaluation: set the candidate, ask the objective."""

import functools
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import cloudpickle

from livn_ipp.errors import ConfigError

__all__ = ["OWN_OBJECTIVE", "Evaluate", "Measured", "Objective", "Response"]

OWN_OBJECTIVE: Final = "LIVN_IPP_OBJECTIVE"
"""Environment variable of a worker that brings its own objective: a file's path."""

_SETTERS: Final = {
    "weights": "set_weights",
    "noise": "set_noise",
    "params": "set_params",
}

Objective = Callable[[Any, Any, int], float | None]
"""``objective(env, candidate, seed)``, called on every rank of a worker."""


class Measured(NamedTuple):
    """What an evaluation returns.

    Attributes
    ----------
    value
        The objective's.
    seconds
        That it took.
    """

    value: float
    seconds: float


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a candidate on an environment; every rank of a worker calls it.

    Values whose names begin with ``weights.``, ``noise.`` or ``params.`` are settings
    of the culture: they are set for this evaluation, and nothing of them is left after
    it.

    Attributes
    ----------
    objective
        What the value is asked from, unless the worker brings its own.
    """

    objective: Objective | None

    def carry_out(
        self, env: Any, inputs: tuple[Any, int, int], encoding: Any = None
    ) -> Measured | None:
        """Evaluate; a worker calls it in place of encode, simulate, decode.

        Parameters
        ----------
        env
            The environment.
        inputs
            The candidate, the evaluation's seed, and the trial that it begins with.
        encoding
            Not used.

        Returns
        -------
        Measured or None
            None where this rank's objective returned None.
        """
        del encoding
        candidate, seed, trial = inputs
        objective = _own_objective() or self.objective
        if objective is None:
            raise ConfigError(
                "this worker has no objective: give the Search one, or start the "
                "worker with livn_ipp.search.Worker(..., objective=...)"
            )
        began = time.perf_counter()
        settings = _settings(candidate)
        with _kept(env, settings):
            for name, values in settings.items():
                getattr(env, _SETTERS[name])(values)
            env.clear(trial=trial)
            value = objective(env, candidate, seed)
        if value is None:
            return None
        return Measured(_number(value), time.perf_counter() - began)


@dataclass(frozen=True)
class Response:
    """An objective that simulates, decodes and gives the response a score.

    Parameters
    ----------
    decoding
        A Decoding, or a duration in ms for the whole Run.
    score
        Called as ``score(response, candidate)`` where the response is.
    inputs, encoding
        What drives the culture, as a call takes them.

    Examples
    --------
    >>> from livn_ipp.testing import LightEnv
    >>> rate = Response(100, lambda run, candidate: float(len(run.spike_ids)))
    >>> rate(LightEnv("EI1").init().record_spikes(), {}, 1) > 0
    True
    """

    decoding: Any
    score: Callable[[Any, Any], float]
    inputs: Any = None
    encoding: Any = None

    def __call__(self, env: Any, candidate: Any, seed: int) -> float | None:
        """Simulate and score."""
        del seed  # the environment has it as its trial
        decoding = self.decoding
        if isinstance(decoding, (int, float)):
            from livn_ipp.decoding import GatherAndMerge

            decoding = GatherAndMerge(duration=decoding)
        response = env(decoding, self.inputs, self.encoding)
        return None if response is None else self.score(response, candidate)


def _settings(candidate: Any) -> dict[str, dict[str, Any]]:
    """Sort the values that are settings of the culture by their setter."""
    found: dict[str, dict[str, Any]] = {}
    if isinstance(candidate, Mapping):
        for name, value in candidate.items():
            kind, dot, rest = str(name).partition(".")
            if dot and kind in _SETTERS:
                found.setdefault(kind, {})[rest] = value
    return found


def _kept(env: Any, settings: Any) -> AbstractContextManager[Any]:
    if not settings:
        return nullcontext()
    kept = getattr(env, "settings_kept", None)
    if kept is None:
        raise ConfigError(
            f"{type(env).__name__} has no settings_kept(), so weights, noise and "
            "params cannot be set for one evaluation; name the parameters otherwise, "
            "and let the objective set them"
        )
    manager: AbstractContextManager[Any] = kept()
    return manager


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"an objective must return a number, or None on ranks that have none, not "
            f"{value!r}"
        ) from None
    if not math.isfinite(number):
        raise ValueError(f"the objective returned {number}, which cannot be compared")
    return number


def _own_objective() -> Objective | None:
    path = os.environ.get(OWN_OBJECTIVE)
    return _loaded(path) if path else None


@functools.cache
def _loaded(path: str) -> Objective:
    found: Objective = cloudpickle.loads(Path(path).read_bytes())
    return found
