"""One hierarchy, and remote errors that are also of their original type."""

import pickle
import types

import pytest

from livn_ipp import errors
from livn_ipp.errors import (
    CallCancelled,
    CallError,
    CallTimeout,
    ConfigError,
    LivnError,
    RankFailure,
    ResultNotSerializable,
    SystemFormatError,
    WorkerLost,
    call_error,
)


def failure(module="builtins", type_name="ValueError", rank=0, message="no"):
    return RankFailure(
        rank, "node7", 42, module, type_name, message, f"Traceback of rank {rank}"
    )


def test_equal_tracebacks_are_shown_once():
    same = [
        RankFailure(rank, "node7", 40 + rank, "builtins", "OSError", "no", "same text")
        for rank in range(2)
    ]
    text = call_error((*same, failure(rank=2))).tracebacks
    assert text == (
        "--- rank 0 on node7 (pid 40), rank 1 on node7 (pid 41)\nsame text\n"
        "--- rank 2 on node7 (pid 42)\nTraceback of rank 2"
    )


class CultureDied(RuntimeError):
    def __init__(self, culture, day):
        super().__init__(f"{culture} died on day {day}")


class Picky(Exception):
    def __init_subclass__(cls, **kwargs):
        raise RuntimeError("do not derive from me")


@pytest.mark.parametrize(
    "name", [n for n in errors.__all__ if isinstance(getattr(errors, n), type)]
)
def test_every_error_is_of_the_one_hierarchy(name):
    if name != "RankFailure":
        assert issubclass(getattr(errors, name), LivnError | Warning)


def test_config_error_is_a_value_error():
    with pytest.raises(ValueError, match="too small"):
        raise ConfigError("too small")


def test_system_format_error_names_file_and_field():
    error = SystemFormatError("EI1/cells.h5", "/Populations", "missing")
    assert str(error) == "EI1/cells.h5: /Populations: missing"
    assert str(SystemFormatError("EI1/graph.json", "", "not JSON")) == (
        "EI1/graph.json: not JSON"
    )


def test_system_format_error_survives_pickling():
    error = pickle.loads(pickle.dumps(SystemFormatError("a/b.h5", "x", "missing")))
    assert (str(error.path), error.field, error.problem) == ("a/b.h5", "x", "missing")


def test_a_module_that_a_worker_lacks_is_told_how_to_bring():
    missing = failure(type_name="ModuleNotFoundError", message="No module named 'x'")
    error = call_error((missing,), worker=3)
    assert isinstance(error, ModuleNotFoundError)
    for told in ("No module named 'x'", "install", "PYTHONPATH", "by_value"):
        assert told in str(error)


def test_message_says_what_where_and_whether_the_worker_lives():
    error = call_error((failure(rank=1), failure(rank=2)), worker=3)
    assert "ValueError: no" in str(error)
    assert "worker 3" in str(error)
    assert "rank 1 on node7, rank 2 on node7" in str(error)
    assert "the worker is usable" in str(error)
    assert "Traceback of rank 1" in str(error)
    assert "Traceback of rank 2" in str(error)


@pytest.mark.parametrize(
    ("module", "name", "kind"),
    [
        ("builtins", "ValueError", ValueError),
        ("builtins", "KeyError", KeyError),
        ("builtins", "FileNotFoundError", OSError),
        ("builtins", "UnicodeDecodeError", UnicodeDecodeError),
        ("builtins", "StopIteration", StopIteration),
        ("json", "JSONDecodeError", ValueError),
        ("livn_ipp.errors", "ConfigError", ConfigError),
        ("livn_ipp.errors", "SystemFormatError", SystemFormatError),
    ],
)
def test_remote_error_is_of_its_original_type(module, name, kind):
    error = call_error((failure(module, name),), worker=0)
    assert isinstance(error, CallError)
    assert isinstance(error, kind)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, CallError)
    assert isinstance(copy, kind)
    assert str(copy) == str(error)
    assert (copy.failures, copy.worker) == (error.failures, 0)


def test_remote_error_of_the_users_own_type(monkeypatch):
    module = types.ModuleType("users_own")
    module.CultureDied = CultureDied
    monkeypatch.setitem(__import__("sys").modules, "users_own", module)
    with pytest.raises(CultureDied, match="EI1 died") as caught:
        raise call_error((failure("users_own", "CultureDied", message="EI1 died"),))
    assert isinstance(caught.value, CallError)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("nowhere_to_be_found", "ValueError"),  # the user's ValueError, not Python's
        ("builtins", "NoSuchError"),
        ("builtins", "int"),
        ("builtins", "Exception"),
        ("builtins", "ExceptionGroup"),  # needs arguments of its own
        ("builtins", "SystemExit"),  # must not end the user's process
        ("builtins", "KeyboardInterrupt"),
        ("livn_ipp.errors", "LivnError"),
        ("pydantic_core", "ValidationError"),  # cannot be derived from
    ],
)
def test_remote_error_of_an_unusable_type_is_a_plain_call_error(module, name):
    error = call_error((failure(module, name),))
    assert type(error) is CallError
    assert f"{name}: no" in str(error)
    assert type(pickle.loads(pickle.dumps(error))) is CallError


def test_type_that_refuses_to_be_mixed_in(monkeypatch):
    module = types.ModuleType("users_own")
    module.Picky = Picky
    monkeypatch.setitem(__import__("sys").modules, "users_own", module)
    assert type(call_error((failure("users_own", "Picky"),))) is CallError


def test_module_that_fails_to_import(tmp_path, monkeypatch):
    (tmp_path / "breaks_on_import.py").write_text("raise OSError('no licence')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(call_error((failure("breaks_on_import", "Odd"),))) is CallError


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (CallTimeout, TimeoutError),
        (CallCancelled, CallError),
        (WorkerLost, CallError),
        (ResultNotSerializable, TypeError),
    ],
)
def test_specific_errors_survive_pickling(kind, also):
    error = kind("gone", failures=(failure(),), worker=1)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert isinstance(copy, also)
    assert (str(copy), copy.worker, len(copy.failures)) == ("gone", 1, 1)


def test_remote_call_error_keeps_its_own_type():
    error = call_error((failure("livn_ipp.errors", "CallTimeout"),))
    assert type(error) is CallTimeout
