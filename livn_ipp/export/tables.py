"""Runs as tables: pandas and xarray."""

from typing import Any

import numpy as np

from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra
from livn_ipp.run import Run
from livn_ipp.signals import Series

__all__ = ["to_dataframe", "to_xarray"]


def to_dataframe(run: Run, name: str = "spikes") -> Any:
    """Return spikes or a signal as a table.

    Parameters
    ----------
    run
        What to turn into a table.
    name
        ``"spikes"``, or a signal such as ``"voltage"``.

    Returns
    -------
    pandas.DataFrame
        Of spikes: ``gid`` and ``time_ms`` from the start of the run, one row each. Of a
        signal: one column for each source, named by ``gid`` and ``section`` or by
        ``channel``, one row for each sample, indexed by ``time_ms``; its unit is in
        ``attrs["unit"]``. ``attrs`` also holds ``t0_ms`` and ``duration_ms``.

    Raises
    ------
    ConfigError
        If it was not recorded.
    MissingExtra
        If pandas is not installed.
    """
    pd = extra("pandas", "data")
    if name == "spikes" and run.spikes is not None:
        table = pd.DataFrame({"gid": run.spikes.ids, "time_ms": run.spikes.times})
    elif name in run.channels:
        series = run.channels[name]
        table = pd.DataFrame(
            series.values.T,
            index=pd.Index(series.times, name="time_ms"),
            columns=_columns(series, pd),
        )
        table.attrs["unit"] = series.unit
    else:
        raise ConfigError(
            f"the run holds no {name}; call env.record_{name}() before it"
        )
    table.attrs |= {"t0_ms": run.t0, "duration_ms": run.duration}
    return table


def to_xarray(run: Run) -> Any:
    """Return everything as labelled arrays.

    Returns
    -------
    xarray.Dataset
        ``spike_time`` (ms) over ``spike`` with the coordinate ``gid``; each signal over
        ``<name>_row`` and ``<name>_time`` (ms), with the coordinates ``<name>_id`` and
        ``<name>_section``, and its unit in ``attrs["units"]``. ``attrs`` of the whole
        hold ``t0_ms`` and ``duration_ms``.

    Raises
    ------
    MissingExtra
        If xarray is not installed.
    """
    xr = extra("xarray", "data")
    data: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    if run.spikes is not None:
        data["spike_time"] = ("spike", run.spikes.times, {"units": "ms"})
        coordinates["gid"] = ("spike", run.spikes.ids)
    for name, series in run.channels.items():
        row, time = f"{name}_row", f"{name}_time"
        data[name] = ((row, time), series.values, {"units": series.unit})
        coordinates[time] = (time, series.times, {"units": "ms"})
        coordinates[f"{name}_id"] = (row, series.ids)
        if series.sections:
            coordinates[f"{name}_section"] = (row, np.array(series.sections))
    return xr.Dataset(
        data, coordinates, attrs={"t0_ms": run.t0, "duration_ms": run.duration}
    )


def _columns(series: Series, pd: Any) -> Any:
    if not series.sections:
        label = "channel" if series.unit == "uV" else "gid"
        return pd.Index(series.ids, name=label)
    pairs = [series.ids, list(series.sections)]
    return pd.MultiIndex.from_arrays(pairs, names=["gid", "section"])
