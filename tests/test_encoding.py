"""Pulse programs find their electrodes; spaces are asked for by name."""

from types import SimpleNamespace

import numpy as np
import pytest

from livn_ipp.encoding import ElectrodeStimulus
from livn_ipp.errors import ConfigError
from livn_ipp.policy import BiphasicPulsePolicy, MonophasicPulsePolicy, Policy
from livn_ipp.types import Decoding, Encoding

REACH = np.array([[1.0, 1.0, 1.0], [2.0, 1.5, 0.1], [0.0, 0.0, 3.5]])  # mV/uA


def played(policy=None, inputs=None, **kwargs):
    env = SimpleNamespace(channel_reach=lambda: REACH, cell_stimulus=lambda p: p)
    return ElectrodeStimulus(policy=policy, **kwargs)(env, 100, inputs)


def test_the_strongest_channel_is_driven():
    policy = played(BiphasicPulsePolicy())
    assert (policy.channels, policy.n_channels) == ((1,), 3)


def test_the_program_or_the_encoding_may_name_channels():
    named = BiphasicPulsePolicy(channels=[0, 2])
    assert played(named).channels == (0, 2)
    assert played(named, channel=1).channels == (1,)
    assert played(None, inputs=named).render().shape == (9, 3)


def test_a_program_of_ones_own_is_played_as_it_is():
    class Flat(Policy):
        def __call__(self, observation=None):
            return np.ones((2, 3))

    policy = Flat()
    assert played(policy) is policy


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "plays a Policy, not NoneType"),
        ({"inputs": [[1.0]]}, "plays a Policy, not list"),
        ({"policy": BiphasicPulsePolicy(), "channel": 3}, "no channel 3"),
        ({"policy": BiphasicPulsePolicy(n_channels=4)}, "made for 4 channels"),
    ],
)
def test_what_cannot_be_played(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        played(**kwargs)


def test_encodings_of_equal_programs_are_equal():
    pulse = MonophasicPulsePolicy(amplitude=3)
    assert ElectrodeStimulus(policy=pulse) == ElectrodeStimulus(
        policy=MonophasicPulsePolicy(amplitude=3)
    )


def test_spaces_are_declared_by_who_has_them():
    spaces = pytest.importorskip(
        "gymnasium", reason='needs pip install "livn_ipp[gymnasium]"'
    ).spaces

    class Amplitudes(Encoding):
        @property
        def input_space(self):
            return spaces.Box(-20.0, 20.0, (16,))

    class Rates(Decoding):
        @property
        def output_space(self):
            return spaces.Box(0.0, np.inf, (2,))

    assert Amplitudes().input_space.contains(np.zeros(16, np.float32))
    assert Rates(duration=10).output_space.shape == (2,)


def test_spaces_that_are_missing_say_where_to_put_them():
    with pytest.raises(ConfigError, match="ElectrodeStimulus declares no input_space"):
        _ = ElectrodeStimulus().input_space
    with pytest.raises(ConfigError, match="Decoding declares no output_space"):
        _ = Decoding(duration=1).output_space
