"""The rule of plasticity against a plain reading of it, event by event."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.pairing import ARRIVAL, FIRING, Index, Pairing, normalized
from livn_ipp.neuron.plasticity import RULE_NAMES, STDP, rules_of
from livn_ipp.system import System

RULE = STDP(A_ltp=0.1, A_ltd=0.12, tau_ltp=15.0, tau_ltd=30.0, w_min=0.2, w_max=1.6)


def pairing(size, rule=RULE):
    numbers = {name: np.full(size, getattr(rule, name)) for name in RULE_NAMES}
    return Pairing(numbers, np.ones(size))


def by_pairs(events, rule=RULE):
    """Sum over all earlier spikes at each event, as the docstring says."""
    w = 1.0
    for now in sorted({time for time, _ in events}):
        kinds = {kind for time, kind in events if time == now}
        before = [(time, kind) for time, kind in events if time < now]
        if FIRING in kinds:
            w += rule.A_ltp * sum(
                math.exp((time - now) / rule.tau_ltp)
                for time, kind in before
                if kind == ARRIVAL
            )
        if ARRIVAL in kinds:
            w -= rule.A_ltd * sum(
                math.exp((time - now) / rule.tau_ltd)
                for time, kind in before
                if kind == FIRING
            )
        w = min(max(w, rule.w_min), rule.w_max)
    return w


def arrays(events):
    rows, times, kinds = zip(*events, strict=True) if events else ((), (), ())
    return np.array(rows, int), np.array(times, float), np.array(kinds, int)


events_of_connections = st.sets(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 400).map(lambda tick: tick * 0.25),
        st.sampled_from([ARRIVAL, FIRING]),
    ),
    max_size=40,
).map(sorted)


@given(events_of_connections, st.randoms(use_true_random=False))
def test_all_pairs_count_with_their_delay(events, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    learned = pairing(4)
    learned.learn(*arrays(shuffled))
    for row, factor in enumerate(learned.factors):
        own = [(time, kind) for each, time, kind in events if each == row]
        assert factor == pytest.approx(by_pairs(own), abs=1e-8)


@given(events_of_connections, st.lists(st.floats(0, 100), max_size=4).map(sorted))
def test_it_does_not_matter_when_events_are_handed_over(events, cuts):
    at_once, in_parts = pairing(4), pairing(4)
    at_once.learn(*arrays(events))
    for first, last in zip([-1.0, *cuts], [*cuts, 1e9], strict=True):
        in_parts.learn(*arrays([e for e in events if first <= e[1] < last]))
    assert at_once.factors.tobytes() == in_parts.factors.tobytes()


@given(events_of_connections)
def test_a_connection_is_the_same_in_any_company(events):
    together = pairing(4)
    together.learn(*arrays(events))
    for row in range(4):
        alone = pairing(1)
        alone.learn(*arrays([(0, t, kind) for each, t, kind in events if each == row]))
        assert alone.factors[0] == together.factors[row]


def test_order_decides_the_sign():
    for first, second, sign in ((ARRIVAL, FIRING, 1), (FIRING, ARRIVAL, -1)):
        learned = pairing(1)
        learned.learn(*arrays([(0, 10.0, first), (0, 15.0, second)]))
        assert np.sign(learned.factors[0] - 1) == sign
    together = pairing(1)
    together.learn(*arrays([(0, 10.0, ARRIVAL), (0, 10.0, FIRING)]))
    assert together.factors[0] == 1.0


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 3)), min_size=1, max_size=12),
    st.none() | st.floats(0.1, 30),
)
def test_sums_are_normalized_within_bounds(members, target):
    groups, factors = (np.array(column) for column in zip(*members, strict=True))
    low, high = np.full(len(factors), 0.01), np.full(len(factors), 3.0)
    found = normalized(np.clip(factors, low, high), low, high, groups, target)
    assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all()
    for group in set(groups):
        mine = groups == group
        wanted = mine.sum() if target is None else target
        reachable = np.clip(wanted, low[mine].sum(), high[mine].sum())
        assert found[mine].sum() == pytest.approx(reachable, abs=1e-6)


@given(st.lists(st.integers(0, 5), max_size=10), st.lists(st.integers(0, 6)))
def test_index_finds_every_row(gids, wanted):
    rows, counts = Index(np.array(gids, int)).rows_of(np.array(wanted, int))
    expected = [[i for i, gid in enumerate(gids) if gid == each] for each in wanted]
    assert counts.tolist() == [len(part) for part in expected]
    assert rows.tolist() == [row for part in expected for row in part]


class TestConfig:
    system = System("EI1")

    def test_excitatory_projections_learn_by_default(self):
        rules = rules_of(self.system, None)
        assert rules == {("EXC", "EXC"): STDP(), ("EXC", "INH"): STDP()}
        assert set(rules_of(self.system, {"A_ltp": 0.02}).values()) == {
            STDP(A_ltp=0.02)
        }

    def test_projections_are_named_as_weights_are(self):
        config = {"EXC_INH": {"w_max": 3}, "INH_EXC": STDP(tau_ltp=10.0)}
        assert rules_of(self.system, config) == {
            ("INH", "EXC"): STDP(w_max=3),
            ("EXC", "INH"): STDP(tau_ltp=10.0),
        }

    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"EXC_EX": {}}, "EXC_EXC"),
            ({"A_lpt": 0.1}, "A_ltp"),
            ({"EXC_EXC": {"theta_ltp": -45}}, "theta_ltp"),
            ({"EXC_EXC": 0.1, "INH_EXC": {}}, "0.1"),
            ({"A_ltp": -1}, "from 0"),
            ({"A_ltp": "big"}, "big"),
            ({"tau_ltd": 0}, "tau_ltd"),
            ({"w_max": 0.5}, "enclose 1"),
            ({"w_max": math.inf}, "finite"),
        ],
    )
    def test_what_cannot_be_is_refused(self, config, words):
        with pytest.raises(ConfigError, match=words):
            rules_of(self.system, config)

    def test_cells_without_connections_cannot_learn(self):
        with pytest.raises(ConfigError, match="no excitatory projection"):
            rules_of(System(3), None)
