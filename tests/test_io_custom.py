"""IO beyond the array: layouts, the medium's parameters, compositions, a user's own."""

import pickle

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.errors import ConfigError
from livn_ipp.io import IO, MEA, ComposedIO, PointSource
from livn_ipp.run import Run


class Quadrants(IO):
    """Four quarters of a square; a current in uA into somata, an inverse square law."""

    input_mode = "current"

    def __init__(self, side):
        self.side = side
        self.strength = 1e4

    @property
    def channel_ids(self):
        return np.array([10, 20, 30, 40])

    @property
    def params(self):
        return {"strength": self.strength}

    def transfer(self, points):
        return 1e3 * self.heard(points)  # nA for uA

    def lead_field(self, points):
        middle = (np.array([[1, 1], [3, 1], [1, 3], [3, 3]]) / 4 * self.side)[:, None]
        squared = ((points[None, :, :2] - middle) ** 2).sum(axis=2)
        return self.strength / (squared + 1.0)

    def heard(self, points):
        quarter = (points[:, :2] > self.side / 2) @ [1, 2]
        return quarter == np.arange(4)[:, None]


class Deaf(IO):
    """Neither stimulates nor records."""

    @property
    def channel_ids(self):
        return np.array([0])


@pytest.mark.parametrize(
    ("pitch", "area", "x", "y"),
    [
        # livn 2.0's layouts
        (100, [[0, 0], [400, 400]], [50, 150, 250, 350], [50, 150, 250, 350]),
        (
            100,
            [[0, 0], [350, 850]],
            [25, 125, 225, 325],
            [75, 175, 275, 375, 475, 575, 675, 775],
        ),
        (200, [[0, 0], [1000, 3000]], [200, 400, 600, 800], range(0, 3001, 200)),
        (500, [[0, 0], [400, 400]], [200], [200]),
        (100, [[10, 20], [310, 170]], [10, 110, 210, 310], [45, 145]),
    ],
)
def test_layouts_for_an_area(pitch, area, x, y):
    mea = MEA.for_area(area, pitch, height=7.0)
    rows = mea.electrode_coordinates
    assert rows[:, 0].tolist() == list(range(len(x) * len(y)))
    assert np.allclose(rows[:, 1], np.tile(x, len(y)))
    assert np.allclose(rows[:, 2], np.repeat(y, len(x)))
    assert set(rows[:, 3]) == {7.0}


def test_an_array_for_a_system():
    from livn_ipp.system import System

    box = System("EI1").bounding_box
    mea = MEA.for_area(box, 100.0)
    grid = MEA.grid(400.0)
    assert np.array_equal(mea.electrode_coordinates, grid.electrode_coordinates)
    assert mea.output_radius == 125.0
    assert MEA.for_area(box, 300.0).output_radius == 150.0
    assert MEA.for_area(box, 300.0, output_radius=20.0).output_radius == 20.0


@pytest.mark.parametrize("area", [None, 3, [[0, 0]], [[1, 1], [0, 0]], "EI1"])
def test_areas_that_are_none_are_refused(area):
    with pytest.raises(ConfigError, match="lowest and highest corner"):
        MEA.for_area(area, 100.0)


@pytest.mark.parametrize("pitch", [0, -1, np.nan, "wide"])
def test_pitches_that_cannot_be_are_refused(pitch):
    with pytest.raises(ConfigError, match="pitch must be a positive number of um"):
        MEA.for_area([[0, 0], [1, 1]], pitch)


ONE = [[3, 0.0, 0.0, 0.0]]
CELLS = [[5, 0, 0, 0], [6, 100, 0, 0], [7, 500, 0, 0]]


def test_parameters_of_the_medium_act_at_once():
    mea = MEA(ONE)
    before = mea.params
    assert before["volume_conductor-min_distance_um"] == 5.0
    assert before["output_radius"] == 250.0
    changes = {"volume_conductor-recording_gain": 1000.0, "output_radius": 50.0}
    assert mea.set_params(changes) is mea
    assert mea.params == before | changes
    assert mea.source_gain(CELLS).round(5).tolist() == [[1.0, 0.0, 0.0]]
    assert mea.channel_recording(CELLS, [5, 6]).keys() == {3}
    assert mea.revision == 1
    assert MEA(ONE).params == before
    mea.set_params({"volume_conductor-stimulation_gain": 1.0})
    assert mea.reach(CELLS)[0].round(4).tolist() == [1.0, 0.4628, 0.1038]
    assert mea.volume_conductor == PointSource(
        recording_gain=1000.0, stimulation_gain=1.0
    )


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"volume_conductor-recording": 1.0}, "volume_conductor-recording_gain"),
        ({"radius": 1.0}, "input_radius"),
        ({"zzz": 1.0}, "it has"),
        ({"output_radius": -1.0}, "positive"),
        ({"output_radius": "x"}, "positive"),
        ({"output_radius": 9.0, "volume_conductor-recording_gain": 0}, "positive"),
    ],
)
def test_parameters_that_cannot_be_change_nothing(params, problem):
    mea = MEA(ONE)
    before = mea.params
    with pytest.raises(ConfigError, match=problem):
        mea.set_params(params)
    with pytest.raises(ConfigError, match=problem):
        mea.check_params(params)
    assert (mea.params, mea.revision) == (before, 0)


