"""Weights that learn from the timing of spikes, the same for every division."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.neuron.network import Network
from livn_ipp.neuron.pairing import ARRIVAL, FIRING, Index, Pairing
from livn_ipp.neuron.plasticity import RULE_NAMES, STDP
from livn_ipp.subworld import Subworld

__all__ = ["INTERVAL", "Learning"]

INTERVAL: Final = 10.0
"""Time in ms between two updates of the weights, counted from time zero."""

_Spikes = tuple[NDArray[np.uint32], NDArray[np.int64]]
_Events = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


class Learning:
    """What the connections onto this rank's cells have learned.

    Every spike and every arrival counts at its exact time. What they change is handed
    to the network every 10 ms of the simulation's own time, so it does not depend on
    how a run is cut into chunks; and a connection's events are taken in the order of
    time, so neither does it depend on which cells share a rank.

    Parameters
    ----------
    network
        This rank's share of it.
    subworld
        The ranks that exchange their spikes.

    Attributes
    ----------
    active : bool
        Whether weights change.
    post_gids, pre_gids : array [n], uint32
        The cells of each connection that learns or has learned.
    """

    def __init__(self, network: Network, subworld: Subworld) -> None:
        self._network, self._subworld = network, subworld
        self.active = False
        self._fresh: list[_Spikes] = []  # own, which other ranks have not seen
        self._waiting: _Events = _joined([])  # known, but not before the next update
        self._arrange({})

    @property
    def learned(self) -> bool:
        """Whether there are connections that learn or have learned."""
        return bool(self._rules)

    @property
    def factors(self) -> NDArray[np.float64]:
        """What each connection has learned: a factor on its weights, at first 1."""
        return self._pairing.factors

    def enable(self, rules: Mapping[tuple[str, str], STDP]) -> None:
        """Let projections learn from now on; what they have learned remains."""
        if not self.active or self._rules != rules:
            self._arrange(rules)
        self.active = True

    def disable(self) -> None:
        """Keep all weights as they are now."""
        self.active = False
        self._forget()

    def reset(self) -> None:
        """Return to time zero, when nothing was learned."""
        for (pre, post), connections in self._network.connections.items():
            self._network.scale_weights(pre, post, np.ones(len(connections.scales)))
        self._pairing.factors[:] = 1.0
        self._forget()

    def see(self, ids: NDArray[np.uint32], steps: NDArray[np.int64]) -> None:
        """Take note of spikes of this rank's cells."""
        if self.active and len(ids):
            self._fresh.append((ids, steps))

    def update(self, step: int, dt: float) -> None:
        """Learn from everything before a step and change the weights. Collective.

        Parameters
        ----------
        step
            Now, in steps since time zero.
        dt
            Step in ms.
        """
        parts = self._subworld.comm.allgather(_together(self._fresh))
        self._fresh.clear()  # only now that all ranks have them
        ids, steps = _together(parts)
        fresh = self._events(ids, steps.astype(np.float64) * dt)
        rows, times, kinds = _joined([self._waiting, *fresh])
        due = times < step * dt
        self._waiting = rows[~due], times[~due], kinds[~due]
        self._pairing.learn(rows[due], times[due], kinds[due])
        self._hand_over()

    def normalize(self, target: float | None) -> None:
        """Scale the learned factors onto each cell to a common sum; see Env."""
        self._pairing.normalize(self.post_gids, target)
        self._hand_over()

    def _events(
        self, ids: NDArray[np.uint32], times: NDArray[np.float64]
    ) -> tuple[_Events, _Events]:
        """Return what spikes mean to connections: arrivals, and firings."""
        arriving, counts = self._by_pre.rows_of(ids)
        arrivals = np.repeat(times, counts) + self._delays[arriving]
        firing, counts = self._by_post.rows_of(ids)
        return (
            (arriving, arrivals, np.full(len(arriving), ARRIVAL)),
            (firing, np.repeat(times, counts), np.full(len(firing), FIRING)),
        )

    def _arrange(self, rules: Mapping[tuple[str, str], STDP]) -> None:
        """Line up the connections of all projections that learn."""
        self._rules = dict(rules)
        connections = [self._network.connections[key] for key in rules]
        none = np.zeros(0, np.uint32)
        self.pre_gids = np.concatenate([none, *(c.pre_gids for c in connections)])
        self.post_gids = np.concatenate([none, *(c.post_gids for c in connections)])
        self._delays = np.concatenate([np.zeros(0), *(c.delays for c in connections)])
        factors = np.concatenate([np.zeros(0), *(c.scales for c in connections)])
        self._sizes = [len(c.scales) for c in connections]
        numbers = {
            name: np.repeat(
                np.array([getattr(rule, name) for rule in rules.values()], np.float64),
                self._sizes,
            )
            for name in RULE_NAMES
        }
        self._pairing = Pairing(numbers, factors)
        self._by_pre, self._by_post = Index(self.pre_gids), Index(self.post_gids)
        self._forget()

    def _forget(self) -> None:
        self._fresh, self._waiting = [], _joined([])
        self._pairing.forget()

    def _hand_over(self) -> None:
        ends = np.cumsum(self._sizes)[:-1]
        parts = np.split(self.factors, ends) if self._rules else []
        for (pre, post), factors in zip(self._rules, parts, strict=True):
            self._network.scale_weights(pre, post, factors)


def _together(parts: list[_Spikes]) -> _Spikes:
    ids = np.concatenate([np.zeros(0, np.uint32), *(part[0] for part in parts)])
    return ids, np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)])


def _joined(parts: list[_Events]) -> _Events:
    return (
        np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)]),
        np.concatenate([np.zeros(0), *(part[1] for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part[2] for part in parts)]),
    )
