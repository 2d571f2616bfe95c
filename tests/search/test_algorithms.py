"""Algorithms: they follow from their seed and from what they hear, and they learn."""

import subprocess
import sys
import textwrap

import pytest

from livn_ipp.errors import ConfigError, MissingExtra
from livn_ipp.search import CmaEs, Grid, OptunaSampler, Random, Sobol, Space, algorithms
from livn_ipp.search.choose import algorithm_for, describe
from livn_ipp.search.controllers import Controller, Controllers, Neat

SPACE = Space({"x": (-1, 2), "y": (1e-3, 1e3, "log"), "n": range(2, 9)})


def tpe(space, size, seed):
    samplers = pytest.importorskip("optuna").samplers
    return OptunaSampler(space, size, samplers.TPESampler(seed=seed))


def sphere(candidate):
    return (candidate["x"] - 0.7) ** 2 + (candidate["n"] - 5) ** 2 / 10


def course(make, generations=6, size=8, seed=3, space=SPACE, loss=sphere):
    algorithm = make(space, size, seed)
    proposed, best = [], []
    for _ in range(generations):
        candidates = algorithm.ask()
        losses = [loss(candidate) for candidate in candidates]
        algorithm.tell(candidates, losses)
        proposed.append(candidates)
        best.append(min(loss for loss in losses if loss is not None))
    return proposed, best


MAKERS = {"random": Random, "sobol": Sobol, "cmaes": CmaEs, "optuna": tpe}


@pytest.mark.parametrize("name", MAKERS)
def test_a_course_follows_from_the_seed(name):
    make = MAKERS[name]
    proposed, _ = course(make)
    assert course(make)[0] == proposed
    assert course(make, seed=4)[0] != proposed
    assert {len(candidates) for candidates in proposed} == {8}
    for candidates in proposed:
        for candidate in candidates:
            SPACE.check(candidate)


@pytest.mark.parametrize("name", ["cmaes", "optuna"])
def test_what_learns_finds_more_than_chance(name):
    _, best = course(MAKERS[name], 12)
    assert min(best[-3:]) < min(best[0], 0.1)


def test_cmaes_converges():
    space = Space(dict.fromkeys("abc", (0.0, 1.0)))
    distance = lambda c: sum((value - 0.8) ** 2 for value in c.values())
    _, best = course(CmaEs, 40, 10, space=space, loss=distance)
    assert best[-1] < 1e-6
    assert best[0] > 1e-3


def test_cmaes_ranks_those_without_a_value_last():
    space = Space({"a": (0.0, 1.0), "b": (0.0, 1.0)})
    half = lambda c: None if c["a"] > 0.5 else c["a"] + c["b"]
    proposed, best = course(CmaEs, 25, 10, space=space, loss=half)
    assert best[-1] < 0.01
    assert all(candidate["a"] < 0.5 for candidate in proposed[-1])


def test_cmaes_begins_where_it_is_told():
    start = {"x": 1.5, "y": 10.0, "n": 8}
    narrow = CmaEs(SPACE, 6, 3, start=start, sigma=1e-6)
    for candidate in narrow.ask():
        assert candidate["x"] == pytest.approx(1.5, abs=1e-3)
        assert candidate["n"] == 8


def test_sobol_is_even():
    pytest.importorskip("scipy")
    points = [c["x"] for c in Sobol(Space({"x": (0, 1)}), 16, 1).ask()]
    assert sorted(int(16 * x) for x in points) == list(range(16))


def test_a_grid_ends():
    grid = Grid(Space({"x": (0, 1), "c": ["a", "b"]}), 4, points=3)
    proposed = []
    while candidates := grid.ask():
        grid.tell(candidates, [0.0] * len(candidates))
        proposed += candidates
    assert proposed == [{"x": x, "c": c} for x in (0, 0.5, 1) for c in "ab"]


def test_optuna_takes_a_new_study_and_no_other():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(sampler=sampler)
    space = Space({"x": (0, 1), "c": ["a", None], "n": range(0, 9, 3)})
    algorithm = algorithm_for(study, space, 4, 0, {})
    candidates = algorithm.ask()
    algorithm.tell(candidates, [1.0, None, 0.5, 2.0])
    for candidate in candidates:
        space.check(candidate)
    assert study.best_value == 0.5
    with pytest.raises(ConfigError, match="no trials yet"):
        algorithm_for(study, space, 4, 0, {})
    high = optuna.create_study(direction="maximize")
    with pytest.raises(ConfigError, match="minimize"):
        algorithm_for(high, space, 4, 0, {})


