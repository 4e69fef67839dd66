"""Control groups bound a process, and those around its own do too."""

import math
from pathlib import Path

from raykd.machine.control_groups import cpu_quota, memory_limit


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_smallest_quota_of_the_groups_above_counts(tmp_path: Path) -> None:
    own = written(tmp_path / "own", "0::/pods/mine\n")
    root = tmp_path / "cgroup"
    written(root / "pods/mine/cpu.max", "max 100000\n")
    written(root / "pods/cpu.max", "250000 100000\n")
    assert cpu_quota(root, own) == 2.5
    written(root / "pods/mine/cpu.max", "50000 100000\n")
    assert cpu_quota(root, own) == 0.5


def test_a_quota_of_version_1_counts(tmp_path: Path) -> None:
    own = written(tmp_path / "own", "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n")
    root = tmp_path / "cgroup"
    written(root / "cpu/cpu.cfs_quota_us", "300000\n")
    written(root / "cpu/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(root, own) == 3
    written(root / "cpu/cpu.cfs_quota_us", "-1\n")
    assert cpu_quota(root, own) == math.inf


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "none") == math.inf
    assert memory_limit(tmp_path, tmp_path / "none") == math.inf


def test_the_smallest_memory_of_the_groups_above_counts(tmp_path: Path) -> None:
    own = written(tmp_path / "own", "0::/slurm/job\n")
    root = tmp_path / "cgroup"
    written(root / "slurm/job/memory.max", "max\n")
    written(root / "slurm/memory.max", "4000000000\n")
    assert memory_limit(root, own) == 4e9
    written(root / "slurm/job/memory.max", "1000000000\n")
    assert memory_limit(root, own) == 1e9


def test_a_memory_of_version_1_counts(tmp_path: Path) -> None:
    own = written(tmp_path / "own", "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n")
    root = tmp_path / "cgroup"
    written(root / "memory/memory.limit_in_bytes", "2000000000\n")
    written(root / "cpu/cpu.cfs_quota_us", "-1\n")
    assert (memory_limit(root, own), cpu_quota(root, own)) == (2e9, math.inf)
