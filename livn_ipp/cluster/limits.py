"""How long and how much: the limits that an environment keeps."""

import difflib
from dataclasses import dataclass, fields
from typing import Any, Final, Self, TypedDict

from livn_ipp.cluster.wire import check_compression
from livn_ipp.errors import ConfigError

__all__ = ["LimitOptions", "Limits"]

_IDLE_RANK: Final = 150_000_000
_NOT_NEGATIVE: Final = ("grace", "max_retries")


class LimitOptions(TypedDict, total=False):
    """The limits as keywords; :class:`Limits` describes them."""

    task_timeout: float | None
    grace: float
    stall_timeout: float | None
    max_retries: int
    max_in_flight: int | None
    memory_limit: int | None
    max_result: int | None
    result_memory: int
    compression: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on time, memory, repetition and bytes on the way.

    Attributes
    ----------
    task_timeout
        Seconds that a call may run on its worker, unless it brings its own `timeout`;
        None for no limit.
    grace
        Seconds that a call has to stop, once its time is over or it was cancelled;
        then its worker is replaced.
    stall_timeout
        Seconds without any sign of life after which a busy worker counts as hung and
        is replaced; None to wait for ever. Simulations give signs all the time; Python
        code that computes for longer without a collective or ``subworld.report`` needs
        more.
    max_retries
        How many times a call runs again after its worker was lost.
    max_in_flight
        Calls that may be unfinished at a time; submitting more waits. None for any
        number.
    memory_limit
        Bytes of resident memory that a rank may use; at 95 % of them it is ended and
        its call fails with WorkerMemoryError. None for no limit.
    max_result
        Bytes that one result may have when it is sent; None for a third of the memory
        that is available to its rank then, since it is copied on its way.
    result_memory
        Bytes of results that nobody has fetched yet and that are kept in memory; those
        beyond go to disk.
    compression
        How results are made smaller for their way, one of
        :data:`livn_ipp.cluster.wire.COMPRESSIONS`; None to send them as they are.

    Examples
    --------
    >>> Limits.of({"task_timeout": 60}).task_timeout
    60
    >>> Limits.of({"task_timout": 60})
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: unknown option 'task_timout'; did you mean ...
    """

    task_timeout: float | None = None
    grace: float = 5.0
    stall_timeout: float | None = 600.0
    max_retries: int = 3
    max_in_flight: int | None = None
    memory_limit: int | None = None
    max_result: int | None = None
    result_memory: int = 1 << 30
    compression: str | None = None

    @classmethod
    def of(cls, options: Any) -> Self:
        """Check limits that a user gave as keywords.

        Raises
        ------
        ConfigError
            If a name is unknown or a value cannot be a limit.
        """
        names = [field.name for field in fields(cls)]
        for name, value in options.items():
            if name not in names:
                near = difflib.get_close_matches(name, names) or names
                raise ConfigError(
                    f"unknown option {name!r}; did you mean {' or '.join(near)}?"
                )
            if name == "compression":
                check_compression(value)
            else:
                check_limit(name, value, optional=getattr(cls(), name) is None)
        return cls(**options)


def check_limit(name: str, value: Any, *, optional: bool = True) -> None:
    """Refuse what is not a limit.

    Parameters
    ----------
    name
        Of the limit.
    value
        A positive number.
    optional
        Whether None is a limit too.

    Raises
    ------
    ConfigError
        If it is anything else.
    """
    optional = optional or name == "stall_timeout"
    if value is None and optional:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    lowest_allowed = name in _NOT_NEGATIVE
    if not number or not (value > 0 or (lowest_allowed and value == 0)):
        kind = "0 or a positive number" if lowest_allowed else "a positive number"
        raise ConfigError(
            f"{name} must be {kind}{' or None' if optional else ''}, got {value!r}"
        )
    if name in {"max_retries", "max_in_flight"} and not isinstance(value, int):
        raise ConfigError(f"{name} must be a whole number, got {value!r}")
    if name == "memory_limit" and value < _IDLE_RANK:
        raise ConfigError(
            f"memory_limit={value!r} bytes is less than the {_IDLE_RANK / 1e6:.0f} MB "
            f"that a rank takes before it simulates anything"
        )
