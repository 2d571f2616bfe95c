"""The journal: what was written is read back, whatever happens to the file."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError, JournalError
from livn_ipp.search import Evaluation, State, read_table
from livn_ipp.search.journal import Journal

SETTINGS = {"seed": 7, "space": {"x": "Real(0, 1)"}}
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
candidates = st.dictionaries(texts, numbers | texts | st.booleans(), max_size=3)
evaluations = st.builds(
    Evaluation,
    generation=st.integers(0, 3),
    index=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
    candidate=candidates,
    state=st.sampled_from(State),
    value=st.none() | numbers,
    error=texts,
    traceback=texts,
    worker=st.none() | st.integers(0, 9),
    attempts=st.integers(0, 4),
    seconds=st.floats(0, 1e6),
    source=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 5)),
)
tables = st.lists(evaluations, max_size=8, unique_by=lambda each: each.place)
ROW = Evaluation(0, 0, 1, {"x": 0.5}, State.COMPLETE, 0.25)


@contextlib.contextmanager
def begun(path, known=0, settings=SETTINGS):
    journal = Journal(path, settings)
    with journal.writing(known):
        yield journal


@given(tables)
def test_what_was_written_is_read_back(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("journal") / "study.sqlite"
    ordered = sorted(table, key=lambda each: each.place)
    journal = Journal(path, SETTINGS)
    with journal.writing():
        journal.write(table[:3])
        journal.write(table[3:])
        assert journal.read() == ordered
    assert read_table(path) == ordered
    assert [file.name for file in path.parent.iterdir()] == ["study.sqlite"]
    again = Journal(path, SETTINGS)
    with again.writing(len(table)):
        assert again.read() == ordered


def test_what_is_there_is_not_written_again(tmp_path):
    with begun(tmp_path / "study.sqlite") as journal:
        journal.write([ROW])
        journal.write([replace(ROW, value=9.0), replace(ROW, index=1)])
        assert [each.value for each in journal.read()] == [0.25, 0.25]


def test_rows_are_written_all_or_none(tmp_path):
    path = tmp_path / "study.sqlite"
    with begun(path) as journal:
        with pytest.raises(JournalError):
            journal.write([ROW, replace(ROW, index=1, candidate={1, 2})])
        with pytest.raises(JournalError):
            journal.write([ROW, replace(ROW, index=1, error={})])
        assert journal.read() == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"seed": 8}, "seed: 7 there, 8 here"),
        ({"space": {"x": "Real(0, 2)"}}, "space: .* there"),
        ({"more": 1}, "more: nothing there, 1 here"),
    ],
    ids=["seed", "space", "more"],
)
def test_a_journal_of_another_search_is_refused(tmp_path, other, told):
    path = tmp_path / "study.sqlite"
    with begun(path) as journal:
        journal.write([ROW])
    with pytest.raises(ConfigError, match=told):
        Journal(path, SETTINGS | other)
    assert read_table(path) == [ROW]


def test_one_writes_at_a_time_and_others_read(tmp_path):
    path = tmp_path / "study.sqlite"
    with begun(path) as journal:
        with pytest.raises(ConfigError, match="another search writes"):
            Journal(path, SETTINGS)
        journal.write([ROW])
        assert read_table(path) == [ROW]
    other = Journal(path, SETTINGS)
    with other.writing(1):
        other.write([replace(ROW, index=1)])
    with (
        pytest.raises(ConfigError, match=r"2 evaluations .* knows of 1"),
        journal.writing(1),
    ):
        raise AssertionError


def test_no_journal_is_told_with_its_path(tmp_path):
    path = tmp_path / "study.sqlite"
    with pytest.raises(JournalError, match=r"study\.sqlite .*no such file"):
        read_table(path)
    path.write_text("a letter, not a journal " * 100)
    for use in (read_table, lambda path: Journal(path, SETTINGS)):
        with pytest.raises(JournalError, match=r"study\.sqlite .*not a database"):
            use(path)
    with pytest.raises(ConfigError, match="no directory"):
        Journal(tmp_path / "nowhere" / "study.sqlite", SETTINGS)


def test_a_full_disk_is_told_and_leaves_what_was_written(tmp_path):
    path = tmp_path / "study.sqlite"
    with begun(path) as journal:
        journal.write([ROW])
        pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
        journal._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="full"):
            journal.write([replace(ROW, index=1, traceback="x" * 100_000)])
        assert journal.read() == [ROW]
    assert read_table(path) == [ROW]


DIES = """
    import os, signal, sqlite3, sys
    from livn_ipp.search import Evaluation, State
    from livn_ipp.search.journal import Journal

    journal = Journal(sys.argv[1], {"seed": 7})
    writing = journal.writing()
    writing.__enter__()
    row = Evaluation(0, 0, 1, {"x": 0.5}, State.COMPLETE, 0.25)
    journal.write([row])
    long = {"x": "y" * 4000}
    rows = [Evaluation(0, n, 1, long, State.COMPLETE) for n in range(1, 99)]

    def torn():
        yield from rows[:-1]
        os.kill(os.getpid(), signal.SIGKILL)

    from livn_ipp.search import journal as module
    database = journal._database
    database.execute("PRAGMA cache_size = 2")  # so that pages go to the disk at once
    database.execute("BEGIN IMMEDIATE")
    database.executemany(module._INSERT, (module._row(row) for row in torn()))
"""


@pytest.fixture
def torn(tmp_path):
    """A journal whose writer was killed amid a write; what undoes that lies beside."""
    path = tmp_path / "study.sqlite"
    program = textwrap.dedent(DIES)
    ended = subprocess.run([sys.executable, "-c", program, path], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name("study.sqlite-journal").stat().st_size > 0
    return path


def test_a_record_that_was_torn_in_two_is_never_read(torn):
    assert read_table(torn) == [ROW]


def test_a_record_that_was_torn_in_two_is_as_if_it_never_was(torn):
    path, before = torn, torn.stat().st_size
    with begun(path, 1, {"seed": 7}) as journal:
        assert journal.read() == [ROW]
        journal.write([replace(ROW, index=1)])
    assert len(read_table(path)) == 2
    assert not path.with_name("study.sqlite-journal").exists()
    assert path.stat().st_size < before


def test_it_is_a_table_that_sqlite_can_ask(tmp_path):
    path = tmp_path / "study.sqlite"
    with begun(path) as journal:
        journal.write([ROW])
    with sqlite3.connect(path) as database:
        (row,) = database.execute("SELECT value, candidate FROM evaluations")
    database.close()
    assert row == (0.25, '{"x": 0.5}')
