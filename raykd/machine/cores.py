"""How many CPU cores and how much memory this process may use, and what the cores compute with."""

import math
import os
import platform
from pathlib import Path

from raykd.machine.control_groups import cpu_quota, memory_limit

_CPU_INFO = Path("/proc/cpuinfo")

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them, on x86 and on Arm."""


def usable_cores() -> int:
    """Return the cores that the affinity and the quota of this process allow, at least one."""
    # Not on macOS.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = os.cpu_count() or 1 if affinity is None else len(affinity(0))
    return max(1, math.floor(min(cores, cpu_quota())))


def usable_memory() -> int:
    """Return the bytes of memory that this machine has and control groups allow."""
    # Of a container this is the memory of its host: the control group has the limit.
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.floor(min(physical, memory_limit()))


def has_bfloat16(info: Path = _CPU_INFO) -> bool:
    """Tell whether the CPU multiplies bfloat16; true where nothing is known of it."""
    fields = _cpu_fields(info)
    flags = fields.get("flags") or fields.get("Features")
    return flags is None or not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def cpu_model(info: Path = _CPU_INFO) -> str:
    """Return what the vendor calls the CPU; its architecture where nothing is known of it."""
    return _cpu_fields(info).get("model name") or platform.machine()


def _cpu_fields(info: Path) -> dict[str, str]:
    """Return what Linux says of the first core."""
    if not info.is_file():
        return {}
    first = info.read_text("utf-8", "replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
