"""A search of real cultures, on workers of two ranks."""

import pytest

from livn_ipp.decoding import PopulationFiringRates
from livn_ipp.env import Env
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.search import Response, Search

WEIGHT = "EXC_EXC-dend-AMPA-weight"
SPACE = {
    f"weights.{WEIGHT}": (1e-3, 1e-2, "log"),
    "noise.EXC-std_e": (2e-4, 6e-4),
    "params.cells-EXC:gna": (25.0, 30.0),
}
RATES = Response(
    PopulationFiringRates(duration=100),
    lambda response, candidate: response["rates_hz"]["INH"],
)


def search(env):
    found = Search(env, SPACE, RATES, population_size=6, seed=3)
    found.run(2)
    return found


@pytest.mark.neuron
@pytest.mark.cluster
def test_ranks_workers_and_one_process_find_the_same_table(cluster_2x2):
    options = {"cluster": cluster_2x2, "subworld_size": 2}
    with DistributedEnv("EI1", **options) as env:
        env.record_spikes()
        calm = env.submit(200, trial=1).result(60).digest()
        over = search(env)
        assert env.submit(200, trial=1).result(60).digest() == calm
    here = Env("EI1").init().record_spikes()
    try:
        before = here.run(200).digest()
        alone = search(here)
        assert alone.digest() == over.digest()
        assert len({each.value for each in over.table}) > 3
        assert here.clear(trial=0).run(200).digest() == before
    finally:
        here.close()
