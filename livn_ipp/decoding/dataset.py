"""Runs kept on disk as they are made, one file each, for training and statistics."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from livn_ipp.decoding.window import GatherAndMerge
from livn_ipp.extras import extra
from livn_ipp.run import Events, Run, Series

__all__ = ["ArrowDataset"]


class ArrowDataset(GatherAndMerge):
    """Bring the ranks' parts together and write each call's run as one shard.

    Shards are Arrow stream files ``data-00000.arrow``, ... of one row, as Hugging
    Face's ``datasets`` reads them; any number of workers may write into one directory.
    They are written with pyarrow (``pip install "livn_ipp[data]"``), the reference
    implementation of the format, because what trains on such data reads Arrow without
    a copy, which holds for neither zarr nor HDF5.

    Columns: ``t0``, ``duration`` (ms), ``spike_ids``, ``spike_times`` (ms), and for
    each of ``voltage`` (mV), ``current`` (uA) and ``potential`` (uV) that was recorded
    ``<name>_ids``, ``<name>`` (rows of samples), ``<name>_dt`` and ``<name>_start``
    (ms), ``<name>_sections``.

    Parameters
    ----------
    directory
        Where the shards go, on the worker's machine; made if it is not there.
    duration, root, spikes, voltages, membrane_currents, potentials
        See :class:`~livn_ipp.decoding.GatherAndMerge`, whose result this returns.
    """

    directory: Path

    def setup(self, env: Any) -> None:
        """Check that shards can be written before anything is simulated."""
        super().setup(env)
        extra("pyarrow", "data")
        self.directory.mkdir(parents=True, exist_ok=True)

    def __call__(self, run: Run, env: Any = None) -> Run | None:
        """Merge the ranks' parts and write them."""
        whole = super().__call__(run, env)
        if whole is not None:
            self._write(whole)
        return whole

    def shards(self) -> list[Path]:
        """Return the files that are there, in order."""
        return sorted(self.directory.glob("data-*.arrow"))

    def dataset(self) -> Any:
        """Return all shards as one pyarrow Table, one row for each run."""
        pa = extra("pyarrow", "data")
        tables = [self._read(path) for path in self.shards()]
        return pa.concat_tables(tables, promote_options="default") if tables else None

    def runs(self) -> Iterator[Run]:
        """Read the shards back, run by run."""
        for path in self.shards():
            yield _run(self._read(path))

    def _write(self, run: Run) -> None:
        pa = extra("pyarrow", "data")
        table = pa.table(_columns(run, pa))
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.directory / f".{uuid.uuid4().hex}"
        try:
            with (
                pa.OSFile(str(unfinished), "wb") as file,
                pa.ipc.new_stream(file, table.schema) as writer,
            ):
                writer.write_table(table)
            number = len(self.shards())
            while not _claimed(unfinished, self.directory / f"data-{number:05d}.arrow"):
                number += 1
        finally:
            unfinished.unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> Any:
        pa = extra("pyarrow", "data")
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_stream(file).read_all()


def _claimed(source: Path, target: Path) -> bool:
    """Give a finished file its name, unless another worker took that."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def _columns(run: Run, pa: Any) -> dict[str, Any]:
    columns = {
        "t0": pa.array([run.t0], pa.float64()),
        "duration": pa.array([run.duration], pa.float64()),
    }
    if run.spikes is not None:
        columns["spike_ids"] = _row(run.spikes.ids, pa)
        columns["spike_times"] = _row(run.spikes.times, pa)
    for name, series in run.channels.items():
        samples = series.values.shape[1]
        starts = np.arange(len(series.values) + 1, dtype=np.int64) * samples
        rows = pa.LargeListArray.from_arrays(starts, pa.array(series.values.ravel()))
        columns |= {
            f"{name}_ids": _row(series.ids, pa),
            name: pa.LargeListArray.from_arrays([0, len(rows)], rows),
            f"{name}_dt": pa.array([series.dt]),
            f"{name}_start": pa.array([series.start]),
            f"{name}_unit": pa.array([series.unit]),
            f"{name}_sections": pa.array(
                [list(series.sections)], pa.list_(pa.string())
            ),
        }
    return columns


def _row(values: Any, pa: Any) -> Any:
    return pa.LargeListArray.from_arrays([0, len(values)], pa.array(values))


def _run(table: Any) -> Run:
    def array(column: str) -> Any:
        return table[column].chunk(0).values

    names = table.column_names
    spikes = None
    if "spike_ids" in names:
        spikes = Events.of(array("spike_ids"), array("spike_times"))
    channels = {}
    for name in [column[:-3] for column in names if column.endswith("_dt")]:
        ids = array(f"{name}_ids").to_numpy()
        flat = array(name).values.to_numpy()
        values = flat.reshape(len(ids), len(flat) // max(1, len(ids)))
        dt, start, unit, sections = (
            table[f"{name}_{part}"][0].as_py()
            for part in ("dt", "start", "unit", "sections")
        )
        channels[name] = Series(ids, values, dt, start, unit, tuple(sections))
    return Run(table["t0"][0].as_py(), table["duration"][0].as_py(), spikes, channels)
