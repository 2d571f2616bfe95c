"""Whether and how connections learn: the part of an environment that a user sees."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.learning import Learning
from livn_ipp.neuron.plasticity import Rules, rules_of
from livn_ipp.system import System

__all__ = ["Plastic"]


class Plastic(ABC):
    """Setters of an environment whose connections learn."""

    system: System
    _rules: Rules | None = None
    """Those of the projections that learn; None as long as none does."""

    def enable_plasticity(self, config: Mapping[str, Any] | None = None) -> Self:
        """Let connections learn from spike timing from now on.

        Each has a factor on its weights, 1 at time zero and again after
        :meth:`clear`; what it learns acts from the next multiple of 10 ms on. See
        :class:`livn_ipp.neuron.plasticity.STDP` for the rule.

        Parameters
        ----------
        config
            None: the default rule on all excitatory projections. Numbers such as
            ``{"A_ltp": 0.02}``: a rule for them. Rules or numbers by ``POST_PRE``, such
            as ``{"INH_EXC": {"w_max": 3}}``: for those projections only.

        Raises
        ------
        ConfigError
            If a name or number cannot be used; nothing was changed then.

        Examples
        --------
        >>> from livn_ipp.env import Env
        >>> env = Env("EI1").enable_plasticity({"EXC_EXC": {"A_ltp": 0.05}}).init()
        >>> _ = env.run(500)
        >>> weights = env.get_weights()
        >>> len(weights), min(weights.values()) < 1 < max(weights.values())
        (56, True)
        """
        self._rules = rules_of(self.system, config)
        return self._apply()

    def disable_plasticity(self) -> Self:
        """Keep all weights as they have become."""
        self._rules = None
        return self._apply()

    def get_weights(self) -> dict[tuple[int, int, int], float]:
        """Return what the connections onto this rank's cells have learned.

        Returns
        -------
        dict
            The factor on its weights (1 at time zero) of each connection that learns or
            learned, by (post gid, pre gid, contact); `contact` counts connections
            between the same two cells.
        """
        learning = self._learning()
        found: dict[tuple[int, int, int], float] = {}
        if learning is None:
            return found
        contacts: Counter[tuple[int, int]] = Counter()
        pairs = zip(
            learning.post_gids.tolist(), learning.pre_gids.tolist(), strict=True
        )
        for pair, factor in zip(pairs, learning.factors.tolist(), strict=True):
            found[*pair, contacts[pair]] = factor
            contacts[pair] += 1
        return found

    def normalize_weights(self, target: float | None = None) -> Self:
        """Scale what was learned so that the factors onto each cell have one sum.

        Parameters
        ----------
        target
            The sum; by default the number of the cell's plastic connections, which is
            the sum at time zero. Factors stay within the rule's bounds.

        Raises
        ------
        ConfigError
            If nothing has been let to learn, or the sum is not positive.
        """
        learning = self._learning()
        if learning is None or not learning.learned:
            raise ConfigError(
                "no connection has learned anything; call enable_plasticity() and "
                "init() first"
            )
        if target is not None and not (0 < target < math.inf):
            raise ConfigError(f"the sum must be positive, not {target!r}")
        learning.normalize(target)
        return self

    @abstractmethod
    def _learning(self) -> Learning | None:
        """Return what was learned, if there is a network."""

    @abstractmethod
    def _apply(self) -> Self:
        """Hand everything to the network, if there is one."""
