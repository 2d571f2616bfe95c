"""Figures: what is drawn where, into which axes, and what is not imported for it."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.run import Events, Run, Series
from livn_ipp.system import System
from livn_ipp.view.figures import (
    plot_culture,
    plot_potentials,
    plot_psth,
    plot_raster,
    plot_rates,
)

RUN = Run(1000, 50, Events.of([0, 9, 0, 3], [10.0, 20.0, 30.0, 40.0]))


@pytest.fixture(autouse=True)
def off_screen():
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def ax():
    from matplotlib import pyplot as plt

    return plt.subplots()[1]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_raster_marks_each_spike_at_its_time_and_cell(ax):
    assert plot_raster(RUN, ax) is ax
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [1010, 1020, 1030, 1040]
    assert line.get_ydata().tolist() == [0, 9, 0, 3]
    assert ax.get_xlim() == (1000, 1050)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (ms)", "cell (gid)")


def test_a_raster_is_coloured_by_population(ax):
    plot_raster(RUN, ax, System("EI1"))
    exc, inh = ax.lines
    assert exc.get_ydata().tolist() == [0, 0, 3]
    assert inh.get_ydata().tolist() == [9]
    assert exc.get_color() != inh.get_color()
    assert labels(ax) == ["EXC", "INH"]


def test_a_silent_raster_still_shows_the_cells(ax):
    silent = Run(0, 100, Events.of([], []))
    plot_raster(silent, ax, System("EI1"))
    assert ax.get_ylim() == (-0.5, 9.5)
    plot_raster(silent)


def test_a_raster_needs_spikes(ax):
    with pytest.raises(ConfigError, match="record_spikes"):
        plot_raster(Run(0, 10), ax)


def test_rates_as_bars(ax):
    assert plot_rates({2: 3.0, 7: 1.5}, ax=ax) is ax
    assert [bar.get_height() for bar in ax.patches] == [3.0, 1.5]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "7"]
    assert ax.get_ylabel() == "rate (Hz)"


def test_rates_as_a_map(ax):
    mea = MEA.grid(400.0, 2)
    plot_rates({0: 3.0, 3: 1.5}, mea, ax)
    unheard, heard = ax.collections
    assert heard.get_offsets().tolist() == [[100, 100], [300, 300]]
    assert heard.get_array().tolist() == [3.0, 1.5]
    assert len(unheard.get_offsets()) == 2
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3"]
    assert ax.figure.axes[1].get_ylabel() == "rate (Hz)"
    assert ax.get_aspect() == 1


def test_rates_of_unknown_channels_are_refused(ax):
    with pytest.raises(ConfigError, match=r"no channels \[9\]"):
        plot_rates({0: 1.0, 9: 1.0}, MEA.grid(400.0, 2), ax)


def potentials():
    values = np.array([[10.0, 14.0, 12.0], [0.0, 0.0, 0.0], [5.0, 5.0, 7.0]])
    series = Series(np.array([4, 7, 9]), values, 0.5, 0.5, "uV")
    return Run(1000, 1.5, None, {"potential": series})


def test_potentials_lie_above_each_other(ax):
    assert plot_potentials(potentials(), ax=ax) is ax
    low, middle, high, bar = ax.lines
    assert low.get_xdata().tolist() == [1000.5, 1001.0, 1001.5]
    assert low.get_ydata().tolist() == [-2.0, 2.0, 0.0]
    assert middle.get_ydata().tolist() == [4.0, 4.0, 4.0]  # the widest extends over 4
    assert high.get_ydata() == pytest.approx([8 - 2 / 3, 8 - 2 / 3, 8 + 4 / 3])
    assert list(bar.get_ydata()) == [0, 4.0]
    assert [text.get_text() for text in ax.texts] == ["4 uV"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["4", "7", "9"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (ms)", "channel")
    assert ax.get_xlim() == (1000, 1001.5)


def test_some_potentials_at_a_given_distance(ax):
    plot_potentials(potentials(), [9, 4], ax, spacing=100.0)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["9", "4"]
    assert ax.lines[1].get_ydata().tolist() == [98.0, 102.0, 100.0]


def test_flat_and_missing_potentials(ax):
    flat = Series(np.zeros(1, int), np.zeros((1, 2)), 0.5, 0.5, "uV")
    silent = Run(0, 1, None, {"potential": flat})
    plot_potentials(silent, ax=ax)
    plot_potentials(potentials(), [])
    with pytest.raises(ConfigError, match=r"no channels \[5\]; it has \[4, 7, 9\]"):
        plot_potentials(potentials(), [5])
    with pytest.raises(ConfigError, match="record_potential"):
        plot_potentials(RUN)


def test_a_histogram_around_pulses_is_a_rate_per_cell(ax):
    histogram = {
        "edges": np.array([-5.0, 0.0, 5.0]),
        "counts": {"EXC": np.array([1.0, 4.0]), "INH": np.array([0.0, 1.0])},
        "n_units": {"EXC": 8, "INH": 2},
    }
    assert plot_psth(histogram, ax) is ax
    exc, inh = ax.patches
    assert exc.get_data().values == pytest.approx([25.0, 100.0])  # 4 / 5 ms / 8 cells
    assert inh.get_data().values == pytest.approx([0.0, 100.0])
    assert labels(ax) == ["EXC", "INH"]
    assert (ax.get_xlabel(), ax.get_xlim()) == ("time from pulse (ms)", (-5, 5))
    assert ax.get_ylabel() == "rate per cell (Hz)"


def test_a_culture_shows_cells_dendrites_and_electrodes(ax):
    system = System("EI1")
    assert plot_culture(system, ax=ax) is ax
    assert labels(ax) == ["electrode", "EXC", "INH"]
    reach, electrodes, dendrites, somata, *_ = ax.collections
    assert len(reach.get_offsets()) == len(electrodes.get_offsets()) == 16
    assert np.allclose(somata.get_offsets(), system.coordinates("EXC")[:, 1:3])
    starts, ends = np.array(dendrites.get_segments()).transpose(1, 0, 2)
    assert np.allclose(starts, somata.get_offsets())
    assert np.allclose(np.linalg.norm(ends - starts, axis=1), 60)
    low, high = ax.get_xlim()
    assert low < 0
    assert high > 400
    assert ax.get_ylabel() == "y (um)"


def test_another_array_may_be_shown():
    ax = plot_culture(System("EI2"), MEA.grid(800.0, 3))
    assert len(ax.texts) == 9


def test_every_figure_can_be_written(tmp_path):
    system = System("EI1")
    for number, ax in enumerate(
        [
            plot_raster(RUN, system=system),
            plot_rates({0: 1.0}, system.default_io()),
            plot_rates({}, system.default_io()),
            plot_culture(system),
            plot_potentials(potentials()),
        ]
    ):
        path = tmp_path / f"{number}.png"
        ax.figure.savefig(path)
        assert path.stat().st_size > 2000


def test_the_module_loads_no_drawing_and_no_simulation():
    code = (
        "import sys, livn_ipp.view.figures;"
        "print({'matplotlib', 'neuron', 'mpi4py', 'ipyparallel'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "set()", done.stderr
