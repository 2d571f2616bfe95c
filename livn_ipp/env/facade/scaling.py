"""More workers or fewer, while calls run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from livn_ipp.cluster.dispatcher import Dispatcher
from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import ConfigError

__all__ = ["Scaling"]


class Scaling(ABC):
    """The workers of an environment by number; its cluster starts and ends them."""

    def scale(self, num_workers: int, *, drain: bool = True) -> Self:
        """Have this many workers; see :meth:`livn_ipp.cluster.launch.Cluster.scale`.

        New ones get the configuration, and calls as soon as they are ready.
        """
        self._engines().scale(num_workers, drain=drain)
        return self

    def add_workers(self, num_workers: int = 1) -> Self:
        """Start further workers; see the method of ``Cluster``."""
        self._engines().add_workers(num_workers)
        return self

    def remove_workers(
        self, workers: int | Sequence[int], *, drain: bool = True
    ) -> Self:
        """Let workers go; see the method of ``Cluster``."""
        self._engines().remove_workers(workers, drain=drain)
        return self

    def restart_worker(self, worker: int) -> Self:
        """End a worker and start another instead; see the method of ``Cluster``."""
        self._engines().restart_worker(worker)
        return self

    def wait_for_workers(self, num_workers: int, timeout: float = 120.0) -> Self:
        """Wait until so many workers are ready; see the method of ``Cluster``."""
        self._engines().wait_for_workers(num_workers, timeout)
        return self

    @property
    def num_workers(self) -> int:
        """Workers that are ready at this moment."""
        return len(self._live().workers)

    def ranks(self) -> dict[int, tuple[Rank, ...]]:
        """Tell which processes each worker is made of now.

        Returns
        -------
        dict
            By the worker's index its ranks, the leader first; without workers that are
            being replaced.

        Examples
        --------
        >>> [rank.pid for rank in env.ranks()[0]]  # doctest: +SKIP
        [4711, 4712]
        """
        self._engines()
        ranks: dict[int, tuple[Rank, ...]] = self._live().transport.ranks  # type: ignore[attr-defined]
        return ranks

    def _engines(self) -> Any:
        """Return the cluster, if there is one whose workers may come and go."""
        name = self._live().transport.name
        if name != "ipp":
            raise ConfigError(
                f"workers can come and go, and be reached one by one, on ipyparallel "
                f"engines only, not over transport {name!r}"
            )
        return self.cluster

    @property
    @abstractmethod
    def cluster(self) -> Any:
        """The cluster whose engines are the workers' ranks, or None."""

    @abstractmethod
    def _live(self) -> Dispatcher:
        """Return what dispatches calls, or say why there is none."""
