"""Cores are those that this process may really use."""

import os
import platform
from pathlib import Path

import pytest
import torch
from raykd.machine.cores import cpu_model, has_bfloat16, usable_cores, usable_memory
from raykd.machine.process import idle_gpus, machine_warnings, prepare_process

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


def test_no_more_memory_is_usable_than_the_machine_has() -> None:
    assert 0 < usable_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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


def test_a_cpu_is_called_what_its_vendor_calls_it(tmp_path: Path) -> None:
    assert cpu_model(written(tmp_path / "info", X86.format(""))) == "AMD EPYC"
    assert cpu_model(tmp_path / "none") == platform.machine()


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


def test_gpus_that_a_run_does_not_ask_for_are_told(tmp_path: Path) -> None:
    assert machine_warnings(small_run(tmp_path)) == idle_gpus(torch.cuda.device_count())
    assert idle_gpus(0) == ()
    (warning,) = idle_gpus(8)
    assert warning.startswith("8 GPU(s) of this machine stay idle")
    assert "cluster.gpus_per_worker=1" in warning
