"""Environments: a culture to run calls on, here or on a cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livn_ipp.neuron.env import Env

__all__ = ["Env"]


def __getattr__(name: str) -> Any:
    if name != "Env":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from livn_ipp.neuron.env import Env

    return Env
