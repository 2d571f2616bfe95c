"""Pulse programs: their shape in time, their charge, and windows of them."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.content import content_digest
from livn_ipp.errors import ConfigError
from livn_ipp.policy import (
    BiphasicPulsePolicy,
    MonophasicPulsePolicy,
    Policy,
    PulseSweepPolicy,
)


def biphasic(**kwargs):
    return BiphasicPulsePolicy(**{"n_channels": 2, "channels": [1], **kwargs})


def sweep(**kwargs):
    small = {"amplitudes": [1, 2], "repeats": 2, "trial_ms": 10, "onset_ms": 5}
    return PulseSweepPolicy(**{"n_channels": 1, "channels": [0], **small, **kwargs})


def test_a_biphasic_pulse():
    rows = biphasic(pulse_times=[1.0, 3.0]).render()
    assert rows.shape == (69, 2)  # 3 + 0.2 + 0.05 + 0.2 ms
    assert not rows[:, 0].any()
    assert np.flatnonzero(rows[:, 1] < 0).tolist() == [20, 21, 22, 23, 60, 61, 62, 63]
    assert np.flatnonzero(rows[:, 1] > 0).tolist() == [25, 26, 27, 28, 65, 66, 67, 68]
    assert set(np.unique(rows)) == {-1.5, 0.0, 1.5}


def test_the_anodic_phase_may_come_first():
    assert biphasic(cathodic_first=False).render()[0].tolist() == [0.0, 1.5]


@given(
    amplitude=st.floats(-500, 500),
    phase=st.integers(1, 20),
    gap=st.integers(0, 20),
    cathodic_first=st.booleans(),
    pulses=st.lists(st.integers(0, 20), max_size=4, unique=True),
)
def test_biphasic_pulses_leave_no_charge(amplitude, phase, gap, cathodic_first, pulses):
    rows = biphasic(
        amplitude=amplitude,
        phase_duration=phase * 0.05,
        interphase_gap=gap * 0.05,
        cathodic_first=cathodic_first,
        pulse_times=[3.0 * pulse for pulse in pulses],
    ).render()
    down, up = rows[rows < 0], rows[rows > 0]
    assert len(down) == len(up) == (len(pulses) * phase if amplitude else 0)
    assert set(-down) == set(up)  # so the sum is zero without rounding


def test_a_sweep_leaves_no_charge():
    assert sweep().render().sum() == 0.0


def test_monophasic_pulses_of_different_size():
    policy = MonophasicPulsePolicy(
        n_channels=3, channels=[0, 2], amplitude=[1.0, -2.0], pulse_times=[0, 4]
    )
    expected = np.zeros((5, 3))
    expected[[0, 4]] = [1.0, 0.0, -2.0]
    assert policy.render().tolist() == expected.tolist()
    assert policy().tolist() == expected.tolist()


def test_a_sweep_tries_each_amplitude_in_turn():
    policy = sweep()
    assert policy.schedule() == [(5.0, 1.0), (15.0, 2.0), (25.0, 1.0), (35.0, 2.0)]
    assert policy.schedule(100.0)[0] == (105.0, 1.0)
    assert (policy.n_trials, policy.duration_ms, policy.extent_ms) == (4, 40.0, 40.0)
    rows = policy.render()
    assert rows.shape == (400, 1)
    assert np.flatnonzero(rows).tolist() == [50, 51, 150, 151, 250, 251, 350, 351]
    assert rows[rows != 0].tolist() == [-1, 1, -2, 2, -1, 1, -2, 2]


def test_a_sweep_in_another_order_and_later():
    policy = sweep(order=[1, 0, 0], start_ms=7)
    assert policy.schedule() == [(12.0, 2.0), (22.0, 1.0), (32.0, 1.0)]
    assert policy.extent_ms == 37.0


def test_a_sweep_in_a_longer_run():
    policy = sweep(total_ms=100)
    assert (len(policy.render()), policy.extent_ms) == (1000, 40.0)


programs = st.sampled_from(
    [
        biphasic(pulse_times=[0.0, 1.0, 2.5]),
        sweep(),
        MonophasicPulsePolicy(n_channels=1, channels=[0], pulse_times=[3, 7]),
    ]
)


@given(programs, st.integers(0, 500), st.integers(1, 500))
def test_a_window_is_a_part_of_the_whole(policy, first, length):
    samples, whole = policy.samples(), policy.render()
    padded = np.concatenate([whole, np.zeros((1000, whole.shape[1]))])
    window = samples.rows(first, first + length)
    assert np.array_equal(window, padded[first : first + length])


@given(programs)
def test_commands_change_only_where_they_say(policy):
    whole = policy.render()
    before = np.concatenate([np.zeros((1, whole.shape[1])), whole])
    after = np.concatenate([whole, np.zeros((1, whole.shape[1]))])
    changed = np.flatnonzero(np.any(before != after, axis=1))
    assert set(changed) <= set(policy.samples().changes())


def test_a_window_in_ms():
    policy = biphasic(pulse_times=[1.0])
    assert policy.window(0.95, 1.05).tolist() == [[0.0, 0.0], [0.0, -1.5]]
    with pytest.raises(ConfigError, match=r"0\.97 ms, is not a multiple"):
        policy.window(0.97, 1.05)
    with pytest.raises(ConfigError, match="empty"):
        policy.window(1, 1)


def test_an_hour_of_pulses_takes_no_memory_until_it_is_rendered():
    policy = sweep(repeats=10_000, trial_ms=1000, onset_ms=500)
    assert policy.extent_ms == 20_000_000
    assert len(policy.samples().starts) == 40_000
    assert policy.window(19_999_500, 19_999_500.2).ravel().tolist() == [-2, 2]


class Ramp(Policy):
    top: float = 2.0

    def __call__(self, observation=None):
        return [[0.0, 0.0], [self.top, 1.0], [self.top, 1.0]]


def test_a_program_of_ones_own():
    policy = Ramp(dt=0.5)
    assert (policy.num_rows, policy.extent_ms) == (3, 1.5)
    assert policy.samples().changes().tolist() == [0, 1, 3]
    assert policy.window(0.5, 2.0).tolist() == [[2, 1], [2, 1], [0, 0]]
    assert policy.for_array(2) is policy
    with pytest.raises(ConfigError, match="drives 2 channels, but the array has 3"):
        policy.for_array(3)


def test_a_program_fits_its_array():
    assert BiphasicPulsePolicy(channels=[3]).for_array(4).render().shape == (9, 4)
    assert biphasic().for_array(2, (0,)).channels == (0,)
    with pytest.raises(ConfigError, match="made for 2 channels, but the array has 4"):
        biphasic().for_array(4)
    with pytest.raises(ValueError, match=r"4 channels, counted from 0; it has no \[4"):
        BiphasicPulsePolicy(channels=[3, 4]).for_array(4)


def test_units_must_agree():
    assert biphasic().as_input_units("uA") == biphasic()
    with pytest.raises(ConfigError, match="commands uA, but the array takes mW/mm2"):
        biphasic().as_input_units("mW/mm2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BiphasicPulsePolicy().render(), "drives no channel yet"),
        (lambda: biphasic(channels=[]).render(), "drives no channel yet"),
        (lambda: biphasic(channels=[1, 1]), "different columns"),
        (lambda: biphasic(channels=[-1]), "different columns"),
        (lambda: biphasic(channels=[2]), r"it has no \[2\]"),
        (lambda: biphasic(pulse_times=[0, 0.1]).render(), r"at 0\.1 ms begins before"),
        (lambda: biphasic(pulse_times=[-1]).render(), "-1 ms, is not a multiple"),
        (lambda: biphasic(phase_duration=0.07).render(), r"0\.07 ms, is not a multi"),
        (lambda: biphasic(amplitude=float("nan")), "finite"),
        (lambda: biphasic(speed=3), "speed"),
        (lambda: sweep(onset_ms=9.9), "does not fit a trial of 10 ms"),
        (lambda: sweep(order=[0, 2]), r"no \[2\]"),
        (lambda: sweep(total_ms=39), "do not fit total_ms=39"),
        (lambda: sweep(amplitudes=[]), "amplitudes"),
        (lambda: MonophasicPulsePolicy(channels=[0], amplitude=[1, 2]), "2 amplitudes"),
        (lambda: MonophasicPulsePolicy(amplitude=float("inf")), "must be finite"),
        (Policy(), "must implement __call__"),
    ],
)
def test_what_cannot_be_played_is_refused(make, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()


def test_equal_programs_are_one():
    policy = sweep()
    digest = content_digest(policy)
    policy.render()
    assert content_digest(policy) == digest == content_digest(sweep())
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert len({policy, sweep(), sweep(repeats=3)}) == 2
    with pytest.raises(ValueError, match="frozen"):
        policy.repeats = 3
