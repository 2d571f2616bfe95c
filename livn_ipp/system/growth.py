"""Grows a culture: positions, directions and connections from its description.

Every random number is keyed by (seed, purpose, cell), so nothing depends on how cells
are grouped into chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.system.culture import CultureSpec, ProjectionSpec

__all__ = ["Inputs", "grow_angles", "grow_inputs", "grow_positions"]

_POSITION, _ANGLE, _WIRING = 1, 2, 4  # purposes; 3 was the background's
_TRIES: Final = 1000


@dataclass(frozen=True, eq=False)
class Inputs:
    """Connections of one projection onto some cells, sorted by (post, pre).

    Attributes
    ----------
    degrees : array [cells]
        Number of connections onto each cell.
    sources : array [edges]
        Index of the source in its population.
    distance : array [edges], float32
        In um.
    factor : array [edges], float32
        Weight factor.
    """

    degrees: NDArray[np.int64]
    sources: NDArray[np.int64]
    distance: NDArray[np.float32]
    factor: NDArray[np.float32]


def grow_positions(spec: CultureSpec) -> NDArray[np.float32]:
    """Place the cells one after the other, uniformly but not too close: [cells, 3] um.

    Raises
    ------
    ConfigError
        If no room is left for a cell.
    """
    random = _random(spec, _POSITION)
    extent = np.array([spec.side, spec.side, spec.depth])
    nearest = spec.spacing * spec.side / np.sqrt(spec.cells)
    positions = np.zeros((spec.cells, 3), np.float32)
    for cell in range(spec.cells):
        for _ in range(_TRIES):
            place = random.uniform(0, 1, 3) * extent
            apart = np.hypot(*(positions[:cell, :2] - place[:2]).T)
            if np.all(apart >= nearest):
                break
        else:
            raise ConfigError(
                f"no room for cell {cell} at a spacing of {spec.spacing}; lower it"
            )
        positions[cell] = place
    return positions


def grow_angles(spec: CultureSpec) -> NDArray[np.float64]:
    """Direction of each cell's dendrite in rad, uniform: [cells]."""
    return np.array(
        [_random(spec, _ANGLE, gid).uniform(0, 2 * np.pi) for gid in range(spec.cells)]
    )


def grow_inputs(
    spec: CultureSpec,
    projection: ProjectionSpec,
    post_gids: Sequence[int],
    positions: NDArray[np.float32],
) -> Inputs:
    """Connect cells to sources nearby.

    Each cell gets `in_degree` sources without replacement, of probability
    ``exp(-distance / length_constant)`` (by the largest of log-probability plus Gumbel
    noise), and a lognormal weight factor of mean 1 for each, times the compensation for
    a low in-degree.

    Parameters
    ----------
    spec, projection
        The culture, and which of its projections.
    post_gids
        The cells to connect.
    positions : array [cells, 3]
        Of all cells, in um.
    """
    names = [population.name for population in spec.populations]
    index = names.index(projection.pre)
    counts = list(spec.counts.values())
    start, count = sum(counts[:index]), counts[index]
    source = spec.populations[index]
    places = positions.astype(np.float64)
    parts = []
    for gid in post_gids:
        candidates = np.arange(start, start + count)
        candidates = candidates[candidates != gid]
        degree = min(projection.in_degree, len(candidates))
        random = _random(spec, _WIRING, gid, index)
        offsets = places[candidates] - places[gid]
        distance = np.sqrt((offsets**2).sum(axis=1))
        score = random.gumbel(size=len(candidates)) - distance / source.length_constant
        chosen = np.argsort(-score, kind="stable")[:degree]
        spread = spec.weight_sd * random.normal(size=degree) - spec.weight_sd**2 / 2
        scale = min(
            np.sqrt(projection.reference_in_degree / max(degree, 1)), source.weight_cap
        )
        order = np.argsort(chosen)
        chosen = chosen[order]
        factor = np.exp(spread[order]) * scale
        parts.append((candidates[chosen] - start, distance[chosen], factor))
    sources, distances, factors = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return Inputs(
        np.array([len(part[0]) for part in parts]),
        sources,
        distances.astype(np.float32),
        factors.astype(np.float32),
    )


def _random(spec: CultureSpec, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([spec.seed, *key]))
