"""Values of livn's types as ours, and ours as livn's."""

from collections.abc import Container
from typing import Any, Final

import numpy as np

from livn_ipp.errors import ConfigError
from livn_ipp.run import Events, Run, Series
from livn_ipp.stimulus import Stimulus

__all__ = ["run_of", "stimulus_of"]

_SECTIONS: Final = {"soma": 0, "dend": 1}  # livn counts a cell's sections
_UNITS: Final = {"voltage": "mV", "current": "uA"}


def run_of(run: Any, wanted: Container[str]) -> Run:
    """Turn a Run of livn's into one of ours.

    livn takes its first sample at the start of the run, so ``Series.start`` is 0.

    Parameters
    ----------
    run
        livn's.
    wanted
        Names of the channels to keep, ``"spikes"`` among them.

    Examples
    --------
    >>> import pytest
    >>> Theirs = pytest.importorskip("livn.run").Run
    >>> run_of(Theirs(duration=5.0).add_spikes([1, 0], [2.0, 1.0]), {"spikes"})
    Run(0-5 ms: 2 spikes)
    """
    spikes = None
    channels = {}
    for name, channel in run.channels.items():
        if name not in wanted:
            continue
        if channel.kind == "events" and name == "spikes":
            spikes = Events.of(channel.ids, channel.times)
        elif channel.kind == "series":
            sections = () if channel.sections is None else channel.sections
            channels[name] = Series(
                np.asarray(channel.ids),
                np.asarray(channel.values),
                float(channel.dt),
                0.0,
                _UNITS.get(name, ""),
                tuple(str(section) for section in sections),
            )
    return Run(float(run.t0), float(run.duration), spikes, channels)


def stimulus_of(stimulus: Any) -> Any:
    """Turn a Stimulus of ours into one of livn's; leave anything else as it is."""
    if not isinstance(stimulus, Stimulus):
        return stimulus
    from livn.stimulus import Stimulus as Theirs

    return Theirs(
        stimulus.array,
        dt=stimulus.dt,
        gids=stimulus.gids,
        sections=_sections_of(stimulus),
        input_mode=stimulus.input_mode,
    )


def _sections_of(stimulus: Stimulus) -> list[int] | None:
    if stimulus.sections is None:
        return None
    if unknown := set(stimulus.sections) - set(_SECTIONS):
        raise ConfigError(
            f"livn's cells have no section {min(unknown)!r} to drive; "
            f"choose from {list(_SECTIONS)}"
        )
    return [_SECTIONS[name] for name in stimulus.sections]
