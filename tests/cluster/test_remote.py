"""Cells on the ranks of chosen workers, by the magic that runs them."""

import base64

import pytest
from cases import Case
from IPython.core.error import UsageError
from kernels import Notebook, shell_with_magics

from livn_ipp.cluster.machine.processes import end
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import CallError, ConfigError
from livn_ipp.testing import LightEnv

pytestmark = pytest.mark.cluster


@pytest.fixture
def shell():
    return shell_with_magics()


@pytest.fixture(scope="module")
def env(cluster_2x2):
    with DistributedEnv(
        "EI1", backend=LightEnv, cluster=cluster_2x2, subworld_size=2
    ) as env:
        yield env


@pytest.fixture
def cells(shell, env, capsys):
    """Runs a cell; returns what it printed and displayed."""
    shell.user_ns["env"] = env

    def run(options, cell):
        shell.display_pub.outputs.clear()
        capsys.readouterr()
        shell.run_cell_magic("livn", options, cell)
        return capsys.readouterr().out, shell.display_pub.outputs

    return run


def test_a_cell_runs_on_the_ranks_of_all_workers_in_order(cells):
    printed, displayed = cells("", "print('hi')\ncomm.rank")
    assert printed == "".join(
        f"worker {worker}, rank {rank}:\n  hi\n  {rank}\n"
        for worker in range(2)
        for rank in range(2)
    )
    assert not displayed


def test_workers_can_be_chosen(cells):
    assert cells("--workers 1", "kept = comm.rank + 5")[0] == ""
    printed, _ = cells("-w 1", "kept, comm.allreduce(1)")
    assert printed == "worker 1, rank 0: (5, 2)\nworker 1, rank 1: (6, 2)\n"
    printed, _ = cells("-w 1,0", "'kept' in globals()")
    assert [text[-5:] for text in printed.splitlines()] == [" True"] * 2 + ["False"] * 2


def test_figures_come_below_their_rank(cells):
    drawing = (
        "import matplotlib.pyplot as plt\n"
        "if comm.rank == 0:\n"
        "    plt.plot([1, 2]); plt.show()\n"
    )
    printed, displayed = cells("", drawing)
    assert printed == "worker 0, rank 0:\nworker 1, rank 0:\n"
    pictures = [base64.b64decode(each["data"]["image/png"]) for each in displayed]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * 2


def test_errors_keep_their_type_and_the_ranks_live_on(cells):
    with pytest.raises(ZeroDivisionError) as raised:
        cells("", "print('before')\ncomm.rank / 0")
    error = raised.value
    assert isinstance(error, CallError)
    assert error.worker == 0
    assert [failure.rank for failure in error.failures] == [0, 1]
    assert "comm.rank / 0" in error.tracebacks
    assert "\x1b" not in str(error)
    assert error.__notes__ == [
        "worker 1 failed as well: ZeroDivisionError: division by zero"
    ]
    with pytest.raises(ConfigError, match="no such electrode"):
        cells(
            "-w 1",
            "from livn_ipp.errors import ConfigError\n"
            "raise ConfigError('no such electrode')",
        )
    assert cells("-w 0", "1")[0] == "worker 0, rank 0: 1\nworker 0, rank 1: 1\n"


def test_what_cannot_run_is_refused_before_any_rank_sees_it(cells):
    with pytest.raises(SyntaxError) as raised:
        cells("", "ran = True\nif:")
    assert not isinstance(raised.value, CallError)  # no rank had to tell
    with pytest.raises(UsageError, match="no worker 2, 7 at present; there are 0, 1"):
        cells("--workers 1,2,7", "ran = True")
    with pytest.raises(UsageError, match="numbers as 0,2 or 0-3, not 'first'"):
        cells("--workers first", "ran = True")
    printed, _ = cells("", "'ran' in globals()")
    assert printed.count("False") == 4


def test_the_status_names_the_ranks(shell, env):
    shell.user_ns["env"] = env
    table = repr(shell.run_line_magic("livn", "status")).splitlines()
    assert table[0].startswith("DistributedEnv of EI1: 2 workers (2 idle)")
    for row, ranks in zip(table[2:], env.ranks().values(), strict=True):
        assert " ".join(str(rank.pid) for rank in ranks) in row


HEALING = """
import time
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.testing import LightEnv, kill_rank
%load_ext livn_ipp
env = DistributedEnv("EI1", backend=LightEnv, num_workers=2).init()
old = kill_rank(env, 0).pid
while 0 in env.ranks() and env.ranks()[0][0].pid == old:
    time.sleep(0.1)
env.wait_for_workers(2, timeout=55)
new = env.ranks()[0][0].pid
"""


@pytest.mark.notebook
@pytest.mark.slow
def test_a_replaced_worker_is_found(tmp_path):
    case = Case(tmp_path)
    notebook = Notebook(case.environment)
    try:
        assert "Error" not in notebook.run(HEALING)
        cell = "%%livn --workers 0\nimport os\nos.getpid()"
        shown = notebook.run(cell)
        assert shown == f"worker 0, rank 0: {notebook.run('print(new)')}"
        shown = notebook.run(
            "%%px --no-stream\nassert world.size == 1\nprint('ok', env)"
        )
        assert shown.count("ok LightEnv") == 2, shown
        assert "shut down" in notebook.run("env.shutdown(); env")
    finally:
        notebook.close()
        end(case.mark, grace=0.5)
