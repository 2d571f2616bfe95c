"""Env on one process: time, trials, recordings, refusals."""

import gc
import threading

import numpy as np
import psutil
import pytest
from ranks import run_on_ranks

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.run import Run
from livn_ipp.subworld import Stopped, Subworld
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.generate import generate
from livn_ipp.types import Decoding, Encoding

pytestmark = pytest.mark.neuron

QUIET = ("g_e0", "g_i0", "std_e", "std_i")
AMPA = "EXC_EXC-dend-AMPA-weight"


@pytest.fixture
def env():
    from livn_ipp.env import Env

    env = Env("EI1").init()
    yield env
    env.close()


def drive(env, duration=50, microampere=20.0):
    inputs = np.zeros((duration, env.io.num_channels))
    inputs[10:30, [1, 4]] = microampere
    return env.cell_stimulus(inputs)


class TestTime:
    def test_runs_go_on_where_the_last_one_ended(self, env):
        env.record_spikes().record_voltage(dt=0.5)
        runs = [env.run(100) for _ in range(3)]
        assert [run.t0 for run in runs] == [0.0, 100.0, 200.0]
        assert env.t == 300.0
        once = env.clear(trial=0).run(300)
        times = np.concatenate([run.t0 + run.spikes.times for run in runs])
        assert np.array_equal(np.round(times, 6), once.spikes.times)
        voltage = np.concatenate([run.voltage.values for run in runs], axis=1)
        assert np.array_equal(voltage, once.voltage.values)

    def test_spike_times_lie_exactly_on_the_grid(self, env):
        env.record_spikes()
        env.run(1000, dt=0.025)
        times = env.run(1000).spikes.times
        assert len(times) > 10
        assert np.array_equal(times, np.round(np.rint(times / 0.025) * 0.025, 6))
        assert times.min() >= 0
        assert times.max() < 1000

    def test_a_spike_is_where_the_voltage_crosses(self, env):
        env.record_spikes().record_voltage(dt=0.05)
        run = env.run(500)
        soma = dict(zip(run.voltage.ids[::2], run.voltage.values[::2], strict=True))
        crossings = [
            (
                gid,
                np.round(
                    (np.flatnonzero((v[1:] > -10) & (v[:-1] <= -10)) + 2) * 0.05, 6
                ),
            )
            for gid, v in soma.items()
        ]
        for gid, times in crossings:
            assert np.array_equal(run.spikes.times[run.spikes.ids == gid], times)
        assert sum(len(times) for _, times in crossings) > 3

    def test_clear_returns_to_zero_with_the_next_trial(self, env):
        env.record_spikes()
        first = env.run(200).digest()
        assert env.clear().trial == 1
        assert env.t == 0.0
        second = env.run(200).digest()
        assert env.clear(reseed=False).run(200).digest() == second
        assert env.clear(trial=0).run(200).digest() == first
        assert first != second

    def test_seed_changes_everything(self, env):
        from livn_ipp.env import Env

        digest = env.record_spikes().run(200).digest()
        other = Env("EI1", seed=124).init().record_spikes()
        assert other.run(200).digest() != digest
        other.close()

    def test_dt_stays_until_clear(self, env):
        env.run(1)
        with pytest.raises(ConfigError, match=r"clear\(\)"):
            env.run(1, dt=0.025)
        env.clear().run(1, dt=0.025)
        env.run(1)

    @pytest.mark.parametrize("dt", [0.1, 0.2, 1.0, 0.03, 0.15, -0.05, 1e-7])
    def test_dt_must_fit_the_model(self, env, dt):
        with pytest.raises(ConfigError, match=r"dt|multiple"):
            env.run(10, dt=dt)

    @pytest.mark.parametrize("duration", [0, -5, 0.03, float("nan"), float("inf")])
    def test_duration_must_be_steps(self, env, duration):
        with pytest.raises(ConfigError, match="duration"):
            env.run(duration)

    def test_trials_and_seeds_are_whole_numbers(self, env):
        from livn_ipp.env import Env

        with pytest.raises(ConfigError, match="trial"):
            env.clear(trial=-1)
        with pytest.raises(ConfigError, match="seed"):
            Env("EI1", seed=2**32)


