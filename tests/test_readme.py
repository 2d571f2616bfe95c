"""What the README shows can be done."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ranks import MPI_SETTINGS, mpiexec

import livn_ipp
from livn_ipp.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
] + [shlex.split(inline) for inline in re.findall(r"`(livn-ipp [^`\n]+)`", README)]


def make_targets():
    return re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_block_tells_its_language():
    assert {language for language, _ in BLOCKS} == {"bash", "python"}


@pytest.mark.parametrize("code", [code for lang, code in BLOCKS if lang == "python"])
def test_python_blocks_use_what_is_public(code):
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "livn_ipp":
            assert {alias.name for alias in node.names} <= set(livn_ipp.__all__)


@pytest.mark.cluster
def test_the_notebook_example_runs():
    code = next(code for language, code in BLOCKS if language == "python")
    program = f"{code}\nprint(len(first), len(second), sorted(first[0]))"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=100, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == f"6 6 {list(range(16))}".split()


@pytest.mark.cluster
def test_the_example_of_a_long_night_runs():
    _, code = (code for language, code in BLOCKS if language == "python")
    program = f"{code}\nprint(len(runs), second.duration, type(error).__name__)"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=100, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split()[::2] == ["20", "CallTimeout"]


@pytest.mark.cluster
@pytest.mark.mpi
def test_the_example_prints_the_same_as_a_script_and_under_mpi():
    program = str(ROOT / "examples" / "distributed_workers.py")
    outputs = [
        subprocess.run(
            [*launcher, sys.executable, program],
            env={**os.environ, **MPI_SETTINGS},
            capture_output=True,
            timeout=100,
            text=True,
            check=True,
        ).stdout
        for launcher in ([], [mpiexec(), "-n", "7"])
    ]
    assert outputs[0] == outputs[1]
    for number, line in enumerate(outputs[0].splitlines()):
        assert line.startswith(f"{number}  firing rates:  {{0: ")
    assert len(outputs[0].splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_exist(command):
    program, *arguments = command
    if program == "make":
        assert set(arguments) <= set(make_targets())
    elif program == "livn-ipp":
        name, *rest = arguments
        main.commands[name].make_context(name, rest, resilient_parsing=False)
    elif program in {"python", "mpirun"}:
        assert (ROOT / arguments[-1]).is_file()
    else:
        assert command[:2] == ["pip", "install"]


@pytest.mark.parametrize("folder", re.findall(r"^\| (`.*?`) \|", README, re.MULTILINE))
def test_folders_exist(folder):
    for name in re.findall(r"`(.*?)`", folder):
        assert (ROOT / name).exists() or (ROOT / "livn_ipp" / name).exists()


def test_extras_exist():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\"\.\[(\w+)\]\"", README):
        assert f"\n{extra} = [" in pyproject
