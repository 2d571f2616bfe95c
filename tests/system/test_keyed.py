"""Numbers keyed by gid: uniform, and independent of what else is drawn."""

import numpy as np

from livn_ipp.system.keyed import uniform


def test_numbers_depend_on_key_and_gid_only():
    whole = uniform(np.arange(1000), 7, 3)
    assert np.array_equal(uniform([999, 5], 7, 3), whole[[999, 5]])
    for other in [(7,), (7, 4), (3, 7), (8, 3)]:
        assert abs(np.corrcoef(whole, uniform(np.arange(1000), *other))[0, 1]) < 0.1


def test_numbers_are_uniform():
    numbers = uniform(np.arange(100_000), 1)
    counts = np.histogram(numbers, 100, (0, 1))[0]
    chi_squared = ((counts - 1000) ** 2 / 1000).sum()
    assert 50 < chi_squared < 160  # 99 degrees of freedom
