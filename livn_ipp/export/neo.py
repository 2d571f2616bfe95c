"""Runs as Neo objects, for Elephant and other analyses that know units."""

from typing import Any, Final

import numpy as np

from livn_ipp.extras import extra
from livn_ipp.run import Run

__all__ = ["to_neo"]

_UNITS: Final = {"mV": "mV", "uV": "uV", "uA": "uA"}


def to_neo(run: Run, system: Any = None) -> Any:
    """Return everything as a Neo block of one segment.

    Parameters
    ----------
    run
        What to turn into Neo objects.
    system
        The culture, to get a train for each of its cells, silent ones included, with
        its population.

    Returns
    -------
    neo.Block
        Its segment holds a SpikeTrain for each cell, annotated with ``gid`` (and
        ``population``), and for each signal an AnalogSignal [samples, rows] annotated
        with ``gid`` or ``channel`` (and ``section``). Times are biological, in ms: they
        run from ``run.t0``.

    Raises
    ------
    MissingExtra
        If Neo is not installed.
    """
    neo = extra("neo", "neo")
    segment = neo.Segment(name="run")
    if run.spikes is not None:
        segment.spiketrains.extend(_trains(run, system, neo))
    for name, series in run.channels.items():
        label = "channel" if name == "potential" else "gid"
        annotations = {label: np.asarray(series.ids)}
        if series.sections:
            annotations["section"] = np.array(series.sections)
        signal = neo.AnalogSignal(
            series.values.T,
            units=_UNITS.get(series.unit, "dimensionless"),
            sampling_period=_ms(series.dt),
            t_start=_ms(run.t0 + series.start),
            name=name,
            array_annotations=annotations,
        )
        segment.analogsignals.append(signal)
    block = neo.Block(name="livn_ipp", t0_ms=run.t0, duration_ms=run.duration)
    block.segments.append(segment)
    return block


def _trains(run: Run, system: Any, neo: Any) -> list[Any]:
    assert run.spikes is not None
    spikes = run.spikes
    cells = np.unique(spikes.ids) if system is None else system.gids
    of = {}
    if system is not None:
        of = dict(zip(cells.tolist(), system.population_of(cells), strict=True))
    return [
        neo.SpikeTrain(
            run.t0 + spikes.times[spikes.ids == gid],
            units="ms",
            t_start=run.t0,
            t_stop=run.t1,
            name=f"cell {gid}",
            gid=gid,
            **({"population": str(of[gid])} if of else {}),
        )
        for gid in cells.tolist()
    ]


def _ms(time: float) -> Any:
    return time * extra("quantities", "neo").ms
