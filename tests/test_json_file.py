"""JSON files whose faults are named."""

import pytest

from livn_ipp.errors import SystemFormatError
from livn_ipp.json_file import read_json


def test_an_object_is_read(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"name": "µ"}', encoding="utf-8")
    assert read_json(path) == {"name": "µ"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "missing"),
        (b"", "JSON"),
        (b'{"a": }', "line 1 column 7"),
        (b"[1]", "holds a list"),
        (b"\xff", "JSON"),
    ],
)
def test_faults_name_the_file(tmp_path, content, problem):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemFormatError, match=problem) as info:
        read_json(path)
    assert info.value.path == path


def test_a_directory_is_not_a_file(tmp_path):
    with pytest.raises(SystemFormatError, match="cannot be read"):
        read_json(tmp_path)
