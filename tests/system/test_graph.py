"""``graph.json``: versions, extents and synapses."""

import json

import pytest

from livn_ipp.errors import SystemFormatError
from livn_ipp.system.graph import Graph


@pytest.fixture
def graph(tmp_path):
    def write(**content):
        path = tmp_path / "graph.json"
        path.write_text(json.dumps({"version": 1} | content))
        return Graph(path)

    return write


def test_only_the_first_entry_of_connections_counts(graph):
    def entry(section):
        synapses = {"INH": {"EXC": {"sections": [section]}}}
        return {"uuid": "x", "config": {"synapses": synapses}}

    found = graph(connections={"one": entry("dend"), "two": entry("soma")})
    assert found.synapses("EXC", "INH") == {"sections": ["dend"]}
    with pytest.raises(SystemFormatError, match="missing") as info:
        found.synapses("INH", "EXC")
    assert info.value.field == "connections.*.config.synapses.EXC.INH"


def test_the_bounding_box_holds_all_layers(graph):
    extents = {"a": [[0, 0, 0], [5, 5, 2]], "b": [[-1, 2, 2], [4, 9, 3]]}
    found = graph(architecture={"config": {"layer_extents": extents}})
    assert found.bounding_box().tolist() == [[-1, 0, 0], [5, 9, 3]]


@pytest.mark.parametrize("content", [{}, [], 7, {"one": {}}, {"one": {"config": []}}])
def test_connections_of_another_shape_are_named(graph, content):
    with pytest.raises(SystemFormatError, match=r"connections\.\*"):
        graph(connections=content).synapses("EXC", "INH")


@pytest.mark.parametrize("extents", [{}, [], {"a": [[0, 0, 0]]}, {"a": "wide"}, None])
def test_extents_of_another_shape_are_named(graph, extents):
    found = graph(architecture={"config": {"layer_extents": extents}})
    with pytest.raises(SystemFormatError, match="layer_extents"):
        found.bounding_box()
