"""What a session refuses, remembers and restores, without a cluster."""

import pickle

import numpy as np
import pytest

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.testing import LightEnv


def local(**options):
    return DistributedEnv("EI1", transport="local", backend=LightEnv, **options)


@pytest.fixture
def env():
    with local() as env:
        yield env.record_spikes()


def test_a_snapshot_restores_the_state_in_another_environment(env):
    drive = np.full(20_000, 2.0)  # travels beside the pickle
    with env.session(100, trial=5) as session:
        session.step(drive)
        session.step(3.0)
        saved = pickle.dumps(session.snapshot(), protocol=4)
        after = session.step(1.0)
    with (
        local() as other,
        other.record_spikes().session(snapshot=pickle.loads(saved)) as again,
    ):
        assert again.step(1.0).digest() == after.digest()
        inputs = again.history
    assert inputs[0].tolist() == drive.tolist()
    assert inputs[1:] == (3.0, 1.0)


def test_a_snapshot_of_no_step_begins_at_zero(env):
    with env.session(10, trial=5) as session:
        snapshot = session.snapshot()
        first = session.step()
    assert len(snapshot) == 0
    with env.session(snapshot=snapshot) as session:
        assert session.step().digest() == first.digest()


def test_a_restarted_session_forgets_the_former_simulation(env):
    with env.session(300, trial=5) as session:
        first = session.step()
        session.step()
        assert len(session.restart(5).snapshot()) == 0
        assert session.step().digest() == first.digest()
        assert len(session.snapshot()) == 1
        assert session.restart().step().digest() != first.digest()
        assert session.snapshot().trial == 6


def test_a_snapshot_needs_the_configuration_it_was_taken_under(env):
    with env.session(10) as session:
        session.step()
        snapshot = session.snapshot()
    with local() as other:
        with pytest.raises(ConfigError, match="setter 1 was record_spikes then and is"):
            other.session(snapshot=snapshot)
        other.set_weights({"EE": 2.0})
        with pytest.raises(ConfigError, match="is set_weights with its arguments here"):
            other.session(snapshot=snapshot)


def test_what_a_session_cannot_be_is_told(env):
    with env.session(10, record=False) as session:
        session.step()
        with pytest.raises(ConfigError, match="keeps no inputs"):
            session.snapshot()
        with pytest.raises(ConfigError, match="keeps no inputs"):
            assert session.history
    with env.session(10) as session:
        snapshot = session.snapshot()
    with pytest.raises(ConfigError, match="needs a decoding"):
        env.session()
    with pytest.raises(ConfigError, match="brings its own"):
        env.session(10, snapshot=snapshot)
    with pytest.raises(ConfigError, match="is closed"):
        session.snapshot()
    with pytest.raises(ConfigError, match="is closed"):
        session.restart()