XOR = [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 0)]


def xor(candidate):
    controller = Controller(candidate)
    return sum((controller(inputs)[0] - wanted) ** 2 for inputs, wanted in XOR)


NETWORKS = Controllers(2, 1)


def test_neat_learns_and_follows_from_the_seed():
    proposed, best = course(Neat, 8, 40, space=NETWORKS, loss=xor)
    assert course(Neat, 8, 40, space=NETWORKS, loss=xor)[0] == proposed
    assert course(Neat, 2, 40, seed=4, space=NETWORKS, loss=xor)[0] != proposed[:2]
    assert best[-1] < best[0]
    structures = {len(candidate["nodes"]) for each in proposed for candidate in each}
    assert len(structures) > 1


def test_neat_leaves_the_randomness_of_others_alone():
    import random

    random.seed(5)
    calm = [random.random() for _ in range(3)]
    random.seed(5)
    algorithm = Neat(NETWORKS, 10, 1)
    stormy = [random.random()]
    candidates = algorithm.ask()
    algorithm.tell(candidates, [float(n) for n in range(len(candidates))])
    stormy += [random.random(), random.random()]
    assert stormy == calm


def test_neat_counts_those_without_a_value_as_worst():
    some = lambda c: None if len(c["nodes"]) > 1 else xor(c)
    _, best = course(Neat, 5, 20, space=NETWORKS, loss=some)
    assert best[-1] <= best[0]


COURSE = """
    import sys
    sys.path.insert(0, {tests!r})
    from test_algorithms import NETWORKS, Neat, course, xor
    from livn_ipp.search.records import candidate_key
    print(candidate_key(course(Neat, 6, 30, space=NETWORKS, loss=xor)[0]))
"""


def test_neat_does_not_depend_on_the_hashes_of_a_process():
    from pathlib import Path

    program = textwrap.dedent(COURSE).format(tests=str(Path(__file__).parent))
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=100,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] != b""


def test_a_controller_is_its_data():
    import cloudpickle

    candidate = Neat(Controllers(3, 2), 4, 1).ask()[0]
    controller = Controller(candidate)
    twin = cloudpickle.loads(cloudpickle.dumps(controller))
    assert twin([1, 0, 1]) == controller([1, 0, 1])
    assert len(twin([1, 0, 1])) == 2
    assert (controller.hidden, controller.connections) == (0, 6)
    assert repr(controller) == "Controller(0 hidden, 6 connections)"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: algorithm_for("annealing", SPACE, 4, 1, {}), "unknown algorithm"),
        (lambda: algorithm_for("cmaes", SPACE, 4, 1, {"sigm": 1}), "no options sigm"),
        (lambda: algorithm_for("random", None, 4, 1, {}), "needs a space"),
        (lambda: algorithm_for("neat", SPACE, 4, 1, {}), "Controllers"),
        (lambda: algorithm_for(3, SPACE, 4, 1, {}), "ask"),
        (lambda: CmaEs(Space({"c": ["a"]}), 4, 1), "order"),
        (lambda: CmaEs(SPACE, 1, 1), "at least 2"),
        (lambda: CmaEs(SPACE, 4, 1, sigma=-1), "sigma"),
        (lambda: CmaEs(SPACE, 4, 1, start={"x": 9}), "candidate"),
        (lambda: Controllers(0, 1), "inputs"),
        (lambda: Controllers(1, 1, node_add=1), "unknown settings"),
        (lambda: Neat(Controllers(1, 1, node_add_prob="often"), 4, 1), "refuses"),
    ],
    ids=[
        "name", "option", "no space", "no networks", "no algorithm", "choices",
        "population", "sigma", "start", "inputs", "setting", "value",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, why):
    with pytest.raises(ConfigError, match=why):
        make()


def test_what_is_not_installed_is_named(monkeypatch):
    def missing(module, name):
        raise MissingExtra(f"{module} {name}")

    monkeypatch.setattr(algorithms, "extra", missing)
    with pytest.raises(MissingExtra, match="cmaes search"):
        algorithm_for("cmaes", SPACE, 4, 1, {})


def test_algorithms_are_described_for_the_journal():
    assert describe("cmaes", {"sigma": 0.1}) == "cmaes(sigma=0.1)"
    assert describe("grid", {}) == "grid"
    assert describe(Random(SPACE, 2, 1), {}).endswith("algorithms.Random")
