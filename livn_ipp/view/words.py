"""Numbers as people read them: durations, sizes, counts."""

__all__ = ["biological", "memory", "plural", "seconds"]


def seconds(value: float | None) -> str:
    """Tell a wall time.

    Examples
    --------
    >>> seconds(0.42), seconds(75), seconds(7325), seconds(None)
    ('0.4 s', '1:15 min', '2:02 h', '?')
    """
    if value is None:
        return "?"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def biological(value: float | None) -> str:
    """Tell a biological time that is given in ms.

    Examples
    --------
    >>> biological(250), biological(12_340), biological(3e6), biological(None)
    ('250 ms', '12.3 s', '50.0 min', '?')
    """
    if value is None:
        return "?"
    if value < 1000:
        return f"{value:.0f} ms"
    if value < 600_000:
        return f"{value / 1000:.1f} s"
    return f"{value / 60_000:.1f} min"


def memory(value: float) -> str:
    """Tell a number of bytes.

    Examples
    --------
    >>> memory(250e6), memory(3.21e9)
    ('250 MB', '3.2 GB')
    """
    return f"{value / 1e6:.0f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"


def plural(count: int, thing: str) -> str:
    """Count things.

    Examples
    --------
    >>> plural(1, "call"), plural(3, "call")
    ('1 call', '3 calls')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"
