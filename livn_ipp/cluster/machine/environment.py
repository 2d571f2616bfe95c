"""The environment variables that engines start with, and what the machine offers."""

import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import psutil

from livn_ipp.cluster.machine.allocation import allocation, elsewhere

__all__ = [
    "available_memory",
    "engine_environment",
    "one_host",
    "python_path",
    "standalone",
    "usable_cores",
]

_MPI_PREFIXES = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDI_", "HYDRA_", "MPIR_")
_UNDER_MPIRUN = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")

# As root or not, with more ranks than cores, and without two worlds being pinned to
# the same first cores. By slot, since by core all ranks would go to the first machine
# of an allocation, whatever its share. For Open MPI 5 and, where the names differ,
# for 4. MPICH needs none of them.
_MPI_SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": "slot:oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}

# Ranks on one host exchange messages through shared memory; for others, Open MPI would
# let each rank listen on every network interface.
_ONE_HOST = {"OMPI_MCA_btl": "^tcp"}

# One thread for each rank, since ranks are what fills the cores; the user may override.
_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NEURON_MODULE_OPTIONS": "-nogui -nobanner",
}

_CGROUP = Path("/sys/fs/cgroup")


def standalone(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove what an ``mpirun`` parent left in the environment.

    A process that inherits such variables takes itself for a rank of that parent's
    job. Settings that a user exported (``OMPI_MCA_...``) stay, unless this process is
    a rank itself, where they cannot be told from the launcher's own.

    Parameters
    ----------
    environ
        Environment variables.

    Returns
    -------
    dict
        The variables that a process outside of that job should see.

    Examples
    --------
    >>> standalone({"HOME": "/home/ada", "PMIX_RANK": "3", "OMPI_MCA_btl": "self"})
    {'HOME': '/home/ada'}
    >>> standalone({"OMPI_MCA_btl": "self"})
    {'OMPI_MCA_btl': 'self'}
    """
    is_rank = any(name in environ for name in _UNDER_MPIRUN)

    def keep(name: str) -> bool:
        if not name.startswith(_MPI_PREFIXES):
            return True
        return not is_rank and ("_MCA_" in name or name.startswith("OMPI_ALLOW"))

    return {name: value for name, value in environ.items() if keep(name)}


def engine_environment(
    environ: Mapping[str, str], marks: Mapping[str, str]
) -> dict[str, str]:
    """Build the environment of the processes of a cluster.

    Parameters
    ----------
    environ
        The owner's environment.
    marks
        Variables that identify the cluster and the world.

    Returns
    -------
    dict
        With one thread per rank, settings that let Open MPI run as root and with more
        ranks than cores, and livn_ipp importable from where the owner has it.

    Examples
    --------
    >>> engine_environment({}, {"LIVN_IPP_WORLD": "w0"})["OMP_NUM_THREADS"]
    '1'
    """
    return {
        **_DEFAULTS,
        **standalone(environ),
        **_MPI_SETTINGS,
        "PYTHONPATH": python_path(environ.get("PYTHONPATH", "")),
        **marks,
    }


def one_host(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep ranks that are all on one host from listening to the network.

    Parameters
    ----------
    environment
        Of ranks; what it says about how Open MPI carries messages stays.

    Returns
    -------
    dict
        With settings that MPICH ignores.

    Examples
    --------
    >>> one_host({"HOME": "/home/ada"})
    {'OMPI_MCA_btl': '^tcp', 'HOME': '/home/ada'}
    """
    return {**_ONE_HOST, **environment}


def python_path(current: str) -> str:
    """Make livn_ipp importable from where this process has it.

    Parameters
    ----------
    current
        Value of PYTHONPATH.

    Returns
    -------
    str
        Its new value.
    """
    here = str(Path(__file__).resolve().parents[3])
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    entries = [entry for entry in current.split(os.pathsep) if entry]
    # Last, so that a checkout's other directories shadow nothing.
    if here not in installed and here not in entries:
        entries.append(here)
    return os.pathsep.join(entries)


def usable_cores() -> int:
    """Count the cores that this process may keep busy.

    Returns
    -------
    int
        At least 1; limited by the affinity mask and by the cgroup's quota, which is
        what a container or a batch job gets; with those of the other machines of a
        Slurm job, where ranks can run too.
    """
    machines = allocation(os.environ)
    others = elsewhere(machines)
    if machines.keys() == others.keys():
        return sum(others.values()) or _cores_here()
    share = sum(machines.values()) - sum(others.values())
    return min(share, _cores_here()) + sum(others.values())


def _cores_here() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quotas = [quota for group in _groups("cpu") if (quota := _quota(group)) is not None]
    return max(1, min([cores, *(int(quota) for quota in quotas)]))


def available_memory() -> int:
    """Measure the memory that new processes may take.

    Returns
    -------
    int
        Bytes; limited by the cgroup's limit. Files that the system keeps in memory
        leave it when it is needed, so they do not count as used.
    """
    available = psutil.virtual_memory().available
    for group in _groups("memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _number(group / limit_name), _number(group / used_name)
            if limit is not None and used is not None:
                used -= _cached(group)
                available = min(available, max(0, limit - used))
    return int(available)


def _cached(group: Path) -> int:
    """Bytes of files that a cgroup's processes read or wrote, kept in memory."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    told = dict(line.split(maxsplit=1) for line in lines)
    # Version 1 counts the groups below separately.
    prefix = "total_" if "total_inactive_file" in told else ""
    kinds = ("inactive_file", "active_file")
    return sum(int(told.get(prefix + kind, 0)) for kind in kinds)


def _groups(controller: str) -> list[Path]:
    """List the cgroup directories, v2 and v1, that limit this process."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controllers if controllers else _CGROUP
        leaf = Path(path.lstrip("/"))
        groups += [root / part for part in (leaf, *leaf.parents)]
    return list(dict.fromkeys(groups))


def _quota(group: Path) -> float | None:
    """Cores' worth of CPU time that a cgroup allows, None for no limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        quota = str(_number(group / "cpu.cfs_quota_us") or "max")
        period = str(_number(group / "cpu.cfs_period_us") or "")
    if not quota.isdigit() or not period.isdigit() or period == "0":
        return None
    return int(quota) / int(period)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