class TestDrive:
    def test_times_count_from_the_start_of_the_run(self, env):
        env.record_voltage(dt=0.05)
        env.set_noise({"std_e": 0, "std_i": 0})
        env.run(100)
        quiet = env.run(50).voltage.values
        env.clear(trial=0).run(100)
        driven = env.run(50, drive(env, microampere=1.0)).voltage.values
        differs = np.flatnonzero(np.any(quiet != driven, axis=0))
        # Sample k is at (k + 1) dt; the pulse starts at 10 ms.
        assert differs[0] == round(10 / 0.05)

    def test_drive_ends_with_its_last_row(self, env):
        short, padded = drive(env, 30), drive(env, 50)
        env.record_voltage()
        a = env.run(50, short).voltage.values
        b = env.clear(trial=0).run(50, padded).voltage.values
        assert np.array_equal(a, b)

    def test_fine_pulses_are_kept(self, env):
        """Two phases of 0.2 ms and a gap of 0.05 ms, as (array, dt)."""
        inputs = np.zeros((20, env.io.num_channels))
        inputs[4:8, 1], inputs[9:13, 1] = -200, 200
        field = env.cell_stimulus(inputs, dt=0.05)
        run = env.record_voltage(dt=0.05).run(5, field)
        other = env.clear(trial=0).run(5)
        changed = np.flatnonzero(
            np.any(run.voltage.values != other.voltage.values, axis=0)
        )
        assert changed[0] == 4

    def test_polarisation_is_half_the_difference_of_the_field(self, env):
        """In the steady state, and with leak only."""
        env.set_noise(dict.fromkeys(QUIET, 0.0))
        env.record_voltage(dt=1.0)
        gids = [0, 0]
        field = np.full((20, 2), [[0.0, 2.0]])
        before = env.run(200).voltage.values[:2, -1]
        after = env.run(20, (field, 1.0, gids, ["soma", "dend"])).voltage.values
        polarised = after[:2, 4] - before
        # The dendrite's field is 2 mV higher: current leaves it through the membrane
        # and enters the soma along the axis.
        assert polarised == pytest.approx([1.0, -1.0], abs=0.1)
        assert np.array_equal(after[2:, 4] != 0, np.ones(18, bool))

    def test_the_strongest_field_is_survived_and_a_stronger_one_refused(self, env):
        env.record_voltage(dt=1.0)
        strongest = ([[-1000.0, 1000.0]] * 5, 1.0, [0, 0], ["soma", "dend"])
        assert np.isfinite(env.run(20, strongest).voltage.values).all()
        time = env.t
        with pytest.raises(ConfigError, match=r"1000\.1 mV at 2 ms.*-1000 to 1000 mV"):
            env.run(
                5, ([[0.0, 0.0], [0.0, 0.0], [0.0, 1000.1]], 1.0, [0, 0], strongest[3])
            )
        assert env.t == time

    def test_current_goes_into_the_named_section(self, env):
        env.set_noise(dict.fromkeys(QUIET, 0.0))
        env.record_membrane_current(dt=0.5)
        amount = 0.01  # nA
        for section in ("soma", "dend"):
            stimulus = {
                "array": np.full((20, 1), amount),
                "gids": [3],
                "sections": [section],
                "input_mode": "current",
            }
            current = env.clear(trial=0).run(20, stimulus).current
            total = current.values.reshape(10, 2, -1).sum(axis=1) * 1e3
            # What goes in leaves through the membrane; nowhere else does anything.
            assert total[3] == pytest.approx(amount, rel=1e-3)
            assert np.abs(np.delete(total, 3, axis=0)).max() < 1e-6

    def test_stimulus_beyond_the_run_is_refused(self, env):
        with pytest.raises(ConfigError, match="run longer"):
            env.run(25, drive(env, 50))
        assert env.t == 0.0


