"""LightEnv: an environment without a simulator, for tests of all that is around it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from livn_ipp.run import Events, Run
from livn_ipp.subworld import Course, Subworld
from livn_ipp.system import System

__all__ = ["LightEnv"]

_CHUNK: Final = 10.0  # ms between votes
_BLOCK: Final = 1000.0  # ms of randomness that are drawn at once
_REST: Final = 10.0  # Hz
_PEAK: Final = 100.0  # Hz


class LightEnv:
    """A culture whose cells fire at random, on the ranks of a subworld.

    Each cell is a Poisson process of 10 Hz, times one plus the mean size of what drives
    it, at most 100 Hz. Spikes follow from seed, trial and drive alone, whatever the
    number of ranks, so results can be compared for equality. Like a simulation it runs
    in chunks; at their ends its ranks vote, and tell their spikes if that is due.

    Parameters
    ----------
    system
        The culture, as :class:`livn_ipp.env.Env` takes it; only its cells count.
    model, io
        Not used.
    seed
        Seed of all randomness.
    comm
        The :class:`livn_ipp.subworld.Subworld`; a single process by default.

    Attributes
    ----------
    t : float
        Biological time in ms.
    trial : int
        The present trial.
    weights, noise : dict
        What the setters of these names were given.
    encoding, decoding
        Those of the latest call.

    Examples
    --------
    >>> env = LightEnv("EI1").init().record_spikes()
    >>> halves = [env.run(500), env.run(500)]
    >>> whole = env.clear().run(1000)
    >>> sum(len(half.spike_ids) for half in halves) == len(whole.spike_ids)
    True
    """

    multirank = True

    def __init__(
        self,
        system: Any,
        model: Any = None,
        io: Any = None,
        seed: int = 123,
        comm: Subworld | None = None,
    ) -> None:
        self.system = System(system)
        self.model, self.io, self.seed = model, io, seed
        self.subworld = Subworld() if comm is None else comm
        self.comm = self.subworld.comm
        self.t = 0.0
        self.trial = 0
        self.weights: dict[str, float] = {}
        self.noise: dict[str, float] = {}
        self.encoding: Any = None
        self.decoding: Any = None
        self._records = False

    def init(self) -> Self:
        """Build nothing."""
        return self

    def close(self) -> None:
        """Give nothing back."""

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> Self:
        """Return to time zero, with the given trial's randomness."""
        del reseed
        self.t = 0.0
        self.trial = 0 if trial is None else trial
        return self

    def record_spikes(self, population: Any = None) -> Self:
        """Keep the spikes of every cell."""
        del population
        self._records = True
        return self

    def clear_recordings(self) -> Self:
        """Keep nothing any more."""
        self._records = False
        return self

    def set_weights(self, weights: dict[str, float]) -> Self:
        """Remember weights."""
        self.weights |= weights
        return self

    def set_noise(self, noise: dict[str, float]) -> Self:
        """Remember noise."""
        self.noise |= noise
        return self

    @contextmanager
    def settings_kept(self) -> Iterator[Self]:
        """Return to the present weights and noise at the end."""
        before = dict(self.weights), dict(self.noise)
        try:
            yield self
        finally:
            self.weights, self.noise = before

    def run(self, duration: float, drive: Any = None, *, pace: float = 0.0) -> Run:
        """Go on for a while.

        Parameters
        ----------
        duration
            In ms.
        drive
            A number or array; anything else drives nothing.
        pace
            Seconds that each ms takes.

        Returns
        -------
        Run
            What this rank's cells did.
        """
        begin, end = self.t, self.t + duration
        spikes = self._spikes(begin, end, _rate(drive))
        told = begin

        def news() -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
            nonlocal told
            new = (spikes.times >= told - begin) & (spikes.times < self.t - begin)
            told = self.t
            return spikes.ids[new], spikes.times[new]

        course = Course(begin, end, news)
        while self.t < end:
            step = min(_CHUNK, end - self.t)
            time.sleep(step * pace)
            self.t += step
            self.subworld.checkpoint(self.t, course)
        self.t = end
        return Run(begin, duration, spikes if self._records else None)

    def __call__(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        *,
        pace: float = 0.0,
    ) -> Any:
        """Encode, run, decode.

        Parameters
        ----------
        decoding, inputs, encoding
            As :class:`livn_ipp.env.Env` takes them. A function in place of a decoding
            gets a run of 10 ms.
        pace
            Seconds that each ms takes.
        """
        self.encoding, self.decoding = encoding, decoding
        duration = getattr(decoding, "duration", _CHUNK)
        drive = inputs if encoding is None else encoding(self, duration, inputs)
        if hasattr(decoding, "setup"):
            decoding.setup(self)
        return decoding(self.run(duration, drive, pace=pace), self)

    def _spikes(self, begin: float, end: float, rate: float) -> Events:
        """Thin out what each cell could fire at most."""
        cells = np.asarray(self.system.gids, np.uint32)
        ids: list[NDArray[np.uint32]] = []
        times: list[NDArray[np.float64]] = []
        for block in range(int(begin // _BLOCK), int(-(-end // _BLOCK))):
            random = np.random.default_rng((self.seed, self.trial, block))
            counts = random.poisson(_PEAK * _BLOCK / 1000, len(cells))
            time_of, kept = random.random((2, counts.sum()))
            time_of = (time_of + block) * _BLOCK
            who = np.repeat(np.arange(len(cells)), counts)
            mine = who % self.subworld.size == self.subworld.rank
            mine &= (kept < rate / _PEAK) & (time_of >= begin) & (time_of < end)
            ids.append(cells[who[mine]])
            times.append(time_of[mine] - begin)
        return Events.of(np.concatenate(ids), np.concatenate(times))

    def __repr__(self) -> str:
        return f"LightEnv({self.system.name}, trial {self.trial}, {self.subworld})"


def _rate(drive: Any) -> float:
    """Return the rate (Hz) of a cell under a drive."""
    if not isinstance(drive, (int, float, np.ndarray)):
        return _REST
    return min(_PEAK, _REST * (1 + float(np.abs(drive).mean())))
