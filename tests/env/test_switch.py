"""make: one environment, here or on a cluster, and what its config may say."""

import importlib.metadata
import os
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp import DistributedFallbackWarning, make
from livn_ipp.cluster.machine import environment, mpi, preflight
from livn_ipp.env.switch import CONFIG_KEYS, checked_config
from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.testing import LightEnv


def distributed(**config):
    return make("EI1", distributed=True, backend=LightEnv, distributed_config=config)


# What is refused, before anything starts


@given(st.text())
def test_unknown_keys_are_refused_and_known_ones_named(key):
    if key in CONFIG_KEYS:
        return
    with pytest.raises(ConfigError, match="unknown key") as caught:
        checked_config({key: 1})
    assert all(known in str(caught.value) for known in CONFIG_KEYS)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("partiton", "partition"),
        ("subworldsize", "subworld_size"),
        ("sync_intervall", "sync_interval"),
        ("strategy", "partition"),
        ("sync_frequency", "sync_interval"),
        ("task_timout", "task_timeout"),
    ],
)
def test_a_near_key_is_suggested(key, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        checked_config({key: 1})


WRONG = [
    ("subworld_size", 0),
    ("subworld_size", "2"),
    ("subworld_size", 1.5),
    ("partition", "metis"),
    ("sync_interval", 0),
    ("sync_interval", "fast"),
    ("compression", "gzip"),
    ("workers_per_world", 0),
    ("min_workers", 0),
    ("launcher", "carrier pigeon"),
    ("launcher_options", {"queue": "fast"}),
    ("transport", "pigeon"),
    ("task_timeout", -1),
    ("grace", "long"),
    ("stall_timeout", 0),
    ("max_retries", -1),
    ("max_in_flight", 0.5),
    ("memory_limit", 1),
    ("max_result", 0),
    ("result_memory", None),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_value_is_refused_at_once(key, value):
    with pytest.raises(ConfigError, match=key.replace("launcher_options", "launcher")):
        make("EI1", distributed=True, distributed_config={key: value})


def test_every_key_with_a_value_of_its_own_is_tried():
    plain = set(CONFIG_KEYS) - {"cluster", "client", "profile", "cluster_id", "comm"}
    assert {key for key, _ in WRONG} == plain


def test_what_needs_a_cluster_is_refused_without_one():
    for options in (
        {"num_workers": 2},
        {"distributed_config": {"partition": "cost"}},
    ):
        with pytest.raises(ConfigError, match="needs distributed=True"):
            make("EI1", **options)
    for key in ("num_workers", "world_size"):
        with pytest.raises(ConfigError, match="num_workers is an argument of make"):
            distributed(**{key: 2})
    with pytest.raises(ConfigError, match="must map names to values"):
        make("EI1", distributed=True, distributed_config=["partition"])
    for wrong in (0, -1, 1.5, "4", True):
        with pytest.raises(ConfigError, match="num_workers"):
            make("EI1", distributed=True, num_workers=wrong)
    with pytest.raises(ConfigError, match="backend='neuron'"):
        distributed(partition="cost")


# How many


@pytest.fixture
def planned(monkeypatch):
    """Return the cluster that an environment would start."""
    from livn_ipp.cluster.launch import Cluster

    def refuse(self):
        raise PreflightError("this is only a test")

    monkeypatch.setattr(Cluster, "start", refuse)

    def planned(**options):
        env = make("EI1", distributed=True, backend=LightEnv, strict=True, **options)
        with pytest.raises(PreflightError, match="only a test"):
            env.init()
        return env.cluster._shape

    return planned


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of twelve cores and much memory, without a cgroup or a batch job."""
    monkeypatch.setattr(preflight, "available_memory", lambda: 10**12)
    monkeypatch.setattr(environment, "_CGROUP", tmp_path)
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(12)))
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    return monkeypatch, tmp_path


def test_the_affinity_mask_gives_the_number_of_workers(planned, machine):
    assert planned().num_workers == 12
    shape = planned(distributed_config={"subworld_size": 5})
    assert (shape.num_workers, shape.subworld_size) == (2, 5)
    assert planned(distributed_config={"subworld_size": 20}).num_workers == 1
    assert planned(num_workers=3).num_workers == 3
    machine[0].setattr(environment.os, "sched_getaffinity", lambda _: {5})
    assert planned().num_workers == 1


def test_little_memory_means_fewer_workers(planned, machine):
    machine[0].setattr(preflight, "available_memory", lambda: 150e6 * 5.5)
    assert planned().num_workers == 4
    assert planned(distributed_config={"subworld_size": 2}).num_workers == 2
    assert planned(num_workers=9).num_workers == 9
    machine[0].setattr(preflight, "available_memory", lambda: 0)
    assert planned().num_workers == 1


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/job\n", {"job/cpu.max": "400000 100000\n"}),
        (
            "4:cpu:/job\n",
            {
                "cpu/job/cpu.cfs_quota_us": "400000\n",
                "cpu/job/cpu.cfs_period_us": "100000\n",
            },
        ),
    ],
    ids=["v2", "v1"],
)
def test_a_quota_gives_the_number_of_workers(planned, machine, group, files):
    monkeypatch, root = machine
    read = environment.Path.read_text
    monkeypatch.setattr(
        environment.Path,
        "read_text",
        lambda path, **how: (
            group if str(path) == "/proc/self/cgroup" else read(path, **how)
        ),
    )
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert planned().num_workers == 4


def test_a_slurm_job_gives_the_number_of_workers(planned, machine):
    monkeypatch, _ = machine
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-3]")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "8(x2),4")
    assert planned().num_workers == 20
    assert planned(distributed_config={"subworld_size": 4}).num_workers == 5


class SevenRanks:
    """As much of a communicator as is asked for before anything starts."""

    def Get_size(self):
        return 7

    def Get_rank(self):
        return 6


def test_under_mpirun_the_ranks_have_to_be_as_many_as_are_asked_for():
    config = {"comm": SevenRanks(), "subworld_size": 3}
    options = {"distributed": True, "distributed_config": config, "backend": LightEnv}
    assert make("EI1", num_workers=2, **options).is_root()
    assert make("EI1", **options).is_root()
    with pytest.raises(ConfigError, match="use mpirun -n 13"):
        make("EI1", num_workers=4, **options)


# Without a cluster


def no_mpiexec(monkeypatch):
    monkeypatch.setattr(mpi, "mpiexecs", list)
    return "mpiexec"


def no_ipyparallel(monkeypatch):
    version = importlib.metadata.version

    def missing(name):
        if name == "ipyparallel":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    return "ipyparallel: missing"


@pytest.mark.parametrize("lack", [no_mpiexec, no_ipyparallel])
@pytest.mark.parametrize("begin", ["init", "__enter__"])
def test_one_warning_tells_why_and_calls_run_here(monkeypatch, lack, begin):
    reason = lack(monkeypatch)
    options = {"num_workers": 3, "distributed_config": {"subworld_size": 2}}
    env = make("EI1", distributed=True, backend=LightEnv, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(env, begin)()
    with env:
        assert [each.category for each in caught] == [DistributedFallbackWarning]
        assert issubclass(DistributedFallbackWarning, RuntimeWarning)
        assert reason in str(caught[0].message)
        assert caught[0].filename == __file__
        assert "1 workers x 1 ranks over local" in repr(env)
        assert env.cluster is None
        assert env(lambda run, env: env.trial, [None] * 3) == [0, 1, 2]
    strict = make("EI1", distributed=True, strict=True, backend=LightEnv, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PreflightError, match=reason):
            strict.init()
