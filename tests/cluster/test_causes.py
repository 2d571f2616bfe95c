import os

import pytest

from livn_ipp.cluster.starting.causes import (
    LAST_WORDS,
    cause,
    last_words,
    say_last_words,
)

LINE = "-" * 74 + "\n"
# As Open MPI 5.0 and MPICH 5.0 wrote them.
OPEN_MPI = {
    "rank 1 was killed by signal 9 (killed)": LINE
    + "prterun noticed that process rank 1 with PID 27455 on node vm exited on\n"
    "signal 9 (Killed).\n",
    "rank 0 was killed by signal 11 (segmentation fault)": (
        "[vm:27412] *** Process received signal ***\n"
        "[vm:27412] Signal: Segmentation fault (11)\n" + LINE
    )
    + "prterun noticed that process rank 0 with PID 27412 on node vm exited on\n"
    "signal 11 (Segmentation fault).\n",
    "rank 12 ended with exit code 3": "prterun detected that one or more processes "
    "exited with non-zero status,\nthus causing the job to be terminated. The first "
    "process to do so was:\n\n   Process name: [prterun-vm-27384@1,12]\n"
    "   Exit code:    3\n",
    "rank 1 called MPI_Abort(-7)": LINE
    + "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\n"
    "  Proc: [[40805,1],1]\n  Errorcode: -7\n\n"
    "prterun has exited due to process rank 1 with PID 0 on node vm calling\n"
    '"abort". This may have caused other processes in the application to be\n',
    "rank 1 ended with exit code 0, without MPI_Finalize": "prterun has exited due to "
    "process rank 1 with PID 27400 on node vm exiting\nimproperly. There are three "
    "reasons this could occur:\n",
}
BAD_END = (
    "=" * 83 + "\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n"
    "=   PID 27746 RUNNING AT vm\n=   EXIT CODE: {}\n=   CLEANING UP REMAINING "
    "PROCESSES\n"
)
MPICH_KILLED = (
    BAD_END.format(9)
    + "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n"
)


@pytest.mark.parametrize("expected", OPEN_MPI)
def test_open_mpi_tells_rank_and_cause(expected):
    assert cause("output of ranks\n" + OPEN_MPI[expected], 1, {}) == expected


def test_mpich_tells_the_process():
    expected = "rank 1 was killed by signal 9 (killed)"
    assert cause(MPICH_KILLED, 9, {27745: 0, 27746: 1}) == expected
    assert cause(MPICH_KILLED, 9, {}) == "a rank was killed by signal 9 (killed)"
    assert cause(BAD_END.format(5), 5, {27746: 0}) == "rank 0 ended with exit code 5"
    aborted = "application called MPI_Abort(MPI_COMM_WORLD, 3) - process 1\n"
    assert cause(aborted, 3, {}) == "rank 1 called MPI_Abort(3)"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, ""),
        (0, "its ranks ended with exit code 0"),
        (3, "a rank ended with exit code 3"),
        (139, "a rank was killed by signal 11 (segmentation fault)"),
        (-9, "its launcher was killed by signal 9 (killed)"),
    ],
)
def test_without_words_the_exit_code_has_to_do(code, expected):
    assert cause("ranks print this\n", code, {}) == expected


def test_ranks_that_were_ended_for_another_are_not_the_cause():
    killed = OPEN_MPI["rank 1 was killed by signal 9 (killed)"]
    assert cause(killed, 137, {}, struck={0, 1}) == ""
    assert cause(killed, 137, {}, struck={0}).startswith("rank 1 was killed")
    assert cause(MPICH_KILLED, 9, {27746: 1}, struck={1}) == ""
    assert cause("", 137, {}, struck={0}) == ""
    for expected, log in OPEN_MPI.items():
        if "signal 9" not in expected:
            assert cause(log, 1, {}, struck={0, 1, 12}) == expected


def test_last_words_are_found_among_other_output(monkeypatch):
    read, write = os.pipe()
    monkeypatch.setattr(
        "livn_ipp.cluster.starting.causes.log_descriptor", lambda: write
    )
    say_last_words(kind="memory", rank=1, rss=7)
    said = os.read(read, 1000).decode()
    log = f"a line{said}{LAST_WORDS}{{cut sho\n{LAST_WORDS}[1]\nanother line"
    assert last_words(log) == [{"kind": "memory", "rank": 1, "rss": 7}]
    assert last_words("nothing") == []
    os.close(read)
    os.close(write)
