"""livn's public names beside ours: present, or explained."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("livn", reason="the extra livn is not installed")

DOCS = Path(__file__).parents[2] / "docs"
ROOTS = {
    "env": "livn_ipp.env:Env livn_ipp.env.distributed:DistributedEnv",
    "io": "livn_ipp.io:MEA",
    "MEA": "livn_ipp.io:MEA",
    "run": "livn_ipp.run:Run",
    "Run": "livn_ipp.run:Run",
    "series": "livn_ipp.run:Series",
    "stimulus": "livn_ipp.stimulus:Stimulus",
    "system": "livn_ipp.system:System",
    "System": "livn_ipp.system:System",
}


@pytest.fixture(scope="module")
def names():
    spec = importlib.util.spec_from_file_location("livn_names", DOCS / "livn_names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_name_is_there_or_explained(names):
    why, _ = names.reasons()
    rows = names.table()
    assert len(rows) > 300
    unexplained = [row[:2] for row in rows if row[2] != "same" and row[:2] not in why]
    assert not unexplained, "add the names, or reasons to docs/livn_absent.toml"


def test_no_explanation_is_out_of_date(names):
    why, notes = names.reasons()
    rows = names.table()
    assert why.keys() <= {row[:2] for row in rows if row[2] != "same"}
    assert notes.keys() <= {row[:2] for row in rows if row[2] == "same"}


def test_the_page_is_up_to_date(names):
    told = (DOCS / "livn.md").read_text(encoding="utf-8")
    assert told == names.page(), "run: python docs/livn_names.py"


def test_what_an_explanation_points_to_is_there(names):
    why, notes = names.reasons()
    pointed = 0
    for text in (*why.values(), *notes.values()):
        for root, name in re.findall(r"`(\w+)\.(\w+)", text):
            if root in ROOTS:
                kinds = map(names.found, ROOTS[root].split())
                assert any(name in names.names_of(kind) for kind in kinds), text
                pointed += 1
            elif root == "livn_ipp":
                path = re.search(r"`([\w.]+)", text)[1]
                module, _, last = path.rpartition(".")
                try:
                    importlib.import_module(path)
                except ModuleNotFoundError:
                    assert hasattr(importlib.import_module(module), last), text
                pointed += 1
    assert pointed > 50


def test_a_missing_name_would_be_noticed(names, monkeypatch):
    from livn_ipp.run import Run

    monkeypatch.delattr(Run, "merge")
    row = ("Run", "merge", "absent")
    assert row in names.table()
    assert row[:2] not in names.reasons()[0]
