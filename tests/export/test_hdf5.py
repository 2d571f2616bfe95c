"""Files of runs: nothing is lost, and what is no such file is refused."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from livn_ipp.errors import SystemFormatError
from livn_ipp.run import Events, Run, Series

spikes = st.none() | st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1e9)), max_size=20
).map(lambda pairs: Events.of([i for i, _ in pairs], [t for _, t in pairs]))


@st.composite
def series(draw):
    rows, samples = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    sections = st.sampled_from(["soma", "dend", "Fortsatz é"])
    return Series(
        draw(hnp.arrays(draw(st.sampled_from([np.uint32, np.int64])), rows)),
        draw(hnp.arrays(dtype, (rows, samples))),
        draw(st.floats(1e-3, 10)),
        draw(st.floats(0, 10)),
        draw(st.sampled_from(["mV", "uA", "uV", ""])),
        tuple(draw(st.lists(sections, min_size=rows, max_size=rows))),
    )


names = st.sampled_from(["voltage", "current", "potential", "dend-ca"])
runs = st.builds(
    Run,
    st.integers(0, 100) | st.floats(0, 1e6),
    st.integers(1, 100) | st.floats(0.1, 1e6),
    spikes,
    st.dictionaries(names, series()),
)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(run=runs)
def test_nothing_is_lost(run, tmp_path_factory):
    path = run.save(tmp_path_factory.mktemp("run") / "run.h5")
    read = Run.load(path)
    assert (read.t0, read.duration) == (run.t0, run.duration)
    assert (type(read.t0), type(read.duration)) == (type(run.t0), type(run.duration))
    assert (read.spikes is None) == (run.spikes is None)
    if run.spikes is not None:
        assert same(read.spikes.ids, run.spikes.ids)
        assert same(read.spikes.times, run.spikes.times)
    assert list(read.channels) == list(run.channels)
    for name, series in run.channels.items():
        again = read.channels[name]
        assert same(again.ids, series.ids)
        assert same(again.values, series.values)
        assert again.sections == series.sections
        assert (again.dt, again.start, again.unit) == (
            series.dt,
            series.start,
            series.unit,
        )


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "run.h5"
    Run(0, 10).save(str(path))
    broken = Run(0, 10, None, {"odd": Series(None, None, 1.0, 1.0, "mV")})
    with pytest.raises(AttributeError):
        broken.save(path)
    assert Run.load(path).duration == 10
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


def other(path):
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "something else"


def later(path):
    Run(0, 10).save(path)
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 99


def damaged(path):
    Run(0, 10).save(path)
    with h5py.File(path, "a") as file:
        del file.attrs["t0"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.write_text("spikes"), "cannot be read"),
        (other, "no livn_ipp run"),
        (later, "later livn_ipp"),
        (damaged, "cannot be read"),
    ],
)
def test_other_files_are_refused(make, message, tmp_path):
    path = tmp_path / "run.h5"
    make(path)
    with pytest.raises(SystemFormatError, match=message):
        Run.load(path)
