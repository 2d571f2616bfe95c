"""Generates a two-dimensional culture and writes its system directory."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.system.culture import CultureSpec, PopulationSpec, ProjectionSpec
from livn_ipp.system.description import describe, parameters
from livn_ipp.system.growth import Inputs, grow_angles, grow_inputs, grow_positions
from livn_ipp.system.layout import (
    ANGLE,
    CONDUCTION,
    COORDINATES,
    DENDRITE,
    DISTANCE,
    FACTOR,
)
from livn_ipp.system.neuroh5_writer import Writer
from livn_ipp.system.recipe import recipe

__all__ = ["CultureSpec", "PopulationSpec", "ProjectionSpec", "generate"]

_CHUNK: Final = 256  # postsynaptic cells connected at once
_SECTIONS: Final = {"soma": (0, 1, 0.0), "dend": (1, 4, DENDRITE)}
"""Number, SWC type and distance from the soma in um."""


def generate(
    path: str | Path,
    spec: CultureSpec,
    progress: Callable[[int, int], None] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Grow a culture and write it as a system directory.

    The same `spec` writes the same bytes. The directory appears when it is complete.

    Parameters
    ----------
    path
        The directory to make.
    spec
        The culture, such as ``CultureSpec.preset("EI2")``.
    progress
        Called with the number of cells connected so far and of all cells.
    overwrite
        Replace a system that is already there.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    ConfigError
        If the directory exists and is not to be overwritten, or is not a system.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> generate(folder / "small", CultureSpec(cells=5, side=200.0)).name
    'small'
    """
    target = Path(path).expanduser().absolute()
    _check_target(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{target.name}-", dir=target.parent
    ) as staging:
        made = Path(staging) / target.name
        made.mkdir()
        _write(made, spec, progress or (lambda _done, _total: None))
        if target.exists():
            target.rename(Path(staging) / "replaced")
        made.rename(target)
    return target


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise ConfigError(f"{target} exists; pass overwrite=True to replace it")
    if not (target / "graph.json").is_file():
        raise ConfigError(
            f"{target} is not a system (it has no graph.json); it is not replaced"
        )


def _write(
    folder: Path, spec: CultureSpec, progress: Callable[[int, int], None]
) -> None:
    positions = grow_positions(spec)
    pairs = [(projection.pre, projection.post) for projection in spec.projections]
    with (
        Writer(folder / "cells.h5", spec.counts, pairs) as cells,
        Writer(folder / "connections.h5", spec.counts, pairs) as connections,
    ):
        _write_cells(cells, spec, positions)
        start = 0
        for post, count in spec.counts.items():
            for first in range(0, count, _CHUNK):
                members = np.arange(first, min(first + _CHUNK, count))
                _write_inputs(
                    cells, connections, spec, post, members, members + start, positions
                )
                progress(start + int(members[-1]) + 1, spec.cells)
            start += count
        codes = cells.codes
    _write_json(folder / "graph.json", describe(spec, codes))
    (folder / "params").mkdir()
    _write_json(folder / "params" / "default.json", parameters(spec))
    (folder / "provenance.toml").write_text(recipe(spec), encoding="utf-8")
    _array(spec).save(folder / "mea.json")


def _array(spec: CultureSpec) -> MEA:
    radii = spec.input_radius, spec.output_radius
    if spec.electrode_pitch is None:
        return MEA.grid(
            spec.side, spec.electrodes_per_side, spec.electrode_height, *radii
        )
    area = [[0.0, 0.0], [spec.side, spec.side]]
    return MEA.for_area(area, spec.electrode_pitch, spec.electrode_height, *radii)


def _write_cells(
    cells: Writer, spec: CultureSpec, positions: NDArray[np.float32]
) -> None:
    angles = grow_angles(spec)
    start = 0
    for name, count in spec.counts.items():
        own = slice(start, start + count)
        columns = [
            *zip(COORDINATES, positions[own].T, strict=True),
            (ANGLE, angles[own]),
        ]
        for (namespace, attribute), values in columns:
            members = np.arange(count)
            cells.attribute(
                name, namespace, attribute, members, np.ones(count, int), values
            )
        start += count


def _write_inputs(
    cells: Writer,
    connections: Writer,
    spec: CultureSpec,
    post: str,
    members: NDArray[np.int64],
    gids: NDArray[np.int64],
    positions: NDArray[np.float32],
) -> None:
    """Connect a chunk of cells: edges, and the synapses that they end on."""
    used = np.zeros(len(members), np.int64)  # synapses of each cell so far
    owners, sections, inhibitory = [], [], []
    for projection in spec.projections:
        if projection.post != post:
            continue
        inputs = grow_inputs(spec, projection, gids.tolist(), positions)
        owner = np.repeat(np.arange(len(members)), inputs.degrees)
        connections.edges(
            projection.pre,
            post,
            members,
            inputs.degrees,
            inputs.sources,
            {
                DISTANCE: _conduction_length(spec, inputs),
                FACTOR: inputs.factor,
                "Synapses/syn_id": _synapse_ids(used, inputs),
            },
        )
        used += inputs.degrees
        owners.append(owner)
        sections.append(np.full((len(owner), 3), _SECTIONS[projection.section]))
        inhibitory.append(np.full(len(owner), "GABA_A" in projection.weights))
    if not owners:
        return
    order = np.argsort(np.concatenate(owners), kind="stable")
    number, swc, path = np.concatenate(sections)[order].T
    begins = np.repeat(np.cumsum(used) - used, used)
    attributes = {
        "syn_ids": (np.arange(len(order)) - begins).astype(np.uint32),
        "syn_types": np.concatenate(inhibitory)[order].astype(np.uint8),
        "syn_cdists": path.astype(np.float32),
        "syn_locs": np.full(len(order), 0.5, np.float32),
        "syn_secs": number.astype(np.int16),
        "syn_layers": np.zeros(len(order), np.uint8),
        "swc_types": swc.astype(np.uint8),
    }
    for name, values in attributes.items():
        cells.attribute(post, "Synapse Attributes", name, members, used, values)


def _conduction_length(spec: CultureSpec, inputs: Inputs) -> NDArray[np.float32]:
    """Return the length (um) that livn's fixed velocity turns into the delay."""
    delays = spec.synaptic_delay + inputs.distance / spec.conduction_velocity
    return (delays * CONDUCTION).astype(np.float32)


def _synapse_ids(used: NDArray[np.int64], inputs: Inputs) -> NDArray[np.uint32]:
    """Count on the new synapses of each cell after those it has."""
    begins = np.cumsum(inputs.degrees) - inputs.degrees
    shift = np.repeat(used - begins, inputs.degrees)
    return np.arange(len(shift), dtype=np.uint32) + shift.astype(np.uint32)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
