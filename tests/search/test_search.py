"""A search in this process, and over a DistributedEnv without a cluster."""

import concurrent.futures
import math

import pytest

from livn_ipp.decoding import GatherAndMerge
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import CallTimeout, ConfigError
from livn_ipp.search import Controllers, Response, Search, State, read_table
from livn_ipp.search.evaluate import OWN_OBJECTIVE, Evaluate, _loaded
from livn_ipp.testing import LightEnv

SPACE = {"x": (0, 1), "weights.a": (0, 1)}
PATIENCE = 60


def objective(env, candidate, seed):
    """Depends on the culture, its settings, the seed and the candidate."""
    run = env(GatherAndMerge(duration=50))
    settings = sum(env.weights.values()) + len(env.noise)
    return len(run.spike_ids) * 1e-3 + candidate["x"] + settings + seed % 7


def picky(env, candidate, seed):
    if candidate["x"] > 0.5:
        raise ValueError(f"x={candidate['x']:.3f} is too much")
    return objective(env, candidate, seed)


@pytest.fixture
def here():
    return LightEnv("EI1").init().record_spikes()


@pytest.fixture(scope="module")
def local():
    with DistributedEnv("EI1", backend=LightEnv, transport="local") as env:
        yield env.record_spikes()


def search(env, objective=objective, space=SPACE, **options):
    options = {"population_size": 6, "seed": 5, **options}
    return Search(env, space, objective, **options)


@pytest.mark.parametrize("algorithm", ["random", "sobol", "cmaes", "grid"])
def test_here_and_over_a_transport_the_tables_are_equal(here, local, algorithm):
    one, other = (search(env, algorithm=algorithm) for env in (here, local))
    one.run(3)
    other.run(3)
    assert len(one.table) == 18
    assert one.digest() == other.digest()
    assert [each.value for each in one.table] == [each.value for each in other.table]
    assert len({each.value for each in one.table}) > 12
    assert search(here, seed=6, algorithm=algorithm).digest() != one.digest()


def test_settings_are_those_of_one_evaluation(here, local):
    for env in (here, local):
        env.set_weights({"a": 100.0, "b": 1.0})
        found = search(env)
        found.run(1)
        for each in found.table:
            assert 1.0 < each.value < 12
        assert found.run(1) == []
    assert here.weights == {"a": 100.0, "b": 1.0}
    seen = lambda env, candidate, seed: env.weights["a"]
    after = search(local, seen, {"x": (0, 1)})
    after.run(1)
    assert {each.value for each in after.table} == {100.0}
    local.set_weights({"a": 0.0, "b": 0.0})


def test_settings_are_undone_after_an_error_too(here):
    def breaks(env, candidate, seed):
        assert env.weights == {"a": candidate["weights.a"]}
        raise RuntimeError

    found = search(here, breaks, on_error="skip", algorithm="cmaes")
    with pytest.raises(ConfigError, match="none of the 6"):
        found.run(1)
    assert here.weights == {}


def test_an_environment_that_cannot_keep_its_settings_is_told(here):
    class Forgets:
        def __init__(self):
            self.inner = here

        def clear(self, trial):
            self.inner.clear(trial=trial)

        def set_weights(self, weights):
            raise AssertionError

    with pytest.raises(ConfigError, match="no settings_kept"):
        search(Forgets()).run(1)
    search(Forgets(), lambda env, c, seed: c["x"], {"x": (0, 1)}).run(1)


@pytest.mark.parametrize("where", ["here", "local"])
def test_an_error_ends_the_generation_and_can_be_corrected(request, where):
    env = request.getfixturevalue(where)
    calm = search(env)
    calm.run(2)
    broken = search(env, picky)
    with pytest.raises(ValueError, match="is too much"):
        broken.run(2)
    assert all(each.complete for each in broken.table)
    broken._evaluator._evaluate = Evaluate(objective)
    broken.run(2)
    assert broken.digest() == calm.digest()


