"""Tables of positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.positions import checked_rows, rows_of, square_grid


@settings(deadline=None)
@given(gids=st.lists(st.integers(0, 1000), unique=True, min_size=1), data=st.data())
def test_rows_are_found_in_any_order(gids, data):
    wanted = data.draw(st.lists(st.sampled_from(gids)))
    rows = rows_of(np.array(gids, float), np.array(wanted, np.uint32))
    assert [gids[row] for row in rows] == wanted


def test_unknown_gids_are_named():
    with pytest.raises(ConfigError, match=r"\[4, 7\]"):
        rows_of(np.array([5.0, 6.0]), np.array([7, 5, 4]))
    assert rows_of(np.zeros(0), np.zeros(0, int)).tolist() == []


def test_ids_of_a_grid_run_along_x_first():
    assert square_grid(20.0, 2, 1.0).tolist() == [
        [0, 5, 5, 1],
        [1, 15, 5, 1],
        [2, 5, 15, 1],
        [3, 15, 15, 1],
    ]


def test_a_checked_table_is_a_copy():
    given_rows = np.zeros((1, 4))
    checked_rows(given_rows)[0, 0] = 7
    assert given_rows[0, 0] == 0
