"""Which connections learn from spike timing, and by which rule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.settings import known
from livn_ipp.system import System

__all__ = ["RULE_NAMES", "STDP", "Rules", "plastic_projections", "rules_of"]

Rules = dict[tuple[str, str], "STDP"]
"""Rule by (pre, post)."""


@dataclass(frozen=True)
class STDP:
    """Pair-based spike-timing dependent plasticity, additive with hard bounds.

    Each connection has a factor `w` on its weights, 1 at time zero. A spike that
    arrives after spikes of the postsynaptic cell depresses it, a postsynaptic spike
    after arrivals potentiates it; all pairs count (Song, Miller & Abbott 2000, Nature
    Neuroscience 3:919-926, whose ratio and time constants these are; all-to-all
    pairing by traces as in Morrison, Diesmann & Gerstner 2008, Biol Cybern
    98:459-478)::

        arrival at t:            w -= A_ltd * sum exp(-(t - t_post) / tau_ltd)
        postsynaptic spike at t: w += A_ltp * sum exp(-(t - t_arrival) / tau_ltp)

    then ``w_min <= w <= w_max``. Spikes at the same instant are no pair.

    Attributes
    ----------
    A_ltp, A_ltd
        Change of the factor by a pair without delay.
    tau_ltp, tau_ltd
        Time constants of the two windows in ms.
    w_min, w_max
        Bounds of the factor.

    Examples
    --------
    >>> STDP(A_ltp=0.02).A_ltd
    0.0105
    """

    A_ltp: float = 0.01
    A_ltd: float = 0.0105
    tau_ltp: float = 20.0
    tau_ltd: float = 20.0
    w_min: float = 0.0
    w_max: float = 2.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            lowest = 1e-3 if each.name.startswith("tau") else 0.0
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not lowest <= value < math.inf
            ):
                raise ConfigError(
                    f"STDP: {each.name} must be a finite number from {lowest:g}, "
                    f"not {value!r}"
                )
        if not self.w_min <= 1.0 <= self.w_max:
            raise ConfigError(
                f"STDP: the bounds must enclose 1, the factor at time zero, but are "
                f"{self.w_min:g} and {self.w_max:g}"
            )


RULE_NAMES: Final = tuple(each.name for each in fields(STDP))
"""What a rule consists of."""


def plastic_projections(system: System) -> list[tuple[str, str]]:
    """Return the excitatory projections (pre, post), which learn by default."""
    return [
        (pre, post)
        for pre, post in system.projections
        if system.synapses(pre, post).get("type") == "excitatory"
    ]


def rules_of(system: System, config: Mapping[str, Any] | None) -> Rules:
    """Return the rule of each projection that is to learn.

    Parameters
    ----------
    system
        Whose projections.
    config
        None: the default rule on every excitatory projection. Numbers by name of an
        STDP attribute: a rule for those. Else a rule, or numbers, by ``POST_PRE``.

    Raises
    ------
    ConfigError
        If a name or number cannot be used, or nothing would learn.
    """
    given = dict(config or {})
    names = {f"{post}_{pre}": (pre, post) for pre, post in system.projections}
    nested = [isinstance(value, (Mapping, STDP)) for value in given.values()]
    if any(nested):
        for name, value in given.items():
            known(name, names, "projection")
            if not isinstance(value, (Mapping, STDP)):
                raise ConfigError(
                    f"{name}: give an STDP rule or a dict of its numbers, not {value!r}"
                )
        rules = {names[name]: _rule(value) for name, value in given.items()}
    else:
        rules = dict.fromkeys(plastic_projections(system), _rule(given))
    if not rules:
        raise ConfigError(
            f"{system.name} has no excitatory projection that could learn; name "
            f"projections, of {sorted(names)}"
        )
    return rules


def _rule(values: Any) -> STDP:
    if isinstance(values, STDP):
        return values
    for name in values:
        known(name, RULE_NAMES, "number of the STDP rule")
    return replace(STDP(), **values)
