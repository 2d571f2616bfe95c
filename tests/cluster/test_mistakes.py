"""Mistakes that a script can make before anything runs, and what it is told."""

import pytest

pytestmark = [pytest.mark.neuron, pytest.mark.cluster]

TRY = """
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import LivnError, PreflightError, SystemFormatError
try:
    {attempt}
except {kind} as error:
    print(isinstance(error, LivnError), error)
"""


def told(case, attempt, kind="LivnError"):
    code, out, err = case.run(TRY.format(attempt=attempt, kind=kind))
    assert (code, err) == (0, ""), err
    assert not case.left(5)
    return out


@pytest.mark.parametrize("transport", ["auto", "local"])
def test_without_a_compiler_the_package_to_install_is_named(case, tmp_path, transport):
    (tmp_path / "bin").mkdir()
    case.environment |= {
        "PATH": str(tmp_path / "bin"),
        "LIVN_IPP_CACHE": str(tmp_path / "cache"),
    }
    workers = "num_workers=2" if transport == "auto" else "transport='local'"
    out = told(case, f"DistributedEnv('EI1', {workers}).init()", "PreflightError")
    assert out.startswith("True ")
    assert "g++" in out
    assert "apt" in out


def test_a_path_that_is_no_system(case):
    out = told(case, "DistributedEnv('./systems/graphs/EI9')")
    assert "EI9" in out
    assert "EI1" in out


def test_a_backend_that_cannot_be_built_says_why(case):
    attempt = (
        "DistributedEnv('EI1', num_workers=2, backend=lambda *a, **k: 1 / 0).init()"
    )
    out = told(case, attempt, "ZeroDivisionError")
    assert "nothing was built" in out
