"""Simulate cultured neural networks on MPI workers, from a notebook.

The public names are loaded when they are first used, so ``import livn_ipp`` needs
neither MPI nor NEURON.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from livn_ipp.errors import (
    CallCancelled,
    CallError,
    CallTimeout,
    ClusterLost,
    ConfigError,
    DistributedFallbackWarning,
    LivnError,
    MissingExtra,
    PreflightError,
    ResultNotSerializable,
    ResultTooLarge,
    SessionLost,
    SystemFormatError,
    VersionMismatch,
    WorkerLost,
)

if TYPE_CHECKING:
    from livn_ipp.cluster.launch import Cluster
    from livn_ipp.env import Env
    from livn_ipp.env.distributed import DistributedEnv
    from livn_ipp.env.gymnasium import GymnasiumEnv
    from livn_ipp.env.make_vec import make_vec
    from livn_ipp.env.rollouts import collect_rollouts
    from livn_ipp.env.switch import make
    from livn_ipp.io import IO, MEA, ComposedIO
    from livn_ipp.run import Run
    from livn_ipp.stimulus import Stimulus
    from livn_ipp.system import ParallelSystem, System
    from livn_ipp.types import Decoding, Encoding

__all__ = [
    "IO",
    "MEA",
    "CallCancelled",
    "CallError",
    "CallTimeout",
    "Cluster",
    "ClusterLost",
    "ComposedIO",
    "ConfigError",
    "Decoding",
    "DistributedEnv",
    "DistributedFallbackWarning",
    "Encoding",
    "Env",
    "GymnasiumEnv",
    "LivnError",
    "MissingExtra",
    "ParallelSystem",
    "PreflightError",
    "ResultNotSerializable",
    "ResultTooLarge",
    "Run",
    "SessionLost",
    "Stimulus",
    "System",
    "SystemFormatError",
    "VersionMismatch",
    "WorkerLost",
    "__version__",
    "collect_rollouts",
    "make",
    "make_vec",
]

__version__ = "0.1.0"

_HOME = {
    "IO": "livn_ipp.io",
    "MEA": "livn_ipp.io",
    "Cluster": "livn_ipp.cluster.launch",
    "ComposedIO": "livn_ipp.io",
    "Decoding": "livn_ipp.types",
    "DistributedEnv": "livn_ipp.env.distributed",
    "Encoding": "livn_ipp.types",
    "Env": "livn_ipp.env",
    "GymnasiumEnv": "livn_ipp.env.gymnasium",
    "ParallelSystem": "livn_ipp.system",
    "Run": "livn_ipp.run",
    "Stimulus": "livn_ipp.stimulus",
    "System": "livn_ipp.system",
    "make": "livn_ipp.env.switch",
    "collect_rollouts": "livn_ipp.env.rollouts",
    "make_vec": "livn_ipp.env.make_vec",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook ``%livn`` and ``%%livn``; called by ``%load_ext livn_ipp``."""
    from livn_ipp.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take them away again; called by ``%unload_ext livn_ipp``."""
    from livn_ipp.magics import unload

    unload(shell)
