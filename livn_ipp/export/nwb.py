"""Runs as NWB files, which DANDI and the tools of electrophysiologists read.

Neurodata Without Borders (Ruebel et al. 2022, eLife 11:e78362) counts time in seconds,
and potentials and currents in V and A, by way of a conversion factor.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra
from livn_ipp.run import Run
from livn_ipp.signals import Series
from livn_ipp.stimulus import Stimulus

__all__ = ["to_nwb"]

_MS_PER_S: Final = 1000.0
# Unit of ours: (unit of NWB, factor).
_UNITS: Final = {
    "mV": ("volts", 1e-3),
    "uV": ("volts", 1e-6),
    "uA": ("amperes", 1e-6),
    "nA": ("amperes", 1e-9),
    "uS": ("siemens", 1e-6),
    "mA/cm2": ("amperes per square metre", 10.0),
}


def to_nwb(
    run: Run,
    path: str | Path,
    *,
    system: Any = None,
    io: Any = None,
    stimulus: Stimulus | None = None,
    session_start_time: datetime | None = None,
    description: str = "simulated",
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Write an NWB file of one run.

    - Spikes become the table of units, times in s from the start of the run, with the
      column ``gid``; given the system also ``population``, ``x``, ``y``, ``z`` (um),
      and a row for each silent cell.
    - Electrode potentials become an ElectricalSeries, with the table of electrodes.
    - Other signals become a TimeSeries each; ``<name>_rows`` under ``analysis`` tells
      the cell and section of each column.

    Parameters
    ----------
    run
        What to write.
    path
        The file; replaced if it is there.
    system
        The culture.
    io
        The electrode array, for the places of the electrodes.
    stimulus
        What drove the run.
    session_start_time
        When the run was made, with its time zone; now by default.
    description
        Description of the session.
    notes
        Configuration, seed, versions: anything that JSON can hold.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingExtra
        If pynwb is not installed.
    ConfigError
        If the time has no time zone, or the array lacks a recorded channel.
    """
    pynwb = extra("pynwb", "nwb")
    start = session_start_time or datetime.now(UTC)
    if start.tzinfo is None:
        raise ConfigError(f"session_start_time {start} needs a time zone")
    about = {"t0_ms": run.t0, "duration_ms": run.duration, **(notes or {})}
    file = pynwb.NWBFile(
        session_description=description,
        identifier=uuid.uuid4().hex,
        session_start_time=start,
        notes=json.dumps(about),
    )
    if run.spikes is not None:
        file.units = _units(run, system, pynwb)
    for name, series in run.channels.items():
        if name == "potential":
            _add_potential(file, series, io, pynwb)
        else:
            _add_signal(file, name, series, pynwb)
    if stimulus is not None:
        file.add_stimulus(_stimulus(stimulus, pynwb))
    return _write(file, Path(path), pynwb)


def _write(file: Any, path: Path, pynwb: Any) -> Path:
    unfinished = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        with pynwb.NWBHDF5IO(str(unfinished), "w") as target:
            target.write(file)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _units(run: Run, system: Any, pynwb: Any) -> Any:
    assert run.spikes is not None
    column = extra("hdmf.common", "nwb")
    spikes = run.spikes
    cells = np.unique(spikes.ids) if system is None else np.asarray(system.gids)
    order = np.argsort(spikes.ids, kind="stable")
    ends = np.searchsorted(spikes.ids[order], cells, "right")
    times = column.VectorData(
        name="spike_times",
        description="time of each spike in s from the start of the run",
        data=spikes.times[order] / _MS_PER_S,
    )
    columns = [
        times,
        column.VectorIndex(name="spike_times_index", data=ends, target=times),
        column.VectorData(name="gid", description="number of the cell", data=cells),
    ]
    if system is not None:
        names = [str(name) for name in system.population_of(cells)]
        columns.append(
            column.VectorData(name="population", description="its kind", data=names)
        )
        columns += [
            column.VectorData(name=axis, description=f"{axis} in um", data=values)
            for axis, values in zip("xyz", system.coordinates()[:, 1:].T, strict=True)
        ]
    return pynwb.misc.Units(
        name="units",
        description="simulated cells",
        columns=columns,
        id=np.arange(len(cells)),
    )


def _add_potential(file: Any, series: Series, io: Any, pynwb: Any) -> None:
    device = file.create_device(name="electrode array", description="simulated")
    group = file.create_electrode_group(
        name="array", description="all electrodes", location="culture", device=device
    )
    file.add_electrode_column(name="channel", description="id of the channel")
    for channel, place in zip(series.ids.tolist(), _places(series, io), strict=True):
        x, y, z = place
        file.add_electrode(
            x=x, y=y, z=z, group=group, location="culture", channel=channel
        )
    rows = list(range(len(series.ids)))
    region = file.create_electrode_table_region(rows, "all electrodes")
    file.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="potential",
            description="potential at each electrode",
            electrodes=region,
            conversion=_UNITS[series.unit][1],
            **_samples(series),
        )
    )


def _places(series: Series, io: Any) -> list[tuple[float, float, float]]:
    if io is None:
        return [(np.nan, np.nan, np.nan)] * len(series.ids)
    known = {int(row[0]): tuple(row[1:]) for row in io.electrode_coordinates.tolist()}
    missing = sorted(set(series.ids.tolist()) - set(known))
    if missing:
        raise ConfigError(
            f"the run holds potentials of channels {missing}, which io does not have; "
            f"pass the array that recorded it"
        )
    return [known[channel] for channel in series.ids.tolist()]


def _add_signal(file: Any, name: str, series: Series, pynwb: Any) -> None:
    column = extra("hdmf.common", "nwb")
    unit, factor = _UNITS.get(series.unit, (series.unit or "unknown", 1.0))
    file.add_acquisition(
        pynwb.TimeSeries(
            name=name,
            description=f"{name}, one column for each row of {name}_rows in analysis",
            unit=unit,
            conversion=factor,
            **_samples(series),
        )
    )
    sections = list(series.sections) or [""] * len(series.ids)
    file.add_analysis(
        column.DynamicTable(
            name=f"{name}_rows",
            description=f"cell and section of each column of {name}",
            columns=[
                column.VectorData(name="gid", description="cell", data=series.ids),
                column.VectorData(name="section", description="section", data=sections),
            ],
        )
    )


def _samples(series: Series) -> dict[str, Any]:
    data = series.values.T.astype(np.float32)
    return {
        "data": _compressed(data),
        "starting_time": series.start / _MS_PER_S,
        "rate": _MS_PER_S / series.dt,
    }


def _compressed(data: Any) -> Any:
    if not data.size:
        return data
    wrap = extra("hdmf.backends.hdf5.h5_utils", "nwb").H5DataIO
    return wrap(data, compression="gzip", compression_opts=4)


def _stimulus(stimulus: Stimulus, pynwb: Any) -> Any:
    unit, factor = _UNITS[stimulus.units]
    cells = None if stimulus.gids is None else stimulus.gids.tolist()
    return pynwb.TimeSeries(
        name="stimulus",
        description=f"{stimulus.input_mode} drive, one column for each section",
        comments=json.dumps({"gids": cells, "sections": stimulus.sections}),
        data=_compressed(stimulus.array.astype(np.float32)),
        unit=unit,
        conversion=factor,
        starting_time=0.0,
        rate=_MS_PER_S / stimulus.dt,
    )
