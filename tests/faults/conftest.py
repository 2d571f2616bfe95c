"""Every fault that livn_ipp has to survive, on clusters that heal themselves.

The scenarios F1 to F26 are described in docs/faults.md, which docs/faults.py writes
from what these tests measure: set LIVN_IPP_FAULTS_RECORD to the path of a file, and
each test adds a line of JSON. LIVN_IPP_FAULTS_REPEAT=20 runs each test 20 times;
`python tests/faults/repeat.py 20` does both and sums up.

Whatever happens in a test: each call ends once, as a right result, a typed error or a
cancellation, and afterwards all workers are there and answer rightly.
"""

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest
from cases import Case
from watched import Watched

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.machine.processes import end
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import FaultyEnv

REPEAT = int(os.environ.get("LIVN_IPP_FAULTS_REPEAT", "1"))
_FAILED = pytest.StashKey()
RECORD = os.environ.get("LIVN_IPP_FAULTS_RECORD")


def pytest_generate_tests(metafunc):
    if REPEAT > 1 and "faults" in metafunc.definition.path.parts:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(REPEAT), scope="session")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.outcome == "failed":
        item.stash[_FAILED] = True
    if report.when == "call" or report.outcome == "failed":
        _write(
            test=item.originalname,
            outcome=report.outcome,
            seconds=report.duration,
            error=report.longreprtext[-4000:],
        )


@pytest.fixture
def record(request):
    """Note what was measured of a scenario, in seconds unless the name says more."""

    def record(fault, **measured):
        _write(fault=fault, test=request.node.originalname, **measured)

    return record


def _write(**line):
    if RECORD:
        with Path(RECORD).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class _Clusters:
    """One cluster for all tests, and another when a test has left it unwell."""

    def __init__(self):
        self._cluster = None

    def whole(self):
        if self._cluster is not None and not self._is_well():
            self.stop()
        if self._cluster is None:
            self._cluster = Cluster(num_workers=2, subworld_size=2).start()
        return self._cluster

    def _is_well(self):
        cluster = self._cluster
        with contextlib.suppress(Exception):
            return cluster.alive and len(cluster.ranks()) == 4
        return False

    def stop(self):
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.stop()


@pytest.fixture(scope="session")
def _clusters():
    clusters = _Clusters()
    yield clusters
    clusters.stop()


@pytest.fixture
def cluster(_clusters, request):
    """Two worlds of two ranks, each a worker, which may be killed."""
    yield _clusters.whole()
    if _FAILED in request.node.stash:  # so that the next test has a fair chance
        _clusters.stop()


@pytest.fixture
def watch(cluster):
    """Start environments on the shared cluster; they are checked at the end."""
    with contextlib.ExitStack() as opened:
        environments = []

        def watch(**options):
            options = {"backend": FaultyEnv, **options}
            env = DistributedEnv("EI1", cluster=cluster, subworld_size=2, **options)
            watched = Watched(opened.enter_context(env))
            environments.append(watched)
            return watched

        yield watch
        for watched in environments:
            watched.check()
    assert len(cluster.ranks()) == 4
    assert len(cluster.worlds) == 2


@pytest.fixture
def case(tmp_path):
    """A program of its own."""
    case = Case(tmp_path)
    yield case
    end(case.mark, grace=0.5)


@pytest.fixture(autouse=True)
def _threads_end():
    """A test's threads are its own to end."""
    before = set(threading.enumerate())
    yield
    own = "worker-killer"
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if own in thread.name]
