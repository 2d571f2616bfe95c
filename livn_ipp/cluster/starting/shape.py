"""How many worlds of how many ranks a cluster has."""

import os
from dataclasses import dataclass
from typing import Literal, Self

from livn_ipp.cluster.machine.allocation import allocation, elsewhere
from livn_ipp.cluster.machine.environment import usable_cores
from livn_ipp.cluster.machine.preflight import ranks_in_memory
from livn_ipp.errors import ConfigError

__all__ = ["Shape", "check_count"]


@dataclass(frozen=True)
class Shape:
    """Numbers of workers, worlds and ranks that fit together.

    Attributes
    ----------
    num_workers
        Subworlds in all.
    subworld_size
        Ranks per worker.
    workers_per_world
        Workers that share one MPI job.
    """

    num_workers: int
    subworld_size: int
    workers_per_world: int

    @classmethod
    def of(
        cls,
        num_workers: int | None,
        subworld_size: int,
        workers_per_world: int | Literal["all"],
    ) -> Self:
        """Check what a user asked for, and complete it.

        Parameters
        ----------
        num_workers
            None for as many as the usable cores and, unless ranks are on other machines
            too, the free memory allow; at least 1.
        subworld_size
            Ranks per worker.
        workers_per_world
            "all" for a single job.

        Returns
        -------
        Shape
            With every number given.

        Raises
        ------
        ConfigError
            If a number is none, or if worlds would differ in size.

        Examples
        --------
        >>> Shape.of(6, 2, "all").num_worlds, Shape.of(6, 2, 3).world_size
        (1, 6)
        """
        check_count("subworld_size", subworld_size)
        if num_workers is None:
            num_workers = max(1, _room() // subworld_size)
        check_count("num_workers", num_workers)
        if workers_per_world == "all":
            return cls(num_workers, subworld_size, num_workers)
        check_count("workers_per_world", workers_per_world)
        if num_workers % workers_per_world:
            fitting = [n for n in range(1, num_workers + 1) if num_workers % n == 0]
            raise ConfigError(
                f"workers_per_world={workers_per_world} does not divide "
                f"num_workers={num_workers}; use 'all' or one of {fitting}"
            )
        return cls(num_workers, subworld_size, workers_per_world)

    def worlds_of(self, min_workers: int | None) -> int | None:
        """Count the worlds that so many workers need; None for None.

        Raises
        ------
        ConfigError
            If they are not whole worlds, or more than there are.

        Examples
        --------
        >>> Shape.of(6, 1, 2).worlds_of(4)
        2
        """
        if min_workers is None:
            return None
        check_count("min_workers", min_workers)
        if min_workers > self.num_workers:
            raise ConfigError(
                f"min_workers={min_workers} is more than num_workers={self.num_workers}"
            )
        if min_workers % self.workers_per_world:
            raise ConfigError(
                f"min_workers={min_workers} is no multiple of workers_per_world="
                f"{self.workers_per_world}: the workers of a world come together"
            )
        return min_workers // self.workers_per_world

    @property
    def num_worlds(self) -> int:
        """MPI jobs."""
        return self.num_workers // self.workers_per_world

    @property
    def world_size(self) -> int:
        """Ranks per MPI job."""
        return self.workers_per_world * self.subworld_size

    @property
    def num_ranks(self) -> int:
        """Ranks in all."""
        return self.num_workers * self.subworld_size


def _room() -> int:
    """Count the ranks that there is room for."""
    cores = usable_cores()
    if elsewhere(allocation(os.environ)):
        return cores
    return min(cores, ranks_in_memory())


def check_count(name: str, value: object) -> None:
    """Refuse what is not a number of things.

    Parameters
    ----------
    name
        What is counted.
    value
        A whole number of at least 1.

    Raises
    ------
    ConfigError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
