"""What a notebook is told that starts a cluster while it still holds another."""

import warnings

import promises
import pytest
from kernels import shell_with_magics

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.left_running import left_running, warn_of_those_left_running


class WithCluster(DistributedEnv):
    """An environment in this process that seems to have a cluster."""

    workers = (0, 1)

    @property
    def cluster(self):
        return self if self._dispatcher is not None else None


@pytest.fixture
def env():
    with WithCluster("EI1", transport="local", backend=promises.Tally) as env:
        yield env


@pytest.fixture
def shell(monkeypatch):
    shell = shell_with_magics()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell


def another():
    return WithCluster("EI1", transport="local", backend=promises.Tally)


def test_each_is_named_once_and_by_its_own_name(env):
    names = {"_": env, "env": env, "again": env, "idle": another(), "x": 1}
    assert left_running(names, DistributedEnv) == ["env"]


def test_a_cell_that_is_run_again_is_told_what_to_do(env, shell):
    shell.user_ns["env"] = env
    with pytest.warns(RuntimeWarning, match=r"'env' still has 2 workers.*shutdown\(\)"):
        warn_of_those_left_running(another())
    env.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_those_left_running(another())
