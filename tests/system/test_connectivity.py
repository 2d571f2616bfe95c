"""The matrix of connections."""

import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.system import System
from livn_ipp.system import connectivity as module


def test_every_connection_is_an_entry():
    system = System("EI2")
    matrix = system.connectivity_matrix()
    assert matrix.shape == (100, 100)
    seen = 0
    for pre, post in system.projections:
        edges = system.projection(pre, post)
        sign = -1 if pre == "INH" else 1
        assert np.array_equal(
            matrix[edges.pre_gids, edges.post_gids], sign * edges.factor
        )
        seen += len(edges)
    assert np.count_nonzero(matrix) == seen == 2740


def test_a_pair_of_populations_is_a_part_of_the_whole():
    system = System("EI2")
    whole = system.connectivity_matrix()
    assert np.array_equal(system.connectivity_matrix("INH", "EXC"), whole[80:, :80])
    assert np.array_equal(system.connectivity_matrix("EXC"), whole[:80])
    assert np.array_equal(system.connectivity_matrix(post="INH"), whole[:, 80:])
    with pytest.raises(ConfigError, match="no population 'PV'"):
        system.connectivity_matrix("PV")


def test_of_a_selection():
    system = System("EI2")
    kept = system.select(0.3, "random")
    whole = system.connectivity_matrix()
    assert np.array_equal(
        kept.connectivity_matrix(), whole[np.ix_(kept.gids, kept.gids)]
    )


def test_sparse_is_the_same():
    pytest.importorskip("scipy")
    system = System("EI2")
    sparse = system.connectivity_matrix("EXC", "INH", sparse=True)
    assert sparse.nnz == 400
    dense = system.connectivity_matrix("EXC", "INH")
    assert np.array_equal(sparse.toarray(), dense)


def test_a_matrix_that_is_too_large_says_so(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 1000)
    with pytest.raises(ConfigError, match="sparse=True"):
        System("EI2").connectivity_matrix()
