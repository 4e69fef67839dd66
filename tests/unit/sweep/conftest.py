"""Fixtures of the tests of sweeps."""

from pathlib import Path

import pytest

from tests.sweep_files import write_runs


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of run files, where nothing is trained."""
    return write_runs(tmp_path_factory.mktemp("sweep"))
