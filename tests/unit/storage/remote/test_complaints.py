"""What a store or a disk complains about is an error of ours that names the place."""

from pathlib import Path

import pytest
from raykd.errors import DiskFullError
from raykd.storage import uris


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk always full")
def test_a_full_disk_is_told_as_such() -> None:
    with pytest.raises(DiskFullError, match="/dev/full: the disk is full: make room"):
        uris.append_bytes("/dev/full", b"x")
