"""However a program with a DistributedEnv ends, nothing of its cluster stays behind."""

import os
import signal
import subprocess
import sys

import pytest
from ranks import MPI_SETTINGS, mpiexec

pytestmark = [pytest.mark.neuron, pytest.mark.cluster]

BEGIN = """
import sys
from livn_ipp.env.distributed import DistributedEnv
env = DistributedEnv("EI1", num_workers=2, subworld_size=1).init()
env.record_spikes()
env(10, inputs=[None, None])
print("ready", flush=True)
"""


def started(case, text):
    process = case.start(text)
    assert process.stdout.readline() == "ready\n", process.communicate(timeout=5)
    return process


def test_leaving_without_shutdown_is_clean(case):
    code, out, err = case.run(BEGIN)
    assert (code, out, err) == (0, "ready\n", "")
    assert not case.left(5)


def test_an_exception_is_what_the_user_sees(case):
    code, _, err = case.run(BEGIN + "env.submit(3_600_000)\n1 / 0\n")
    assert code == 1
    assert err.rstrip().endswith("ZeroDivisionError: division by zero")
    assert not case.left(10)


def test_killing_the_owner_in_a_call_ends_the_cluster(case):
    process = started(case, BEGIN + "env(3_600_000)\n")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert not case.left(35)


def test_an_interrupt_leaves_the_call_and_then_the_program(case):
    # A shell ignores interrupts in what it starts in the background.
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    text = (
        heed
        + BEGIN
        + (
            "try:\n    env(3_600_000)\nexcept KeyboardInterrupt:\n"
            "    print(len(env(10, inputs=[None, None])), flush=True)\n"
        )
    )
    process = started(case, text)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "2\n", "")
    assert not case.left(5)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("env.shutdown()\nenv.shutdown()", 0), ("if env.is_root(): 1 / 0", 1)],
)
def test_under_mpirun_no_rank_is_left_waiting(case, tmp_path, ending, code):
    script = tmp_path / "script.py"
    script.write_text(
        "from livn_ipp.env.distributed import DistributedEnv\n"
        "env = DistributedEnv('EI1', subworld_size=2).init()\n"
        "env.record_spikes()\n"
        "print(env(10, inputs=[None, None]), flush=True)\n" + ending
    )
    job = subprocess.run(
        [mpiexec(), "-n", "5", sys.executable, str(script)],
        env={**case.environment, **MPI_SETTINGS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert job.returncode == code, job.stderr
    assert job.stdout.count("None") >= 4
    assert ("ZeroDivisionError" in job.stderr) is bool(code)
    assert not case.left(5)


@pytest.mark.mpi
def test_under_mpirun_ranks_that_do_not_fit_are_told(case, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from livn_ipp.env.distributed import DistributedEnv\n"
        "DistributedEnv('EI1', subworld_size=2).init()\n"
    )
    job = subprocess.run(
        [mpiexec(), "-n", "4", sys.executable, str(script)],
        env={**case.environment, **MPI_SETTINGS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert job.returncode != 0
    assert "mpirun -n 5" in job.stderr
    assert "subworld_size 1 or 3" in job.stderr
    assert not case.left(5)


def test_a_serial_environment_can_follow_a_local_one(case):
    text = """
from livn_ipp.env import Env
from livn_ipp.env.distributed import DistributedEnv
for _ in range(20):
    with DistributedEnv("EI1", transport="local") as env:
        env.submit(3_600_000)
    print(Env("EI1").init().run(1).duration)
"""
    assert case.run(text) == (0, "1.0\n" * 20, "")
