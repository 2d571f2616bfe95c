"""What make() returns does the same here and for every key of a cluster."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ranks import MPI_SETTINGS, mpiexec

from livn_ipp import make
from livn_ipp.decoding import ChannelRecording, GatherAndMerge
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.neuron.shares import PARTITIONS
from livn_ipp.testing import LightEnv
from livn_ipp.types import Encoding

pytestmark = pytest.mark.neuron


class Pulse(Encoding):
    def __call__(self, env, t_end, inputs):
        commands = np.zeros([t_end, 16])
        commands[inputs : inputs + 20, [1, 4]] = 20.0
        return env.cell_stimulus(commands)


def story(env):
    """What a program does with an environment, wherever that runs."""
    env.record_spikes()
    env.record_potential(1.0)
    env.set_noise({"EXC-std_e": 0.0008})
    env.set_weights({"EXC_EXC-dend-AMPA-weight": 0.001})
    told = [env.run(30).digest(), env.run(30).digest(), env.t]
    told.append(env.run(40, env.cell_stimulus(np.full((40, 16), 5.0))).digest())
    env.clear()
    told += [env.t, env.run(60).digest()]
    env.clear(trial=2)
    told.append(env.run(60).digest())
    env.clear()
    runs = env(GatherAndMerge(duration=60), [10, 20, 30], Pulse())
    told += [run.digest() for run in runs]
    told += [run.potential.values.tobytes() for run in runs]
    number = env.submit_call(60)
    told.append(env.receive_response(number)[0].digest())
    told.append(env.submit(60, trial=1).result(60).digest())
    env.clear().apply_model_defaults().record_membrane_current()
    (response,) = env(ChannelRecording(duration=100), [10], Pulse())
    told.append(
        [{int(c): v.tolist() for c, v in each.items()} for each in response[:2]]
    )
    return told


@pytest.fixture(scope="module")
def here():
    with make("EI1") as env:
        return story(env)


def test_run_goes_on_as_that_of_an_env_and_clear_starts_anew(here):
    from livn_ipp.env import Env

    one, two, reached, _, t, sixty, second, *_ = here
    assert (reached, t) == (60.0, 0.0)
    env = Env("EI1").init().record_spikes().record_potential(1.0)
    env.set_noise({"EXC-std_e": 0.0008})
    env.set_weights({"EXC_EXC-dend-AMPA-weight": 0.001})
    assert [env.run(30).digest(), env.run(30).digest()] == [one, two]
    assert env.clear(trial=0).run(60).digest() == sixty
    assert env.clear(trial=2).run(60).digest() == second
    assert sixty != second
    env.close()


def test_run_holds_its_worker_and_says_so():
    with make("EI1") as env:
        env.run(10)
        with pytest.raises(ConfigError, match="close a session"):
            env(10)
        with pytest.raises(ConfigError, match="duration"):
            env.run(-1)
        assert env.run(10).t0 == 10.0
        env.clear()
        assert len(env(10)) == 1
    assert public(make("EI1")) == public(make("EI1", distributed=True))


def test_a_run_that_was_interrupted_has_not_been():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    with make("EI1") as env:
        env.run(10)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                env.run(3_600_000)
        finally:
            signal.signal(signal.SIGINT, before)
        timer.join()
        assert env.run(10).t0 == 10.0
        assert env.clear().run(10).t0 == 0.0


def public(env):
    return {name for name in dir(env) if not name.startswith("_")}


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_every_key_leaves_the_results_as_they_are(cluster_2x2, here):
    keys = [
        {"partition": partition, "sync_interval": interval, "compression": method}
        for partition, interval, method in zip(
            PARTITIONS, (3.0, 10.0, 70.0), (None, "zlib", "zlib"), strict=True
        )
    ]
    divisions = set()
    for config in keys:
        config |= {"cluster": cluster_2x2, "subworld_size": 2}
        with make("EI1", distributed=True, distributed_config=config) as env:
            assert type(env) is DistributedEnv
            assert story(env) == here
            assert env.partition == config["partition"]
            assert env.sync_interval == config["sync_interval"]
            reports = [env.partition_report(worker) for worker in (0, 1)]
            for report in reports:
                assert report.partition == config["partition"]
                assert report.cells == 10
                assert len(report.ranks) == 2
                assert all(share.busy >= 0 for share in report.ranks)
            assert any(report.measured for report in reports)
            with pytest.raises(ConfigError, match="there is no worker 7"):
                env.partition_report(7)
            divisions.add(str(env._ask_ranks("active_gids")))
    assert len(divisions) >= 2


@pytest.mark.cluster
@pytest.mark.mpi
@pytest.mark.timeout(300)
def test_the_example_prints_the_same_everywhere():
    program = Path(__file__).parents[2] / "examples" / "two_line_switch.py"
    python = [sys.executable, str(program)]
    here, cluster, ranks = (
        subprocess.run(
            command,
            env={**os.environ, **MPI_SETTINGS},
            capture_output=True,
            timeout=90,
            text=True,
            check=True,
        ).stdout.splitlines()
        for command in (
            python,
            [*python, "--distributed"],
            [mpiexec(), "-n", "3", *python, "--distributed"],
        )
    )
    assert here == cluster == ranks
    assert [line.split(":")[0].strip() for line in here] == [
        *("0 uA", "5 uA", "10 uA", "20 uA"),
        *("episode 0", "episode 1"),
    ]
    assert here[4].partition(":")[2] == here[5].partition(":")[2]


def interrupted_story(env, kill):
    """Runs that go on while a setter comes between, and a worker is killed."""
    told = [env.record_spikes().run(50).digest()]
    env.set_noise({"EXC-std_e": 0.001})
    if kill:
        os.kill(env.ranks()[0][0].pid, signal.SIGKILL)
    told += [env.run(50).digest(), env.run(50).digest(), env.t]
    return told


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_run_goes_on_though_its_worker_is_killed():
    with make("EI1") as env:
        calm = interrupted_story(env, kill=False)
    config = {"subworld_size": 2}
    with make("EI1", distributed=True, num_workers=1, distributed_config=config) as env:
        assert interrupted_story(env, kill=True) == calm


@pytest.mark.cluster
def test_calls_go_where_their_pipeline_is(cluster_2x2):
    config = {"cluster": cluster_2x2, "subworld_size": 2}
    env = make("EI1", distributed=True, backend=LightEnv, distributed_config=config)
    with env:
        for worker in (1, 0, 1):

            def told(run, env, worker=worker):
                return worker, env.trial

            env.submit(told, worker=worker).result(30)
            for _ in range(3):
                future = env.submit(told)
                assert future.result(30)[0] == worker
                assert future.worker == worker
