"""How many CPU cores this process may use, and what they can compute with."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_CPU_INFO = Path("/proc/cpuinfo")

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them, on x86 and on Arm."""


def usable_cores() -> int:
    """Return the cores that the affinity and the quota of this process allow, at least one."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = os.cpu_count() or 1 if affinity is None else len(affinity(0))
    return max(1, math.floor(min(cores, cpu_quota())))


def cpu_quota(root: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> float:
    """Return the cores' worth of time that control groups give this process; infinite without.

    Args:
        root: Where control groups are mounted.
        own: File that names this process's.
    """
    if not own.is_file():
        return math.inf
    quotas = (
        _quota(directory)
        for line in own.read_text("utf-8", "replace").splitlines()
        for directory in _directories(line, root)
    )
    return min(quotas, default=math.inf)


def cpu_name(info: Path = _CPU_INFO) -> str:
    """Return what this machine's CPU is called, with what decides how it computes."""
    fields = _cpu_fields(info)
    parts = (fields.get(name, "") for name in ("model name", "cpu family", "model", "stepping"))
    return " ".join(part for part in parts if part) or "unknown"


def has_bfloat16(info: Path = _CPU_INFO) -> bool:
    """Tell whether the CPU multiplies bfloat16; true where nothing is known of it."""
    fields = _cpu_fields(info)
    flags = fields.get("flags") or fields.get("Features")
    return flags is None or not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def _directories(line: str, root: Path) -> Iterator[Path]:
    """Yield a control group that may bound the CPU, and all it is in, as far as they are seen."""
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return
    top = root / "cpu" if controllers else root
    inner = top / path.lstrip("/")
    yield from (place for place in (inner, *inner.parents) if place.is_relative_to(top))


def _quota(directory: Path) -> float:
    """Return the quota of one control group of version 2 or 1."""
    try:
        quota, period = (directory / "cpu.max").read_text().split()
    except FileNotFoundError:
        try:
            quota = (directory / "cpu.cfs_quota_us").read_text().strip()
            period = (directory / "cpu.cfs_period_us").read_text().strip()
        except FileNotFoundError:
            return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)


def _cpu_fields(info: Path) -> dict[str, str]:
    """Return what Linux says of the first core."""
    if not info.is_file():
        return {}
    first = info.read_text("utf-8", "replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
