"""Every promise has a row, and what is said to show it is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| ([A-D]\d+) \| ([^|]+) \|(?: [^|]+)? \| ([^|]+) \|$", re.MULTILINE
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISED = {"A": 14, "B": 11, "C": 9, "D": 11}
TESTS = sorted({f"{file}::{name}" for file, name in TEST.findall(PAGE)})


def test_every_promise_has_one_row_and_something_that_shows_it():
    rows = ROW.findall(PAGE)
    expected = [f"{d}{n}" for d, count in PROMISED.items() for n in range(1, count + 1)]
    assert [key for key, _, _ in rows] == expected
    for key, _, shown in rows:
        assert TEST.search(shown), key
        for each in shown.split("<br>"):
            assert TEST.fullmatch(each.strip()) or each.strip()[0] in "`[", each


def test_nothing_is_named_in_another_way():
    assert PAGE.count("::") == len(TEST.findall(PAGE))


def test_programs_and_notebooks_are_there():
    for path in re.findall(r"(?:examples|benchmarks|notebooks)/\w+\.\w+", PAGE):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("test", TESTS)
def test_what_shows_it_is_there(test):
    file, name = test.split("::")
    assert (ROOT / file).is_file(), f"there is no {file}"
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *def {name}\(", text, re.MULTILINE), f"{file} has no {name}"