class TestRecordings:
    def test_nothing_is_recorded_unasked(self, env):
        run = env.run(10)
        assert list(run) == [None] * 6
        assert run.spikes is None
        assert not run.channels

    def test_rows_are_soma_and_dendrite_of_each_cell(self, env):
        run = env.record_voltage().record_membrane_current(dt=0.5).run(10)
        ids = np.repeat(np.arange(10), 2)
        assert np.array_equal(run.voltage.ids, ids)
        assert np.array_equal(run.current.ids, ids)
        assert run.voltage.sections == ("soma", "dend") * 10
        assert run.voltage.values.shape == (20, 100)
        assert run.current.values.shape == (20, 20)
        assert run.voltage.values.dtype == run.current.values.dtype == np.float32
        assert (run.voltage.start, run.voltage.dt, run.voltage.unit) == (0.1, 0.1, "mV")
        assert run.current.unit == "uA"

    def test_sampling_has_no_influence(self, env):
        env.record_spikes()
        plain = env.run(300, drive(env)).digest()
        env.record_voltage(dt=0.05).record_potential(0.1).record_membrane_current(
            dt=0.35
        )
        assert env.clear(trial=0).run(300, drive(env)).digest() == plain

    def test_populations_add_up(self, env):
        env.record_spikes("INH").record_voltage("INH")
        run = env.run(300)
        assert set(run.spikes.ids) <= {8, 9}
        assert len(run.spikes) > 0
        assert set(run.voltage.ids) == {8, 9}
        run = env.clear(trial=0).record_voltage(["EXC"]).record_spikes("EXC").run(300)
        assert len(set(run.voltage.ids)) == 10
        assert len(set(run.spikes.ids)) > 2

    def test_clear_recordings_stops_them(self, env):
        env.record_spikes().record_voltage().record_potential()
        assert env.clear_recordings().run(5).spikes is None
        env.record_voltage(dt=0.2)
        assert env.run(5).voltage.values.shape == (20, 25)

    def test_membrane_currents_of_a_cell_cancel(self, env):
        current = env.record_membrane_current().run(100, drive(env, 100)).current
        pairs = current.values.reshape(10, 2, -1)
        assert np.abs(pairs).max() > 1e-4
        assert np.abs(pairs.sum(axis=1)).max() < 1e-9

    def test_potential_is_that_of_the_currents(self, env):
        env.record_potential().record_membrane_current()
        run = env.run(300)
        potential = run.potential
        assert potential.unit == "uV"
        assert np.array_equal(potential.ids, env.io.channel_ids)
        from_currents = env.potential_recording(run.current.values)
        assert np.array_equal(
            from_currents, env.potential_recording(run.current.values, run.current.ids)
        )
        # Recorded currents are float32: 1e-7 of 3 nA at some uV/nA.
        assert np.allclose(potential.values, from_currents, atol=1e-4)
        peak = np.abs(potential.values).max()
        assert 1 < peak < 500, "extracellular spikes are tens of uV"

    def test_a_subset_of_cells_makes_its_share_of_the_potential(self, env):
        run = env.record_membrane_current().run(50)
        shares = [
            env.potential_recording(run.current.values[rows], run.current.ids[rows])
            for rows in (slice(0, 8), slice(8, 20))
        ]
        assert np.array_equal(
            shares[0] + shares[1], env.potential_recording(run.current.values)
        )
        with pytest.raises(ConfigError, match="consecutive"):
            env.potential_recording(run.current.values[::2], run.current.ids[::2])

    def test_channels_hear_near_cells(self, env):
        run = env.record_spikes().run(500)
        ids, times = env.channel_recording(run.spikes.ids, run.spikes.times)
        assert set(ids) <= set(env.io.channel_ids.tolist())
        assert all(len(ids[channel]) == len(times[channel]) for channel in ids)

    @pytest.mark.parametrize(
        ("ask", "words"),
        [
            (lambda env: env.record_voltage("EX"), "EXC"),
            (lambda env: env.record_spikes(["EXC", "PV"]), "PV"),
            (lambda env: env.record_voltage(dt=0), "positive"),
            (lambda env: env.record_voltage(dt=0.1).record_voltage(dt=0.2), "already"),
            (lambda env: env.record_voltage(dt=0.07).run(10), "voltage's dt"),
        ],
    )
    def test_what_cannot_be_recorded_is_refused(self, env, ask, words):
        with pytest.raises(ConfigError, match=words):
            ask(env)
        assert env.t == 0.0

    def test_without_electrodes(self, env, monkeypatch):
        monkeypatch.setattr(env._electrodes, "_io", None)
        for ask in (
            env.record_potential,
            lambda: env.cell_stimulus(np.zeros((1, 16))),
            lambda: env.channel_recording([1]),
        ):
            with pytest.raises(ConfigError, match=r"mea\.json"):
                ask()


