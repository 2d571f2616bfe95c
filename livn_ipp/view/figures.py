"""Figures of cultures and of what they did; each draws into an axes and returns it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.run import Run
from livn_ipp.system import System
from livn_ipp.system.layout import DENDRITE
from livn_ipp.view.fitness import Fitness
from livn_ipp.view.palette import PAPER

__all__ = [
    "plot_culture",
    "plot_fitness",
    "plot_potentials",
    "plot_psth",
    "plot_raster",
    "plot_rates",
]

_GREY: Final = "0.45"
_MANY: Final = 100  # electrodes beyond which labels would overlap


def plot_raster(run: Run, ax: Any = None, system: System | None = None) -> Any:
    """Draw each spike of a run as a mark at its time and cell.

    Parameters
    ----------
    run
        A run with spikes.
    ax
        The matplotlib axes to draw into; new ones if None.
    system
        The culture, to colour the cells by population and to show silent ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ConfigError
        If the run holds no spikes.

    Examples
    --------
    >>> from livn_ipp.run import Events, Run
    >>> run = Run(0, 100, Events.of([1, 2, 1], [10.0, 40.0, 70.0]))
    >>> plot_raster(run).get_xlabel()
    'time (ms)'
    """
    if run.spikes is None:
        raise ConfigError("the run holds no spikes; call record_spikes() before it")
    ax = _axes(ax, (8, 4))
    ids, times = run.spikes.ids, run.t0 + run.spikes.times
    highest = int(ids.max(initial=0) if system is None else system.gids.max(initial=0))
    height = float(np.clip(200 / (highest + 1), 3, 12))
    if system is None:
        _marks(ax, times, ids, height, PAPER[0])
    else:
        of = system.population_of(ids)
        for name, colour in _colours(system):
            _marks(ax, times[of == name], ids[of == name], height, colour, name)
        _legend(ax, markerscale=12 / height)
    ax.set_xlim(run.t0, run.t1)
    ax.set_ylim(-0.5, highest + 0.5)
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("cell (gid)")
    ax.yaxis.get_major_locator().set_params(integer=True)
    return ax


def plot_rates(
    rates: Mapping[int, float], io: MEA | None = None, ax: Any = None
) -> Any:
    """Draw the firing rate of each channel, as bars or as a map.

    Parameters
    ----------
    rates
        Rate in Hz by channel.
    io
        The electrode array: the rates are drawn at the electrodes' places. Without it
        they are bars.
    ax
        The matplotlib axes to draw into; new ones if None.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ConfigError
        If a channel is not one of the array.

    Examples
    --------
    >>> plot_rates({0: 3.5, 1: 12.0}).get_ylabel()
    'rate (Hz)'
    """
    if io is None:
        ax = _axes(ax, (8, 3))
        labels = [str(channel) for channel in rates]
        ax.bar(labels, list(rates.values()), color=PAPER[0])
        ax.set_xlabel("channel")
        ax.set_ylabel("rate (Hz)")
        return ax
    unknown = sorted(set(rates) - set(io.channel_ids.tolist()))
    if unknown:
        raise ConfigError(f"the array has no channels {unknown}")
    ax = _axes(ax, (5, 4))
    values = [rates.get(channel, np.nan) for channel in io.channel_ids.tolist()]
    x, y = io.electrode_coordinates[:, 1:3].T
    silent = np.isnan(values)
    ax.scatter(
        x[silent], y[silent], s=220, marker="s", facecolor="none", edgecolor=_GREY
    )
    picture = ax.scatter(
        x[~silent], y[~silent], s=220, marker="s", c=np.array(values)[~silent], vmin=0,
        cmap="viridis",
    )  # fmt: skip
    ax.figure.colorbar(picture, ax=ax, label="rate (Hz)")
    _label_electrodes(ax, io, below=14)
    _plane(ax)
    return ax


def plot_potentials(
    run: Run,
    channels: Sequence[int] | None = None,
    ax: Any = None,
    spacing: float | None = None,
) -> Any:
    """Draw the potential at each electrode, one above the other.

    Parameters
    ----------
    run
        A run with electrode potentials.
    channels
        Ids of the channels to draw, from bottom to top; by default all.
    ax
        The matplotlib axes to draw into; new ones if None.
    spacing
        Distance between the traces in uV; by default the widest trace's extent. A bar
        shows it.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ConfigError
        If the run holds no potentials, or none of a channel.

    Examples
    --------
    >>> from livn_ipp.run import Run, Series
    >>> waves = Series(np.arange(2), np.ones((2, 10)), 1.0, 1.0, "uV")
    >>> plot_potentials(Run(0, 10, None, {"potential": waves})).get_ylabel()
    'channel'
    """
    series = run.potential
    if series is None:
        raise ConfigError(
            "the run holds no potentials; call record_potential() before it"
        )
    known = series.ids.tolist()
    chosen = known if channels is None else list(channels)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise ConfigError(f"the run has no channels {unknown}; it has {known}")
    ax = _axes(ax, (8, 4))
    traces = series.values[[known.index(channel) for channel in chosen]]
    middle = traces - traces.mean(axis=1, keepdims=True)
    if spacing is None:
        extent = np.ptp(middle, axis=1).max(initial=0.0) if middle.size else 0.0
        spacing = float(extent) or 1.0
    offsets = spacing * np.arange(len(chosen))
    times = run.t0 + series.times
    ax.plot(times, middle.T + offsets, color=PAPER[0], linewidth=0.7)
    ax.set_yticks(offsets, [str(channel) for channel in chosen])
    ax.set_xlim(run.t0, run.t1)
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("channel")
    ax.plot(
        [1.01, 1.01], [0, spacing], color="black", clip_on=False,
        transform=ax.get_yaxis_transform(),
    )  # fmt: skip
    ax.text(
        1.02, spacing / 2, f"{spacing:.3g} uV", va="center", rotation=90,
        transform=ax.get_yaxis_transform(),
    )  # fmt: skip
    return ax


def plot_psth(histogram: Mapping[str, Any], ax: Any = None) -> Any:
    """Draw the firing rate around pulses, of each population.

    Parameters
    ----------
    histogram
        What a :class:`~livn_ipp.decoding.PeriStimulusHistogram` returned.
    ax
        The matplotlib axes to draw into; new ones if None.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Examples
    --------
    >>> counts = {"edges": [-5, 0, 5], "counts": {"all": [0, 2]}, "n_units": {"all": 4}}
    >>> plot_psth(counts).get_ylabel()
    'rate per cell (Hz)'
    """
    ax = _axes(ax, (6, 3))
    edges = np.asarray(histogram["edges"], np.float64)
    width_s = np.diff(edges) / 1000
    for index, (name, counts) in enumerate(histogram["counts"].items()):
        cells = max(1, histogram["n_units"][name])
        ax.stairs(
            np.asarray(counts) / width_s / cells, edges, label=name, linewidth=1.5,
            color=PAPER[index % len(PAPER)],
        )  # fmt: skip
    ax.axvline(0, color=_GREY, linestyle=":")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel("time from pulse (ms)")
    ax.set_ylabel("rate per cell (Hz)")
    if len(histogram["counts"]) > 1:
        _legend(ax)
    return ax


def plot_culture(system: System, io: MEA | None = None, ax: Any = None) -> Any:
    """Draw cells with their dendrites, and the electrodes with what they hear.

    Parameters
    ----------
    system
        The culture.
    io
        The electrode array; the system's own if None.
    ax
        The matplotlib axes to draw into; new ones if None.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Examples
    --------
    >>> plot_culture(System("EI1")).get_xlabel()
    'x (um)'
    """
    from matplotlib.collections import LineCollection

    ax = _axes(ax, (6, 6))
    io = system.default_io() if io is None else io
    if io is not None:
        _electrodes(ax, io)
    size = float(np.clip(4000 / max(system.num_cells, 1), 4, 60))
    somata = system.coordinates()[:, 1:3]
    angles = system.orientations()
    tips = somata + DENDRITE * np.column_stack([np.cos(angles), np.sin(angles)])
    of = system.population_of(system.gids)
    for name, colour in _colours(system):
        own = of == name
        segments = np.stack([somata[own], tips[own]], axis=1)
        ax.add_collection(LineCollection(list(segments), colors=colour, linewidths=0.8))
        ax.scatter(*somata[own].T, s=size, color=colour, label=name, zorder=3)
    ax.autoscale_view()
    _plane(ax)
    _legend(ax)
    return ax


def plot_fitness(fitness: Fitness, ax: Any = None) -> Any:
    """Draw the values over the generations, and the best so far as a line.

    Parameters
    ----------
    fitness
        The values.
    ax
        The matplotlib axes to draw into; new ones if None.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Examples
    --------
    >>> from livn_ipp.view.fitness import Fitness
    >>> plot_fitness(Fitness([[3.0, 2.0], [1.0]])).get_xlabel()
    'generation'
    """
    ax = _axes(ax, (6, 3.2))
    places = [g for g, each in enumerate(fitness.generations) for _ in each]
    values = [value for each in fitness.generations for value in each]
    ax.plot(places, values, ".", color=PAPER[0], alpha=0.55, label="evaluations")
    first = len(fitness.generations) - len(fitness.best)
    best = range(first, first + len(fitness.best))
    ax.plot(best, fitness.best, "-", color=PAPER[1], label="best so far")
    if fitness.by_ratio:
        ax.set_yscale("log")
    ax.set_xlabel("generation")
    ax.set_ylabel("value")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    return ax


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _colours(system: System) -> list[tuple[str, str]]:
    return [
        (name, PAPER[index % len(PAPER)])
        for index, name in enumerate(system.populations)
    ]


def _marks(
    ax: Any,
    times: NDArray[np.float64],
    ids: NDArray[Any],
    height: float,
    colour: str,
    label: str | None = None,
) -> None:
    ax.plot(
        times, ids, "|", color=colour, markersize=height, markeredgewidth=1, label=label
    )


def _electrodes(ax: Any, io: MEA) -> None:
    from matplotlib.collections import EllipseCollection

    places = io.electrode_coordinates[:, 1:3]
    width = np.full(len(places), 2 * io.output_radius)
    reach = EllipseCollection(
        width, width, np.zeros(len(places)), units="xy", offsets=places,
        offset_transform=ax.transData, facecolors="none", edgecolors="0.75", zorder=0,
    )  # fmt: skip
    ax.add_collection(reach)
    ax.scatter(*places.T, s=30, marker="s", color="black", label="electrode", zorder=4)
    _label_electrodes(ax, io, below=5)


def _label_electrodes(ax: Any, io: MEA, below: float) -> None:
    if io.num_channels > _MANY:
        return
    for channel, x, y, _ in io.electrode_coordinates:
        ax.annotate(
            f"{channel:.0f}", (x, y), (0, -below), textcoords="offset points",
            ha="center", va="top", fontsize="x-small", zorder=5,
        )  # fmt: skip


def _legend(ax: Any, markerscale: float = 1.0) -> None:
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False,
        markerscale=markerscale,
    )  # fmt: skip


def _plane(ax: Any) -> None:
    ax.set_aspect("equal")
    ax.margins(0.12)
    ax.set_xlabel("x (um)")
    ax.set_ylabel("y (um)")
