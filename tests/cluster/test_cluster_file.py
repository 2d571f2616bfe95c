import dataclasses
import json
import platform
import stat

import pytest

from livn_ipp.cluster.keeping.journal import Journal
from livn_ipp.cluster.reaching.cluster_file import (
    ClusterFile,
    engine_connection,
    write_private,
)
from livn_ipp.errors import ConfigError

FILE = ClusterFile(
    cluster_id="left",
    num_workers=2,
    subworld_size=3,
    workers_per_world=1,
    launcher="mpi",
    arguments=("--bind-to", "none"),
    options={},
    interface="127.0.0.1",
    profile_dir="/home/ada/.ipython/profile_default",
    marks={"LIVN_IPP_CLUSTER": "left/1"},
    client={"interface": "tcp://127.0.0.1", "registration": 4},
    engine={"interface": "tcp://127.0.0.1", "registration": 4, "mux": 5},
    software={"python": "3.11"},
    detached=True,
)


def test_it_is_read_as_it_was_written_by_its_owner_only(tmp_path):
    path = tmp_path / "deeper" / "cluster.json"
    FILE.write(path)
    assert ClusterFile.read(path) == FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    changed = dataclasses.replace(FILE, num_workers=3)
    path.chmod(0o644)
    changed.write(path)
    assert ClusterFile.read(str(path)) == changed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["cluster.json"]
    assert platform.node() in FILE.describe()


def test_engines_find_their_way_by_either_file(tmp_path):
    path = tmp_path / "cluster.json"
    FILE.write(path)
    assert engine_connection(path) == (FILE.engine, FILE)
    path.write_text(json.dumps(FILE.engine))
    assert engine_connection(path) == (FILE.engine, None)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', "\0"])
def test_another_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "cluster.json"
    path.write_text(content)
    for read in (ClusterFile.read, engine_connection):
        with pytest.raises(ConfigError, match=r"cluster\.json"):
            read(path)
    FILE.write(path)
    told = json.loads(path.read_text())
    del told["marks"]
    path.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"Cluster\.file"):
        ClusterFile.read(path)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_trusted(tmp_path, mode):
    path = tmp_path / "cluster.json"
    FILE.write(path)
    path.chmod(mode)
    for read in (ClusterFile.read, engine_connection, Journal.read):
        with pytest.raises(ConfigError, match="chmod 600"):
            read(path)
    path.chmod(0o640)
    assert ClusterFile.read(path) == FILE


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    directory = tmp_path / "cluster.json"
    directory.mkdir()
    with pytest.raises(OSError, match=r"cluster\.json"):
        write_private(directory, b"content")
    assert list(tmp_path.iterdir()) == [directory]
