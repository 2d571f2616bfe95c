"""Libraries that only some need: found when they are used, or asked for by name."""

from importlib import import_module
from typing import Any

from livn_ipp.errors import MissingExtra

__all__ = ["extra"]


def extra(module: str, name: str) -> Any:
    """Import a library that comes with one of the package's extras.

    Parameters
    ----------
    module
        What to import.
    name
        The extra that installs it.

    Raises
    ------
    MissingExtra
        If it is not installed; the message tells how to do so.

    Examples
    --------
    >>> extra("json", "nwb").dumps([1])
    '[1]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise MissingExtra(
            f"this needs {library}, which cannot be imported ({error}); install it "
            f'with: pip install "livn_ipp[{name}]"'
        ) from error
