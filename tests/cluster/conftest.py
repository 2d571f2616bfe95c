"""One cluster for all tests that do not change it, and ways to watch processes end."""

import contextlib

import pytest
from cases import Case

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import end


@pytest.fixture(scope="session")
def _whole_cluster():
    with contextlib.ExitStack() as stack:
        clusters = []

        def whole():
            if not clusters or list(clusters[-1].worlds) != ["w0", "w1"]:
                stack.close()
                cluster = Cluster(num_workers=2, subworld_size=2)
                clusters.append(stack.enter_context(cluster))
            return clusters[-1]

        yield whole


@pytest.fixture(scope="module")
def cluster_2x2(_whole_cluster):
    """Two worlds of two ranks, each a worker; not to be changed.

    It outlives a module, unless a test of that lost one of its worlds.
    """
    return _whole_cluster()


@pytest.fixture
def case(tmp_path):
    case = Case(tmp_path)
    yield case
    end(case.mark, grace=0.5)
