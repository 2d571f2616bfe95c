"""Parameters that can be changed by name."""

import difflib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from livn_ipp.errors import ConfigError

__all__ = ["Adjustable", "positive"]


class Adjustable:
    """What has parameters.

    Attributes
    ----------
    revision : int
        Counts the changes by :meth:`set_params`, for those who keep what they computed.
    """

    revision: int = 0

    @property
    def params(self) -> dict[str, float]:
        """What :meth:`set_params` can change, by name."""
        return {}

    def check_params(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return new values of :attr:`params` as numbers; change nothing.

        Raises
        ------
        ConfigError
            If a name is unknown (it lists near ones) or a value not positive.
        """
        names = list(self.params)
        checked = {}
        for name, value in params.items():
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
                raise ConfigError(
                    f"{type(self).__name__} has no parameter {name!r}; "
                    f"{'did you mean' if near else 'it has'} {near or names}"
                )
            checked[name] = positive(name, value)
        return checked

    def set_params(self, params: Mapping[str, Any]) -> Self:
        """Change parameters, such as ``volume_conductor-recording_gain``.

        Raises
        ------
        ConfigError
            As :meth:`check_params`; nothing was changed then.
        """
        self._assign(self.check_params(params))
        self.revision += 1
        return self

    def _assign(self, params: dict[str, float]) -> None:
        """Take over checked parameters."""
        for name, value in params.items():
            setattr(self, name, value)


def positive(name: str, value: Any) -> float:
    """Turn a positive number into a float.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if isinstance(value, (int, float, np.number)) and 0 < value < np.inf:
        return float(value)
    raise ConfigError(f"{name} must be a positive number, not {value!r}")