@pytest.mark.parametrize("where", ["here", "local"])
def test_a_failure_is_never_a_number(request, where):
    env = request.getfixturevalue(where)
    found = search(env, picky, on_error="skip", algorithm="cmaes")
    reports = found.run(2)
    failed = [each for each in found.table if not each.complete]
    assert failed
    for each in failed:
        assert (each.state, each.value) == (State.FAILED, None)
        assert each.error == f"ValueError: x={each.candidate['x']:.3f} is too much"
        assert "in picky" in each.traceback
    assert sum(report.failed for report in reports) == len(failed)
    assert reports[0].error in {each.error for each in failed}
    assert found.best.value == min(each.value for each in found.table if each.complete)
    rows = found.rows()
    assert rows[failed[0].index]["value"] is None
    assert rows[0]["weights.a"] == found.table[0].candidate["weights.a"]


def test_a_failure_may_be_penalised_and_is_no_number_either(here):
    class Hears:
        def ask(self):
            return [{"x": 0.25}, {"x": 0.75}]

        def tell(self, candidates, losses):
            self.losses = losses

    hears = Hears()
    found = search(
        here, picky, {"x": (0, 1)}, algorithm=hears, on_error="penalise", penalty=99
    )
    found.run(1)
    assert hears.losses[1] == 99
    assert found.table[1].value is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, "1.0 Hz", [1, 2], None], ids=repr)
def test_only_finite_numbers_are_values(here, bad):
    found = search(here, lambda env, candidate, seed: bad, on_error="skip")
    found.run(1)
    assert {each.state for each in found.table} == {State.FAILED}
    assert {each.value for each in found.table} == {None}


@pytest.mark.parametrize("where", ["here", "local"])
def test_an_evaluation_may_take_so_long_and_no_longer(request, where):
    env = request.getfixturevalue(where)

    def slow(env, candidate, seed):
        pace = 0.1 if candidate["x"] > 0.5 else 0.0
        run = env(GatherAndMerge(duration=50), pace=pace)
        return len(run.spike_ids)

    found = search(env, slow, {"x": [0.0, 1.0]}, on_error="skip", task_timeout=0.5)
    found.run(1)
    states = {each.candidate["x"]: each.state for each in found.table}
    assert states == {0.0: State.COMPLETE, 1.0: State.FAILED}
    late = next(each for each in found.table if not each.complete)
    assert late.error == "CallTimeout: it ran longer than it may"
    with pytest.raises(CallTimeout):
        search(env, slow, {"x": [1.0]}, task_timeout=0.5).run(1)


def test_equal_candidates_are_evaluated_once(here, local):
    calls = []

    def counted(env, candidate, seed):
        calls.append(candidate)
        return seed

    for env, cache, evaluated in ((here, True, 2), (here, False, 18)):
        calls.clear()
        found = search(env, counted, {"c": ["a", "b"]}, cache=cache)
        reports = found.run(3)
        assert len(calls) == evaluated
        assert sum(report.evaluated for report in reports) == evaluated
        assert sum(report.cached for report in reports) == 18 - evaluated
        values = {each.candidate["c"]: each.value for each in found.table}
        assert len({each.value for each in found.table}) == evaluated
        for each in found.table:
            if each.source is not None:
                assert each.value == values[each.candidate["c"]]
    over = search(local, lambda env, c, seed: seed, {"c": ["a", "b"]})
    over.run(3)
    again = search(here, lambda env, c, seed: seed, {"c": ["a", "b"]})
    again.run(3)
    assert over.digest() == again.digest()


def test_high_values_may_be_wanted(here):
    climb = lambda env, candidate, seed: -((candidate["x"] - 0.7) ** 2)
    options = {"direction": "maximize", "algorithm": "cmaes", "population_size": 8}
    found = search(here, climb, {"x": (0, 1)}, **options)
    found.run(50, target=-1e-4)
    assert found.best.value >= -1e-4
    assert found.generations < 50
    assert found.fitness().best[-1] == found.best.value
    assert found.run(60, target=-1e-4) == []


def test_a_search_ends_with_its_grid_or_when_it_is_told(here):
    grid = search(here, space={"x": (0, 1)}, algorithm="grid", population_size=2)
    assert [report.evaluated for report in grid.run(99)] == [2, 2, 1]
    assert grid.run_generation() is None
    seen = []
    told = search(here)
    told.run(9, callback=lambda s, report: seen.append(report) or s.generations == 2)
    assert len(seen) == 2


