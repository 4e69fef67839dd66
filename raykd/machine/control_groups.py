"""What the control groups of Linux grant a process, as containers and schedulers set them."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cpu_quota(root: Path = _ROOT, own: Path = _OWN) -> float:
    """Return the cores' worth of time that control groups give this process; infinite without.

    Args:
        root: Where control groups are mounted.
        own: File that names this process's.
    """
    return _least("cpu", _quota, root, own)


def memory_limit(root: Path = _ROOT, own: Path = _OWN) -> float:
    """Return the bytes of memory that they give it; infinite without. Arguments as above."""
    return _least("memory", _limit, root, own)


def _least(controller: str, bound: Callable[[Path], float], root: Path, own: Path) -> float:
    """Return the least of what the group of this process and those around it allow."""
    if not own.is_file():
        return math.inf
    bounds = (
        bound(directory)
        for line in own.read_text().splitlines()
        for directory in _directories(line, root, controller)
    )
    return min(bounds, default=math.inf)


def _directories(line: str, root: Path, controller: str) -> Iterator[Path]:
    """Yield a control group that may bound a process, and those around it, as far as seen."""
    _, controllers, path = line.split(":", 2)
    if controllers and controller not in controllers.split(","):
        return
    # Version 2 has one tree without names of controllers, version 1 a tree for each.
    top = root / controller if controllers else root
    inner = top / path.lstrip("/")
    yield from (place for place in (inner, *inner.parents) if place.is_relative_to(top))


def _quota(directory: Path) -> float:
    """Return the quota of one control group of version 2 or 1."""
    # Microseconds of CPU time in each period of so many microseconds.
    if (limit := _read(directory / "cpu.max")) is not None:
        quota, period = limit.split()
    else:
        quota = _read(directory / "cpu.cfs_quota_us") or "-1"
        period = _read(directory / "cpu.cfs_period_us") or "1"
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)


def _limit(directory: Path) -> float:
    """Return the limit of one control group of version 2 or 1, whose largest stands for none."""
    limit = _read(directory / "memory.max") or _read(directory / "memory.limit_in_bytes")
    return math.inf if limit in (None, "max") else int(limit)


def _read(path: Path) -> str | None:
    return path.read_text().strip() if path.is_file() else None
