"""Where the workers of an environment are: the choice of a transport."""

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final, Literal

from livn_ipp.cluster.dispatcher import Transport
from livn_ipp.cluster.launchers import launcher as choose_launcher
from livn_ipp.cluster.starting.shape import Shape, check_count
from livn_ipp.errors import (
    ConfigError,
    DistributedFallbackWarning,
    PreflightError,
)

__all__ = ["Place"]

_TRANSPORTS: Final = ("auto", "ipp", "mpi", "local")


class Place:
    """Where the workers are: on a cluster, under mpirun or in this process.

    Parameters
    ----------
    transport, comm, subworld_size, num_workers, cluster, workers_per_world
        As :class:`livn_ipp.env.distributed.DistributedEnv` takes them.
    launcher, launcher_options, min_workers, strict
        The same.
    attach
        How to find a cluster that runs: ``client``, ``profile``, ``cluster_id``.

    Attributes
    ----------
    world
        The communicator that mpirun started this process in, or None.
    cluster
        The cluster in use, once there is one.

    Raises
    ------
    ConfigError
        If these do not fit together.
    """

    def __init__(
        self,
        transport: str,
        comm: Any,
        subworld_size: int | None,
        num_workers: int | None,
        cluster: Any,
        attach: dict[str, Any],
        workers_per_world: int | Literal["all"],
        launcher: str,
        launcher_options: Mapping[str, Any] | None = None,
        min_workers: int | None = None,
        strict: bool | None = None,
    ) -> None:
        if transport not in _TRANSPORTS:
            raise ConfigError(
                f"unknown transport {transport!r}; choose from {_TRANSPORTS}"
            )
        for name, count in (
            ("num_workers", num_workers),
            ("subworld_size", subworld_size),
        ):
            if count is not None:
                check_count(name, count)
        self.world = _mpi_world(comm) if transport in ("auto", "mpi") else None
        if transport == "mpi" and self.world is None:
            ranks = (subworld_size or 1) * (num_workers or 2) + 1
            raise ConfigError(
                "transport='mpi' needs mpirun: start the script with "
                f"mpirun -n {ranks} python ..."
            )
        if self.world is not None and num_workers is not None:
            _require(self.world, num_workers, subworld_size or 1)
        if self.world is None and transport != "local" and not cluster:
            # What a cluster would refuse is refused before anything starts.
            choose_launcher(launcher, (), launcher_options)
            shape = Shape.of(num_workers, subworld_size or 1, workers_per_world)
            shape.worlds_of(min_workers)
        self.cluster = cluster
        self._owned: Any = None
        self._name = transport
        self._num_workers = num_workers
        self._attach = attach
        self._workers_per_world = workers_per_world
        self._launcher = launcher
        self._launcher_options = launcher_options
        self._min_workers = min_workers
        asked = (
            transport == "ipp"
            or num_workers is not None
            or subworld_size != 1
            or launcher != "mpi"
        )
        # Whoever asked for a cluster is told that there is none, unless he asked for
        # as much of it as can be had.
        self._strict = asked if strict is None else strict

    @property
    def local(self) -> bool:
        """Whether calls are to run in this process, whatever could be had."""
        return self._name == "local"

    def is_root(self) -> bool:
        """Tell whether this process is the controller."""
        return self.world is None or bool(
            self.world.Get_rank() == self.world.Get_size() - 1
        )

    def transport(self, subworld_size: int) -> Transport:
        """Choose how to reach workers of this many ranks; start a cluster if need be.

        Raises
        ------
        PreflightError
            If a cluster was asked for and something it needs is missing.
        """
        if self.world is not None:
            from livn_ipp.cluster.transports.mpi import MpiTransport

            return MpiTransport(self.world, subworld_size)
        if self._name != "local":
            try:
                return self.engines(subworld_size)
            except PreflightError as error:
                if self._strict:
                    raise
                self.close()
                self.cluster = None
                reason = str(error).splitlines()[0]
                warnings.warn(
                    f"no cluster can be started here ({reason}); calls run one after "
                    "the other in this process",
                    DistributedFallbackWarning,
                    stacklevel=4,
                )
        from livn_ipp.cluster.transports.local import LocalTransport

        return LocalTransport()

    def engines(self, subworld_size: int) -> Transport:
        """Reach workers on the engines of an ipyparallel cluster."""
        from livn_ipp.cluster.launch import Cluster

        if self.cluster is None:
            if any(value is not None for value in self._attach.values()):
                self.cluster = Cluster.attach(**self._attach)
            else:
                self.cluster = Cluster(
                    self._num_workers,
                    subworld_size,
                    workers_per_world=self._workers_per_world,
                    launcher=self._launcher,
                    launcher_options=self._launcher_options,
                    min_workers=self._min_workers,
                )
                self._owned = self.cluster
                self.cluster.start()
        # Not before: where ipyparallel is missing, the start says so.
        from livn_ipp.cluster.transports.ipp import IppTransport

        return IppTransport(self.cluster, subworld_size)

    def another(self, ranks: int) -> Any:
        """Describe a cluster of one worker, started in the same way as this one."""
        from livn_ipp.cluster.launch import Cluster

        options = self._launcher_options
        return Cluster(1, ranks, launcher=self._launcher, launcher_options=options)

    def prepare_to_close(self) -> None:
        """Let nobody make the cluster's workers free, if it is about to end."""
        if self._owned is not None:
            self._owned.ending = True

    def close(self) -> None:
        """End the cluster, if it was started here."""
        owned, self._owned = self._owned, None
        if owned is not None:
            owned.stop()


def _require(world: Any, num_workers: int, subworld_size: int) -> None:
    """Refuse another number of workers than mpirun started ranks for."""
    wanted = num_workers * subworld_size + 1
    if world.Get_size() != wanted:
        raise ConfigError(
            f"num_workers={num_workers} of subworld_size={subworld_size} and the "
            f"controller are {wanted} ranks, but mpirun started {world.Get_size()}: "
            f"use mpirun -n {wanted}, or leave num_workers out"
        )


def _mpi_world(comm: Any) -> Any:
    """Return the world that mpirun started us in, or None if it did not."""
    started = any(name in os.environ for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))
    engine = "ipyparallel.engine" in sys.modules
    if comm is None and (not started or engine):
        return None
    if comm is None:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    return comm if comm.Get_size() > 1 else None