def test_trials_are_ones_own_or_the_same(here):
    trial = lambda env, candidate, seed: env.trial
    own = search(here, trial)
    own.run(1)
    assert [each.value for each in own.table] == [each.seed for each in own.table]
    same = search(here, trial, trial=3)
    same.run(1)
    assert {each.value for each in same.table} == {3}


def test_a_response_is_simulated_decoded_and_scored(here, local):
    count = Response(100, lambda run, candidate: len(run.spike_ids) + candidate["x"])
    tables = []
    for env in (here, local):
        found = search(env, count)
        found.run(1)
        tables.append(found.digest())
        assert all(each.value > 1 for each in found.table)
    assert tables[0] == tables[1]


def test_controllers_reach_the_objective_as_networks(here, local):
    score = lambda env, controller, seed: abs(controller([1.0, 0.0])[0] - 0.3)
    tables = []
    for env in (here, local):
        found = search(env, score, Controllers(2, 1), population_size=10)
        found.run(3)
        tables.append(found.digest())
    assert tables[0] == tables[1]
    best = found.phenotype(found.best.candidate)
    assert abs(best([1.0, 0.0])[0] - 0.3) == found.best.value


@pytest.mark.parametrize("algorithm", ["random", "cmaes", "sobol", "grid"])
def test_a_search_goes_on_where_another_left_off(here, tmp_path, algorithm):
    path = tmp_path / "study.sqlite"
    calm = search(here, picky, on_error="skip", algorithm=algorithm)
    calm.run(4)

    left = [9]

    def tired(env, candidate, seed):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return picky(env, candidate, seed)

    options = {"on_error": "skip", "algorithm": algorithm, "storage": path}
    first = search(here, tired, **options)
    with pytest.raises(KeyboardInterrupt):
        first.run(4)
    assert len(first.table) == 9
    places = [each.place for each in read_table(path)]
    assert places == [(n // 6, n % 6) for n in range(9)]
    second = search(here, picky, **options)
    assert second.generations == 1
    reports = second.run(4)
    if algorithm != "grid":
        assert (reports[0].resumed, reports[0].evaluated) == (3, 3)
    assert second.digest() == calm.digest()
    assert read_table(path) == second.table
    with pytest.raises(ConfigError, match="another has gone on"):
        first.run(4)


def test_copies_are_in_the_journal_as_well(here, tmp_path):
    path = tmp_path / "study.sqlite"
    options = {"space": {"c": ["a", "b"]}, "storage": path}
    once = lambda env, candidate, seed: seed
    first = search(here, once, **options)
    first.run(2)
    assert sum(each.source is not None for each in first.table) == 10
    assert read_table(path) == first.table
    second = search(here, once, **options)
    assert second.run(3)[0].cached == 6
    assert read_table(path) == second.table
    assert second.table[:12] == first.table


def test_who_was_interrupted_goes_on(here):
    calm = search(here)
    calm.run(2)
    left = [3]

    def tired(env, candidate, seed):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return objective(env, candidate, seed)

    found = search(here, tired)
    with pytest.raises(KeyboardInterrupt):
        found.run(2)
    found.run(2)
    assert found.digest() == calm.digest()


def test_a_search_with_other_settings_does_not_go_on(here, tmp_path):
    path = tmp_path / "study.sqlite"
    search(here, storage=path).run(1)
    for other, told in (
        ({"seed": 6}, "seed: 5 there, 6 here"),
        ({"space": {"x": (0, 2)}}, "space"),
        ({"algorithm": "sobol"}, 'algorithm: "random" there, "sobol" here'),
        ({"population_size": 7}, "population_size"),
        ({"direction": "maximize"}, "direction"),
        ({"cache": False}, "cache"),
        ({"trial": 1}, "trial"),
    ):
        with pytest.raises(ConfigError, match=told):
            search(here, storage=path, **other)
    search(here, storage=path, task_timeout=9, on_error="skip", min_workers=1)


def test_a_batch_is_as_many_as_are_handed_out_ahead(local):
    most = []

    class Counts:
        def __getattr__(self, name):
            return getattr(local, name)

        def submit(self, *args, **options):
            future = local.submit(*args, **options)
            most.append(local._dispatcher.unfinished)
            return future

    for batch, highest in ((1, 1), (2, 2)):
        most.clear()
        pause = lambda env, candidate, seed: __import__("time").sleep(0.02) or 1.0
        search(Counts(), pause, batch_size=batch).run(1)
        assert max(most) == highest
    most.clear()
    search(Counts(), pause).run(1)
    assert max(most) > 2


def test_workers_that_cannot_come_are_not_waited_for(here, local):
    with pytest.raises(ConfigError, match="never be there"):
        search(here, min_workers=2).run(1)
    with pytest.raises(ConfigError, match="local"):
        search(local, min_workers=2).run(1)
    search(here, min_workers=1).run(1)


def test_a_worker_without_objective_says_so(here):
    with pytest.raises(ConfigError, match=r"no objective.*search\.Worker"):
        search(here, None).run(1)


def test_the_objective_of_a_worker_comes_first(here, tmp_path, monkeypatch):
    import cloudpickle

    path = tmp_path / "objective"
    path.write_bytes(cloudpickle.dumps(lambda env, candidate, seed: 42.0))
    monkeypatch.setenv(OWN_OBJECTIVE, str(path))
    for objective_there in (None, objective):
        found = search(here, objective_there)
        found.run(1)
        assert {each.value for each in found.table} == {42.0}
    _loaded.cache_clear()


def test_the_interrupted_are_cancelled(local, monkeypatch):
    found = search(local, lambda env, c, seed: env.run(10, pace=0.01) and 1.0)
    wait = concurrent.futures.wait

    def interrupted(futures, **options):
        wait(futures, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(concurrent.futures, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            found.run(1)
    assert local._dispatcher.unfinished == 0
    found.run(1)
    assert len(found.table) == 6


def test_it_shows_itself(here, tmp_path):
    path = tmp_path / "<b>study.sqlite"
    found = search(here, picky, on_error="skip", storage=path)
    assert "0 generations" in repr(found)
    assert "<svg" not in found._repr_html_()
    (report, _) = found.run(2)
    page = found._repr_html_()
    assert "&lt;b&gt;study" in page
    assert "<b>study" not in page
    assert "data:image/svg+xml" in page
    assert "12 values" not in page
    assert "values in 2 generations" in page
    assert f"{found.best.generation}.{found.best.index}" in page
    assert "is too much" in report._repr_html_()
    assert "12 evaluations" in repr(found)


def test_it_tells_what_was_found(here):
    from matplotlib import pyplot as plt

    found = search(here, picky, on_error="skip")
    assert found.report() == "random: 0 generations, 0 evaluations, 0.0 s on workers"
    found.run(2)
    first, *failures, best = found.report().splitlines()
    assert first.startswith("random: 2 generations, 12 evaluations")
    assert all("1 failed: ValueError: x=" in line for line in failures)
    assert failures
    assert best.startswith(f"best {found.best.value:.5g} at {found.best.generation}.")
    ax = found.plot()
    (dots, line) = ax.lines
    complete = [each.value for each in found.table if each.complete]
    assert list(dots.get_ydata()) == complete
    assert list(line.get_ydata()) == found.fitness().best
    plt.close(ax.figure)


BAD = {
    "objective": {"objective": 3},
    "population_size": {"population_size": 0},
    "seed": {"seed": -1},
    "direction": {"direction": "down"},
    "on_error": {"on_error": "ignore"},
    "penalty": {"penalty": 3.0},
    "no penalty": {"on_error": "penalise"},
    "min_workers": {"min_workers": 1.5},
    "batch_size": {"batch_size": 0},
    "task_timeout": {"task_timeout": -1},
    "max_retries": {"max_retries": -1},
    "connect_timeout": {"connect_timeout": None},
    "env": {"env": "EI1"},
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_refused(here, tmp_path, name):
    options = {"env": here, "storage": tmp_path / "study.sqlite", **BAD[name]}
    with pytest.raises(ConfigError, match=name.removeprefix("no ")):
        search(**options)
    assert not list(tmp_path.iterdir())
