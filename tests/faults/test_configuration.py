"""Setters while calls run, while workers are replaced, and setters that fail."""

import os
import time

import pytest
from watched import PATIENCE

from livn_ipp.cluster.machine.processes import WORLD
from livn_ipp.testing import Fault, LightEnv, Sleep, kill_rank, with_faults

pytestmark = pytest.mark.cluster


def held(run, env):
    return env.comm.allgather(env.weights.get("version"))


def held_after(seconds):
    def decoding(run, env):
        time.sleep(seconds)
        return held(run, env)

    return decoding


def test_a_setter_while_calls_run(watch, record):
    """F20: every later call sees it on every rank, every earlier one does not."""
    watched = watch()
    longest = 0.0
    for version in range(10):
        earlier = [watched.submit(held_after(0.05), worker=w) for w in (0, 1, 0)]
        began = time.monotonic()
        watched.env.set_weights({"version": version})
        longest = max(longest, time.monotonic() - began)
        later = [watched.submit(held, worker=w) for w in (0, 1)]
        for call in earlier:
            assert call.result(PATIENCE) == [version - 1 if version else None] * 2
        for call in later:
            assert call.result(PATIENCE) == [version] * 2
    record("F20", setter=longest)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_setter_while_a_worker_is_replaced(watch, record, rank):
    """F20: it does not wait for ever, and the replacement has it."""
    watched = watch()
    watched.env.set_weights({"version": 1})
    killed = kill_rank(watched.env, 0, rank).time
    for version in (2, 3):  # before and after the loss is noticed
        watched.env.set_weights({"version": version})
        assert watched.submit(held, worker=1).result(PATIENCE) == [version] * 2
        assert watched.submit(held, worker=0).result(PATIENCE) == [version] * 2
    record("F20", replaced=time.monotonic() - killed)


def test_a_worker_that_dies_of_a_setter(watch, cluster):
    """F20: the other worker has it, its replacement too."""
    world = next(iter(cluster.worlds))
    dies = _in_world(world, lambda: os._exit(5))
    dies = Fault(dies, during="set_weights", ranks=[1])
    watched = watch(backend=with_faults(LightEnv, dies))
    watched.env.set_weights({"version": 1})
    for worker in (0, 1):
        assert watched.submit(held, worker=worker).result(PATIENCE) == [1] * 2


def test_a_setter_that_fails_on_one_worker_only(watch, cluster, record):
    """F21: it raises here, and no worker is left different."""
    fails = _in_world(next(iter(cluster.worlds)), _refuse)
    fails = Fault(fails, during="set_weights", ranks=[1])
    watched = watch(backend=with_faults(LightEnv, fails))
    watched.env.set_noise({"a": 1.0})
    running = watched.submit(10, Fault(Sleep(0.5)), worker=1)
    began = time.monotonic()
    with pytest.raises(OSError, match="no space left"):
        watched.env.set_weights({"version": 1})
    record("F21", result=time.monotonic() - began)
    running.result(PATIENCE)
    for worker in (0, 1):
        call = watched.submit(
            lambda run, env: env.comm.allgather((env.weights, env.noise)),
            worker=worker,
        )
        assert call.result(PATIENCE) == [({}, {"a": 1.0})] * 2
    assert not watched.lost


def _refuse():
    raise OSError(28, "no space left")


def _in_world(name, action):
    return lambda env: action() if os.environ[WORLD] == name else None