class TestParameters:
    def test_setters_reach_the_network_without_rebuilding_it(self, env):
        env.record_spikes()
        before = env.run(300).digest()
        network = env._simulation.network
        env.set_weights({AMPA: 0.0}).set_noise({"EXC-std_e": 0.0}).clear(trial=0)
        assert env.run(300).digest() != before
        assert env._simulation.network is network
        env.apply_model_defaults().clear(trial=0)
        assert env.run(300).digest() == before

    def test_weights_survive_initialisation(self, env):
        """NEURON zeroes all but the first unless the mechanism says otherwise."""
        env.set_weights({"EXC_EXC-dend-NMDA-weight": 2e-4})
        env.run(1)
        weights = env._simulation.network._weights[
            env._settings.keys["EXC_EXC-dend-NMDA-weight"]
        ]
        values = env._simulation.network._h.Vector(len(weights.factors))
        weights.pointers.gather(values)
        assert np.allclose(values.as_numpy(), 2e-4 * weights.factors, rtol=1e-6)
        assert not np.mod(values.as_numpy() * 2**36, 1).any()

    def test_setters_work_before_init(self):
        from livn_ipp.env import Env

        digests = []
        for early in (True, False):
            env = Env("EI1").record_spikes()
            if early:
                env.set_weights({AMPA: 0.0}).set_noise({"tau_e": 5.0})
            env.init()
            if not early:
                env.set_weights({AMPA: 0.0}).set_noise({"tau_e": 5.0})
            digests.append(env.run(200).digest())
            env.close()
        assert digests[0] == digests[1]

    def test_failing_setter_changes_nothing(self, env):
        env.record_spikes()
        before = env.run(200).digest()
        for broken in (
            lambda: env.set_weights({AMPA: 0.0, "EXC_EXC-dend-AMP-weight": 1.0}),
            lambda: env.set_noise({"std_e": 0.0, "EXC-g_e9": 1.0}),
            lambda: env.apply_default_params("wild"),
        ):
            with pytest.raises(ConfigError):
                broken()
        assert env.clear(trial=0).run(200).digest() == before

    def test_groups_of_the_system(self, env):
        env.record_spikes()
        lively = env.run(300).digest()
        assert env.apply_default_params().clear(trial=0).run(300).digest() == lively
        calm = env.apply_default_params("calm").clear(trial=0).run(300).digest()
        assert calm != lively

    def test_cells_differ_in_their_background(self, env):
        cells = env._simulation.network.cells[:8]
        strengths = np.array([cell.background.std_e for cell in cells])
        assert len(np.unique(strengths)) == 8
        assert np.allclose(strengths / 0.48e-3, 1, atol=0.5)


class Pulse(Encoding):
    def __call__(self, env, t_end, inputs):
        commands = np.zeros((int(t_end), env.io.num_channels))
        commands[10:20, inputs] = 40.0
        return env.cell_stimulus(commands)


class Count(Decoding):
    def setup(self, env):
        env.record_spikes()

    def __call__(self, run, env=None):
        return len(run.spikes), run.duration


class TestCalls:
    def test_number_returns_the_run(self, env):
        run = env(20)
        assert isinstance(run, Run)
        assert run.duration == 20

    def test_a_duration_may_be_given_instead_of_the_decodings(self, env):
        class Length(Decoding):
            def __call__(self, run, env=None):
                return run.duration, len(inputs)

        inputs = []
        encoding = lambda env, t_end, value: inputs.append(t_end)
        assert env(Length(duration=50), encoding=encoding, duration=20) == (20, 1)
        assert env(Length(duration=50), encoding=encoding) == (50, 2)
        assert inputs == [20, 50]
        assert env(30, duration=10).duration == 10
        assert env.t == 80

    def test_encode_simulate_decode(self, env):
        decoding, encoding = Count(duration=300), Pulse()
        spikes, duration = env(decoding, [1, 4], encoding)
        assert duration == 300
        assert spikes > 0
        assert env.decoding is decoding
        assert env.encoding is encoding

    def test_inputs_without_encoding_are_the_stimulus(self, env):
        env.record_spikes()
        with_encoding = env(50, drive(env)).digest()
        assert env.clear(trial=0).run(50, drive(env)).digest() == with_encoding


