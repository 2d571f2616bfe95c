"""Workers that bring an objective: what they refuse, and what they leave behind."""

import tempfile

import cloudpickle
import pytest

from livn_ipp.errors import ClusterLost, ConfigError
from livn_ipp.search import Worker, join
from livn_ipp.search.evaluate import OWN_OBJECTIVE


def objective(env, candidate, seed):
    return 1.0


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_waits_for_a_cluster_as_long_as_it_may(temporary):
    told = []
    worker = Worker(
        temporary / "cluster.json", objective, connect_timeout=0.7, tell=told.append
    )
    with pytest.raises(ClusterLost, match=r"within 0\.7 s"):
        worker.start()
    assert "trying again" in told[0]
    assert list(temporary.iterdir()) == []


def test_its_ranks_find_the_objective_which_nobody_else_can_read(
    temporary, monkeypatch
):
    seen = []

    def joined(path, num_ranks, wait, tell, variables):
        (directory,) = temporary.iterdir()
        (file,) = (each for each in directory.iterdir() if each.name != "owner")
        assert variables == {OWN_OBJECTIVE: str(file)}
        for private in (directory, file):
            assert private.stat().st_mode & 0o077 == 0
        seen.append((path.name, num_ranks, wait, cloudpickle.loads(file.read_bytes())))
        return 0

    monkeypatch.setattr(join, "join", joined)
    assert Worker("cluster.json", lambda e, c, s: 2.0, num_ranks=3).start() == 0
    ((name, ranks, wait, found),) = seen
    assert (name, ranks, wait, found(None, None, 0)) == ("cluster.json", 3, None, 2.0)
    assert list(temporary.iterdir()) == []


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match="objective must be callable"):
        Worker("cluster.json", 3)
    with pytest.raises(ConfigError, match="connect_timeout"):
        Worker("cluster.json", objective, connect_timeout=-1)
