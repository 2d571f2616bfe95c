"""Runs in HDF5 files, without loss.

A file holds the attributes ``format`` and ``version``, ``t0`` and ``duration`` (ms);
the group ``spikes`` with ``ids`` and ``times`` (ms), if spikes were recorded; and for
each signal a group ``channels/<name>`` with ``ids``, ``values`` [rows, samples] and
``sections``, and the attributes ``dt``, ``start`` (ms) and ``unit``.
"""

import uuid
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from livn_ipp.errors import SystemFormatError
from livn_ipp.run import Run
from livn_ipp.signals import Events, Series

__all__ = ["load", "save"]

_FORMAT: Final = "livn_ipp run"
_VERSION: Final = 1
_COMPRESSED: Final = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def save(run: Run, path: str | Path) -> Path:
    """Write a run; a file that is there is replaced only when the new one is whole.

    Parameters
    ----------
    run
        What to write.
    path
        The file.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> import tempfile
    >>> run = Run(0, 10, Events.of([1], [0.1]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(save(run, folder + "/run.h5")).digest() == run.digest()
    True
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with h5py.File(unfinished, "w") as file:
            _write(run, file)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load(path: str | Path) -> Run:
    """Read a run.

    Raises
    ------
    SystemFormatError
        If the file is missing, damaged or none of ours.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != _FORMAT:
                raise SystemFormatError(path, "format", "this is no livn_ipp run")
            if file.attrs["version"] > _VERSION:
                raise SystemFormatError(
                    path, "version", "written by a later livn_ipp; upgrade to read it"
                )
            return _read(file)
    except (OSError, KeyError) as error:
        raise SystemFormatError(path, "", f"cannot be read: {error}") from error


def _write(run: Run, file: Any) -> None:
    file.attrs["format"] = _FORMAT
    file.attrs["version"] = _VERSION
    file.attrs["t0"] = run.t0
    file.attrs["duration"] = run.duration
    if run.spikes is not None:
        _put(file, "spikes/ids", run.spikes.ids)
        _put(file, "spikes/times", run.spikes.times)
    channels = file.create_group("channels", track_order=True)
    for name, series in run.channels.items():
        group = channels.create_group(name)
        group.attrs["dt"] = series.dt
        group.attrs["start"] = series.start
        group.attrs["unit"] = series.unit
        _put(group, "ids", series.ids)
        _put(group, "values", series.values)
        group.create_dataset(
            "sections", data=series.sections, dtype=h5py.string_dtype()
        )


def _put(group: Any, name: str, array: Any) -> None:
    # Chunks, which compression needs, cannot be empty.
    options = _COMPRESSED if array.size else {}
    group.create_dataset(name, data=np.ascontiguousarray(array), **options)


def _read(file: Any) -> Run:
    spikes = None
    if "spikes" in file:
        spikes = Events(file["spikes/ids"][:], file["spikes/times"][:])
    channels = {
        name: Series(
            group["ids"][:],
            group["values"][:],
            _number(group.attrs["dt"]),
            _number(group.attrs["start"]),
            str(group.attrs["unit"]),
            tuple(group["sections"].asstr()[:]),
        )
        for name, group in file["channels"].items()
    }
    attributes = file.attrs
    return Run(
        _number(attributes["t0"]), _number(attributes["duration"]), spikes, channels
    )


def _number(value: Any) -> Any:
    return value.item()
