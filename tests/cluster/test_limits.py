import pytest

from livn_ipp.cluster.limits import Limits
from livn_ipp.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("task_timeout", 0, "task_timeout must be a positive number or None, got 0"),
        ("task_timeout", "60", "got '60'"),
        ("grace", -1, "grace must be 0 or a positive number, got -1"),
        ("grace", None, "grace must be 0 or a positive number, got None"),
        ("max_retries", 1.5, "max_retries must be a whole number, got 1.5"),
        ("max_in_flight", True, "max_in_flight must be a positive number"),
        ("memory_limit", -5, "memory_limit must be a positive number"),
        ("stall_timout", 5, "did you mean stall_timeout or"),
    ],
)
def test_what_is_no_limit_is_refused_with_its_name(name, value, message):
    with pytest.raises(ConfigError) as caught:
        Limits.of({name: value})
    assert message in str(caught.value)


def test_limits_keep_what_they_were_given():
    limits = Limits.of({"max_retries": 0, "stall_timeout": None, "task_timeout": 0.5})
    assert (limits.max_retries, limits.stall_timeout) == (0, None)
    assert limits.task_timeout == 0.5