def test_contributions_are_ranked():
    table = MEA(ONE).channel_contribution([*CELLS, [8, 20, 0, 0]], 3)
    assert table["gid"].tolist() == [5, 8, 6]
    assert table["gain"].round(2).tolist() == [53.05, 10.61, 2.53]
    assert table["contribution_pct"].sum() == pytest.approx(100)
    with pytest.raises(ConfigError, match=r"no channel 4; choose from \[3\]"):
        MEA(ONE).channel_contribution(CELLS, 4)
    assert len(MEA(ONE).channel_contribution([[1, 900, 0, 0]], 3)) == 0


def test_a_composition_stimulates_with_one_and_records_with_the_other():
    coarse, dense = MEA.grid(400.0, 2), MEA.grid(400.0, 8, output_radius=60.0)
    io = ComposedIO(coarse, dense)
    points = np.random.default_rng(1).uniform(0, 400, (7, 3))
    cells = np.column_stack([np.arange(7), points])
    inputs = [[1.0, 0.0, -2.0, 0.0]]
    assert io.num_channels == 64
    assert np.array_equal(io.channel_ids, dense.channel_ids)
    assert np.array_equal(io.distances(cells), dense.distances(cells))
    assert np.array_equal(
        io.cell_stimulus(inputs, points), coarse.cell_stimulus(inputs, points)
    )
    assert np.array_equal(io.reach(cells), coarse.reach(cells))
    assert np.array_equal(io.source_gain(cells), dense.source_gain(cells))
    sections = np.stack([points, points + 5], axis=1)
    assert np.array_equal(io.section_gain(sections), dense.section_gain(sections))
    spikes = io.channel_recording(cells, [3, 1], [0.5, 1.5])
    assert str(spikes) == str(dense.channel_recording(cells, [3, 1], [0.5, 1.5]))
    current = np.ones((7, 3))
    assert np.array_equal(
        io.potential_recording(cells, range(7), current),
        dense.potential_recording(cells, range(7), current),
    )
    with pytest.raises(ConfigError, match="4 channels"):
        io.cell_stimulus(np.zeros((1, 64)), points)
    assert io.output_radius == 60.0


def test_a_composition_passes_parameters_on():
    io = ComposedIO(MEA(ONE), MEA(ONE))
    io.set_params(
        {"inputs-volume_conductor-stimulation_gain": 1.0, "outputs-output_radius": 9.0}
    )
    assert io.inputs.volume_conductor.stimulation_gain == 1.0
    assert (io.inputs.output_radius, io.outputs.output_radius) == (250.0, 9.0)
    assert io.revision == 1
    with pytest.raises(ConfigError, match="outputs-output_radius"):
        io.set_params({"inputs-output_radius": 5.0, "output_radius": 5.0})
    assert io.inputs.output_radius == 250.0
    with pytest.raises(ConfigError, match="inputs must be an IO"):
        ComposedIO(None, MEA(ONE))


def test_what_an_io_does_not_do_it_says():
    deaf = Deaf()
    with pytest.raises(ConfigError, match="Deaf does not stimulate"):
        deaf.cell_stimulus([[1.0]], [[0, 0, 0]])
    with pytest.raises(ConfigError, match="Deaf does not record"):
        deaf.channel_recording(CELLS, [5])
    with pytest.raises(ConfigError, match="Deaf does not record"):
        deaf.source_gain(CELLS)
    with pytest.raises(ConfigError, match="Deaf have no place"):
        deaf.distances(CELLS)
    with pytest.raises(ConfigError, match="no parameter 'x'"):
        deaf.set_params({"x": 1})
    with pytest.raises(ConfigError, match="Deaf has no output_radius"):
        _ = ComposedIO(deaf, deaf).output_radius
    assert deaf.set_params({}).revision == 1


def test_commands_have_a_space():
    pytest.importorskip("gymnasium")
    assert MEA.grid(400.0).input_space.shape == (16,)
    io = ComposedIO(MEA.grid(400.0, 2), MEA.grid(400.0))
    assert io.input_space.contains(np.ones(4, np.float32))


