"""make: the same environment in this process or on a cluster, by one argument."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from livn_ipp.cluster.limits import Limits
from livn_ipp.cluster.starting.shape import check_count
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.system import System

__all__ = ["CONFIG_KEYS", "checked_config", "make"]

_WHERE: Final = (
    "subworld_size",
    "partition",
    "sync_interval",
    "workers_per_world",
    "min_workers",
    "launcher",
    "launcher_options",
    "cluster",
    "client",
    "profile",
    "cluster_id",
    "comm",
    "transport",
)
CONFIG_KEYS: Final = (*_WHERE, *(field.name for field in fields(Limits)))
"""The keys of ``distributed_config``."""

_ELSEWHERE: Final = {
    "strategy": "partition",
    "sync_frequency": "sync_interval",
    "heartbeat_timeout": "stall_timeout",
}
"""What other systems call some of them."""


def make(
    system: System | str | Path | int | Mapping[str, int],
    model: Any = None,
    io: Any = None,
    seed: int = 123,
    *,
    distributed: bool = False,
    num_workers: int | None = None,
    distributed_config: Mapping[str, Any] | None = None,
    strict: bool = False,
    backend: str | Callable[..., Any] = "neuron",
) -> DistributedEnv:
    """Make an environment that runs in this process, or on a cluster.

    Both are used in the same way and give the same results, bit for bit.

    Parameters
    ----------
    system, model, io, seed, backend
        As :class:`livn_ipp.env.distributed.DistributedEnv` takes them.
    distributed
        Whether calls run on the workers of a cluster, all at once; else they run one
        after the other in this process.
    num_workers
        How many workers; by default as many as the cores allow that this process may
        use, by its affinity mask, its cgroup's quota and its Slurm job, and no more
        than there is memory for.
    distributed_config
        Further options by name: :data:`CONFIG_KEYS`, which are those of
        ``DistributedEnv``.
    strict
        Whether it is an error if no cluster can be started; else one
        :class:`livn_ipp.errors.DistributedFallbackWarning` tells why, and calls run in
        this process.

    Returns
    -------
    DistributedEnv
        Call its ``init()``, or use it in a ``with`` statement.

    Raises
    ------
    ConfigError
        If a key is unknown or a value cannot be used; nothing was started then.

    Examples
    --------
    >>> with make("EI1") as env:
    ...     run = env.record_spikes().run(50)
    >>> with make("EI1", distributed=True, num_workers=4) as env:  # doctest: +SKIP
    ...     run.digest() == env.record_spikes().run(50).digest()
    True
    >>> make("EI1", distributed=True, distributed_config={"partiton": "cost"})
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: unknown key 'partiton' of distributed_config; did you
    mean 'partition'? The keys are subworld_size, partition, ...
    """
    options = checked_config(distributed_config)
    if num_workers is not None:
        check_count("num_workers", num_workers)
    if not distributed:
        if num_workers is not None or distributed_config:
            given = "num_workers" if num_workers is not None else "distributed_config"
            raise ConfigError(f"{given} needs distributed=True")
        return DistributedEnv(
            system, model, io, seed, transport="local", backend=backend
        )
    return DistributedEnv(
        system,
        model,
        io,
        seed,
        num_workers=num_workers,
        backend=backend,
        strict=strict,
        **options,
    )


def checked_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check the keys of a ``distributed_config``; its values are for the environment.

    Raises
    ------
    ConfigError
        If it is no mapping, or a key is unknown.
    """
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"distributed_config must map names to values, such as "
            f"{{'subworld_size': 2}}, not {config!r}"
        )
    for key in config:
        if key not in CONFIG_KEYS:
            raise ConfigError(
                f"unknown key {key!r} of distributed_config{_hint(key)} The keys are "
                f"{', '.join(CONFIG_KEYS)}"
            )
    return dict(config)


def _hint(key: Any) -> str:
    if key in ("num_workers", "world_size"):
        return "; num_workers is an argument of make() itself."
    near = difflib.get_close_matches(str(key), CONFIG_KEYS, 1)
    meant = _ELSEWHERE.get(key) or (near[0] if near else None)
    return f"; did you mean {meant!r}?" if meant else "."
