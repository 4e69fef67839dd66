"""A device is measured by what it does, and measuring changes nothing in the process."""

import subprocess
import sys

import pytest
import torch
from raykd.machine.devices import peak_memory_bytes, products_per_second

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rate_is_positive_measured_once_and_draws_no_number_of_the_run(
    dtype: torch.dtype,
) -> None:
    before = torch.get_rng_state()
    rate = products_per_second(CPU, dtype, torch.get_num_threads())
    assert rate > 1e6
    assert products_per_second(CPU, dtype, torch.get_num_threads()) == rate
    assert torch.equal(torch.get_rng_state(), before)


def test_the_peak_of_memory_grows_with_what_is_held_and_stays() -> None:
    before = peak_memory_bytes(CPU)
    held = torch.ones(before, dtype=torch.uint8)
    assert peak_memory_bytes(CPU) > before + len(held) // 2
    del held
    assert peak_memory_bytes(CPU) > before + before // 2


def test_a_process_does_not_begin_with_the_peak_of_its_parent() -> None:
    held = torch.ones(2 * peak_memory_bytes(CPU), dtype=torch.uint8)
    code = (
        "import torch; from raykd.machine.devices import peak_memory_bytes;"
        "print(peak_memory_bytes(torch.device('cpu')))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert int(printed.stdout) < len(held)
