"""A connection to a cluster's controller: its clients, and who its engines are."""

import contextlib
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any

from livn_ipp.cluster.reaching.probe import ask, registered
from livn_ipp.cluster.reaching.profile import listens, reach
from livn_ipp.cluster.reaching.security import greet
from livn_ipp.cluster.topology import Rank, worlds
from livn_ipp.errors import ClusterLost, ConfigError

__all__ = ["Connection", "connection_of"]

_TIMEOUT = 8.0  # s, for a controller to answer
_FIRST_TURN = 4.0  # s, after which it is asked anew, and then after twice as long
_GREETING_TIMEOUT = 5.0  # s, for it to take a key, which threads of its own do
_ANSWER_TIMEOUT = 30.0  # s, for an idle engine to tell its rank
_PORTS = (
    "control",
    "task",
    "mux",
    "iopub",
    "notification",
    "registration",
    "broadcast",
)


def connection_of(client: Any) -> dict[str, Any]:
    """Tell how a client reached its cluster, so that another can.

    Parameters
    ----------
    client
        A connected ``ipyparallel.Client``.

    Returns
    -------
    dict
        What ``ipyparallel.Client`` takes.
    """
    information = dict(client._config)  # noqa: SLF001
    for name in _PORTS:
        information[name] = int(str(information[name]).rpartition(":")[2])
    return information


