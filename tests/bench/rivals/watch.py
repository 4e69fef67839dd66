"""The clock and the memory of one way, the same for all: read after each optimizer step."""

import resource
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, SupportsFloat


@dataclass(kw_only=True, slots=True)
class Watch:
    """What one process sees of itself; CPU seconds are those of all its threads."""

    wall_seconds: list[float] = field(default_factory=list)
    """At the end of every step."""

    cpu_seconds: list[float] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    """Of every step, before its update: the objective, and its terms as far as they are told."""

    bytes_before: int = 0
    """Resident when everything is imported and no model is loaded."""

    bytes_peak: int = 0
    """Highest until the last step."""

    page_faults: int = 0
    """Pages that the kernel handed out until the last step: memory given back and asked again."""

    def begin(self) -> None:
        """Forget the peak of the imports."""
        Path("/proc/self/clear_refs").write_text("5")
        self.bytes_before = _resident("VmRSS")

    def step_ended(self, *_: object) -> None:
        """Note the time after a step; any arguments, so that it can be a hook."""
        self.wall_seconds.append(time.perf_counter())
        self.cpu_seconds.append(time.process_time())
        self.bytes_peak = _resident("VmHWM")
        self.page_faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def found(self, losses: Mapping[str, SupportsFloat]) -> None:
        """Note the losses of a step by name."""
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(float(value))

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return asdict(self)


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise KeyError(name)
