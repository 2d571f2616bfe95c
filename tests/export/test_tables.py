"""Tables keep every figure and say its unit."""

import sys

import numpy as np
import pytest
from recorded import RUN

from livn_ipp.errors import ConfigError, MissingExtra
from livn_ipp.run import Run

pd = pytest.importorskip("pandas", reason='needs pip install "livn_ipp[data]"')
xr = pytest.importorskip("xarray", reason='needs pip install "livn_ipp[data]"')


def test_spikes_as_a_table():
    table = RUN.to_dataframe()
    assert table["gid"].tolist() == [0, 9, 0, 3]
    assert table["time_ms"].tolist() == [10.0, 20.5, 30.25, 40.0]
    assert table.attrs == {"t0_ms": 1000.0, "duration_ms": 50.0}


def test_a_signal_as_a_table():
    table = RUN.to_dataframe("voltage")
    assert table[0, "soma"].tolist() == [-60.0, 20.0]
    assert table[0, "dend"].tolist() == [-61.0, 10.0]
    assert table.index.tolist() == pytest.approx([0.1, 0.2])
    assert (table.index.name, table.columns.names) == ("time_ms", ["gid", "section"])
    assert table.attrs["unit"] == "mV"


def test_potentials_as_a_table():
    table = RUN.to_dataframe("potential")
    assert table[0].tolist() == [5.0, 6.0, 7.0]
    assert table.columns.name == "channel"


@pytest.mark.parametrize("name", ["spikes", "voltage"])
def test_what_was_not_recorded_is_no_table(name):
    with pytest.raises(ConfigError, match=rf"record_{name}\(\)"):
        Run(0, 10).to_dataframe(name)


def test_labelled_arrays():
    data = RUN.to_xarray()
    assert data["spike_time"].sel(spike=data["gid"] == 0).values.tolist() == [10, 30.25]
    assert data["spike_time"].attrs["units"] == "ms"
    assert data.attrs == {"t0_ms": 1000.0, "duration_ms": 50.0}
    voltage = data["voltage"]
    soma = voltage[np.flatnonzero(voltage["voltage_section"] == "soma")[0]]
    assert soma.values.tolist() == [-60.0, 20.0]
    assert soma["voltage_time"].values.tolist() == pytest.approx([0.1, 0.2])
    assert {name: data[name].attrs["units"] for name in RUN.channels} == {
        "voltage": "mV",
        "current": "uA",
        "potential": "uV",
    }
    assert data["potential_id"].values.tolist() == [0, 1]


@pytest.mark.parametrize("library", ["pandas", "xarray"])
def test_a_missing_library_is_named_with_its_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r'pip install "livn_ipp\[data\]"'):
        RUN.to_dataframe() if library == "pandas" else RUN.to_xarray()
