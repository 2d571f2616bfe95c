"""One cluster for all tests that do not change it, and ways to watch processes end."""

import pytest
from cases import Case

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import end


@pytest.fixture(scope="session")
def cluster_2x2():
    """Two worlds of two ranks, each a worker; not to be changed."""
    with Cluster(num_workers=2, subworld_size=2) as cluster:
        yield cluster


@pytest.fixture
def case(tmp_path):
    case = Case(tmp_path)
    yield case
    end(case.mark, grace=0.5)
