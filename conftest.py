"""Examples in docstrings belong to the layer of the room that they show."""

from pathlib import Path

import pytest

SIMULATES = Path(__file__).parent / "livn_ipp" / "neuron"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the examples that simulate."""
    for item in items:
        if item.path.is_relative_to(SIMULATES):
            item.add_marker(pytest.mark.neuron)
