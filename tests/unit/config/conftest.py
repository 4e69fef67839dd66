"""Fixtures of the tests of configurations."""

from pathlib import Path

import pytest

MINIMAL = "name: study\nbase: base.yaml\n"
"""The shortest text of a sweep."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sweep.yaml"
    file.write_text(MINIMAL)
    return file
