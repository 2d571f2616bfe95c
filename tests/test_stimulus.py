"""Stimuli refuse what cannot be driven."""

import pickle

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.policy import BiphasicPulsePolicy
from livn_ipp.stimulus import UNITS, Stimulus


def test_defaults():
    stimulus = Stimulus(np.zeros((20, 3)))
    assert stimulus.array.dtype == np.float64
    assert (stimulus.dt, stimulus.gids, stimulus.sections) == (1.0, None, None)
    assert (stimulus.input_mode, stimulus.units) == ("extracellular", "mV")
    assert stimulus.duration == 20.0


@pytest.mark.parametrize(("mode", "unit"), UNITS.items())
def test_each_mode_has_its_unit(mode, unit):
    assert Stimulus([[1.0]], input_mode=mode).units == unit


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"array": np.zeros((2, 2, 2))}, r"\[time, columns\]"),
        ({"array": np.zeros(5)}, r"\[time, columns\]"),
        ({"array": [["a"]]}, "numbers"),
        ({"array": [[1.0], [1.0, 2.0]]}, "numbers"),
        ({"array": [[1.0]], "dt": 0}, "dt must be positive"),
        ({"array": [[1.0]], "dt": -1.0}, "dt must be positive"),
        ({"array": [[1.0]], "dt": float("nan")}, "dt must be positive"),
        ({"array": [[1.0]], "dt": float("inf")}, "dt must be positive"),
        ({"array": [[1.0]], "dt": "fast"}, "dt must be positive"),
        ({"array": [[1.0]], "input_mode": "light"}, "'light'; choose from"),
        ({"array": [[np.nan]]}, "not finite"),
        ({"array": [[np.inf]]}, "not finite"),
        ({"array": [[1.0]], "gids": [1, 2]}, "1 columns but 2 gids"),
        ({"array": [[1.0, 2.0]], "gids": [1.5, 2]}, "gids must be"),
        ({"array": [[1.0]], "gids": [-1]}, "gids must be"),
        ({"array": [[1.0]], "gids": [2**32]}, "gids must be"),
        ({"array": [[1.0]], "gids": [[1]]}, "gids must be"),
        ({"array": [[1.0]], "sections": ["soma", "dend"]}, "1 columns but 2 sections"),
        ({"array": np.zeros((1, 4)), "sections": "soma"}, "sequence of names"),
        ({"array": [[1.0]], "reversal": np.nan}, "reversal must be a finite"),
        ({"array": [[1.0]], "reversal": "E"}, "reversal must be a finite"),
    ],
)
def test_unusable_values_are_named(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        Stimulus(**kwargs)


def test_a_rank_without_cells():
    stimulus = Stimulus(np.zeros((5, 0)), gids=[], sections=[])
    assert (stimulus.duration, len(stimulus.gids)) == (5.0, 0)


def test_from_arg():
    assert Stimulus.from_arg(None) is None
    given = Stimulus([[1.0]])
    assert Stimulus.from_arg(given) is given
    assert Stimulus.from_arg(np.ones((2, 3))).array.shape == (2, 3)
    assert Stimulus.from_arg([[1.0], [2.0]]).array.shape == (2, 1)
    assert Stimulus.from_arg(([[1.0]], 0.5)).dt == 0.5
    assert Stimulus.from_arg({"array": [[1.0]], "input_mode": "current"}).units == "nA"


@pytest.mark.parametrize("value", [3, "pulse", object()])
def test_from_arg_refuses_what_is_no_stimulus(value):
    with pytest.raises(ConfigError, match=r"env\.cell_stimulus"):
        Stimulus.from_arg(value)


@pytest.mark.parametrize(
    "value", [{"array": [[1.0]], "speed": 1}, (1, 2, 3, 4, 5, 6, 7)]
)
def test_from_arg_with_arguments_that_do_not_exist(value):
    with pytest.raises(ConfigError, match="Stimulus"):
        Stimulus.from_arg(value)


def test_pickling():
    stimulus = Stimulus([[1.0, 2.0]], 0.5, [3, 4], ["soma", "dend"], "current")
    copy = pickle.loads(pickle.dumps(stimulus))
    assert copy.array.tolist() == [[1.0, 2.0]]
    assert (copy.dt, copy.gids.tolist()) == (0.5, [3, 4])
    assert (copy.sections, copy.input_mode) == (("soma", "dend"), "current")


def test_repr():
    assert repr(Stimulus(np.zeros((20, 3)), 0.5)) == (
        "Stimulus(extracellular, 20 x 0.5 ms, 3 columns)"
    )


def test_rows_after_the_last_are_zero():
    stimulus = Stimulus([[1.0], [2.0]])
    assert stimulus.rows(1, 4).tolist() == [[2.0], [0.0], [0.0]]
    assert stimulus.rows(5, 6).tolist() == [[0.0]]


def test_changes_and_extent():
    stimulus = Stimulus([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dt=0.5)
    assert stimulus.changes().tolist() == [0, 1, 3, 4]
    assert (stimulus.extent, stimulus.duration) == (1.5, 2.0)
    assert Stimulus(np.zeros((3, 0))).extent == 0.0


@pytest.mark.parametrize("mode", UNITS)
def test_constructors_by_mode(mode):
    stimulus = getattr(Stimulus, f"from_{mode}")([[1.0]], gids=[4], sections=["dend"])
    assert (stimulus.input_mode, stimulus.dt) == (mode, 0.1)


def test_a_conductance_has_a_reversal_potential():
    assert Stimulus.from_conductance([[1e-3]], reversal=-75).reversal == -75.0
    assert Stimulus([[1.0]], input_mode="conductance").reversal == 0.0


def pulses():
    return BiphasicPulsePolicy(n_channels=3, channels=[0, 2], pulse_times=[1, 50])


def test_a_program_is_rendered_window_by_window():
    transfer = np.random.default_rng(3).normal(0, 1, (3, 4))
    stimulus = Stimulus.from_policy(pulses(), transfer, gids=[1, 1, 2, 2])
    assert stimulus.deferred
    assert (stimulus.width, stimulus.num_rows, stimulus.dt) == (4, 1009, 0.05)
    assert stimulus.extent == pytest.approx(50.45)
    whole = stimulus.array
    assert whole == pytest.approx(pulses().render() @ transfer, rel=1e-14)
    parts = [stimulus.rows(first, first + 100) for first in range(0, 1100, 100)]
    assert np.array_equal(np.concatenate(parts)[: len(whole)], whole)
    assert not np.concatenate(parts)[len(whole) :].any()
    assert set(Stimulus(whole).changes()) == set(stimulus.changes())


def test_a_column_has_the_same_bits_on_any_rank():
    transfer = np.random.default_rng(3).normal(0, 1, (3, 17))
    whole = Stimulus.from_policy(pulses(), transfer).array
    for ranks in (2, 3, 17):
        for rank in range(ranks):
            own = Stimulus.from_policy(pulses(), transfer[:, rank::ranks]).array
            assert np.array_equal(own, whole[:, rank::ranks])


def test_a_program_too_large_to_be_held_whole():
    policy = BiphasicPulsePolicy(n_channels=1, channels=[0], pulse_times=[1e6])
    stimulus = Stimulus.from_policy(policy, np.ones((1, 1000)))
    assert stimulus.rows(20_000_000, 20_000_001).shape == (1, 1000)
    with pytest.raises(ConfigError, match="too large to be held whole"):
        _ = stimulus.array


@pytest.mark.parametrize("transfer", [np.ones((2, 5)), np.ones(3), [[np.nan]] * 3])
def test_a_transfer_that_does_not_fit(transfer):
    with pytest.raises(ConfigError, match="weights"):
        Stimulus.from_policy(pulses(), transfer)


def test_commands_of_electrodes_are_no_stimulus_of_cells():
    with pytest.raises(ConfigError, match=r"env\.cell_stimulus\(policy\)"):
        Stimulus.from_arg(pulses())


def test_a_program_survives_pickling():
    stimulus = Stimulus.from_policy(pulses(), np.eye(3), [1, 2, 3], ["soma"] * 3)
    copy = pickle.loads(pickle.dumps(stimulus))
    assert np.array_equal(copy.array, stimulus.array)
    assert copy.extent == stimulus.extent
