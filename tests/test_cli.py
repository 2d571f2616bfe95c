"""The command line says what is there, and errors in one message."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from livn_ipp import System, __version__, cli
from livn_ipp.cli import main
from livn_ipp.errors import ConfigError, RankFailure, call_error
from livn_ipp.system.culture import CultureSpec
from livn_ipp.system.generate import generate
from livn_ipp.types import Finding


def livn_ipp(*arguments):
    return CliRunner().invoke(main, arguments)


def test_help_names_the_commands():
    result = livn_ipp("--help")
    assert result.exit_code == 0
    for command in ("check", "demo", "generate", "start", "stop", "worker"):
        assert f"\n  {command} " in result.output


def test_version():
    assert __version__ in livn_ipp("--version").output


def test_help_loads_nothing_heavy():
    program = (
        "import sys, click.testing, livn_ipp.cli as cli;"
        "click.testing.CliRunner().invoke(cli.main, ['--help']);"
        "assert not {'numpy', 'mpi4py', 'neuron', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


FINDINGS = [
    Finding("mpiexec", "Open MPI 5"),
    Finding("compiler", "no g++", ok=False, fix="apt-get install g++"),
    Finding("memory", "100 MB", ok=False),
]


def test_check_tells_what_is_missing_and_what_to_do(monkeypatch):
    monkeypatch.setattr(cli, "_findings", lambda: FINDINGS)
    result = livn_ipp("check")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "✓ ok       mpiexec   Open MPI 5",
        "✗ missing  compiler  no g++",
        "✗ missing  memory    100 MB",
        "",
        "What to do:",
        "  compiler: apt-get install g++",
        "  memory: see above",
    ]


def test_check_is_well_if_all_is_there(monkeypatch):
    monkeypatch.setattr(cli, "_findings", lambda: FINDINGS[:1])
    result = livn_ipp("check")
    assert result.exit_code == 0
    assert "Everything is there" in result.output


def run_check(**environment):
    return subprocess.run(
        [sys.executable, "-c", "from livn_ipp.cli import main; main()", "check"],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
    )


def test_check_of_this_machine():
    result = run_check(PYTHONIOENCODING="utf-8")
    lines = result.stdout.decode("utf-8").splitlines()
    assert result.returncode == any(" missing " in line for line in lines)
    for name in ("livn_ipp", "mpiexec", "mpi4py", "NEURON", "compiler", "cores"):
        pattern = rf"[✓✗] (ok     |missing)  {name} +\S"
        assert any(re.match(pattern, line) for line in lines), name


def test_check_on_a_terminal_without_unicode():
    lines = run_check(PYTHONIOENCODING="ascii").stdout.decode("ascii").splitlines()
    assert lines[0].startswith("+ ok ")


def test_generate_a_preset(tmp_path):
    result = livn_ipp("generate", "EI1", "--out", str(tmp_path / "EI1"))
    assert result.exit_code == 0, result.output
    assert "8 EXC, 2 INH" in result.output
    expected = generate(tmp_path / "same", CultureSpec.preset("EI1"))
    assert System(tmp_path / "EI1").digest() == System(expected).digest()


def test_generate_by_numbers(tmp_path):
    out = str(tmp_path / "mine")
    result = livn_ipp(
        "generate", "--cells", "25", "--seed", "3", "--electrodes-per-side", "2",
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    system = System(out)
    assert system.num_cells == 25
    assert system.default_io().num_channels == 4
    # As dense as EI2: 100 cells on 800 um x 800 um.
    assert system.bounding_box[1, 0] - system.bounding_box[0, 0] == pytest.approx(400)


def test_generate_from_a_recipe(tmp_path):
    source = tmp_path / "culture.toml"
    source.write_text('preset = "EI1"\nseed = 4\nelectrode_pitch = 50.0\n')
    out = tmp_path / "mine"
    result = livn_ipp("generate", str(source), "--out", str(out), "--seed", "5")
    assert result.exit_code == 0, result.output
    assert "8 EXC, 2 INH, seed 5" in result.output
    assert System(out).default_io().num_channels == 64
    again = livn_ipp(
        "generate", str(out / "provenance.toml"), "--out", str(tmp_path / "again")
    )
    assert again.exit_code == 0, again.output
    assert System(tmp_path / "again").digest() == System(out).digest()
    fewer = livn_ipp(
        "generate", str(source), "--electrodes-per-side", "2", "--out", str(out),
        "--overwrite",
    )  # fmt: skip
    assert fewer.exit_code == 0, fewer.output
    assert System(out).default_io().num_channels == 4


def test_generate_draws_cells_and_electrodes(tmp_path):
    out = tmp_path / "EI1"
    result = livn_ipp("generate", "EI1", "--mea", "100", "--picture", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert System(out).default_io().num_channels == 16
    assert (out / "culture.png").read_bytes()[1:4] == b"PNG"
    assert "connecting cells" in result.output


def test_generate_does_not_replace_unasked(tmp_path):
    out = str(tmp_path / "EI1")
    assert livn_ipp("generate", "EI1", "--out", out).exit_code == 0
    before = System(out).digest()
    result = livn_ipp("generate", "EI1", "--seed", "5", "--out", out)
    assert result.exit_code == 1
    assert "--overwrite" in result.output
    assert System(out).digest() == before
    again = livn_ipp("generate", "EI1", "--seed", "5", "--out", out, "--overwrite")
    assert again.exit_code == 0, again.output
    assert System(out).digest() != before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["EI9"], 1, "EI9"),
        ([], 2, "--cells"),
        (["--cells", "0"], 2, "--cells"),
        (["--cells", "5", "--side", "-1"], 1, "side must be positive"),
        (["EI1", "--mea", "-5"], 1, "electrode_pitch must be positive"),
        (["EI1", "--mea", "100", "--electrodes-per-side", "4"], 2, "not both"),
        (["nowhere.toml"], 1, "nowhere.toml cannot be read as TOML"),
    ],
)
def test_generate_refuses_in_one_message(tmp_path, arguments, code, message):
    result = livn_ipp("generate", *arguments, "--out", str(tmp_path / "x"))
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output
    assert not Path(tmp_path / "x").exists()


def raising(error):
    def run_demo(*_):
        raise error

    return run_demo


def test_our_errors_are_one_message(monkeypatch):
    monkeypatch.setattr("livn_ipp.demo.run_demo", raising(ConfigError("too small")))
    result = livn_ipp("demo")
    assert (result.exit_code, result.output) == (1, "Error: too small\n")


def test_errors_of_workers_are_told_without_their_tracebacks(monkeypatch):
    failure = RankFailure(
        0, "node7", 42, "builtins", "OSError", "disk", "Traceback ..."
    )
    monkeypatch.setattr("livn_ipp.demo.run_demo", raising(call_error((failure,), 1)))
    result = livn_ipp("demo")
    assert result.exit_code == 1
    assert "Error: OSError: disk" in result.output
    assert "worker 1, rank 0 on node7" in result.output
    assert "Traceback" not in result.output


def test_other_errors_are_defects_and_shown_whole(monkeypatch):
    monkeypatch.setattr("livn_ipp.demo.run_demo", raising(ZeroDivisionError()))
    assert isinstance(livn_ipp("demo").exception, ZeroDivisionError)


def test_demo_of_an_unknown_culture(tmp_path):
    result = livn_ipp("demo", "--system", "EI77", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "EI77" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
@pytest.mark.slow
def test_demo(tmp_path):
    result = livn_ipp("demo", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "EI1: 10 cells" in result.output
    assert len(re.findall(r"Pulse at \d0 ms: \d+ spikes", result.output)) == 2
    assert (tmp_path / "raster.png").read_bytes()[1:4] == b"PNG"
