"""The order of the tests that start Ray."""

from pathlib import Path

import pytest

_LONGEST = (
    "study_faults",
    "ray_train",
    "demo",
    "jobs",
    "interrupts",
    "sweep",
    "cache",
    "local_ray",
    "faults",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: else one core would be idle at the end."""
    places = [Path(__file__).with_name(f"test_{name}.py") for name in _LONGEST]
    items.sort(key=lambda item: places.index(item.path) if item.path in places else len(places))
