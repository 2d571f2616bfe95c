"""``import livn_ipp`` is cheap, and its names appear when they are used."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import livn_ipp

HEAVY = ["mpi4py", "neuron", "numpy", "h5py", "pydantic", "ipyparallel", "matplotlib"]


def loaded_by(program):
    program += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
    )
    return set(json.loads(process.stdout))


def test_import_loads_nothing_heavy():
    assert loaded_by("import livn_ipp").isdisjoint(HEAVY)


def test_listing_and_errors_load_nothing_heavy():
    program = "import livn_ipp; dir(livn_ipp); livn_ipp.CallError"
    assert loaded_by(program).isdisjoint(HEAVY)


def test_decoding_a_run_needs_neither_mpi_nor_neuron():
    loaded = loaded_by("import livn_ipp.decoding, livn_ipp.io, livn_ipp.system")
    assert "numpy" in loaded
    assert loaded.isdisjoint({"mpi4py", "neuron", "ipyparallel", "matplotlib"})


def homes():
    """Where type checkers are told to find the lazy names."""
    tree = ast.parse(Path(livn_ipp.__file__).read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    return {a.name: n.module for n in block.body for a in n.names}


@pytest.mark.parametrize("name", livn_ipp.__all__)
def test_every_public_name_is_there(name):
    value = getattr(livn_ipp, name)
    assert value is getattr(livn_ipp, name)
    if name in homes():
        assert value is getattr(importlib.import_module(homes()[name]), name)


def test_type_checkers_and_python_find_the_same_names():
    assert homes() == livn_ipp._HOME


def test_dir_is_what_is_public():
    assert dir(livn_ipp) == sorted(livn_ipp.__all__)


def test_unknown_names():
    with pytest.raises(AttributeError, match="'livn_ipp' has no attribute 'Worker'"):
        _ = livn_ipp.Worker
    with pytest.raises(ImportError):
        from livn_ipp import Worker  # noqa: F401


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert version("livn_ipp") == livn_ipp.__version__
