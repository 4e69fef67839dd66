"""What a device can do and what was taken of it: its rate of products, its peak memory."""

import functools
import re
import resource
import sys
import time
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")

_SIZES = (256, 512, 1024, 2048, 4096)
"""Rows of the square matrices that are multiplied: those of 4096 take a GPU 200 MB in float32."""

_ENOUGH_SECONDS = 5e-3
"""A product that takes so long is large enough: starting it no longer counts."""


@functools.cache
def products_per_second(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Return the operations per second of a product of matrices, in floating point.

    It is measured once per process, in about a tenth of a second, and stands for the peak of
    the device: the vendor's is not known of CPUs.

    Args:
        device: A CPU or a GPU, which is waited for.
        dtype: The type of both matrices.
        threads: That torch has on a CPU: with another number the rate is another.
    """
    del threads  # a key of the cache alone
    # Its own generator: a run draws from torch's, and must not notice.
    generator = torch.Generator(device).manual_seed(0)
    best = 0.0
    for size in _SIZES:
        factor = torch.rand(size, size, generator=generator, device=device).to(dtype)
        # The first product of a size loads kernels and grows workspaces. The fastest of the rest
        # counts: other work on the machine only ever makes it slower.
        _, *timed = (_seconds(factor) for _ in range(5))
        # A multiplication and an addition for each of n^3 terms.
        best = max(best, 2 * size**3 / min(timed))
        if min(timed) > _ENOUGH_SECONDS:
            break
    if device.type == "cuda":
        # The peak is to be the run's.
        torch.cuda.reset_peak_memory_stats(device)
    return best


def _seconds(factor: torch.Tensor) -> float:
    _wait(factor.device)
    started = time.perf_counter()
    torch.mm(factor, factor)
    _wait(factor.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory that this process has had: of a GPU by tensors, or else resident.

    The device is not waited for.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.is_file() and (peak := re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())):
        # Not ru_maxrss, which on Linux a process begins with as its parent's.
        return int(peak[1]) * 1024
    # Bytes on macOS, kilobytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
