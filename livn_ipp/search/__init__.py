"""Search: random, grid, Sobol, CMA-ES, NEAT and others, over the workers of a cluster.

Examples
--------
>>> from livn_ipp.search import Response, Search
>>> from livn_ipp.testing import LightEnv
>>> count = Response(100, lambda run, candidate: abs(len(run.spike_ids) - 50))
>>> env = LightEnv("EI1").init().record_spikes()
>>> search = Search(env, {"weights.a": (0, 1)}, count, population_size=4)
>>> reports = search.run(2)
>>> len(search.table)
8
"""

from livn_ipp.search.algorithms import CmaEs, Grid, OptunaSampler, Random, Sobol
from livn_ipp.search.controllers import Controller, Controllers, Neat
from livn_ipp.search.evaluate import Response
from livn_ipp.search.join import Worker
from livn_ipp.search.journal import read_table
from livn_ipp.search.records import Evaluation, State
from livn_ipp.search.report import GenerationReport
from livn_ipp.search.search import Search
from livn_ipp.search.space import Space
from livn_ipp.search.study import Algorithm

__all__ = [
    "Algorithm",
    "CmaEs",
    "Controller",
    "Controllers",
    "Evaluation",
    "GenerationReport",
    "Grid",
    "Neat",
    "OptunaSampler",
    "Random",
    "Response",
    "Search",
    "Sobol",
    "Space",
    "State",
    "Worker",
    "read_table",
]
