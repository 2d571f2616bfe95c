"""What is a test, and to which layer the examples in docstrings belong."""

from pathlib import Path

import hypothesis
import pytest

# A loaded machine is slow and not wrong; each test has a time limit of its own.
hypothesis.settings.register_profile("livn_ipp", deadline=None)
hypothesis.settings.load_profile("livn_ipp")

ROOT = Path(__file__).parent
SIMULATES = [
    ROOT / "livn_ipp" / "neuron",
    ROOT / "livn_ipp" / "env" / "gymnasium.py",
]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the programs that tests start on ranks."""
    if collection_path.suffix != ".py" or ROOT / "tests" not in collection_path.parents:
        return None
    return not collection_path.name.startswith("test_") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the examples that simulate."""
    for item in items:
        if any(item.path.is_relative_to(place) for place in SIMULATES):
            item.add_marker(pytest.mark.neuron)
