"""The journal of a detached environment: what the next kernel has to know of it.

Engines that outlive their kernel hold the networks and the replies, but are busy when
they are asked. So the kernel writes down what it does: the environment and its
configuration, and each parcel of calls before it is sent.
"""

import base64
import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from livn_ipp.cluster import wire
from livn_ipp.cluster.reaching.cluster_file import check_trusted, write_private
from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import ConfigError

__all__ = ["Journal", "Past", "Sent"]

_log = logging.getLogger("livn_ipp")

_LONGEST: Final = 1 << 20
"""Bytes of parcels after which those that are settled are left out."""


@dataclass(frozen=True)
class Sent:
    """A parcel of calls that was handed out and whose replies may be missing.

    Attributes
    ----------
    parcel
        Its number.
    worker
        Where it went.
    calls
        The ids of its calls.
    """

    parcel: int
    worker: int
    calls: tuple[int, ...]


@dataclass
class Past:
    """What a journal tells.

    Attributes
    ----------
    subworld_size
        Ranks per worker.
    factory
        Builds the environment; pickled.
    owner
        The process that wrote it last: host, pid and when it began.
    log
        The config log.
    worlds
        The slots that the workers of each world fill.
    ranks
        The ranks of each world: busy ones could not tell.
    sent
        Parcels that were not acknowledged, by number.
    last_call, last_parcel
        The largest numbers that were used.
    """

    subworld_size: int
    factory: wire.Frames
    owner: dict[str, Any] = field(default_factory=dict)
    log: list[wire.Entry] = field(default_factory=list)
    worlds: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ranks: dict[str, tuple[Rank, ...]] = field(default_factory=dict)
    sent: dict[int, Sent] = field(default_factory=dict)
    last_call: int = 0
    last_parcel: int = -1

    def note(self, line: dict[str, Any]) -> None:
        """Take one line of the file into account."""
        if "set" in line:
            frames = _frames(line["arguments"])
            self.log.append(wire.Entry(len(self.log) + 1, line["set"], frames))
        elif "sent" in line:
            sent = Sent(line["sent"], line["worker"], tuple(line["calls"]))
            self.acknowledge(sent.worker, line["acknowledged"])
            if sent.calls:
                self.sent[sent.parcel] = sent
            self.last_parcel = max(self.last_parcel, sent.parcel)
            self.last_call = max(self.last_call, *sent.calls, 0)
        elif "world" in line:
            self.worlds.pop(line["world"], None)
            self.ranks.pop(line["world"], None)
            if line["slots"]:
                self.worlds[line["world"]] = tuple(line["slots"])
                self.ranks[line["world"]] = tuple(Rank(**r) for r in line["ranks"])
        elif "owner" in line:
            self.owner = line["owner"]
        elif "last" in line:
            self.last_call, self.last_parcel = line["last"]

    def acknowledge(self, worker: int, parcel: int) -> None:
        """Forget a worker's parcels up to a number."""
        for number in [n for n in self.sent if n <= parcel]:
            if self.sent[number].worker == worker:
                del self.sent[number]