class TestLife:
    def test_uninitialised(self):
        from livn_ipp.env import Env

        env = Env("EI1")
        assert env.t == 0.0
        with pytest.raises(ConfigError, match=r"init\(\)"):
            env.run(1)

    def test_second_env_displaces_the_first(self, env):
        from livn_ipp.env import Env

        digest = env.record_spikes().run(100).digest()
        other = Env("EI2").init()
        with pytest.raises(ConfigError, match="one at a time"):
            env.run(1)
        env.init()
        with pytest.raises(ConfigError, match="one at a time"):
            other.run(1)
        assert env.run(100).digest() == digest
        other.close()  # must not close the one that lives
        env.run(1)

    def test_close_twice(self, env):
        env.close()
        env.close()
        with pytest.raises(ConfigError, match=r"init\(\)"):
            env.run(1)

    def test_stop_ends_at_a_chunk_and_time_can_go_on(self, env):
        env.record_spikes()
        env.subworld.poll = lambda: env.t >= 40
        with pytest.raises(Stopped):
            env.run(1000, drive(env))
        env.subworld.poll = None
        assert env.t == 40.0
        rest = env.run(60)
        assert rest.t0 == 40.0
        whole = env.clear(trial=0).run(100, drive(env))
        late = whole.slice(40)
        assert rest.digest() == late.digest() or np.allclose(
            rest.spikes.times, late.spikes.times
        )

    def test_in_another_thread(self, env):
        digest = env.record_spikes().run(100).digest()
        found = []

        def work():
            found.append(env.clear(trial=0).run(100).digest())
            env.init()
            found.append(env.run(100).digest())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
        assert found == [digest, digest]

    def test_memory_stays_flat(self):
        from livn_ipp.env import Env

        process = psutil.Process()
        env = Env("EI1").record_spikes().record_potential()
        sizes = []
        for _ in range(30):
            env.init()
            env.run(2, drive(env, 2, 0.0))
            env.close()
            gc.collect()
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[9] < 3e6


def test_own_electrodes_and_repr():
    from livn_ipp.env import Env

    env = Env("EI1", io=MEA.grid(400.0, per_side=2))
    assert env.io.num_channels == 4
    assert "EI1" in repr(env)
    assert "not initialised" in repr(env)


def unequal_runs(subworld):
    from mpi4py import MPI

    from livn_ipp.env import Env

    env = Env("EI1", comm=MPI.COMM_WORLD).init().record_spikes()
    try:
        env.run(100 + 10 * subworld.rank)
    except ConfigError as error:
        message = str(error)
    # A stimulus that only one rank has is no reason to differ.
    mine = drive(env, 50) if subworld.rank == 0 else None
    parts = env.comm.allgather(env.run(50, mine))
    return message, Run.merge(parts).digest(), [len(part.spikes) for part in parts]


@pytest.mark.mpi
def test_ranks_that_ask_for_different_runs_are_told():
    results = run_on_ranks(unequal_runs, 2)
    assert not any(isinstance(result, Exception) for result in results), results
    assert all("different runs" in result[0] for result in results)
    assert results[0][1:] == results[1][1:]


def record_all(path):
    """Return a program that records everything of a system on all ranks."""

    def program(subworld):
        from livn_ipp.env import Env

        comm = None
        if subworld.size > 1:
            from mpi4py import MPI

            comm = MPI.COMM_WORLD
        env = Env(path, comm=comm).init()
        env.record_spikes().record_voltage().record_potential()
        env.record_membrane_current()
        field = env.cell_stimulus(np.full((20, env.io.num_channels), 40.0))
        run = Run.merge(env.comm.allgather(env.run(100, field)))
        env.close()
        signals = {
            name: series.values.tobytes() for name, series in run.channels.items()
        }
        return run.digest(), signals, env.active_gids.tolist()

    return program


@pytest.mark.mpi
def test_ranks_without_cells_take_part(tmp_path):
    spec = CultureSpec(cells=3, side=400.0, seed=2)
    path = str(generate(tmp_path / "tiny", spec))
    alone = record_all(path)(Subworld())
    results = run_on_ranks(record_all(path), 4)
    assert not any(isinstance(result, Exception) for result in results), results
    assert [result[2] for result in results] == [[0], [1], [2], []]
    assert all(result[:2] == alone[:2] for result in results)


@pytest.mark.parametrize("decoding", [lambda run, env: 1, "100", None])
def test_what_is_no_decoding_is_refused_by_telling_what_is(env, decoding):
    with pytest.raises(ConfigError, match=r"duration in ms[\s\S]*Count\(Decoding\)"):
        env(decoding)
    env(1)