class Connection:
    """Opens clients, and asks each engine once for its place in MPI.

    Parameters
    ----------
    information
        What ``ipyparallel.Client`` takes.
    cluster_id
        Name of the cluster.
    client
        The user's client, if there is one; it is not closed with the others.
    known
        Ranks that need not be asked, as they may be busy.
    patience
        Seconds that the controller may take to answer.

    Raises
    ------
    ClusterLost
        If the controller does not answer.
    """

    def __init__(
        self,
        information: dict[str, Any],
        cluster_id: str,
        client: Any = None,
        known: Iterable[Rank] = (),
        patience: float = _TIMEOUT,
    ) -> None:
        self._information = information
        self._patience = patience
        self._cluster_id = cluster_id or "(default)"
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._closed = False
        self._known: dict[str, Rank] = {rank.uuid: rank for rank in known}
        self._lock = threading.Lock()
        self._user = client
        self._own = self.open()  # apart from the user's, which they may close

    def open(self) -> Any:
        """Open a client with sockets of its own.

        Returns
        -------
        ipyparallel.Client
            A new one for each call; closed by :meth:`close`.

        Raises
        ------
        ClusterLost
            If the controller does not answer or the connection is closed.
        """
        if self._closed:
            raise ClusterLost(f"Disconnected from cluster {self._cluster_id}")
        self._knock()  # in vain, the client would try for long
        client = self._request()
        # Its own way, to close its sockets inside a callback of one of them when the
        # hub says goodbye, ends in errors on the terminal.
        client._notification_handlers["shutdown_notification"] = lambda _: None  # noqa: SLF001
        self._clients.add(client)
        return client

    def _request(self) -> Any:
        deadline = time.monotonic() + self._patience
        turn = _FIRST_TURN
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                return self._client(min(turn, left))
            except OSError as error:
                # In between it is seen that a controller has ended meanwhile.
                if turn < left and listens(self._information):
                    turn *= 2
                    continue
                raise self._unanswered(
                    f"{error}; it hangs, or signs messages with another key than that "
                    f"in the connection file"
                ) from error

    def _client(self, timeout: float) -> Any:
        import ipyparallel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # odd host names
            return ipyparallel.Client(dict(self._information), timeout=timeout)

    def _knock(self) -> None:
        try:
            reach(self._information)
        except OSError as error:
            raise self._unanswered(str(error)) from error
        if self._information.get("ssh"):
            if self._information.get("curve_serverkey"):
                raise ConfigError(
                    f"ipyparallel's own ssh tunnels (sshserver=) do not carry the "
                    f"encryption of cluster {self._cluster_id}, so nothing would ever "
                    f"arrive. Forward the ports in its connection file by `ssh -L`, "
                    f"each to the same number, and leave sshserver out"
                )
            return
        answer = greet(self._information, _GREETING_TIMEOUT)
        if answer == "refused":
            raise self._unanswered(
                "the controller there does not take the key in the connection file, "
                "so another one wrote the file"
            )
        if answer == "silent":
            raise self._unanswered("someone listens, but not as a controller does")

    def _unanswered(self, why: str) -> ClusterLost:
        place = f"{self._information['interface']}:{self._information['registration']}"
        return ClusterLost(
            f"Cluster {self._cluster_id} does not answer at {place} ({why}). Its "
            f"controller has ended or cannot be reached from here; start it again, or "
            f"get the connection file that it wrote"
        )

    @property
    def answers(self) -> bool:
        """Whether someone listens where the controller did."""
        return listens(self._information)

    @property
    def user(self) -> Any:
        """The user's client, which ``%%px`` uses."""
        with self._lock:
            if self._user is None:
                self._user = self.open()
            return self._user

    def on_registration(self, note: Callable[[], None]) -> None:
        """Have a function called, on a thread of its own, when an engine registers."""

        def registered(event: dict[str, Any]) -> None:
            if event.get("event") == "register":
                note()

        self._own._registration_callbacks.append(registered)  # noqa: SLF001 - the only way

    def activate(self) -> None:
        """Make ``%%px`` use the user's client; does nothing outside IPython."""
        from IPython import get_ipython

        shell = get_ipython()
        if shell is None:
            return
        self.user.activate()
        # The bar is a widget, which a notebook that is run unattended cannot show.
        magics = shell.magics_manager.registry["ParallelMagics"]
        magics.progress_after_seconds = -1
        # An interrupt ends the waiting alone: a rank that it reached would leave the
        # others of its world waiting in MPI for ever.
        magics.signal_on_interrupt = None

    def ranks(self) -> tuple[Rank, ...]:
        """Tell the place in MPI of every engine that is registered now.

        Returns
        -------
        tuple of Rank
            Ordered by world and rank.

        Raises
        ------
        ClusterLost
            If the cluster is gone or a new engine does not answer.
        """
        if self._closed or not self.answers:
            raise ClusterLost(f"Cluster {self._cluster_id} has ended")
        with self._lock:
            now = registered(self._own)
            new = {name: id_ for name, id_ in now.items() if name not in self._known}
            self._known |= ask(self._own, new, _ANSWER_TIMEOUT)
            ranks = [self._known[name] for name in now if name in self._known]
        order = lambda rank: (len(rank.world), rank.world, rank.rank)
        return tuple(sorted(ranks, key=order))

    def await_worlds(
        self,
        names: Collection[str],
        size: int,
        watch: Callable[[], float],
    ) -> bool:
        """Wait until some worlds have all their ranks.

        Parameters
        ----------
        names
            The worlds.
        size
            Ranks per world.
        watch
            Called all the while; tells until when to wait, on the monotonic clock, in
            s. What it raises ends the waiting.

        Returns
        -------
        bool
            Whether all came in time.
        """
        wanted = len(names) * size
        while True:
            deadline = watch()
            # Asked only when all may have come: questions slow down the start.
            new = len(registered(self._own).keys() - self._known.keys())
            if new + sum(r.world in names for r in self._known.values()) >= wanted:
                found = [rank for rank in self.ranks() if rank.world in names]
                if len(found) == wanted and worlds(found):
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def await_complete(self, deadline: float) -> None:
        """Wait until every world has all its ranks, in case engines still start.

        Parameters
        ----------
        deadline
            On the monotonic clock, in s.

        Raises
        ------
        ConfigError
            What is wrong with the worlds at the end.
        """
        while True:
            try:
                if worlds(self.ranks()):
                    return
                raise ConfigError(
                    f"Cluster {self._cluster_id} has no engines; start them with "
                    f"`ipcluster start --engines=mpi -n 6`"
                )
            except ConfigError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def close(self) -> None:
        """Close every client that was opened here; may be called again."""
        self._closed = True
        for client in list(self._clients):
            with contextlib.suppress(Exception):
                client.close(linger=0)
