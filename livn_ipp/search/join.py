"""Worker: a machine that joins a running cluster with an objective of its own."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cloudpickle

from livn_ipp.cluster.keeping.scratch import Scratch, write_frames
from livn_ipp.cluster.limits import check_limit
from livn_ipp.cluster.starting.join import join
from livn_ipp.errors import ConfigError
from livn_ipp.search.evaluate import OWN_OBJECTIVE, Objective

__all__ = ["Worker"]


class Worker:
    """One more world for a cluster, whose ranks bring the objective along.

    Whoever searches then needs no objective, and not even the libraries that it needs.
    Where both have one, the worker's is asked.

    Parameters
    ----------
    cluster
        The cluster file, which ``livn-ipp start`` or ``Cluster(..., file=...)`` writes.
        It may come later.
    objective
        Called as ``objective(env, candidate, seed)``, as that of a
        :class:`livn_ipp.search.Search`.
    num_ranks
        Ranks of this machine; by default the cluster's number per worker.
    connect_timeout
        Seconds to wait for the cluster; None for ever.
    tell
        Is told in words how it goes.

    Raises
    ------
    ConfigError
        If an argument cannot be used.

    Examples
    --------
    >>> def objective(env, candidate, seed):
    ...     return candidate["x"] ** 2
    >>> Worker("cluster.json", objective, num_ranks=3).start()  # doctest: +SKIP
    """

    def __init__(
        self,
        cluster: str | Path,
        objective: Objective,
        num_ranks: int | None = None,
        *,
        connect_timeout: float | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        if not callable(objective):
            raise ConfigError(
                f"objective must be callable as objective(env, candidate, seed), not "
                f"{objective!r}"
            )
        check_limit("connect_timeout", connect_timeout)
        self._cluster = Path(cluster)
        self._objective = objective
        self._num_ranks = num_ranks
        self._connect_timeout = connect_timeout
        self._tell = tell

    def start(self) -> int:
        """Join, and serve until the cluster ends or this process is interrupted.

        Waits for the cluster if it is not there yet, trying again ever more rarely.

        Returns
        -------
        int
            0 once the cluster has ended.

        Raises
        ------
        ClusterLost
            If there is no cluster in time.
        VersionMismatch
            If this machine runs other software than the cluster.
        PreflightError
            If something is missing on this machine, or the world ended by itself.
        """
        # For its owner alone, and swept away also if this process is killed.
        directory = Scratch(Path(tempfile.gettempdir()))
        try:
            file = directory.new()
            write_frames(file, (cloudpickle.dumps(self._objective),))
            return join(
                self._cluster,
                self._num_ranks,
                self._connect_timeout,
                self._tell,
                variables={OWN_OBJECTIVE: str(file)},
            )
        finally:
            directory.remove()
