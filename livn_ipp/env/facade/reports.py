"""How ranks share the work of a distributed environment, and what more would bring."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import Dispatcher
from livn_ipp.env.choose import Place
from livn_ipp.env.facade.scaling_report import ScalingReport, checked_ranks, measured
from livn_ipp.errors import ConfigError
from livn_ipp.system import System

__all__ = ["Reports"]


class Reports(ABC):
    """Reports on the ranks of workers."""

    system: System
    _factory: Any
    _place: Place

    @property
    def partition(self) -> str | None:
        """How a worker's ranks divide the cells; None where the backend does not."""
        return getattr(self._factory, "partition", None)

    @property
    def sync_interval(self) -> float | None:
        """Biological time in ms between two votes of a worker's ranks; as above."""
        return getattr(self._factory, "sync_interval", None)

    def partition_report(self, worker: int | None = None) -> Any:
        """Tell how the ranks of a worker share the culture, and how busy each was.

        Parameters
        ----------
        worker
            By default the one with the least to do.

        Returns
        -------
        PartitionReport
            See :class:`livn_ipp.neuron.partition_report.PartitionReport`.

        Examples
        --------
        >>> env.partition_report()  # doctest: +SKIP
        PartitionReport(cost: 100 cells on 2 ranks, balance 1.00, busy 0.97)
        """
        live = self._live()
        if worker is not None and worker not in live.workers:
            raise ConfigError(
                f"there is no worker {worker}; live workers are {list(live.workers)}"
            )
        arguments = wire.dumps(((), {}))
        return live.ask("partition_report", arguments, worker=worker).result()

    def scaling_report(
        self, ranks: Iterable[int] = (1, 2, 4), duration: float = 200.0
    ) -> ScalingReport:
        """Measure how much faster more ranks per worker simulate this culture.

        Starts a cluster of one worker for each number of ranks, with the present
        configuration, and ends it again. More ranks than cores are measured too, and
        marked.

        Parameters
        ----------
        ranks
            Numbers of ranks per worker; 1 is always measured.
        duration
            Length of each run in ms.

        Returns
        -------
        ScalingReport
            Seconds per biological second and efficiency against one rank.

        Raises
        ------
        PreflightError
            If no cluster can be started.
        ConfigError
            If `ranks` are no numbers of ranks, or under ``mpirun``.

        Examples
        --------
        >>> env.scaling_report([1, 2])  # doctest: +SKIP
        ScalingReport(EI2 on 2 cores: 1 rank 0.21 s/s; 2 ranks 0.12 s/s, ...)
        """
        if self._place.world is not None:
            raise ConfigError(
                "under mpirun the number of ranks is given; ask for a scaling_report "
                "in a notebook or a plain script"
            )
        return measured(
            self.system.name, checked_ranks(ranks), duration, self._with_ranks
        )

    @contextmanager
    def _with_ranks(self, ranks: int) -> Iterator[Any]:
        """Start an environment like this one, of one worker of so many ranks."""
        log = self._live().log
        with self._place.another(ranks) as cluster:
            like = self._like(cluster, ranks)
            with like:
                for entry in log:
                    like._set(entry.method, entry.arguments)  # noqa: SLF001 - its own
                yield like.record_spikes()

    @abstractmethod
    def _like(self, cluster: Any, subworld_size: int) -> Any:
        """Make an environment of the same culture on another cluster."""

    @abstractmethod
    def _live(self) -> Dispatcher:
        """Return what dispatches calls, or say why there is none."""
