"""Large blocks that are freed serve the next ones, without the kernel's help."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 20
BLOCK_BYTES = 64 << 20


def faults_per_block() -> float:
    """Return the pages that the kernel brings in for each block, once the first ones are done."""
    take_blocks()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    take_blocks()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / STEPS


def take_blocks() -> None:
    for _ in range(STEPS):
        _ = bytearray(b"x") * BLOCK_BYTES


def in_own_process(*, keeps: bool) -> float:
    program = "from tests.unit.machine.test_allocator import faults_per_block\n"
    if keeps:
        program += "from raykd.machine.allocator import keep_large_blocks\n"
        program += "assert keep_large_blocks()\n"
    program += "print(faults_per_block())"
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_memory_is_faulted_in_once() -> None:
    pages = BLOCK_BYTES // resource.getpagesize()
    assert in_own_process(keeps=False) > pages / 2
    assert in_own_process(keeps=True) < pages / 100
