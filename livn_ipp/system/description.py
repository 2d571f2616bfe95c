"""What a generated culture says of itself: ``graph.json`` and its parameters."""

import json
import uuid
from typing import Any, Final

from livn_ipp import __version__
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.layout import COORDINATES, VERSION

__all__ = ["describe", "parameters"]

_LAYER: Final = "2D"
_MODEL: Final = "PinskyRinzel"

_RECEPTORS: Final = {
    "AMPA": {"e": 0.0, "g_unit": 1.0, "tau_rise": 0.1, "tau_decay": 2.0},
    "NMDA": {"e": 0.0, "g_unit": 1.0, "tau_rise": 3.0, "tau_decay": 80.0},
    "GABA_A": {"e": -75.0, "g_unit": 1.0, "tau_rise": 0.5, "tau_decay": 8.0},
}
"""Reversal in mV, unit in uS, times in ms: for readers that build synapses so."""

_CALM: Final = {
    "EXC_EXC-dend-AMPA-weight": 1.0e-3,
    "EXC_EXC-dend-NMDA-weight": 1.0e-4,
    "EXC-std_e": 0.5e-3,
}
"""The parameter group of few bursts: what differs from the default group."""


def describe(spec: CultureSpec, codes: dict[str, int]) -> dict[str, Any]:
    """Build ``graph.json``; `codes` are the numbers that stand for populations."""
    corners = [[0.0, 0.0, 0.0], [spec.side, spec.side, spec.depth]]
    synapses: dict[str, Any] = {}
    for projection in spec.projections:
        synapses.setdefault(projection.post, {})[projection.pre] = {
            "type": "inhibitory" if "GABA_A" in projection.weights else "excitatory",
            "sections": [projection.section],
            "layers": [_LAYER],
            "proportions": [1.0],
            "contacts": 1,
            "mechanisms": {
                "default": {
                    receptor: _RECEPTORS[receptor] | {"weight": weight}
                    for receptor, weight in projection.weights.items()
                }
            },
            "delay": {
                "offset": spec.synaptic_delay,
                "velocity": spec.conduction_velocity,
            },
        }
    preset = spec.preset_name
    provenance = {
        "uuid": _uuid(spec, "provenance"),
        "generator": "livn_ipp.system.generate",
        "livn_ipp": __version__,
        "seed": spec.seed,
        "spec": spec.as_dict(),
    }
    if preset:
        provenance["command"] = f"livn-ipp generate {preset} --out {preset}"
    architecture = {
        "coordinate_namespace": COORDINATES[0][0],
        "cell_counts": spec.counts,
        "cell_distributions": {
            name: {_LAYER: count} for name, count in spec.counts.items()
        },
        "layer_extents": {_LAYER: corners},
        "cells_filepath": "./cells.h5",
    }
    connections = {
        "population_definitions": codes,
        "layer_definitions": {_LAYER: 0},
        "synapses": synapses,
        "connections_filepath": "./connections.h5",
    }
    extents = {"layer_extents": {_LAYER: corners}}
    return {
        "version": VERSION,
        "architecture": _element(spec, "architecture", architecture),
        "distances": {"culture": _element(spec, "distances", extents)},
        "synapse_forest": {},
        "synapses": {"culture": _element(spec, "synapses", {})},
        "connections": {"culture": _element(spec, "connections", connections)},
        "provenance": provenance,
    }


def _element(spec: CultureSpec, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"uuid": _uuid(spec, name), "config": config}


def _uuid(spec: CultureSpec, name: str) -> str:
    # livn tells an element from a group of them by its uuid; it only has to be there.
    content = f"{name} {json.dumps(spec.as_dict())}"
    return str(uuid.uuid5(uuid.NAMESPACE_OID, content))


def parameters(spec: CultureSpec) -> dict[str, Any]:
    """Build ``params/default.json``: groups ``default`` (lively) and ``calm``.

    Weights in uS are keyed ``POST_PRE-section-RECEPTOR-weight``, the background
    ``POPULATION-name``.
    """
    weights = {
        f"{projection.post}_{projection.pre}-{projection.section}-{receptor}-weight": w
        for projection in spec.projections
        for receptor, w in projection.weights.items()
    }
    noise = {
        f"{population.name}-{name}": value
        for population in spec.populations
        for name, value in population.background.items()
    }
    groups = {"default": weights | noise}
    if set(_CALM) <= set(groups["default"]):
        groups["calm"] = groups["default"] | _CALM
    return {
        _MODEL: {
            name: {"params": params, "meta": {}} for name, params in groups.items()
        }
    }
