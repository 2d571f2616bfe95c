import os
import signal
import threading
import time

import pytest
from kernels import Notebook

from livn_ipp.cluster.machine.processes import marked

pytestmark = [pytest.mark.cluster, pytest.mark.notebook]


@pytest.fixture
def notebook(case):
    opened = Notebook(case.environment)
    yield opened
    opened.close()


CELL = """
from livn_ipp.cluster.launch import Cluster
cluster = Cluster(num_workers=1, subworld_size=2).start()
cluster
"""


def test_a_cluster_in_a_notebook(notebook, case):
    shown = notebook.run(CELL)
    assert shown.endswith("1 workers x 2 ranks, running>"), shown
    assert shown.count("\n") == 0
    cell = "%%px --no-stream\n" + "rank = MPI.COMM_WORLD.rank\n" + "print('rank', rank)"
    for _ in range(2):
        shown = notebook.run(cell)
        assert "rank 0" in shown
        assert "rank 1" in shown
    # A long cell would show a progress bar, which is a widget.
    assert notebook.run("%px import time; time.sleep(3)") == ""
    shown = notebook.run(
        "import threading\n"
        "thread = threading.Thread(target=lambda: print(cluster.start_world()))\n"
        "thread.start(); thread.join()\n"
        "print(len(cluster.workers))"
    )
    assert shown == "w1\n2\n", shown
    assert "rank 1" in notebook.run(cell)  # on the new ranks too
    pids = "print([rank.pid for rank in cluster.ranks()])"
    before = notebook.run(pids)
    kernel = int(notebook.run("import os; print(os.getpid())"))
    timer = threading.Timer(2, os.kill, (kernel, signal.SIGINT))
    timer.start()
    shown = notebook.run("%%px\nimport time; time.sleep(8)")
    timer.join()
    assert "KeyboardInterrupt" in shown
    assert "signal" not in shown, "ranks of a world may not be interrupted one by one"
    assert "rank 1" in notebook.run(cell)  # when the ranks have slept enough
    assert notebook.run(pids) == before
    shown = notebook.run("import sys; print('mpi4py.MPI' in sys.modules)")
    assert shown == "False\n"
    busy = "import time; busy = cluster.connect()[:].apply_async(time.sleep, 300)"
    assert notebook.run(busy) == ""
    assert notebook.run("print(len(cluster.ranks()), busy.ready())") == "4 False\n"
    notebook.manager.signal_kernel(9)
    deadline = time.monotonic() + 35
    while marked(case.mark):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_notebook_that_is_shut_down_takes_its_cluster_along(notebook, case):
    assert "running" in notebook.run(CELL)
    assert len(marked(case.mark)) > 10
    notebook.manager.shutdown_kernel()
    assert not case.left(20)
