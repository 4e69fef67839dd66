"""What the tests of caches have in common."""

from pathlib import Path

import pytest

from tests.small_runs import small_data


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path
