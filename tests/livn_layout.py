"""A culture in the layout of livn's generator, written piece by piece with h5py.

It owes nothing to our own writer, so that both systems are held to the layout itself.
"""

import json
import uuid

import h5py
import numpy as np

CODES = {"EXC": 10, "INH": 11}
SIDE = 400.0  # um
_SECTION = {"dend": 4, "soma": 1}  # SWC types
_SYNAPSES = {
    ("EXC", "EXC"): ("excitatory", "dend", {"AMPA": 0.5, "NMDA": 0.5}),
    ("EXC", "INH"): ("excitatory", "dend", {"AMPA": 2.0, "NMDA": 0.01}),
    ("INH", "EXC"): ("inhibitory", "soma", {"GABA_A": 5.0}),
    ("INH", "INH"): ("inhibitory", "soma", {"GABA_A": 5.0}),
}
_RECEPTORS = {
    "AMPA": {"e": 0.0, "g_unit": 0.0005, "tau_rise": 0.5, "tau_decay": 3.0},
    "NMDA": {"e": 0.0, "g_unit": 0.0005, "tau_rise": 0.5, "tau_decay": 80.0},
    "GABA_A": {"e": -60.0, "g_unit": 0.001, "tau_rise": 0.3, "tau_decay": 6.0},
}


class Culture:
    """What is written: cells, positions and edges, drawn at random."""

    def __init__(self, counts, seed):
        random = np.random.default_rng(seed)
        self.counts = counts
        self.starts = dict(
            zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False)
        )
        self.positions = {
            name: np.column_stack(
                [random.uniform(0, SIDE, (n, 2)), random.uniform(0, 20, n)]
            ).astype(np.float32)
            for name, n in counts.items()
        }
        # (pre, post) -> rows (relative pre, relative post), by post
        self.edges = {
            (pre, post): np.array(
                [
                    (source, target)
                    for target in range(counts[post])
                    if target % 5 != 3  # some cells have no input
                    for source in sorted(
                        random.choice(counts[pre], min(4, counts[pre]), replace=False)
                    )
                    if (pre, source) != (post, target)
                ],
                dtype=np.int64,
            ).reshape(-1, 2)
            for pre, post in _SYNAPSES
        }

    def distances(self, pre, post):
        source, target = self.edges[pre, post].T
        apart = self.positions[pre][source] - self.positions[post][target]
        # Not below 25 um, where the shortest delays of the two simulators differ.
        return np.maximum(np.linalg.norm(apart, axis=1), 30.0).astype(np.float32)


def write(path, culture):
    path.mkdir(parents=True)
    cells = h5py.File(path / "cells.h5", "w")
    connections = h5py.File(path / "connections.h5", "w")
    with cells, connections:
        for file in (cells, connections):
            _write_types(file, culture)
        synapses = {name: [[] for _ in range(n)] for name, n in culture.counts.items()}
        for pre, post in culture.edges:
            _write_edges(connections, culture, pre, post, synapses[post])
        for name in culture.counts:
            _write_cells(cells, culture, name, synapses[name])
    (path / "graph.json").write_text(json.dumps(_graph(culture)))
    return path


def _write_types(file, culture):
    types = file.create_group("H5Types")
    labels = h5py.enum_dtype(CODES, basetype=np.uint16)
    types["Population labels"] = labels
    span = np.dtype([("Start", "u8"), ("Count", "u4"), ("Population", labels)])
    types["Population range"] = span
    table = np.zeros(len(culture.counts), span)
    for row, (name, count) in zip(table, culture.counts.items(), strict=True):
        row["Start"], row["Count"] = culture.starts[name], count
        row["Population"] = CODES[name]
    types.create_dataset("Populations", data=table)
    pair = np.dtype([("Source", labels), ("Destination", labels)])
    types["Population projections"] = pair
    pairs = np.array([(CODES[a], CODES[b]) for a, b in culture.edges], pair)
    types.create_dataset("Valid population projections", data=pairs)


def _write_attribute(group, name, index, values):
    group = group.create_group(name)
    lengths = [len(value) for value in values]
    group["Cell Index"] = np.asarray(index, np.uint32)
    group["Attribute Pointer"] = np.cumsum([0, *lengths]).astype(np.uint64)
    group["Attribute Value"] = np.concatenate(values)


def _write_cells(file, culture, name, synapses):
    group = file.create_group(f"Populations/{name}")
    everyone = range(culture.counts[name])
    coordinates = group.create_group("Generated Coordinates")
    for axis, column in zip("XYZ", culture.positions[name].T, strict=True):
        values = [np.array([value], np.float32) for value in column]
        _write_attribute(coordinates, f"{axis} Coordinate", everyone, values)
    attributes = group.create_group("Synapse Attributes")
    for field, dtype, of in (
        ("syn_ids", np.uint32, lambda number, kind, swc: number),
        ("syn_types", np.uint8, lambda number, kind, swc: kind),
        ("syn_cdists", np.float32, lambda number, kind, swc: 10.0),
        ("syn_locs", np.float32, lambda number, kind, swc: 0.5),
        ("syn_secs", np.int16, lambda number, kind, swc: 0 if swc == 1 else 1),
        ("syn_layers", np.uint8, lambda number, kind, swc: 0),
        ("swc_types", np.uint8, lambda number, kind, swc: swc),
    ):
        values = [
            np.array([of(k, *synapse) for k, synapse in enumerate(cell)], dtype)
            for cell in synapses
        ]
        _write_attribute(attributes, field, everyone, values)


def _write_edges(file, culture, pre, post, synapses):
    kind, section, _ = _SYNAPSES[pre, post]
    sources, targets = culture.edges[pre, post].T
    numbers = []
    for target in targets:
        numbers.append(len(synapses[target]))
        synapses[target].append((int(kind == "inhibitory"), _SECTION[section]))
    cells, degrees = np.unique(targets, return_counts=True)
    blocks = np.flatnonzero(np.diff(cells, prepend=-2) > 1)  # runs of cells in a row
    group = file.create_group(f"Projections/{post}/{pre}")
    edges = group.create_group("Edges")
    edges["Destination Block Index"] = cells[blocks].astype(np.uint32)
    edges["Destination Block Pointer"] = np.append(blocks, len(cells) + 1).astype("u8")
    edges["Destination Pointer"] = np.cumsum([0, *degrees]).astype(np.uint64)
    edges["Source Index"] = sources.astype(np.uint32)
    group["Connections/distance"] = culture.distances(pre, post)
    group["Synapses/syn_id"] = np.array(numbers, np.uint32)


def _graph(culture):
    corners = [[0.0, 0.0, 0.0], [SIDE, SIDE, 20.0]]
    synapses = {}
    for (pre, post), (kind, section, weights) in _SYNAPSES.items():
        synapses.setdefault(post, {})[pre] = {
            "type": kind,
            "sections": [section],
            "layers": ["2D"],
            "proportions": [1.0],
            "contacts": 1,
            "mechanisms": {
                "default": {
                    receptor: _RECEPTORS[receptor] | {"weight": weight}
                    for receptor, weight in weights.items()
                }
            },
        }
    architecture = {
        "layer_extents": {"2D": corners},
        "cell_distributions": {n: {"2D": k} for n, k in culture.counts.items()},
    }
    return {
        "version": 1,
        "architecture": {"uuid": str(uuid.uuid4()), "config": architecture},
        "distances": {},
        "synapse_forest": {},
        "synapses": {},
        "connections": {
            "any": {"uuid": str(uuid.uuid4()), "config": {"synapses": synapses}}
        },
    }
