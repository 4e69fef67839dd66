"""Cores are those that this process may really use."""

import math
import os
from pathlib import Path

import pytest
import torch
from raykd.train.machine.cores import cpu_name, cpu_quota, has_bfloat16, usable_cores
from raykd.train.machine.process import machine_warnings, prepare_process

from tests.small_runs import small_run

X86 = """\
processor	: 0
model name	: AMD EPYC
stepping	: 1
flags		: fpu avx2 {}

processor	: 1
"""


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


def test_usable_cores_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cores() <= len(before)


def test_bfloat16_is_read_off_the_flags(tmp_path: Path) -> None:
    plain, able = (
        written(tmp_path / flag, X86.format(flag)) for flag in ("avx512f", "avx512_bf16")
    )
    arm = written(tmp_path / "arm", "processor : 0\nFeatures : fp asimd bf16\n\n")
    assert [has_bfloat16(info) for info in (plain, able, arm)] == [False, True, True]
    assert has_bfloat16(tmp_path / "none")
    assert cpu_name(plain) == "AMD EPYC 1"
    assert cpu_name(tmp_path / "none") == "unknown"


@pytest.mark.parametrize(("cores", "threads"), [(2.5, 2), (0.5, 1)])
def test_a_worker_computes_with_the_cores_it_is_given(cores: float, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        assert f"{threads} thread(s)" in prepare_process(cores=cores)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_run_in_this_process_takes_no_more_threads_than_torch_was_told() -> None:
    before = torch.get_num_threads()
    prepare_process(cores=None)
    assert torch.get_num_threads() == min(before, usable_cores())


def test_bfloat16_is_warned_of_where_the_cpu_lacks_it(tmp_path: Path) -> None:
    config = small_run(
        tmp_path,
        train__precision="bfloat16",
        teachers={"t": {"model": "m", "dtype": "bfloat16"}},
        losses={"forward_kl": {}},
    )
    named = [warning.split()[0] for warning in machine_warnings(config)]
    assert named == ([] if has_bfloat16() else ["train.precision", "teachers.t.dtype"])
    assert machine_warnings(small_run(tmp_path)) == ()
