"""Finding systems: by path, by name, and the errors when there is none."""

import pytest

from livn_ipp.errors import ConfigError
from livn_ipp.system import System, shipped
from livn_ipp.system.layout import locate


@pytest.mark.parametrize(("name", "cells"), [("EI1", 10), ("EI2", 100), ("EI3", 1000)])
def test_shipped_cultures_are_whole(name, cells):
    system = System(name).validate()
    assert system.path == shipped(name)
    assert system.num_cells == cells


def test_an_unknown_name_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"'EI9'.*EI1.*EI2.*EI3"):
        shipped("EI9")


@pytest.mark.parametrize("name", ["", ".", "..", "EI1/params"])
def test_a_shipped_name_is_not_a_path(name):
    with pytest.raises(ConfigError, match="shipped"):
        shipped(name)


def test_a_missing_directory_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ConfigError, match="no system directory at") as info:
        System(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in str(info.value)
    assert "EI1" in str(info.value)


def test_a_file_and_a_number_are_not_systems(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        locate(tmp_path / "file")
    with pytest.raises(ConfigError, match="not by a int"):
        locate(7)


def test_a_directory_goes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EI1").mkdir()
    assert locate("EI1") == tmp_path / "EI1"
