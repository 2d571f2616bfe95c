"""Numbers that look random but depend on a key and the gid only."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["uniform"]

_STEP: Final = 0x9E3779B97F4A7C15
_MASK: Final = 2**64 - 1


def uniform(gids: ArrayLike, *key: int) -> NDArray[np.float64]:
    """Draw a number from [0, 1) for each cell.

    Parameters
    ----------
    gids : array [n]
        The cells.
    *key
        Whole numbers such as a seed and a purpose; other keys give other numbers.

    Examples
    --------
    >>> a, b = uniform([3, 7], 123), uniform([7], 123)
    >>> bool(a[1] == b[0]), bool(a[1] == uniform([7], 124)[0])
    (True, False)
    """
    origin = 0
    for part in key:
        origin = int(_mixed(np.array([(origin + part + 1) & _MASK], np.uint64))[0])
    bits = np.asarray(gids).astype(np.uint64) + np.uint64(1)
    bits = _mixed(bits * np.uint64(_STEP) + np.uint64(origin))
    return (bits >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # SplitMix64 (Steele, Lea & Flood 2014, OOPSLA); it wraps around on purpose.
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
