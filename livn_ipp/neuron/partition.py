"""The ranks of a world, divided into subworlds that NEURON and mpi4py agree on."""

import gc
from typing import Any, Final, Protocol

from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.subworld import Subworld

__all__ = ["Tenant", "World"]

_RING_TIME: Final = 20  # ms


class Tenant(Protocol):
    """Whatever has cells in this process; there is room for one."""

    def close(self) -> None:
        """Remove the cells."""


class World:
    """All ranks of one mpiexec job, as NEURON sees them.

    NEURON keeps cells, gids and its division into subworlds per process, so each
    process has one World and at most one network.

    Parameters
    ----------
    h
        NEURON's interpreter, its MPI initialised if there is a `comm`.
    comm
        mpi4py's communicator of the job; None for a process without MPI.

    Attributes
    ----------
    h, pc
        NEURON's interpreter and its ParallelContext.
    subworld : Subworld
        The subworld that this process is in.
    """

    def __init__(self, h: Any, comm: Any = None) -> None:
        self.h = h
        self.pc = h.ParallelContext()
        self.comm = comm
        self.size: int = comm.Get_size() if comm is not None else 1
        self.rank: int = comm.Get_rank() if comm is not None else 0
        self.subworld = Subworld()
        self._split: Any = None
        self._tenant: Tenant | None = None

    def occupy(self, tenant: Tenant) -> None:
        """Give the process to a network; the one before it is closed."""
        self.vacate()
        self._tenant = tenant

    def vacate(self) -> None:
        """Close the network of this process, if any."""
        tenant, self._tenant = self._tenant, None
        if tenant is not None:
            tenant.close()

    def partition(self, subworld_size: int) -> Subworld:
        """Divide the world into subworlds of consecutive ranks.

        Collective over the world. Where the size does not divide the number of ranks,
        the last subworld is smaller. Networks are closed.

        Parameters
        ----------
        subworld_size
            Ranks per subworld, from 1 to the size of the world.

        Returns
        -------
        Subworld
            The one that this process is in.

        Raises
        ------
        ConfigError
            If the size does not fit, or the ranks ask for different ones.
        PreflightError
            If NEURON and mpi4py disagree or spikes get lost.
        """
        if not 1 <= subworld_size <= self.size:
            raise ConfigError(
                f"subworld_size={subworld_size} does not fit a world of {self.size} "
                f"ranks; choose 1 to {self.size}"
            )
        sizes = self.gather(subworld_size)
        if len(set(sizes)) > 1:
            raise ConfigError(f"the ranks ask for different subworld sizes: {sizes}")
        self.vacate()
        if self.comm is not None:
            self._flush()
            self.pc.subworlds(subworld_size)
            self._split_communicator(subworld_size)
        self.require(self._disagreement())
        self.require(self._ring())
        return self.subworld

    def gather(self, value: Any) -> list[Any]:
        """Collect one object of each rank of the world on every rank."""
        return [value] if self.comm is None else self.comm.allgather(value)

    def require(self, problem: str) -> None:
        """Raise PreflightError on all ranks of the world if one has a problem."""
        problems = [p for p in self.gather(problem) if p]
        if problems:
            raise PreflightError("; ".join(dict.fromkeys(problems)))

    def _flush(self) -> None:
        # NEURON latches the number of ranks and the spike counts of its first and last
        # exchange in static arrays. After a change of size, spikes are silently lost or
        # repeated. An exchange of nothing between all ranks resets them.
        self.pc.gid_clear()
        gc.collect()
        self.pc.subworlds(int(self.pc.nhost_world()))
        self.pc.set_maxstep(1)
        self.h.finitialize(-65)
        self.pc.psolve(0.1)

    def _split_communicator(self, subworld_size: int) -> None:
        if self._split is not None:
            self._split.Free()
        self._split = self.comm.Split(self.rank // subworld_size, self.rank)
        self.subworld = Subworld(self._split)

    def _disagreement(self) -> str:
        pc, mine = self.pc, self.subworld
        neuron = (pc.id_world(), pc.nhost_world(), pc.id(), pc.nhost())
        ours = (self.rank, self.size, mine.rank, mine.size)
        if tuple(map(int, neuron)) == ours:
            return ""
        return (
            f"NEURON and mpi4py disagree on (rank, ranks, rank in subworld, ranks in "
            f"subworld): {tuple(map(int, neuron))} and {ours}; NEURON uses another "
            f"MPI library than mpi4py, or none"
        )

    def _ring(self) -> str:
        """Pass spikes around a ring of one cell per rank and count them."""
        h, pc, mine = self.h, self.pc, self.subworld
        cell = h.IntFire1()
        cell.refrac = 0.5
        pc.set_gid2node(mine.rank, mine.rank)
        pc.cell(mine.rank, h.NetCon(cell, None))
        link = pc.gid_connect((mine.rank - 1) % mine.size, cell)
        link.delay, link.weight[0] = 1.0, 2.0
        start = h.NetCon(None, cell)
        start.weight[0] = 2.0
        times, ids = h.Vector(), h.Vector()
        pc.spike_record(mine.rank, times, ids)
        h.dt = 0.25
        pc.set_maxstep(10)
        h.finitialize(-65)
        start.event(0.5)
        pc.psolve(_RING_TIME)
        count = len(times)
        pc.gid_clear()
        del cell, link, start, times, ids
        gc.collect()
        if count == _RING_TIME:
            return ""
        return (
            f"NEURON loses spikes between ranks: rank {self.rank} saw {count} instead "
            f"of {_RING_TIME} in a ring of {mine.size}; restart the ranks"
        )
