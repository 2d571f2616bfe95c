"""A projection's connections and the weights of its receptors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.models import Model
from livn_ipp.system import System

__all__ = ["Connections", "WeightKey", "Weights", "receptor_keys"]


@dataclass(frozen=True)
class WeightKey:
    """Which weights a name stands for.

    Examples
    --------
    >>> str(WeightKey("EXC", "INH", "soma", "GABA_A"))
    'EXC_INH-soma-GABA_A-weight'
    """

    post: str
    pre: str
    section: str
    receptor: str

    def __str__(self) -> str:
        return f"{self.post}_{self.pre}-{self.section}-{self.receptor}-weight"


@dataclass(frozen=True, eq=False)
class Connections:
    """A projection's connections onto this rank's cells, sorted by (post, pre).

    Attributes
    ----------
    pre_gids, post_gids : array [n], uint32
        The two cells of each.
    delays : array [n]
        From the spike to its arrival in ms.
    scales : array [n]
        What has been learned: a factor on each weight, 1 at time zero.
    """

    pre_gids: NDArray[np.uint32]
    post_gids: NDArray[np.uint32]
    delays: NDArray[np.float64]
    scales: NDArray[np.float64]


@dataclass(eq=False)
class Weights:
    """The weights of one receptor of a projection, onto this rank's cells.

    Attributes
    ----------
    pointers
        Where they are in NEURON.
    buffer, values
        Room for their values, as NEURON's vector and as numpy's view of it.
    factors : array [n]
        How each differs from `base`.
    base
        What the user sets, in uS.
    """

    pointers: Any
    buffer: Any
    values: NDArray[np.float64]
    factors: NDArray[np.float64]
    base: float = 0.0


def receptor_keys(system: System, model: Model) -> dict[str, WeightKey]:
    """Return what the system's projections drive, by weight name.

    Raises
    ------
    ConfigError
        If the model's cells lack a receptor that the system asks for.
    """
    keys = {}
    for pre, post in system.projections:
        available = model.receptors(post)
        synapses = system.synapses(pre, post)
        mechanisms = synapses.get("mechanisms", {})
        first: Any = next(iter(mechanisms.values()), {})
        receptors = mechanisms.get("default") or first
        for section in synapses.get("sections", ()):
            for receptor in receptors:
                if (section, receptor) not in available:
                    raise ConfigError(
                        f"{system.name} puts {receptor} on the {section} of {post} "
                        f"cells (from {pre}), but {type(model).__name__} has only "
                        f"{', '.join('-'.join(p) for p in sorted(available))}"
                    )
                key = WeightKey(post, pre, section, receptor)
                keys[str(key)] = key
    return keys
