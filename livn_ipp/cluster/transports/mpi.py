"""The transport of ``mpirun`` scripts: plain MPI messages, the highest rank controls.

Messages to a worker go to each of its ranks; the leader answers. Whoever waits probes
eagerly for a moment and then sleeps between probes, because a blocking MPI receive
would burn a core that a simulation could use.
"""

from concurrent.futures import Future
from typing import Any

from livn_ipp.cluster import wire, worker
from livn_ipp.cluster.dispatcher import Listener
from livn_ipp.cluster.limits import Limits
from livn_ipp.cluster.transports.messages import Reader, receive, send, wait
from livn_ipp.errors import ConfigError, RankFailure, call_error

__all__ = ["MpiTransport", "serve"]

_PARCEL, _REPLY, _PROGRESS, _STOP, _EXIT, _READY = range(2, 8)


class MpiTransport:
    """The controller's end, on the highest rank of the world.

    Parameters
    ----------
    world
        The mpi4py communicator of all ranks, ``COMM_WORLD`` as a rule.
    subworld_size
        Ranks per worker; the ranks below the highest must fill whole workers.
    """

    name = "mpi"

    def __init__(self, world: Any, subworld_size: int) -> None:
        self._workers = _worker_count(world, subworld_size)
        self._world = world
        self._size = subworld_size
        self._comm: Any = None
        self._listener: Listener | None = None
        self._reader: Reader | None = None
        self._requests: list[tuple[Any, Any]] = []
        self._hung: set[int] = set()

    def start(self, factory: Any, listener: Listener) -> tuple[int, ...]:
        """Boot together with the ranks that called `serve`."""
        self._listener = listener
        self._comm = self._world.Dup()
        try:
            factory.prepare(self._world, self._size)
        except BaseException:
            self._tell_all(_EXIT)
            raise
        failures: list[RankFailure] = []
        for index in range(self._workers):
            failures += self._comm.recv(source=index * self._size, tag=_READY)
        if failures:
            self._tell_all(_EXIT)
            raise call_error(tuple(failures), aftermath="nothing was built")
        self._reader = Reader(self._comm, self._read)
        return tuple(range(self._workers))

    def send(self, worker: int, parcel: int, items: tuple[wire.Item, ...]) -> None:
        """Send a parcel to every rank of a worker."""
        frames = wire.pack((parcel, items))
        for rank in range(worker * self._size, (worker + 1) * self._size):
            self._requests += send(self._comm, frames, rank, _PARCEL)
        self._requests = [r for r in self._requests if not r[0].Test()]
        if self._reader is not None:
            self._reader.expect()

    def help(self, future: "Future[Any]", timeout: float | None) -> None:
        """Read replies on the thread of a caller who waits for one."""
        if self._reader is not None:
            self._reader.help(future.done, timeout)

    def where(self, _worker: int) -> tuple[str, tuple[int, ...]]:
        """Tell nothing: ranks do not say where they run."""
        return "", ()

    def stop_call(self, worker: int, call: int) -> None:
        """Tell the leader, which looks for it at every vote."""
        self._comm.send(call, dest=worker * self._size, tag=_STOP)

    def replace(self, worker: int, reason: str) -> None:
        """Give up a worker that hangs; one world cannot get another in its place."""
        assert self._listener is not None
        self._hung.add(worker)
        self._listener.lost(worker, f"{reason}; mpirun cannot replace it")

    def release(self, worker: int) -> None:
        """Do nothing: ranks stay until the world ends."""

    def engage(self, _worker: int) -> None:
        """Do nothing: steps travel as fast as can be."""

    def disengage(self, _worker: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Let the other ranks leave `serve`."""
        reader, self._reader = self._reader, None
        if reader is not None:
            self._tell_all(_EXIT)
            reader.close()

    def _tell_all(self, tag: int) -> None:
        for rank in range(self._workers * self._size):
            self._comm.send(None, dest=rank, tag=tag)

    def _read(self, source: int, tag: int) -> bool:
        """Read one message and pass it on; True if it was a reply."""
        assert self._listener is not None
        index = source // self._size
        if tag == _PROGRESS:
            progress = wire.unpack(receive(self._comm, source, tag))
            self._listener.progressed(index, progress)
            return False
        reply = wire.unpack(receive(self._comm, source, _REPLY))
        self._listener.replied(index, reply)
        return True


def serve(
    world: Any, subworld_size: int, factory: Any, limits: Limits | None = None
) -> None:
    """Be a rank of a worker until the controller says goodbye.

    Collective with the controller's :meth:`MpiTransport.start`.

    Parameters
    ----------
    world
        The mpi4py communicator of all ranks.
    subworld_size
        Ranks per worker.
    factory
        Builds the environment.
    limits
        Those on memory are kept by this rank.
    """
    from mpi4py import MPI

    _worker_count(world, subworld_size)
    controller = world.Get_size() - 1
    comm = world.Dup()
    failures = worker.boot(factory, world, subworld_size, limits)
    leader = world.Get_rank() % subworld_size == 0
    if leader:
        comm.send(failures, dest=controller, tag=_READY)
    if not failures and leader:
        _connect(comm, controller)
    status = MPI.Status()
    while True:
        wait(lambda: comm.Iprobe(controller, MPI.ANY_TAG, status))
        tag = status.Get_tag()
        if tag == _PARCEL:
            parcel, items = wire.unpack(receive(comm, controller, _PARCEL))
            held = worker.current()
            answers = held.serve(list(items))
            if leader:
                words = held.telemetry.last_words()
                reply = wire.pack(wire.Reply(parcel, answers, words))
                for request, _ in send(comm, reply, controller, _REPLY):
                    request.Wait()
        else:
            comm.recv(source=controller, tag=tag)
            if tag == _EXIT:
                worker.close()
                return


def _connect(comm: Any, controller: int) -> None:
    """Let a leader hear of stops and tell of progress while it simulates."""
    held = worker.current()

    def stopped() -> bool:
        if comm.Iprobe(controller, _EXIT):  # nobody waits for what is queued
            return True
        if not comm.Iprobe(controller, _STOP):
            return False
        comm.recv(source=controller, tag=_STOP)
        return True

    held.subworld.poll = stopped
    pending: list[tuple[Any, Any]] = []

    def publish(progress: wire.Progress) -> None:
        pending[:] = [sent for sent in pending if not sent[0].Test()]
        pending.extend(send(comm, wire.pack(progress), controller, _PROGRESS))

    held.telemetry.publish = publish


def _worker_count(world: Any, subworld_size: int) -> int:
    ranks: int = world.Get_size() - 1
    if subworld_size < 1 or ranks % subworld_size or ranks < 1:
        next_fit = subworld_size * max(1, round(ranks / max(1, subworld_size))) + 1
        fitting = [size for size in range(1, ranks + 1) if ranks % size == 0]
        raise ConfigError(
            f"mpirun started {ranks + 1} ranks: one controller and {ranks} for "
            f"workers, which do not fill workers of {subworld_size}. Start "
            f"subworld_size * num_workers + 1 ranks, for example mpirun -n {next_fit}, "
            f"or use subworld_size {' or '.join(map(str, fitting))}"
        )
    return ranks // subworld_size
