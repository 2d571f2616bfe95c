"""How much faster a culture is simulated by more ranks: measured on this machine."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import PrivateAttr

from livn_ipp.cluster.machine.environment import usable_cores
from livn_ipp.cluster.starting.shape import check_count
from livn_ipp.decoding import GatherAndMerge
from livn_ipp.display import Card, Shown
from livn_ipp.errors import ConfigError
from livn_ipp.run import Run
from livn_ipp.view.palette import GREY
from livn_ipp.view.scaling import speed_picture
from livn_ipp.view.svg import Picture

__all__ = ["ScalingReport", "Speed", "Stopwatch", "checked_ranks", "measured"]

_REPEATS: Final = 5  # other programs take the cores too: the least counts


@dataclass(frozen=True)
class Speed:
    """What was measured of a number of ranks.

    Attributes
    ----------
    ranks
        How many simulated one culture together.
    seconds
        Per biological second: the least of several runs.
    oversubscribed
        Whether there were more ranks than cores, so that they had to take turns.
    digest
        Of the spikes.
    """

    ranks: int
    seconds: float
    oversubscribed: bool
    digest: str


@dataclass(frozen=True, repr=False)
class ScalingReport(Shown):
    """How much faster more ranks simulate a culture.

    Attributes
    ----------
    name
        Of the culture.
    duration
        Length of each run in ms.
    cores
        That this process may use.
    speeds
        What was measured, by the number of ranks.

    Examples
    --------
    >>> one, two = Speed(1, 2.0, False, "ab"), Speed(2, 1.25, False, "ab")
    >>> report = ScalingReport("EI2", 200.0, 2, (one, two))
    >>> report
    ScalingReport(EI2 on 2 cores: 1 rank 2 s/s; 2 ranks 1.25 s/s, efficiency 0.80)
    >>> report.efficiency(2), report.identical
    (0.8, True)
    """

    name: str
    duration: float
    cores: int
    speeds: tuple[Speed, ...]

    def speedup(self, ranks: int) -> float:
        """Tell how many times as fast as one rank so many ranks were."""
        by_ranks = {speed.ranks: speed.seconds for speed in self.speeds}
        return by_ranks[1] / by_ranks[ranks]

    def efficiency(self, ranks: int) -> float:
        """Tell what share of the speed of so many single ranks they reached."""
        return self.speedup(ranks) / ranks

    @property
    def identical(self) -> bool:
        """Whether the spikes were the same for all numbers of ranks."""
        return len({speed.digest for speed in self.speeds}) == 1

    def plot(self) -> Picture:
        """Draw the speed against one rank; ``plot().svg()`` is a file's content."""
        ranks = [speed.ranks for speed in self.speeds]
        return speed_picture(ranks, [*map(self.speedup, ranks)], self.cores, ink=GREY)

    def _card(self) -> Card:
        facts = (
            ("cores", f"{self.cores}"),
            ("each run", f"{self.duration:g} ms"),
            ("spikes", "identical" if self.identical else "DIFFERENT"),
        )
        rows = tuple(
            (
                f"{speed.ranks}",
                f"{speed.seconds:.3g}",
                f"{self.speedup(speed.ranks):.2f}",
                f"{self.efficiency(speed.ranks):.2f}",
                "oversubscribed" if speed.oversubscribed else "",
            )
            for speed in self.speeds
        )
        columns = ("ranks", "s per biological s", "times as fast", "efficiency", "")
        title = f"Scaling of {self.name}"
        return Card(title, "", facts, columns, rows, picture=self.plot())

    def __repr__(self) -> str:
        told = []
        for speed in self.speeds:
            several = speed.ranks > 1
            text = f"{speed.ranks} rank{'s' * several} {speed.seconds:.3g} s/s"
            if several:
                text += f", efficiency {self.efficiency(speed.ranks):.2f}"
            told.append(text + " (oversubscribed)" * speed.oversubscribed)
        return f"ScalingReport({self.name} on {self.cores} cores: {'; '.join(told)})"


class Stopwatch(GatherAndMerge):
    """A run's spikes, and the seconds that the slowest rank took for it."""

    _began: float = PrivateAttr(0.0)

    def setup(self, env: Any) -> None:  # noqa: ARG002 - what a Decoding is given
        """Start the watch."""
        self._began = time.perf_counter()

    def __call__(self, run: Run, env: Any = None) -> Any:
        """Stop the watch; then bring the ranks' spikes together."""
        took = max(env.comm.allgather(time.perf_counter() - self._began))
        whole = super().__call__(run, env)
        return None if whole is None else (took, whole.digest())


def checked_ranks(ranks: Iterable[int]) -> list[int]:
    """Order numbers of ranks, from 1 on.

    Raises
    ------
    ConfigError
        If one of them is none.

    Examples
    --------
    >>> checked_ranks([4, 2])
    [1, 2, 4]
    """
    if isinstance(ranks, (str, int)):
        raise ConfigError(f"ranks must be a list such as [1, 2, 4], not {ranks!r}")
    numbers = list(ranks)
    for number in numbers:
        check_count("each number of ranks", number)
    return sorted({1, *numbers})


def measured(
    name: str, ranks: Iterable[int], duration: float, start: Callable[[int], Any]
) -> ScalingReport:
    """Measure each number of ranks.

    Parameters
    ----------
    name
        Of the culture.
    ranks
        Numbers of ranks.
    duration
        Length of each run in ms.
    start
        Makes the environment, a context manager, of a number of ranks.
    """
    cores = usable_cores()
    speeds = []
    for number in checked_ranks(ranks):
        with start(number) as env:
            watch = Stopwatch(duration=duration)
            runs = [env.submit(watch, trial=0).result() for _ in range(_REPEATS)]
        seconds = min(took for took, _ in runs) * 1000 / duration
        speeds.append(Speed(number, seconds, number > cores, runs[0][1]))
    return ScalingReport(name, float(duration), cores, tuple(speeds))
