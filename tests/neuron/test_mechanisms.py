"""Mechanisms are compiled once, whole or not at all, and say what they lack."""

import re
import subprocess
import sys

import pytest

from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.models import MECHANISMS
from livn_ipp.neuron import mechanisms

LEAK = """
COMMENT
SUFFIX not_this_one
ENDCOMMENT
NEURON { SUFFIX %s NONSPECIFIC_CURRENT i RANGE g } : SUFFIX nor_this
PARAMETER { g = 1e-4 }
ASSIGNED { v i }
BREAKPOINT { i = g*(v + 65) }
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(mechanisms.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def directory(path, **files):
    path.mkdir()
    for name, text in files.items():
        (path / f"{name}.mod").write_text(text)
    return path


def test_names_come_from_the_code_not_its_comments(tmp_path):
    mods = directory(tmp_path / "mods", b=LEAK % "test_b", a=LEAK % "test_a")
    assert mechanisms.mechanism_names([mods]) == ["test_a", "test_b"]


def test_file_without_a_mechanism_is_named(tmp_path):
    mods = directory(tmp_path / "mods", empty="TITLE nothing")
    with pytest.raises(ConfigError, match=r"empty\.mod"):
        mechanisms.mechanism_names([mods])


def test_directories_must_hold_files_of_distinct_names(tmp_path):
    one = directory(tmp_path / "one", leak=LEAK % "test_one")
    two = directory(tmp_path / "two", leak=LEAK % "test_two")
    none = directory(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"leak\.mod"):
        mechanisms.mechanism_names([one, two])
    with pytest.raises(ConfigError, match=r"no \.mod files"):
        mechanisms.mechanism_names([none])


def test_place_depends_on_every_byte(cache, tmp_path):
    mods = directory(tmp_path / "mods", leak=LEAK % "test_leak")
    before = mechanisms._place([mods])
    assert before.is_relative_to(cache)
    assert before == mechanisms._place([mods])
    (mods / "leak.mod").write_text(LEAK % "test_leaky")
    assert before != mechanisms._place([mods])


@pytest.mark.parametrize("tool", ["make", "g++", "bash"])
def test_missing_tool_is_named_before_anything_starts(cache, monkeypatch, tool):
    found = mechanisms.shutil.which
    absent = mechanisms._compiler() if tool == "g++" else tool
    monkeypatch.setattr(
        mechanisms.shutil, "which", lambda name: None if name == absent else found(name)
    )
    with pytest.raises(PreflightError, match=re.escape(f"apt-get install {tool}")):
        mechanisms.compiled()
    assert not cache.exists()
    broken = [finding for finding in mechanisms.findings() if not finding.ok]
    assert broken
    assert tool in broken[0].fix


def test_findings_tell_version_compiler_and_cache(cache):
    names = [finding.name for finding in mechanisms.findings()]
    assert names == ["NEURON", "compiler", "mechanisms"]
    assert str(cache) in mechanisms.findings()[2].found


def test_unwritable_cache_names_the_variable(monkeypatch):
    monkeypatch.setenv(mechanisms.CACHE_VARIABLE, "/proc/nowhere")
    with pytest.raises(PreflightError, match=mechanisms.CACHE_VARIABLE):
        mechanisms.compiled()


@pytest.mark.neuron
def test_code_that_does_not_compile_shows_the_compilers_words(cache, tmp_path):
    mods = directory(
        tmp_path / "mods", wrong="NEURON { SUFFIX wrong }\nBREAKPOINT { = }"
    )
    with pytest.raises(PreflightError, match=r"wrong\.mod"):
        mechanisms.compiled([mods])
    left = {path.suffix for path in (cache / "mechanisms").iterdir()}
    assert left <= {".lock"}, "a failed build must leave nothing behind"


@pytest.mark.neuron
def test_processes_that_ask_at_once_compile_once(cache):
    program = (
        "from livn_ipp.neuron import mechanisms as m\n"
        "import os; compile = m._compile\n"
        "m._compile = lambda *a: (print('compiling'), compile(*a))\n"
        "m.compiled()\n"
        "from neuron import h; m.load(h); m.load(h); h.livn_pr_soma; print('loaded')\n"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [job.communicate(timeout=100) for job in jobs]
    said = "".join(out for out, _ in outputs)
    assert said.count("loaded") == 3, outputs
    assert said.count("compiling") == 1
    assert mechanisms._library_in(mechanisms._place([MECHANISMS])) is not None
    assert not list((cache / "mechanisms").glob("build-*"))


@pytest.mark.neuron
def test_names_that_clash_are_refused(tmp_path):
    from livn_ipp.neuron.boot import boot, world

    boot()
    mods = directory(
        tmp_path / "mods", leak=LEAK % "test_fresh", again=LEAK % "livn_pr_soma"
    )
    with pytest.raises(ConfigError, match="livn_pr_soma"):
        mechanisms.load(world().h, [mods])


@pytest.mark.neuron
def test_own_mechanisms_are_loaded_once_and_not_after_a_change(cache, tmp_path):
    from livn_ipp.neuron.boot import boot, world

    boot()
    mods = directory(tmp_path / "mods", leak=LEAK % "test_own_leak")
    for _ in range(2):
        mechanisms.load(world().h, [MECHANISMS, mods])
    assert hasattr(world().h, "test_own_leak")
    (mods / "leak.mod").write_text(LEAK % "test_own_leak" + ": another leak")
    with pytest.raises(ConfigError, match="restart"):
        mechanisms.load(world().h, [MECHANISMS, mods])


def test_absent_directory_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        mechanisms.compiled([tmp_path / "nowhere"])
