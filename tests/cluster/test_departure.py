"""Ranks that cannot go on end themselves; the clusters' part is in tests/faults."""

import os
import subprocess
import sys
import time

import pytest
from ranks import MPI_SETTINGS, mpiexec

from livn_ipp.cluster.machine.departure import failure_error, vote_or_leave
from livn_ipp.cluster.starting.causes import cause, last_words
from livn_ipp.errors import CallError, RankFailure
from livn_ipp.subworld import Subworld

FAILURE = RankFailure(1, "node7", 42, "builtins", "KeyError", "'x'", "a traceback")

VOTE = """
import time
from livn_ipp.cluster.machine.departure import vote_or_leave
from livn_ipp.errors import RankFailure
failure = RankFailure(1, "node7", 42, "builtins", "KeyError", "'x'" * 9999, "t" * 99999)
with vote_or_leave(failure, world_rank=3):
    time.sleep(60)
"""


def test_a_rank_whose_vote_nobody_answers_says_why_and_ends():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", VOTE],
        stderr=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
    )
    assert time.monotonic() - began < 40
    assert done.returncode == 1
    assert len(done.stderr) < 60_000  # all of it is read back
    (words,) = last_words(done.stderr)
    assert (words["kind"], words["rank"]) == ("failed", 3)
    error = failure_error(words, worker=5)
    assert isinstance(error, KeyError)
    assert isinstance(error, CallError)
    assert error.worker == 5
    assert "rank 1 on node7" in str(error)
    assert "worker is replaced" in str(error)


def test_a_vote_that_the_others_answer_is_all():
    with vote_or_leave(FAILURE, world_rank=3):
        pass


def test_only_a_rank_with_peers_can_go_astray():
    alone = Subworld()
    with pytest.raises(ValueError, match="x"), alone.without_votes():
        raise ValueError("x")
    assert not alone.astray


def test_what_it_said_is_the_cause():
    log = 'noise\nlivn_ipp last words: {"kind": "left", "rank": 2}\nexit code 1'
    assert cause(log, 1, {}) == "rank 2 was told to end in a call, as by h.quit()"


QUIT = """
import sys
from mpi4py import MPI
from livn_ipp.cluster import worker
from livn_ipp.cluster.machine.departure import before_the_end
busy = {busy}
def leave():
    if busy and MPI.COMM_WORLD.rank == 1:
        worker.leave(kind="left", rank=1)
for _ in range(2):
    before_the_end(leave)
if MPI.COMM_WORLD.rank == 1:
    {end}
elif busy:
    MPI.COMM_WORLD.barrier()
"""


@pytest.mark.mpi
@pytest.mark.parametrize("end", ["MPI.Finalize()", "sys.exit()"])
@pytest.mark.parametrize("busy", [True, False])
def test_a_rank_that_ends_in_a_call_does_not_wait_for_the_others(tmp_path, end, busy):
    script = tmp_path / "script.py"
    script.write_text(QUIT.format(end=end, busy=busy))
    job = subprocess.run(
        [mpiexec(), "-n", "2", sys.executable, str(script)],
        env={**os.environ, **MPI_SETTINGS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (job.returncode != 0) is busy
    assert len(last_words(job.stderr)) == busy
