"""What can be asked of a cluster, whoever started it."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livn_ipp.cluster import topology
from livn_ipp.cluster.keeping.journal import Journal, Past
from livn_ipp.cluster.reaching.connect import Connection
from livn_ipp.cluster.topology import Rank, WorkerPlace
from livn_ipp.display import Card, Shown, new_dashboard, new_telemetry
from livn_ipp.errors import ClusterLost, ConfigError, LivnError

__all__ = ["Reachable"]


class Reachable(Shown):
    """A cluster of which some connection may be open.

    Parameters
    ----------
    cluster_id
        Name of the cluster; empty for the profile's default one.
    subworld_size
        Ranks per worker.
    owned
        Whether this process starts and ends it.

    Attributes
    ----------
    file : Path or None
        The cluster file, by which other processes find it: see
        :meth:`livn_ipp.cluster.launch.Cluster.from_file`.
    users : set
        The transports that use its workers.
    ending : bool
        Whether it is about to be stopped, so that no worker need be made free.
    launching : set
        Names of worlds that were started here and are not complete.
    shown_by : callable or None
        Gives the ``dashboard`` of the environment that uses it, or None if that ended.
    """

    def __init__(self, cluster_id: str, subworld_size: int, *, owned: bool) -> None:
        self.cluster_id = cluster_id
        self.subworld_size = subworld_size
        self.owned = owned
        self.file: Path | None = None
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.ending = False
        self._detach = False
        self._connection: Connection | None = None
        self._stopped = False
        self._ended_worlds: set[str] = set()
        self.launching: set[str] = set()
        self.shown_by: Callable[[], Callable[[], Any] | None] | None = None
        self._members: dict[str, tuple[Rank, ...]] = {}

    @property
    def outlives(self) -> bool:
        """Whether its workers outlive this process, and another may find them."""
        return self.file is not None and (self._detach or not self.owned)

    @property
    def journal(self) -> Path:
        """Where an environment writes down what another process needs to go on."""
        assert self.file is not None
        return self.file.with_suffix(".journal")

    def past(self) -> Past:
        """Read what the process that used the workers last wrote down.

        Raises
        ------
        ConfigError
            If there is nothing to go on with.
        """
        if self.file is None:
            raise ConfigError(
                f"{self!r} has no cluster file, so nothing is known of what ran on it; "
                f"clusters that Cluster(...) or `livn-ipp start` started have one"
            )
        return Journal.read(self.journal)

    @property
    def client(self) -> Any:
        """An ``ipyparallel.Client`` for the user; ``%%px`` uses it."""
        return self._connected().user

    def connect(self) -> Any:
        """Open a further client with sockets of its own; closed by ``stop``.

        Returns
        -------
        ipyparallel.Client
            A new one for each call.

        Raises
        ------
        ClusterLost
            If the cluster does not answer or was stopped.
        """
        return self._connected().open()

    def ranks(self) -> tuple[Rank, ...]:
        """Tell the place in MPI of every engine that is registered now.

        Only engines that are new since the last call are asked, so busy ones do not
        hold this up.

        Returns
        -------
        tuple of Rank
            Ordered by world and rank.

        Raises
        ------
        ClusterLost
            If the cluster is gone or an engine does not answer.
        """
        found = self._connected().ranks()
        # The hub may take a moment to notice that a world was ended; and whoever comes
        # by itself is looked at first.
        return tuple(
            rank
            for rank in found
            if rank.world in self._members and rank.world not in self._ended_worlds
        )

    @property
    def worlds(self) -> dict[str, tuple[Rank, ...]]:
        """Ranks by world, ordered by rank."""
        return topology.worlds(self.ranks())

    @property
    def workers(self) -> tuple[WorkerPlace, ...]:
        """The places of the workers."""
        return topology.workers(self.ranks(), self.subworld_size)

    @property
    def num_workers(self) -> int:
        """How many workers its ranks make."""
        return len(self.ranks()) // self.subworld_size

    def dashboard(self) -> Any:
        """Show the workers in a notebook.

        With an environment on this cluster it is that environment's dashboard, which
        follows workers and calls live; without one, it tells which workers there are
        now.

        Returns
        -------
        livn_ipp.view.dashboard.Dashboard
            Displayed where it is the last expression of a cell.
        """
        show = None if self.shown_by is None else self.shown_by()
        if show is not None:
            return show()
        telemetry = new_telemetry(self._title)
        ranks = {rank.engine: rank for rank in self.ranks()}
        for place in self.workers:
            telemetry.joined(place.index)
            pids = tuple(ranks[engine].pid for engine in place.engines)
            telemetry.placed(place.index, place.host, pids)
        return new_dashboard(telemetry)

    def __repr__(self) -> str:
        state = self._state
        if state not in {"not started", "running"}:
            return f"<{self._title}: {state}>"
        size = f"{self.num_workers} workers x {self.subworld_size} ranks"
        return f"<{self._title}: {size}, {state}>"

    @property
    def _title(self) -> str:
        return f"Cluster {self.cluster_id or '(default)'}"

    @property
    def _state(self) -> str:
        if self._stopped:
            return "stopped" if self.owned else "disconnected"
        if self._connection is None:
            return "not started" if self.owned else "not connected"
        return "running"

    def _card(self) -> Card:
        if self._state != "running":
            return Card(self._title, self._state)
        try:
            worlds = self.worlds
        except LivnError as error:  # as while a world is being replaced
            return Card(self._title, "running", details=str(error))
        rows = tuple(
            (name, f"{len(ranks)}", ", ".join(sorted({r.host for r in ranks})))
            for name, ranks in worlds.items()
        )
        workers = sum(map(len, worlds.values())) // self.subworld_size
        facts = (("workers", f"{workers} x {self.subworld_size} ranks"),)
        return Card(self._title, "running", facts, ("world", "ranks", "hosts"), rows)

    def _connected(self) -> Connection:
        if self._connection is None or self._stopped:
            raise ClusterLost(f"{self!r} cannot be reached; start a cluster first")
        return self._connection
