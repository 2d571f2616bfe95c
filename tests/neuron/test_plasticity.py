"""Connections that learn, in the simulation."""

import math

import numpy as np
import pytest

from livn_ipp.errors import ConfigError

pytestmark = pytest.mark.neuron

STRONG = {"EXC_EXC": {"A_ltp": 0.4, "A_ltd": 0.2, "tau_ltp": 30.0, "w_max": 4.0}}
BUSY = {"g_e0": 1e-3, "std_e": 2e-3}


@pytest.fixture
def env():
    from livn_ipp.env import Env

    env = Env("EI1").init().record_spikes().set_noise(BUSY)
    yield env
    env.close()


def expected(env, spikes, until):
    """Learned factors by the rule's own words, from spikes and the system's delays."""
    rule = env._rules["EXC", "EXC"]
    connections = env._simulation.network.connections["EXC", "EXC"]
    trains = {g: spikes.times[spikes.ids == g] for g in env.system.gids.tolist()}
    factors = []
    for pre, post, delay in zip(
        connections.pre_gids.tolist(),
        connections.post_gids.tolist(),
        connections.delays,
        strict=True,
    ):
        arrivals = trains[pre] + delay
        events = [(t, 1) for t in arrivals] + [(t, 0) for t in trains[post]]
        w = 1.0
        for now, arrives in sorted(event for event in events if event[0] < until):
            others = trains[post] if arrives else arrivals
            tau = rule.tau_ltd if arrives else rule.tau_ltp
            pairs = sum(math.exp((t - now) / tau) for t in others if t < now)
            w += -rule.A_ltd * pairs if arrives else rule.A_ltp * pairs
            w = min(max(w, rule.w_min), rule.w_max)
        factors.append(w)
    return factors


def test_spikes_change_weights_by_the_rule(env):
    run = env.enable_plasticity(STRONG).run(1003)
    learned = list(env.get_weights().values())
    assert learned == pytest.approx(expected(env, run.spikes, 1000.0), abs=1e-6)
    assert max(learned) > 1.2, "nothing was learned"


def test_what_was_learned_acts(env):
    plain = env.run(1000).digest()
    env.clear(trial=0).enable_plasticity(STRONG)
    assert env.run(1000).digest() != plain
    # Without amplitudes the machinery alone must change nothing.
    env.clear(trial=0).enable_plasticity({"A_ltp": 0.0, "A_ltd": 0.0})
    assert env.run(1000).digest() == plain


def test_learned_weights_lie_on_the_grid_in_neuron(env):
    env.enable_plasticity(STRONG).run(500)
    factors = np.array(list(env.get_weights().values()))
    assert factors.std() > 0.01
    for receptor, slot in (("AMPA", 1.1e-3), ("NMDA", 1.1e-4)):
        weights = env._simulation.network._weights[
            env._settings.keys[f"EXC_EXC-dend-{receptor}-weight"]
        ]
        values = env._simulation.network._h.Vector(len(factors))
        weights.pointers.gather(values)
        found = values.as_numpy()
        assert np.allclose(found, slot * weights.factors * factors, atol=2**-36)
        assert not np.mod(found * 2**36, 1).any()


def test_runs_add_up(env):
    env.enable_plasticity(STRONG)
    whole = env.run(300)
    learned = env.get_weights()
    env.clear(trial=0)
    for duration in (7, 93, 50, 150):
        env.run(duration)
    assert env.get_weights() == learned
    assert env.clear(trial=0).run(300, chunk=0.5).digest() == whole.digest()
    assert env.get_weights() == learned


def test_clear_forgets_and_disable_keeps(env):
    env.enable_plasticity(STRONG).run(300)
    learned = env.get_weights()
    assert len(set(learned.values())) > 1
    env.disable_plasticity().run(300)
    assert env.get_weights() == learned
    assert set(env.clear().get_weights().values()) == {1.0}
    env.run(300)
    assert set(env.get_weights().values()) == {1.0}


def test_setting_weights_keeps_what_was_learned(env):
    env.enable_plasticity(STRONG).run(300)
    learned = env.get_weights()
    key = env._settings.keys["EXC_EXC-dend-AMPA-weight"]
    env.set_weights({str(key): 2e-3})
    weights = env._simulation.network._weights[key]
    values = env._simulation.network._h.Vector(len(weights.factors))
    weights.pointers.gather(values)
    wanted = 2e-3 * weights.factors * np.array(list(learned.values()))
    assert np.allclose(values.as_numpy(), wanted, atol=2**-36)
    assert env.get_weights() == learned


def test_normalizing_keeps_each_cells_sum(env):
    env.enable_plasticity(STRONG).run(500)
    before = env.get_weights()
    env.normalize_weights()
    after = env.get_weights()
    assert before != after
    for cell in range(8):
        values = [w for (post, _, _), w in after.items() if post == cell]
        assert sum(values) == pytest.approx(len(values), abs=1e-6)
    env.normalize_weights(3.5)
    values = [w for (post, _, _), w in env.get_weights().items() if post == 0]
    assert sum(values) == pytest.approx(3.5, abs=1e-6)


def test_weights_are_recorded(env):
    env.enable_plasticity(STRONG).record_weights(dt=20.0)
    series = env.run(400).channels["weights"]
    assert series.values.shape == (56, 20)
    assert series.unit == ""
    learned = env.get_weights()
    assert [post for post, _, _ in learned] == series.ids.tolist()
    assert [f"from {pre}" for _, pre, _ in learned] == list(series.sections)
    assert np.allclose(series.values[:, -1], list(learned.values()), atol=1e-6)
    assert len(np.unique(series.values[:, 0])) < len(np.unique(series.values[:, -1]))


def test_nothing_learned_yet(env):
    assert env.get_weights() == {}
    with pytest.raises(ConfigError, match="enable_plasticity"):
        env.normalize_weights()
    with pytest.raises(ConfigError, match="positive"):
        env.enable_plasticity().normalize_weights(-1)


def test_plasticity_survives_a_second_init(env):
    digest = env.enable_plasticity(STRONG).run(500).digest()
    env.close()
    assert env.init().run(500).digest() == digest
