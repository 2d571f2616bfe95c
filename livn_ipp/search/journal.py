"""Journal: every evaluation that ended, in an SQLite file that survives any crash.

A transaction is on the disk, whole, before :meth:`Journal.write` returns, or it never
was: a process or machine that dies loses only what had not ended. One process writes at
a time; others may read meanwhile.
"""

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from livn_ipp.errors import ConfigError, JournalError, LivnError
from livn_ipp.search.records import Evaluation, State

__all__ = ["Journal", "read_table"]

_FORMAT: Final = 1
_PATIENCE: Final = 30.0  # s, for someone who reads

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evaluations (
    generation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    candidate TEXT NOT NULL,
    state TEXT NOT NULL,
    value REAL,
    error TEXT NOT NULL,
    traceback TEXT NOT NULL,
    worker INTEGER,
    attempts INTEGER NOT NULL,
    seconds REAL NOT NULL,
    source TEXT,
    PRIMARY KEY (generation, number)
);
"""
_INSERT: Final = (
    "INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Journal:
    """The file that a search is resumed from.

    Parameters
    ----------
    path
        Of the SQLite file; made if it is not there.
    settings
        What makes the search this search, by name: data that JSON can hold.

    Raises
    ------
    ConfigError
        If the file belongs to a search with other settings, or another process writes
        it.
    JournalError
        If it is no journal, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "study.sqlite")
    >>> row = Evaluation(0, 0, 1, {"x": 0.5}, State.COMPLETE, 0.25)
    >>> journal = Journal(path, {"seed": 7})
    >>> with journal.writing():
    ...     journal.write([row])
    >>> journal.read() == read_table(path) == [row]
    True
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path).absolute()
        self._database: sqlite3.Connection | None = None
        if not self.path.parent.is_dir():
            raise ConfigError(
                f"storage={str(path)!r}: there is no directory {self.path.parent}"
            )
        with self._locked(), _told(self.path), self._connected() as database:
            database.executescript(_TABLES)
            _check(database, settings, self.path)

    def read(self) -> list[Evaluation]:
        """Return all evaluations, by generation and index."""
        return read_table(self.path)

    @contextmanager
    def writing(self, known: int = 0) -> Iterator[None]:
        """Be the one who may :meth:`write`.

        Parameters
        ----------
        known
            How many evaluations there must be.

        Raises
        ------
        ConfigError
            If another process writes at the moment, or has written meanwhile.
        """
        with self._locked(), self._connected() as database:
            with _told(self.path):
                ((found,),) = database.execute("SELECT count(*) FROM evaluations")
            if found != known:
                raise ConfigError(
                    f"{self.path} holds {found} evaluations and this search knows of "
                    f"{known}: another has gone on with it. Make the Search again"
                )
            self._database = database
            try:
                yield
            finally:
                self._database = None

    def write(self, evaluations: Iterable[Evaluation]) -> None:
        """Add evaluations, all or none; those that are there already are left."""
        assert self._database is not None, "within writing() only"
        with _told(self.path):
            rows = [_row(each) for each in evaluations]
            if rows:
                with self._database:
                    self._database.executemany(_INSERT, rows)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from writing, until this process ends in whatever way."""
        # SQLite has locks of another kind, which this one does not meet. It is closed
        # after the database, whose locks would go with it.
        with contextlib.ExitStack() as opened:
            with _told(self.path):
                file = opened.enter_context(self.path.open("ab"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"another search writes {self.path} at this moment; end it, or "
                    f"give this one a storage of its own"
                ) from None
            except OSError:  # a file system without locks
                pass
            yield

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with _told(self.path):
            database = sqlite3.connect(self.path, timeout=_PATIENCE)
        with contextlib.closing(database):
            with _told(self.path):
                # Not WAL, which network file systems cannot share between machines.
                database.execute("PRAGMA journal_mode = DELETE")
                database.execute("PRAGMA synchronous = EXTRA")
            yield database


def _check(
    database: sqlite3.Connection, settings: Mapping[str, Any], path: Path
) -> None:
    """Compare with the search that began the journal, or begin it."""
    wanted = {name: json.dumps(value) for name, value in settings.items()}
    wanted["format"] = json.dumps(_FORMAT)
    with database:
        found = dict(database.execute("SELECT name, value FROM settings"))
        if not found:
            insert = "INSERT INTO settings VALUES (?, ?)"
            database.executemany(insert, wanted.items())
            return
    differing = [
        f"{name}: {found.get(name, 'nothing')} there, {wanted.get(name, 'nothing')}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise ConfigError(
            f"{path} was begun by another search ({'; '.join(differing)} here); give "
            f"this one another storage, or its settings"
        )


def read_table(path: str | Path) -> list[Evaluation]:
    """Read the evaluations of a journal, while a search goes on or after it.

    Parameters
    ----------
    path
        Of the SQLite file.

    Returns
    -------
    list of Evaluation
        By generation and index.

    Raises
    ------
    JournalError
        If it is no journal.
    """
    where = Path(path).absolute()
    with _told(where):
        if not where.is_file():
            raise sqlite3.OperationalError("there is no such file")
        # Not "ro": who was killed amid a write left what its first reader rolls back.
        address = f"{where.as_uri()}?mode=rw"
        with contextlib.closing(
            sqlite3.connect(address, timeout=_PATIENCE, uri=True)
        ) as database:
            return _evaluations(database)


def _evaluations(database: sqlite3.Connection) -> list[Evaluation]:
    rows = database.execute("SELECT * FROM evaluations ORDER BY generation, number")
    return [_evaluation(row) for row in rows]


def _row(each: Evaluation) -> tuple[Any, ...]:
    source = None if each.source is None else json.dumps(each.source)
    candidate = json.dumps(each.candidate)
    how = (str(each.state), each.value, each.error, each.traceback)
    where = (each.worker, each.attempts, each.seconds, source)
    return (*each.place, each.seed, candidate, *how, *where)


def _evaluation(row: tuple[Any, ...]) -> Evaluation:
    (
        *head,
        candidate,
        state,
        value,
        error,
        traceback,
        worker,
        attempts,
        seconds,
        source,
    ) = row
    first = None if source is None else tuple(json.loads(source))
    how = (State(state), value, error, traceback, worker, attempts, seconds, first)
    generation, index, seed = head
    return Evaluation(generation, index, seed, json.loads(candidate), *how)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file it was, and what to do."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        if isinstance(error, LivnError):
            raise
        raise JournalError(
            f"the journal {path} cannot be used: {error}. Is the disk full, or is this "
            f"the file of another program? A copy of what can be read is made by: "
            f"sqlite3 {path} .recover"
        ) from error
