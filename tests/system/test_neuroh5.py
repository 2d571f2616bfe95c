"""The NeuroH5 layout: round trips, its blocks and its traps."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.system import neuroh5
from livn_ipp.system.neuroh5 import reading
from livn_ipp.system.neuroh5_writer import Writer

COLUMN = "Connections/distance"
TYPES = st.sampled_from([np.float32, np.float64, np.uint8, np.int16, np.uint32])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.h5"


@settings(deadline=None)
@given(
    populations=st.dictionaries(
        st.text("ABCXYZ", min_size=1, max_size=3),
        st.integers(0, 1000),
        min_size=1,
        max_size=5,
    )
)
def test_populations_round_trip(populations):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.h5"
        with Writer(path, populations):
            pass
        with reading(path) as file:
            ranges = file.populations()
    assert {name: count for name, (_, count) in ranges.items()} == populations
    end = 0
    for name in sorted(populations):  # livn pairs sorted names with rows
        assert ranges[name] == (end, populations[name])
        end += populations[name]


@st.composite
def ragged_chunks(draw):
    """Attributes of some cells, in chunks as a generator would write them."""
    dtype = draw(TYPES)
    cells = sorted(draw(st.sets(st.integers(0, 99), max_size=12)))
    lengths = [draw(st.integers(0, 5)) for _ in cells]
    values = [
        np.array(draw(st.lists(st.integers(0, 200), min_size=n, max_size=n)), dtype)
        for n in lengths
    ]
    cut = draw(st.integers(0, len(cells)))
    return dtype, cells, values, [slice(0, cut), slice(cut, None)]


@settings(deadline=None)
@given(case=ragged_chunks())
def test_ragged_attributes_round_trip(case):
    dtype, cells, values, chunks = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.h5"
        with Writer(path, {"EXC": 100}) as writer:
            for chunk in chunks:
                flat = np.concatenate([np.zeros(0, dtype), *values[chunk]])
                writer.attribute(
                    "EXC",
                    "Things",
                    "size",
                    cells[chunk],
                    list(map(len, values[chunk])),
                    flat,
                )
        with reading(path) as file:
            ragged = file.attribute("EXC", "Things", "size", 100)
    assert ragged.cells.tolist() == cells
    assert ragged.values.dtype == dtype
    for i, expected in enumerate(values):
        own = ragged.values[ragged.pointer[i] : ragged.pointer[i + 1]]
        assert own.tolist() == expected.tolist()


@st.composite
def random_edges(draw):
    pre_count, post_count = draw(st.integers(1, 20)), draw(st.integers(1, 30))
    owners = sorted(draw(st.sets(st.integers(0, post_count - 1))))
    sources = [
        draw(st.lists(st.integers(0, pre_count - 1), max_size=4)) for _ in owners
    ]
    cut = draw(st.integers(0, len(owners)))
    onto = draw(st.sets(st.integers(0, post_count - 1)))
    return pre_count, post_count, owners, sources, cut, sorted(onto)


@settings(deadline=None)
@given(case=random_edges(), window=st.integers(1, 8))
def test_edges_round_trip_whole_and_filtered(case, window):
    pre_count, post_count, owners, sources, cut, onto = case
    flat = [s for own in sources for s in own]
    distance = np.arange(len(flat), dtype=np.float32) / 3
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(neuroh5, "_WINDOW", window)
        path = Path(folder) / "file.h5"
        done = 0
        with Writer(path, {"A": pre_count, "B": post_count}, [("A", "B")]) as writer:
            for part in (slice(0, cut), slice(cut, None)):
                own = [s for own in sources[part] for s in own]
                columns = {COLUMN: distance[done : done + len(own)]}
                degrees = [len(own) for own in sources[part]]
                writer.edges("A", "B", owners[part], degrees, own, columns)
                done += len(own)
        with reading(path) as file:
            assert file.projections() == (("A", "B"),)
            full = file.edges("A", "B", pre_count, post_count, [COLUMN])
            some = file.edges(
                "A", "B", pre_count, post_count, [COLUMN], np.array(onto, np.int64)
            )
    expected = [o for o, own in zip(owners, sources, strict=True) for _ in own]
    assert full.sources.tolist() == flat
    assert full.destinations.tolist() == expected
    assert full.columns[COLUMN].tolist() == distance.tolist()
    keep = np.isin(expected, onto)
    assert some.sources.tolist() == np.array(flat, int)[keep].tolist()
    assert some.destinations.tolist() == np.array(expected, int)[keep].tolist()
    assert some.columns[COLUMN].tolist() == distance[keep].tolist()


def raw_edges(path, block, block_pointer, pointer, sources):
    with h5py.File(path, "a") as file:
        group = file.require_group("Projections/B/A/Edges")
        group["Destination Block Index"] = np.array(block, np.uint32)
        group["Destination Block Pointer"] = np.array(block_pointer, np.uint64)
        group["Destination Pointer"] = np.array(pointer, np.uint64)
        group["Source Index"] = np.array(sources, np.uint32)


def test_the_last_block_has_one_destination_fewer_than_its_offsets_say(path):
    # 2 -> 7; 3 -> 8, 9; then a gap; 6 -> nothing; 7 -> 1
    raw_edges(path, [2, 6], [0, 2, 5], [0, 1, 3, 3, 4], [7, 8, 9, 1])
    with reading(path) as file:
        edges = file.edges("A", "B", 10, 10)
    assert edges.destinations.tolist() == [2, 3, 3, 7]
    assert edges.sources.tolist() == [7, 8, 9, 1]


def test_written_blocks_are_those_of_the_layout(path):
    with Writer(path, {"A": 10, "B": 10}, [("A", "B")]) as writer:
        writer.edges("A", "B", [2, 3], [1, 2], [7, 8, 9], {})
        writer.edges("A", "B", [6, 7], [0, 1], [1], {})
    with h5py.File(path) as file:
        group = file["Projections/B/A/Edges"]
        found = {name: (group[name].dtype, group[name][()].tolist()) for name in group}
    assert found == {
        "Destination Block Index": (np.uint32, [2, 6]),
        "Destination Block Pointer": (np.uint64, [0, 2, 5]),
        "Destination Pointer": (np.uint64, [0, 1, 3, 3, 4]),
        "Source Index": (np.uint32, [7, 8, 9, 1]),
    }


def test_written_types_are_those_of_the_layout(path):
    with Writer(path, {"INH": 2, "EXC": 8}, [("EXC", "INH")]) as writer:
        writer.attribute("INH", "N", "a", [0, 1], [2, 1], np.array([1, 2, 3], np.uint8))
    with h5py.File(path) as file:
        types = file["H5Types"]
        codes = h5py.check_enum_dtype(types["Population labels"].dtype)
        assert codes == {"EXC": 10, "INH": 11}
        assert types["Population labels"].dtype.itemsize == 2
        rows = types["Populations"]
        assert rows.dtype == types["Population range"].dtype
        assert rows[()].tolist() == [(0, 8, 10), (8, 2, 11)]
        assert types["Valid population projections"][()].tolist() == [(10, 11)]
        group = file["Populations/INH/N/a"]
        assert group["Cell Index"][()].tolist() == [0, 1]
        assert group["Cell Index"].dtype == np.uint32
        assert group["Attribute Pointer"][()].tolist() == [0, 2, 3]
        assert group["Attribute Pointer"].dtype == np.uint64
        assert group["Attribute Value"][()].tolist() == [1, 2, 3]


def test_populations_are_named_by_code_not_by_alphabet(path):
    label = h5py.enum_dtype({"STIM": 0, "EXC": 1}, basetype=np.uint16)
    row = np.dtype([("Start", "u8"), ("Count", "u4"), ("Population", label)])
    with h5py.File(path, "w") as file:
        file["H5Types/Populations"] = np.array([(5, 20, 1), (0, 5, 0)], row)
    with reading(path) as file:
        assert list(file.populations().items()) == [("STIM", (0, 5)), ("EXC", (5, 20))]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([(0, 5, 0), (4, 5, 1)], "inside another"),
        ([(0, 5, 0), (5, 5, 7)], "code 7"),
    ],
)
def test_broken_population_tables_are_refused(path, rows, problem):
    label = h5py.enum_dtype({"A": 0, "B": 1}, basetype=np.uint16)
    row = np.dtype([("Start", "u8"), ("Count", "u4"), ("Population", label)])
    with h5py.File(path, "w") as file:
        file["H5Types/Populations"] = np.array(rows, row)
    with reading(path) as file, pytest.raises(SystemFormatError, match=problem) as info:
        file.populations()
    assert info.value.field == "H5Types/Populations"


@pytest.mark.parametrize(
    ("arrays", "field", "problem"),
    [
        (([0], [0, 3], [0, 1, 2], [0, 99]), "Source Index", "dangling gid: cell 99"),
        (
            ([9], [0, 3], [0, 1, 2], [0, 1]),
            "Destination Block Index",
            "cell 10 is outside B",
        ),
        (([0], [0, 3], [0, 1, 3], [0, 1]), "Destination Pointer", "from 0 to 2"),
        (([0], [0, 3], [0, 2, 1], [0, 1]), "Destination Pointer", "from 0 to 2"),
        (([0], [0, 4], [0, 2, 1, 2], [0, 1]), "Destination Pointer", "ascend"),
        (([0], [0, 3], [0, 2], [0, 1]), "Destination Pointer", "2 offsets for 2 cells"),
        (([0, 1], [0, 3], [0, 1, 2], [0, 1]), "Destination Block Pointer", "2 blocks"),
        (([0, 1], [2, 1, 3], [0, 1, 2], [0]), "Destination Block Pointer", "ascend"),
    ],
)
def test_broken_edges_are_refused(path, arrays, field, problem):
    raw_edges(path, *arrays)
    with reading(path) as file, pytest.raises(SystemFormatError, match=problem) as info:
        file.edges("A", "B", 10, 10)
    assert info.value.field == f"Projections/B/A/Edges/{field}"


def test_a_column_of_another_length_is_refused_also_when_filtered(path):
    raw_edges(path, [0], [0, 3], [0, 1, 2], [0, 1])
    with h5py.File(path, "a") as file:
        file[f"Projections/B/A/{COLUMN}"] = [1.0, 2.0, 3.0]
    for onto in (None, np.array([1])):
        with reading(path) as file, pytest.raises(SystemFormatError, match="3 values"):
            file.edges("A", "B", 10, 10, [COLUMN], onto)


@pytest.mark.parametrize(
    ("destinations", "degrees", "sources", "problem"),
    [
        ([1, 1], [1, 1], [0, 1], "ascend"),
        ([2, 1], [1, 1], [0, 1], "ascend"),
        ([0], [1], [5], "cell 5 is outside A"),
        ([9], [1], [0], "cell 9 is outside B"),
        ([0], [2], [0], "do not fit"),
        ([0, 1], [1], [0], "do not fit"),
    ],
)
def test_the_writer_refuses_what_the_reader_would(
    path, destinations, degrees, sources, problem
):
    with (
        Writer(path, {"A": 5, "B": 5}) as writer,
        pytest.raises(ConfigError, match=problem),
    ):
        writer.edges("A", "B", destinations, degrees, sources, {})


def test_the_writer_refuses_to_go_back_and_uneven_columns(path):
    with Writer(path, {"A": 5, "B": 5}) as writer:
        writer.edges("A", "B", [3], [1], [0], {})
        with pytest.raises(ConfigError, match="ascend"):
            writer.edges("A", "B", [3], [1], [0], {})
        with pytest.raises(ConfigError, match="2 values for 1 edges"):
            writer.edges("A", "B", [4], [1], [0], {COLUMN: np.zeros(2)})


def test_a_cell_listed_twice_is_refused(path):
    with Writer(path, {"A": 5}) as writer:
        writer.attribute("A", "N", "a", [1, 1], [1, 1], np.zeros(2))
    with reading(path) as file, pytest.raises(SystemFormatError, match="listed twice"):
        file.attribute("A", "N", "a", 5)


def test_links_that_lead_nowhere_are_named(path):
    with h5py.File(path, "w") as file:
        file["Projections/PV"] = h5py.SoftLink("/nowhere")
    with (
        pytest.raises(SystemFormatError, match="cannot be read as HDF5") as info,
        reading(path) as file,
    ):
        file.projections()
    assert info.value.path == path
