"""Searches whose process is killed, and which are made again."""

import json
import os
import random
import signal
import textwrap
import time

import pytest

from livn_ipp.search import read_table
from livn_ipp.search.records import table_digest

KILLS = 20
CLUSTER_KILLS = int(os.environ.get("LIVN_IPP_FAULTS_SEARCH_KILLS", "2"))
SEED = 24

STUDY = """
    import sys
    from livn_ipp.search import Controllers, Search
    from livn_ipp.testing import LightEnv

    ALGORITHM, STORAGE, PACE = sys.argv[1], sys.argv[2], float(sys.argv[3])
    SPACE = {"x": (0, 1), "weights.a": (1e-3, 1e3, "log"), "n": range(3)}

    def objective(env, candidate, seed):
        rates = env.run(10, pace=PACE)
        if ALGORITHM == "neat":
            return abs(candidate([0.1, seed % 5])[0] - 0.4) + len(rates.spike_ids)
        if candidate["n"] == 2 and candidate["x"] > 0.7:
            raise ValueError("too much")
        return candidate["x"] + env.weights["a"] + len(rates.spike_ids) + seed % 5

    def study(env, storage):
        return Search(
            env,
            Controllers(2, 1) if ALGORITHM == "neat" else SPACE,
            objective,
            algorithm=ALGORITHM,
            population_size=10,
            seed=7,
            on_error="skip",
            storage=storage,
        )
"""

LIVES = """
    import json, os, random, signal, time

    env = LightEnv("EI1").init().record_spikes()
    study(env, None).run(1)  # all is imported before the first fork
    chance = random.Random(int(sys.argv[4]))
    kills, began = 0, time.monotonic()
    while True:
        child = os.fork()
        if child == 0:
            study(env, STORAGE).run(40)
            os._exit(0)
        if kills < int(sys.argv[5]):
            time.sleep(chance.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert status == 0, status
            break
        kills += 1
    calm = study(env, None)
    calm.run(40)
    print(json.dumps([kills, time.monotonic() - began, calm.digest()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "cmaes", "neat"])
def test_a_search_that_is_killed_and_made_again_finds_the_same_table(
    case, tmp_path, record, algorithm
):
    """F24: 20 times, at moments that are anywhere in an evaluation or in its record."""
    storage = tmp_path / "study.sqlite"
    arguments = [algorithm, str(storage), "0.0005", str(SEED), str(KILLS)]
    kills, took, calm = json.loads(run(case, STUDY + LIVES, arguments))
    table = read_table(storage)
    assert kills == KILLS
    assert table_digest(table) == calm
    places = [each.place for each in table]
    assert places == [(n // 10, n % 10) for n in range(400)]
    record("F24", took=took, kills_number=kills)


OVER_A_CLUSTER = """
    from livn_ipp.env.distributed import DistributedEnv

    with DistributedEnv("EI1", backend=LightEnv, num_workers=2) as env:
        found = study(env.record_spikes(), STORAGE)
        print("begun", flush=True)
        found.run(int(sys.argv[4]))
        print(found.digest(), flush=True)
"""
CALM = """
    found = study(LightEnv("EI1").init().record_spikes(), None)
    found.run(int(sys.argv[4]))
    print(found.digest())
"""


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(200 + 100 * CLUSTER_KILLS)
def test_a_search_over_a_cluster_that_is_killed_goes_on_with_another(
    case, tmp_path, record
):
    """F24: LIVN_IPP_FAULTS_SEARCH_KILLS=20 kills it as often as the one above."""
    storage = tmp_path / "study.sqlite"
    generations = CLUSTER_KILLS + 1
    arguments = ["cmaes", str(storage), "0.02", str(generations)]
    calm = run(case, STUDY + CALM, ["cmaes", "", "0", str(generations)]).strip()
    chance = random.Random(SEED)
    kills, known = 0, 0
    began = time.monotonic()
    for _ in range(CLUSTER_KILLS):
        searching = start(case, STUDY + OVER_A_CLUSTER, arguments)
        if searching.stdout.readline() == "begun\n":
            time.sleep(chance.uniform(0, 1.5))
        searching.send_signal(signal.SIGKILL)
        searching.communicate(timeout=60)
        kills += searching.returncode == -signal.SIGKILL
        before, known = known, len(read_table(storage))
        assert known >= before
    last = run(case, STUDY + OVER_A_CLUSTER, arguments)
    assert last.split() == ["begun", calm]
    table = read_table(storage)
    assert table_digest(table) == calm
    assert len({each.place for each in table}) == len(table) == 10 * generations
    assert kills > 0
    assert not case.left(60)
    record("F24", cluster_took=time.monotonic() - began)


def start(case, text, arguments):
    given = f"import sys\nsys.argv[1:] = {arguments!r}\n"
    return case.start(given + textwrap.dedent(text))


def run(case, text, arguments):
    process = start(case, text, arguments)
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    return out
