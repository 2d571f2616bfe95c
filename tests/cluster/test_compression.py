"""Compressed results are the same results in fewer bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.results import Results
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.testing import LightEnv

values = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(max_size=5000),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def travelled(value):
    """What arrives of a value: compressed, packed for a transport, and unpacked."""
    frames = wire.compress(wire.dumps(value), "zlib")
    return wire.loads(wire.unpack(wire.pack(frames)))


@given(values)
def test_what_was_compressed_comes_back(value):
    assert travelled(value) == value


@given(st.integers(0, 40_000), st.sampled_from(["f8", "f4", "u4"]))
def test_arrays_come_back_whole_and_writable(count, kind):
    sent = {"a": np.arange(count, dtype=kind), "b": "x" * 2000}
    got = travelled(sent)
    assert got["a"].dtype == sent["a"].dtype
    assert np.array_equal(got["a"], sent["a"])
    got["a"][:1] = 7


def test_what_gains_nothing_is_sent_as_it_is():
    small = wire.dumps("x" * 100)
    noise = wire.dumps(np.random.default_rng(1).bytes(100_000))
    assert wire.compress(small, "zlib") is small
    assert wire.compress(noise, "zlib") is noise
    even = wire.dumps(np.zeros(100_000))
    assert wire.compress(even, None) is even
    assert wire.size(wire.compress(even, "zlib")) < wire.size(even) / 100


@pytest.mark.parametrize("wrong", ["gzip", "", 1, True, ["zlib"]])
def test_other_ways_are_refused(wrong):
    with pytest.raises(ConfigError, match="compression must be None or 'zlib'"):
        DistributedEnv("EI1", backend=LightEnv, compression=wrong)


@pytest.mark.parametrize("method", [None, "zlib"])
def test_workers_send_what_was_chosen(monkeypatch, method):
    sizes = []
    keep = Results.keep
    monkeypatch.setattr(
        Results, "keep", lambda self, f: sizes.append(wire.size(f)) or keep(self, f)
    )
    env = DistributedEnv("EI1", transport="local", backend=LightEnv, compression=method)
    with env:
        sent = np.repeat(np.arange(100.0), 1000)
        (got,) = env(lambda run, env: np.repeat(np.arange(100.0), 1000))
    assert np.array_equal(got, sent)
    assert (sizes[0] > 800_000) if method is None else (sizes[0] < 80_000)
