"""Which world fills which slots, and what to do when one is lost: pure policy.

A slot is a worker's index, for life; the workers of one world fill the slots of one
berth. A lost world leaves its berth to another world, which takes over the slots.
There is no process, thread or clock in here; `supervisor` does what this decides.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Abandon", "End", "Fleet", "Order", "Retire", "Start", "restart_delay"]

_SHORT_LIFE: Final = 10.0  # s
_LONGEST_DELAY: Final = 30.0  # s
_MAX_FAILURES: Final = 3


@dataclass(frozen=True, slots=True)
class Start:
    """Start a world for a berth, not before a time.

    Attributes
    ----------
    berth
        Number to answer with: :meth:`Fleet.ready` or :meth:`Fleet.failed`.
    slots
        The workers that the world will hold, in order of its ranks.
    at
        On the monotonic clock, in s.
    """

    berth: int
    slots: tuple[int, ...]
    at: float


@dataclass(frozen=True, slots=True)
class End:
    """End whatever is left of a world."""

    world: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nobody will fill these slots any more."""

    slots: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Retire:
    """These slots are given up on request."""

    slots: tuple[int, ...]


Order = Start | End | Abandon | Retire


@dataclass(slots=True)
class _Berth:
    slots: tuple[int, ...]
    retired: set[int] = field(default_factory=set)
    world: str | None = None
    """The world that fills it; None while one is expected."""
    since: float = 0.0
    short_lives: int = 0
    failures: int = 0


def restart_delay(times: int) -> float:
    """Tell how long to wait before starting something again.

    Parameters
    ----------
    times
        How many times in a row it ended soon.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    >>> [restart_delay(times) for times in range(8)]
    [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    """
    return 0.0 if times < 2 else min(_LONGEST_DELAY, 2.0 ** min(times - 2, 10))


class Fleet:
    """Decides which worlds to start and end, so that every slot is filled.

    Examples
    --------
    >>> fleet = Fleet()
    >>> fleet.settle("w0", (0, 1), now=0.0)
    >>> fleet.lost("w0", now=60.0)
    [End(world='w0'), Start(berth=0, slots=(0, 1), at=60.0)]
    >>> fleet.ready(0, "w1", now=66.0)
    []
    >>> fleet.worlds
    {'w1': (0, 1)}
    """

    def __init__(self) -> None:
        self._berths: dict[int, _Berth] = {}
        self._abandoned: set[int] = set()
        self._numbers = itertools.count()
        self._next_slot = 0

    @property
    def worlds(self) -> dict[str, tuple[int, ...]]:
        """The worlds that run, and the slots that each fills."""
        return {
            berth.world: _kept(berth)
            for berth in self._berths.values()
            if berth.world is not None
        }

    @property
    def expected(self) -> tuple[int, ...]:
        """The slots that a world is on its way for."""
        return tuple(
            slot
            for berth in self._berths.values()
            if berth.world is None
            for slot in _kept(berth)
        )

    @property
    def abandoned(self) -> tuple[int, ...]:
        """The slots that nobody will fill."""
        return tuple(sorted(self._abandoned))

    def settle(self, world: str, slots: Sequence[int], now: float) -> None:
        """Take in a world that runs already and fills some slots.

        Parameters
        ----------
        world
            Its name.
        slots
            Its workers, in order of its ranks.
        now
            On the monotonic clock, in s.
        """
        self._put(_Berth(tuple(slots), world=world, since=now))

    def add(self, workers: int, now: float) -> list[Order]:
        """Ask for one more world.

        Parameters
        ----------
        workers
            How many slots it fills; they are new.
        now
            On the monotonic clock, in s.

        Returns
        -------
        list of Order
            What to do, in order; so for all that follows.
        """
        slots = tuple(range(self._next_slot, self._next_slot + workers))
        return [Start(self._put(_Berth(slots)), slots, now)]

    def ready(self, berth: int, world: str, now: float) -> list[Order]:
        """Hear that a world was started for a berth and its workers are ready."""
        asked = self._berths.get(berth)
        if asked is None or asked.world is not None:
            return [End(world)]  # nobody waits for it any more
        asked.world, asked.since, asked.failures = world, now, 0
        return []

    def failed(
        self, berth: int, reason: str, now: float, *, final: bool = False
    ) -> list[Order]:
        """Hear that a world for a berth could not be started.

        Parameters
        ----------
        berth
            As :class:`Start` names it.
        reason
            Why.
        now
            On the monotonic clock, in s.
        final
            Whether to try again is in vain.
        """
        asked = self._berths.get(berth)
        if asked is None or asked.world is not None:
            return []
        asked.failures += 1
        if final or asked.failures >= _MAX_FAILURES:
            return self._abandon(berth, reason)
        delay = restart_delay(asked.failures + 1)
        return [Start(berth, asked.slots, now + delay)]

    def lost(self, world: str, now: float) -> list[Order]:
        """Hear that a world ended, or is of no use; unknown ones need nothing."""
        for number, berth in self._berths.items():
            if berth.world == world:
                short = now - berth.since < _SHORT_LIFE
                berth.short_lives = berth.short_lives + 1 if short else 0
                berth.world = None
                at = now + restart_delay(berth.short_lives)
                return [End(world), Start(number, berth.slots, at)]
        return []

    def remove(self, slots: Sequence[int]) -> list[Order]:
        """Give slots up; a world ends once all of its slots are given up."""
        orders: list[Order] = []
        for number, berth in list(self._berths.items()):
            if leaving := set(slots) & set(_kept(berth)):
                berth.retired |= leaving
                orders.append(Retire(tuple(sorted(leaving))))
            if not _kept(berth):
                del self._berths[number]
                if berth.world is not None:
                    orders.append(End(berth.world))
        return orders

    def _put(self, berth: _Berth) -> int:
        number = next(self._numbers)
        self._berths[number] = berth
        self._next_slot = max(self._next_slot, *(slot + 1 for slot in berth.slots))
        return number

    def _abandon(self, number: int, reason: str) -> list[Order]:
        slots = _kept(self._berths.pop(number))
        self._abandoned.update(slots)
        return [Abandon(slots, reason)]


def _kept(berth: _Berth) -> tuple[int, ...]:
    return tuple(slot for slot in berth.slots if slot not in berth.retired)
