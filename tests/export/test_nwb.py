"""NWB files, read back with the official reader."""

import json
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from recorded import IO, RUN, SYSTEM

from livn_ipp.errors import ConfigError, MissingExtra
from livn_ipp.io import MEA
from livn_ipp.run import Events, Run
from livn_ipp.stimulus import Stimulus

pynwb = pytest.importorskip("pynwb", reason='needs pip install "livn_ipp[nwb]"')
WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def written(tmp_path):
    path = RUN.to_nwb(
        tmp_path / "run.nwb",
        system=SYSTEM,
        io=IO,
        stimulus=Stimulus([[2.0, 4.0]], 0.5, [1, 2], input_mode="current"),
        session_start_time=WHEN,
        notes={"seed": 123},
    )
    with pynwb.NWBHDF5IO(str(path), "r") as source:
        yield source.read()


def test_spikes_are_in_seconds(written):
    units = written.units
    assert len(units) == 10
    assert units["gid"][:].tolist() == list(range(10))
    assert units.get_unit_spike_times(0).tolist() == [0.010, 0.03025]
    assert units.get_unit_spike_times(9).tolist() == [0.0205]
    assert [len(units.get_unit_spike_times(k)) for k in range(10)] == [
        2, 0, 0, 1, 0, 0, 0, 0, 0, 1,
    ]  # fmt: skip


def test_cells_have_a_kind_and_a_place(written):
    units = written.units
    assert list(units["population"][:]) == ["EXC"] * 8 + ["INH"] * 2
    places = np.column_stack([units[axis][:] for axis in "xyz"])
    assert np.array_equal(places, SYSTEM.coordinates()[:, 1:])


def test_potentials_are_in_volts_at_their_electrodes(written):
    potential = written.acquisition["potential"]
    volts = potential.get_data_in_units()
    assert volts[:, 0] == pytest.approx([5e-6, 6e-6, 7e-6])
    assert potential.unit == "volts"
    assert (potential.rate, potential.starting_time) == (1000.0, 0.001)
    electrodes = potential.electrodes.to_dataframe()
    assert electrodes["channel"].tolist() == [0, 1]
    places = electrodes[["x", "y", "z"]].to_numpy()
    assert np.array_equal(places, IO.electrode_coordinates[:2, 1:])


def test_voltages_and_currents(written):
    voltage = written.acquisition["voltage"]
    assert voltage.unit == "volts"
    assert voltage.get_data_in_units()[1] == pytest.approx([0.020, 0.010])
    assert (voltage.rate, voltage.starting_time) == pytest.approx((10_000, 1e-4))
    rows = written.analysis["voltage_rows"].to_dataframe()
    assert rows["section"].tolist() == ["soma", "dend"]
    assert rows["gid"].tolist() == [0, 0]
    current = written.acquisition["current"]
    assert current.unit == "amperes"
    assert current.get_data_in_units()[:, 0] == pytest.approx([1e-9, -2e-9])


def test_what_drove_it_and_how_it_was_made(written):
    stimulus = written.stimulus["stimulus"]
    assert stimulus.unit == "amperes"
    assert stimulus.get_data_in_units()[0] == pytest.approx([2e-9, 4e-9])
    assert json.loads(stimulus.comments)["gids"] == [1, 2]
    assert json.loads(written.notes) == {
        "t0_ms": 1000.0,
        "duration_ms": 50.0,
        "seed": 123,
    }
    assert written.session_start_time == WHEN
    assert written.session_description == "simulated"


def test_the_file_holds_what_nwb_demands(written, tmp_path):
    assert pynwb.validate(path=str(tmp_path / "run.nwb")) in ([], ([], 0))


def test_a_run_alone(tmp_path):
    path = RUN.to_nwb(tmp_path / "run.nwb")
    with pynwb.NWBHDF5IO(str(path), "r") as source:
        file = source.read()
        assert file.units["gid"][:].tolist() == [0, 3, 9]
        assert np.isnan(file.electrodes["x"][:]).all()


@pytest.mark.parametrize("spikes", [None, Events.of([], [])])
def test_an_empty_run(spikes, tmp_path):
    Run(0, 10, spikes).to_nwb(tmp_path / "run.nwb")
    with pynwb.NWBHDF5IO(str(tmp_path / "run.nwb"), "r") as source:
        assert source.read().identifier


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="time zone"):
        RUN.to_nwb(tmp_path / "a.nwb", session_start_time=datetime(2026, 1, 2))  # noqa: DTZ001
    other = MEA([[7, 0, 0, 0]])
    with pytest.raises(ConfigError, match=r"channels \[0, 1\]"):
        RUN.to_nwb(tmp_path / "a.nwb", io=other)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(MissingExtra, match=r'pip install "livn_ipp\[nwb\]"'):
        RUN.to_nwb(tmp_path / "run.nwb")
