"""Neo objects say the same as the run, in units."""

import sys

import pytest
from recorded import RUN, SYSTEM

from livn_ipp.errors import MissingExtra

neo = pytest.importorskip("neo", reason='needs pip install "livn_ipp[neo]"')


def segment(system=None):
    (only,) = RUN.to_neo(system).segments
    return only


def test_a_train_for_each_cell_that_fired():
    trains = {train.annotations["gid"]: train for train in segment().spiketrains}
    assert trains.keys() == {0, 3, 9}
    assert trains[0].rescale("s").magnitude.tolist() == [1.01, 1.03025]
    assert trains[0].t_start.rescale("s").item() == 1.0
    assert trains[0].t_stop.rescale("s").item() == 1.05


def test_a_train_for_each_cell_of_the_culture():
    trains = segment(SYSTEM).spiketrains
    assert [train.annotations["gid"] for train in trains] == list(range(10))
    assert [len(train) for train in trains] == [2, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert [train.annotations["population"] for train in trains][7:] == [
        "EXC",
        "INH",
        "INH",
    ]


def test_signals_keep_their_units_and_rows():
    signals = {signal.name: signal for signal in segment().analogsignals}
    voltage = signals["voltage"]
    assert voltage.rescale("V").magnitude[1].tolist() == pytest.approx([0.02, 0.01])
    assert voltage.array_annotations["section"].tolist() == ["soma", "dend"]
    assert voltage.array_annotations["gid"].tolist() == [0, 0]
    assert voltage.t_start.rescale("ms").item() == pytest.approx(1000.1)
    assert voltage.sampling_rate.rescale("Hz").item() == pytest.approx(10_000)
    current = signals["current"]
    assert current.rescale("nA").magnitude[1].item() == pytest.approx(-2.0)
    potential = signals["potential"]
    assert potential.rescale("V").magnitude[2, 0] == pytest.approx(7e-6)
    assert potential.array_annotations["channel"].tolist() == [0, 1]


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "neo", None)
    with pytest.raises(MissingExtra, match=r'pip install "livn_ipp\[neo\]"'):
        RUN.to_neo()
