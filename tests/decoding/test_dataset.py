"""Shards: what is written is what is read, by us and by Arrow."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from dish import Dish

from livn_ipp.decoding import ArrowDataset
from livn_ipp.errors import MissingExtra
from livn_ipp.run import Run

pa = pytest.importorskip("pyarrow", reason='needs pip install "livn_ipp[data]"')


def keep(directory, *signals, **kwargs):
    dish = Dish()
    shards = ArrowDataset(duration=10, directory=directory, **kwargs)
    shards.setup(dish)
    return shards, shards(dish.run(*signals), dish)


def test_a_run_survives(tmp_path):
    shards, run = keep(tmp_path / "new", "spikes", "voltage", "potential")
    assert [path.name for path in shards.shards()] == ["data-00000.arrow"]
    (read,) = shards.runs()
    assert (read.t0, read.duration) == (run.t0, run.duration)
    assert read.digest() == run.digest()
    for name, series in run.channels.items():
        again = read.channels[name]
        assert np.array_equal(again.values, series.values)
        assert again.values.dtype == series.values.dtype
        assert np.array_equal(again.ids, series.ids)
        assert (again.dt, again.start, again.unit) == (series.dt, 1.0, series.unit)
        assert again.sections == series.sections


def test_a_run_without_anything_survives(tmp_path):
    shards, _ = keep(tmp_path)
    (read,) = shards.runs()
    assert (read.spikes, dict(read.channels)) == (None, {})


def test_calls_add_rows(tmp_path):
    assert ArrowDataset(duration=10, directory=tmp_path).dataset() is None
    for _ in range(3):
        shards, run = keep(tmp_path, "spikes", "voltage")
    table = shards.dataset()
    assert table.num_rows == 3
    assert table["duration"].to_pylist() == [10.0] * 3
    assert table["spike_ids"][2].as_py() == run.spikes.ids.tolist()
    assert np.array_equal(table["voltage"][1].as_py(), run.voltage.values)


def test_only_what_is_wanted(tmp_path):
    shards, _ = keep(tmp_path, "spikes", "voltage", voltages=False)
    assert "voltage" not in shards.dataset().column_names


def test_runs_of_different_length_go_together(tmp_path):
    shards, run = keep(tmp_path, "spikes", "voltage")
    shards._write(run.slice(0, 5))
    assert shards.dataset()["duration"].to_pylist() == [10.0, 5.0]


def test_many_writers_share_a_directory(tmp_path):
    run = Dish().run("spikes")
    shards = ArrowDataset(duration=10, directory=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(shards._write, [run] * 40))
    names = [f"data-{number:05d}.arrow" for number in range(40)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert shards.dataset().num_rows == 40


def test_only_the_root_writes(tmp_path):
    other = Dish()
    other.comm = SimpleNamespace(gather=lambda value, root: None)
    shards = ArrowDataset(duration=10, directory=tmp_path)
    assert shards(Run(0, 10), other) is None
    assert shards.shards() == []


def test_without_pyarrow_nothing_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'pip install "livn_ipp\[data\]"'):
        keep(tmp_path / "new")
    assert not (tmp_path / "new").exists()
