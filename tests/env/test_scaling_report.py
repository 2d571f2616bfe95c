"""How much faster more ranks are: what is measured, told and drawn."""

import xml.etree.ElementTree as ET
from concurrent.futures import Future
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanitizer import sanitized

from livn_ipp import make
from livn_ipp.cluster.machine.environment import usable_cores
from livn_ipp.env.facade import scaling_report
from livn_ipp.env.facade.scaling_report import (
    ScalingReport,
    Speed,
    checked_ranks,
    measured,
)
from livn_ipp.errors import ConfigError
from livn_ipp.neuron.partition_report import PartitionReport, RankShare
from livn_ipp.testing import LightEnv


def speed(ranks, seconds, cores=2, digest="ab"):
    return Speed(ranks, seconds, ranks > cores, digest)


def report(*seconds, digest="ab"):
    speeds = [speed(n, s, digest=digest) for n, s in enumerate(seconds, 1)]
    return ScalingReport("EI2", 200.0, 2, tuple(speeds))


@given(st.lists(st.integers(1, 99)))
def test_one_rank_is_always_measured_and_none_twice(ranks):
    checked = checked_ranks(ranks)
    assert checked == sorted({1, *ranks})


@pytest.mark.parametrize("wrong", [[0], [1.5], ["2"], 4, "124", [True]])
def test_what_is_no_number_of_ranks_is_refused(wrong):
    with pytest.raises(ConfigError, match="rank"):
        checked_ranks(wrong)


def test_the_least_of_several_runs_counts_and_sharing_cores_is_told(monkeypatch):
    monkeypatch.setattr(scaling_report, "usable_cores", lambda: 2)
    seconds = {1: [0.4, 0.2, 0.3, 0.9, 0.8], 2: [0.5] * 5, 3: [0.6, 0.6, 0.6, 0.6, 0.1]}

    class Env:
        def __init__(self, ranks):
            self.left = iter(seconds[ranks])

        def submit(self, decoding, trial):
            assert (decoding.duration, trial) == (50, 0)
            future = Future()
            future.set_result((next(self.left), "ab"))
            return future

    told = measured("EI1", [2, 3], 50, lambda ranks: nullcontext(Env(ranks)))
    assert [each.seconds for each in told.speeds] == [4.0, 10.0, 2.0]
    assert [each.oversubscribed for each in told.speeds] == [False, False, True]


def test_efficiency_is_against_one_rank():
    told = report(2.0, 1.25, 1.0)
    assert told.speedup(2) == 1.6
    assert told.efficiency(2) == 0.8
    assert told.efficiency(1) == 1.0
    assert [each.oversubscribed for each in told.speeds] == [False, False, True]
    assert len(repr(told).splitlines()) == 1
    assert repr(told).endswith("3 ranks 1 s/s, efficiency 0.67 (oversubscribed))")
    assert told.identical
    assert not ScalingReport(
        "x", 1.0, 2, (speed(1, 1.0), speed(2, 1.0, digest="cd"))
    ).identical


@pytest.mark.parametrize("seconds", [(1.0,), (2.0, 1.2), (1.0, 3.0, 0.01, 9.0)])
def test_a_report_is_drawn_and_survives_an_untrusted_notebook(seconds):
    told = report(*seconds)
    picture = ET.fromstring(told.plot().svg())
    assert len([e for e in picture.iter() if e.tag.endswith("circle")]) == len(seconds)
    parser = sanitized(told._repr_html_())
    assert len(parser.images) == 1
    assert "efficiency" in told._repr_html_()


def test_a_partition_s_table_survives_an_untrusted_notebook():
    shares = [RankShare(r, 5, 10, 45, 10.1, 0.25 + r) for r in range(3)]
    told = PartitionReport.of("<cost>", shares)._repr_html_()
    sanitized(told)
    assert "<cost>" not in told
    assert "1.250" in told
    assert "synapses in" in told


def test_without_workers_there_is_nothing_to_measure():
    env = make("EI1", backend=LightEnv)
    with pytest.raises(ConfigError, match="init"):
        env.scaling_report([1])


class SevenRanks:
    def Get_size(self):
        return 7

    def Get_rank(self):
        return 6


def test_under_mpirun_the_ranks_are_what_they_are():
    env = make("EI1", distributed=True, distributed_config={"comm": SevenRanks()})
    with pytest.raises(ConfigError, match="notebook or a plain script"):
        env.scaling_report([1])


@pytest.mark.neuron
@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_ranks_are_measured_on_this_machine():
    with make("EI1") as env:
        env.set_noise({"std_e": 0.002})
        told = env.scaling_report([3], duration=100.0)
        assert env(100)[0].spikes is None, "its own settings are left as they were"
    assert [each.ranks for each in told.speeds] == [1, 3]
    assert told.identical
    assert told.cores == usable_cores()
    assert told.speeds[1].oversubscribed is (usable_cores() < 3)
    assert all(0 < each.seconds < 100 for each in told.speeds)
    with make("EI1") as env:
        env.record_spikes().set_noise({"std_e": 0.002})
        assert told.speeds[0].digest == env(100)[0].digest()
