"""Telling of a run while it goes on changes nothing, and what is told is the run."""

import numpy as np
import pytest
from ranks import run_on_ranks

from livn_ipp.run import Events, Run
from livn_ipp.subworld import Stopped

DURATION = 300.0
LEARNING = {"A_ltp": 0.4, "A_ltd": 0.2, "w_max": 4.0}


class Listening:
    """Telemetry that wants to hear at some chunk ends and keeps what it hears."""

    def __init__(self, rank=0, every=1):
        self.rank, self.every = rank, every
        self.ends = 0
        self.courses, self.times, self.news = [], [], []

    def due(self, time, course):
        self.ends += 1
        return self.rank == 0 and self.ends % self.every == 0

    def collect(self, time, course):
        self.courses.append(course)
        self.times.append(time)
        self.news.append(course.news())

    def report(self, time):
        raise AssertionError("ranks that meet have no need of it")

    def alive(self):
        pass

    def spikes(self):
        """Those of this rank that were told, as a Run of it."""
        first, last = self.courses[0], self.times[-1]
        ids = np.concatenate([ids for ids, _ in self.news])
        times = np.concatenate([times for _, times in self.news])
        return Run(first.start, last - first.start, Events.of(ids, times))


def whole(env, run):
    return Run.merge(env.comm.allgather(run)).digest()


def learned(env):
    """All learned weights, to the last bit."""
    weights = {}
    for part in env.comm.allgather(env.get_weights()):
        weights |= part
    return np.array([weights[key] for key in sorted(weights)]).tobytes()


def ways(env):
    """Simulate the same, silent and told of at many paces."""
    env.init().enable_plasticity(LEARNING).record_spikes()
    stimulus = np.zeros((int(DURATION), 16))
    stimulus[20:40, [1, 4]] = stimulus[150:170, [4, 10]] = 20.0
    stimulus[90:100] = stimulus[240:250] = 25.0
    field = env.cell_stimulus(stimulus)
    silent = env.clear(trial=3).run(DURATION, field)
    found = {"silent": (whole(env, silent), learned(env))}
    for chunk, every in ((0.5, 1), (1.0, 3), (2.5, 7), (10.0, 1)):
        env.subworld.telemetry = heard = Listening(env.subworld.rank, every)
        run = env.clear(trial=3).run(DURATION, field, chunk=chunk)
        upto = Run.merge(env.comm.allgather(heard.spikes()))
        part = Run.merge(env.comm.allgather(run)).slice(0, upto.duration)
        assert upto.digest() == part.digest()
        assert {(c.start, c.end) for c in heard.courses} == {(0.0, DURATION)}
        found[f"chunks of {chunk} ms, {every}"] = whole(env, run), learned(env)
        env.subworld.telemetry = None
    spikes = len(Run.merge(env.comm.allgather(silent)).spikes)
    env.close()
    return found, spikes


def on_ranks(subworld):
    from livn_ipp.env import Env

    return ways(Env("EI1", comm=subworld.mpi))


@pytest.fixture
def env():
    from livn_ipp.env import Env

    env = Env("EI1").init()
    yield env
    env.close()


@pytest.mark.neuron
@pytest.mark.mpi
def test_runs_are_the_same_silent_or_told_on_any_number_of_ranks():
    from livn_ipp.env import Env

    found, spikes = ways(Env("EI1"))
    assert spikes > 30
    assert {*found.values()} == {found["silent"]}
    for ranks in (2, 3):
        for theirs, _ in run_on_ranks(on_ranks, ranks):
            assert theirs.keys() == found.keys()
            assert {*theirs.values()} == {found["silent"]}


@pytest.mark.neuron
class TestWhatIsTold:
    def listen(self, env, every=1):
        env.subworld.telemetry = Listening(every=every)
        return env.subworld.telemetry

    @pytest.fixture(autouse=True)
    def _silent_at_the_end(self, env):
        yield
        env.subworld.telemetry = None

    def test_recorded_cells_only(self, env):
        env.record_spikes("INH")
        heard = self.listen(env)
        run = env.run(2000)
        told = heard.spikes()
        assert told.digest() == run.digest()
        assert len(told.spikes) > 0
        assert set(env.system.population_of(told.spikes.ids)) == {"INH"}

    def test_all_cells_if_none_are_recorded(self, env):
        heard = self.listen(env)
        run = env.run(1000)
        assert run.spikes is None
        told = heard.spikes()
        env.record_spikes()
        assert env.clear(trial=0).run(1000).digest() == told.digest()

    def test_times_count_from_the_start_of_each_run(self, env):
        env.record_spikes()
        env.run(500)
        heard = self.listen(env)
        run = env.run(700)
        told = heard.spikes()
        assert (told.t0, told.duration) == (run.t0, run.duration) == (500.0, 700.0)
        assert told.digest() == run.digest()

    def test_a_stopped_run_told_what_it_could(self, env):
        env.record_spikes()
        heard = self.listen(env, every=3)
        env.subworld.poll = lambda: env.t >= 1000
        with pytest.raises(Stopped):
            env.run(2000)
        env.subworld.poll = None
        told = heard.spikes()
        assert told.duration == 990.0
        assert told.digest() == env.clear(trial=0).run(990).digest()