class Journal:
    """Writes the journal; lines go to the operating system at once.

    Parameters
    ----------
    path
        The file; readable by its owner only.
    past
        What it is to begin with.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "journal"
    >>> journal = Journal.create(path, 1, wire.dumps("factory"), {"pid": 7})
    >>> journal.configured("set_weights", wire.dumps(2.0))
    >>> journal.sends(3, worker=0, calls=[11, 12], acknowledged=-1)
    >>> journal.close()
    >>> past = Journal.read(path)
    >>> past.log[0].method, past.sent[3].calls, past.last_call
    ('set_weights', (11, 12), 12)
    """

    def __init__(self, path: Path, past: Past) -> None:
        self._path = path
        self._past = past
        self._file: Any = None
        self._rewrite()

    @classmethod
    def create(
        cls,
        path: Path,
        subworld_size: int,
        factory: wire.Frames,
        owner: dict[str, Any],
    ) -> Self:
        """Begin with a new environment."""
        return cls(path, Past(subworld_size, factory, owner))

    @staticmethod
    def read(path: Path) -> Past:
        """Read a journal.

        Raises
        ------
        ConfigError
            If there is none, or no complete one.
        """
        try:
            check_trusted(path)
            lines = _lines(path.read_bytes())
            first = next(lines)
            past = Past(first["subworld_size"], _frames(first["factory"]))
            for line in lines:
                past.note(line)
        except ConfigError:
            raise
        except FileNotFoundError as error:
            raise ConfigError(
                f"there is no journal {path}: no DistributedEnv runs on this cluster. "
                f"Make one: DistributedEnv(system, cluster=cluster)"
            ) from error
        except (OSError, StopIteration, LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"cannot read the journal {path}: {error!r}. End the cluster with "
                f"Cluster.from_file(...).shutdown() and start another"
            ) from error
        return past

    def configured(self, method: str, arguments: wire.Frames) -> None:
        """Write down that a setter was applied by all ranks."""
        self._write({"set": method, "arguments": _texts(arguments)})

    def seated(
        self, world: str, slots: Sequence[int], ranks: Iterable[Rank] = ()
    ) -> None:
        """Write down which slots the workers of a world fill; none if it is gone."""
        self._write(_world(world, slots, ranks))

    def sends(
        self, parcel: int, worker: int, calls: Iterable[int], acknowledged: int
    ) -> None:
        """Write down that a parcel is about to be sent.

        Parameters
        ----------
        parcel, worker
            Its number and where it goes.
        calls
            The ids of its calls.
        acknowledged
            The last parcel of this worker whose reply is here, or -1.
        """
        line = {
            "sent": parcel,
            "worker": worker,
            "calls": list(calls),
            "acknowledged": acknowledged,
        }
        self._write(line)

    def acknowledge(self, worker: int, parcel: int) -> None:
        """Take in that a worker's replies up to a parcel are here."""
        self._past.acknowledge(worker, parcel)

    def close(self, *, remove: bool = False) -> None:
        """Close the file; may be called again.

        Parameters
        ----------
        remove
            Whether nobody is to find the environment any more.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        self._past.note(line)
        try:
            self._file.write(_line(line))
            if self._file.tell() > self._limit:
                self._rewrite()
        except OSError as error:  # calls are worth more than their journal
            _log.warning(
                "cannot write the journal %s: %s; what is submitted from now on ends "
                "with this process",
                self._path,
                error,
            )
            self.close()

    def _rewrite(self) -> None:
        """Replace the file by one that holds what still counts."""
        past = self._past
        lines: list[dict[str, Any]] = [
            {"subworld_size": past.subworld_size, "factory": _texts(past.factory)},
            {"owner": past.owner},
            {"last": [past.last_call, past.last_parcel]},
        ]
        lines += [
            {"set": each.method, "arguments": _texts(each.arguments)}
            for each in past.log
        ]
        lines += [
            _world(world, slots, past.ranks[world])
            for world, slots in past.worlds.items()
        ]
        lines += [
            {
                "sent": each.parcel,
                "worker": each.worker,
                "calls": list(each.calls),
                "acknowledged": -1,
            }
            for each in past.sent.values()
        ]
        if self._file is not None:
            self._file.close()
        write_private(self._path, b"".join(map(_line, lines)))
        self._file = self._path.open("ab", buffering=0)
        self._limit = self._file.tell() + _LONGEST


def _world(world: str, slots: Sequence[int], ranks: Iterable[Rank]) -> dict[str, Any]:
    told = [asdict(rank) for rank in ranks]
    return {"world": world, "slots": list(slots), "ranks": told}


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    # The last line may be half written: what it announces was not sent.
    for line in content.split(b"\n")[:-1]:
        yield json.loads(line)


def _texts(frames: wire.Frames) -> list[str]:
    return [base64.b64encode(bytes(f)).decode() for f in frames]


def _frames(texts: Sequence[str]) -> wire.Frames:
    return tuple(base64.b64decode(text) for text in texts)