def test_io_travels():
    io = ComposedIO(Quadrants(400.0), MEA.grid(400.0))
    io.set_params({"inputs-strength": 3.0})
    copy = pickle.loads(pickle.dumps(io))
    assert copy.params == io.params
    assert copy.input_mode == "current"


def own_io(env):
    """Drive one quarter of a culture with a user's own IO and record it."""
    env.init().record_spikes().record_potential(0.5)
    inputs = np.zeros((100, 4))
    inputs[20:60, 2] = 1e-4  # 0.1 nA
    stimulus = env.cell_stimulus(inputs)
    run = Run.merge(env.comm.allgather(env.run(100, stimulus)))
    by_channel, _ = env.channel_recording(run.spikes.ids, run.spikes.times)
    found = (
        run.digest(),
        run.potential.values.tobytes(),
        {channel: len(ids) for channel, ids in by_channel.items()},
        stimulus.input_mode,
    )
    env.close()
    return found


def on_two_ranks(_subworld):
    from mpi4py import MPI

    from livn_ipp.env import Env

    return own_io(Env("EI2", io=Quadrants(800.0), comm=MPI.COMM_WORLD))


@pytest.mark.neuron
@pytest.mark.mpi
def test_a_users_own_io_works_through_an_environment_on_any_ranks():
    from livn_ipp.env import Env

    alone = own_io(Env("EI2", io=Quadrants(800.0)))
    counts = alone[2]
    assert counts[30] > 3 * max(counts[10], counts[20], counts[40])
    assert alone[3] == "current"
    assert any(alone[1])
    assert run_on_ranks(on_two_ranks, 2) == [alone, alone]


@pytest.mark.neuron
def test_parameters_of_an_environments_electrodes_act_from_the_next_run_on():
    from livn_ipp.env import Env

    env = Env("EI1").init().record_potential(dt=1.0)
    before = env.run(50).potential.values
    gain = env.io.params["volume_conductor-recording_gain"]
    env.io.set_params({"volume_conductor-recording_gain": 2 * gain})
    after = env.clear(trial=0).run(50).potential.values
    env.set_params({"io-volume_conductor-recording_gain": gain})
    again = env.clear(trial=0).run(50).potential.values
    env.close()
    assert np.abs(before).max() > 0.1
    assert np.allclose(after, 2 * before, atol=1e-3)
    assert np.array_equal(again, before)


@pytest.mark.neuron
def test_electrodes_and_cells_of_an_environment():
    from livn_ipp.env import Env

    env = Env("EI2").selection(0.2)
    io, cells = env.io, env.system.coordinates()
    assert len(cells) == 20
    assert np.array_equal(env.channel_reach(), io.transfer(cells[:, 1:]))
    assert np.array_equal(env.source_gain(), io.gain(cells[:, 1:]))
    assert np.array_equal(env.recording_distances(), io.distances(cells))
    heard = env.channel_recording(env.active_gids)
    assert sum(map(len, heard.values())) == np.count_nonzero(env.source_gain())


@pytest.mark.neuron
@pytest.mark.parametrize("io", [None, Quadrants(400.0)])
def test_potentials_are_the_sum_over_membrane_currents(io):
    from livn_ipp.env import Env
    from livn_ipp.system.layout import DENDRITE

    env = Env("EI1", io=io).init()
    env.record_membrane_current(dt=0.1).record_potential(dt=0.1)
    run = env.run(60)
    current = 1000.0 * run.current.values.astype(float)  # nA
    assert np.abs(current).max() > 1e-3
    expected = np.zeros((env.io.num_channels, current.shape[1]))
    coordinates, angles = env.system.coordinates(), env.system.orientations()
    for row, (gid, section) in enumerate(
        zip(run.current.ids, run.current.sections, strict=True)
    ):
        soma = coordinates[gid, 1:]
        angle = angles[gid]
        tip = soma + DENDRITE * np.array([np.cos(angle), np.sin(angle), 0.0])
        place = soma if section == "soma" else tip
        for channel in range(len(expected)):
            if io is None:
                electrode = env.io.electrode_coordinates[channel, 1:]
                if np.linalg.norm(soma - electrode) > env.io.output_radius:
                    continue
                apart = np.linalg.norm(place - electrode)
                gain = 1000 / (4 * np.pi * 0.3 * (apart + 5.0))  # uV/nA
            else:
                if not io.heard(soma[None])[channel, 0]:
                    continue
                gain = io.lead_field(place[None])[channel, 0]
            expected[channel] += gain * current[row]
    env.close()
    found = run.potential.values
    assert np.abs(found).max() > 0.1  # uV
    # currents are stored as float32, and rounded to 2^-20 nA for the potential
    assert np.allclose(found, expected, rtol=1e-5, atol=2e-3 * np.abs(found).max())
