import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster.machine.environment import usable_cores
from livn_ipp.cluster.starting.shape import Shape
from livn_ipp.errors import ConfigError

counts = st.integers(1, 40)


@given(counts, counts, counts | st.just("all"))
def test_worlds_hold_all_workers_evenly_or_are_refused(workers, size, per_world):
    if per_world != "all" and workers % per_world:
        with pytest.raises(ConfigError, match="does not divide"):
            Shape.of(workers, size, per_world)
        return
    shape = Shape.of(workers, size, per_world)
    assert shape.num_ranks == workers * size == shape.num_worlds * shape.world_size
    assert shape.world_size % size == 0
    assert (shape.num_worlds == 1) if per_world == "all" else True


@given(counts)
def test_the_default_number_of_workers_fits_the_cores(size):
    shape = Shape.of(None, size, 1)
    assert shape.num_workers >= 1
    assert shape.num_ranks <= max(size, usable_cores())
    assert shape.num_ranks + size > usable_cores()


@given(st.one_of(st.integers(max_value=0), st.floats(), st.booleans(), st.text()))
def test_what_is_no_count_is_refused(value):
    for arguments in ((value, 1, 1), (1, value, 1)):
        with pytest.raises(ConfigError, match="whole number of at least 1"):
            Shape.of(*arguments)
    if value != "all":
        with pytest.raises(ConfigError, match="workers_per_world must be"):
            Shape.of(1, 1, value)
