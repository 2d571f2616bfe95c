"""The window itself: a part of it, or all ranks' parts of it in one place."""

from typing import Any

from pydantic import AliasChoices, Field, model_validator

from livn_ipp.run import Run
from livn_ipp.types import Decoding

__all__ = ["GatherAndMerge", "Slice"]


class Slice(Decoding):
    """Cut out ``start <= time < stop``; each rank cuts its own cells' part.

    Parameters
    ----------
    start
        Beginning of the window in ms from the start of the run.
    stop
        Its end in ms; also the length of the simulation, `duration`.

    Examples
    --------
    >>> from livn_ipp.run import Events
    >>> run = Run(0.0, 40.0, Events.of([3, 1, 2], [5.0, 10.0, 30.0]))
    >>> late = Slice(start=10, stop=40)(run)
    >>> late.spikes.ids.tolist(), late.spikes.times.tolist()
    ([1, 2], [0.0, 20.0])
    """

    start: int | float = Field(default=0, ge=0, allow_inf_nan=False)
    duration: int | float = Field(
        gt=0, allow_inf_nan=False, validation_alias=AliasChoices("stop", "duration")
    )

    @property
    def stop(self) -> int | float:
        """End of the window in ms from the start of the run."""
        return self.duration

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> "Slice":
        if self.start >= self.stop:
            raise ValueError(f"start={self.start} must be below stop={self.stop} (ms)")
        return self

    def __call__(self, run: Run, env: Any = None) -> Run:
        """Cut the window out of what this rank recorded."""
        return run.slice(self.start, self.stop)


class GatherAndMerge(Decoding):
    """Bring what all ranks recorded together on one rank.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    root
        Rank of the subworld that gets the whole run; the others get None.
    spikes, voltages, membrane_currents, potentials
        What to bring together of what was recorded.

    Examples
    --------
    >>> class Serial:
    ...     from livn_ipp.subworld import Subworld
    ...     comm = Subworld().comm
    >>> GatherAndMerge(duration=5)(Run(0.0, 5.0), Serial())
    Run(0-5 ms: no spikes recorded)
    """

    root: int = Field(default=0, ge=0)
    spikes: bool = True
    voltages: bool = True
    membrane_currents: bool = True
    potentials: bool = True

    def __call__(self, run: Run, env: Any = None) -> Run | None:
        """Merge the ranks' parts, ordered by time and cell."""
        wanted = {
            "voltage": self.voltages,
            "current": self.membrane_currents,
            "potential": self.potentials,
        }
        part = Run(
            run.t0,
            run.duration,
            run.spikes if self.spikes else None,
            {name: s for name, s in run.channels.items() if wanted.get(name, True)},
        )
        parts = env.comm.gather(part, self.root)
        return None if parts is None else Run.merge(parts)
