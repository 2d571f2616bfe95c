import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster.machine import environment
from livn_ipp.cluster.machine.environment import (
    available_memory,
    engine_environment,
    standalone,
    usable_cores,
)

names = st.one_of(
    st.sampled_from(["PATH", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"]),
    st.sampled_from(["OMPI_MCA_btl", "PRTE_MCA_x", "PMIX_NAMESPACE", "PRTE_LAUNCHED"]),
    st.from_regex(r"[A-Z]{1,6}(_[A-Z]{1,6})?", fullmatch=True),
)


@given(st.dictionaries(names, st.text("ab")))
def test_nothing_of_a_parent_job_is_left_and_nothing_else_is_lost(environ):
    left = standalone(environ)
    assert left.items() <= environ.items()
    mpi = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDI_", "HYDRA_", "MPIR_")
    assert {n for n in environ if not n.startswith(mpi)} <= set(left)
    assert not set(left) & {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}
    assert not set(left) & {"PMIX_NAMESPACE", "PRTE_LAUNCHED"}
    assert standalone(left) == left


def test_what_the_user_chose_stays_where_it_can():
    chosen = {"OMP_NUM_THREADS": "4", "OMPI_MCA_btl": "self,sm"}
    made = engine_environment(chosen, {"LIVN_IPP_WORLD": "w0"})
    assert chosen.items() <= made.items()
    assert made["LIVN_IPP_WORLD"] == "w0"
    assert "PMIX_RANK" not in engine_environment({"PMIX_RANK": "0"}, {})
    assert made["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] == "1"
    assert made["PRTE_MCA_rmaps_default_mapping_policy"] == "slot:oversubscribe"


def test_a_checkout_is_importable_on_engines_after_what_the_user_set():
    repository = environment.__file__.rpartition("/livn_ipp/")[0]
    path = engine_environment({"PYTHONPATH": "/mine"}, {})["PYTHONPATH"]
    assert path.split(os.pathsep)[0] == "/mine"
    assert repository in path.split(os.pathsep) or repository in sys.path


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A file system of cgroups like a container's."""
    monkeypatch.setattr(environment, "_CGROUP", tmp_path)

    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def in_group(monkeypatch, lines):
    read = environment.Path.read_text
    replace = lambda path: lines if str(path) == "/proc/self/cgroup" else read(path)
    monkeypatch.setattr(environment.Path, "read_text", replace)


def test_quotas_of_a_group_and_of_those_above_limit_the_cores(cgroup, monkeypatch):
    in_group(monkeypatch, "0::/job/step\n")
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(16)))
    assert usable_cores() == 16
    cgroup("job/step/cpu.max", "max 100000\n")
    assert usable_cores() == 16
    cgroup("job/cpu.max", "350000 100000\n")
    assert usable_cores() == 3
    cgroup("cpu.max", "50000 100000\n")
    assert usable_cores() == 1


def test_quotas_of_version_1(cgroup, monkeypatch):
    in_group(monkeypatch, "4:cpu,cpuacct:/docker\n3:cpuset:/\n")
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(16)))
    cgroup("cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n")
    cgroup("cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n")
    assert usable_cores() == 16
    cgroup("cpu,cpuacct/docker/cpu.cfs_quota_us", "200000\n")
    assert usable_cores() == 2


def test_a_memory_limit_counts_from_what_is_used(cgroup, monkeypatch):
    in_group(monkeypatch, "0::/job\n")
    free = available_memory()
    cgroup("job/memory.max", "max\n")
    assert available_memory() == pytest.approx(free, rel=0.2)
    cgroup("job/memory.max", "300000000\n")
    cgroup("job/memory.current", "100000000\n")
    assert available_memory() == 200_000_000
    cgroup("job/memory.current", "400000000\n")
    assert available_memory() == 0


@pytest.mark.parametrize(
    ("limit", "used", "stat"),
    [
        (
            "memory.max",
            "memory.current",
            "anon 100000000\ninactive_file 500000000\nactive_file 200000000\n",
        ),
        (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "active_file 7\ntotal_inactive_file 600000000\ntotal_active_file 100000000",
        ),
    ],
)
def test_files_kept_in_memory_do_not_count_as_used(
    cgroup, monkeypatch, limit, used, stat
):
    groups = "4:memory:/job\n" if "bytes" in limit else "0::/job\n"
    root = "memory/job" if "bytes" in limit else "job"
    in_group(monkeypatch, groups)
    cgroup(f"{root}/{limit}", "1000000000\n")
    cgroup(f"{root}/{used}", "800000000\n")
    cgroup(f"{root}/memory.stat", stat)
    assert available_memory() == 900_000_000


def test_the_affinity_mask_counts():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
