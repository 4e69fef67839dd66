"""The clock and the memory of one way on a device, which runs behind Python."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import SupportsFloat

import torch
from raykd.machine.devices import peak_memory_bytes

from tests.bench.device.setting import forget_peak, wait
from tests.bench.rivals.watch import Watch


@dataclass(kw_only=True, slots=True)
class DeviceWatch(Watch):
    """Waits for the device twice only: when the warm-up ends, and after the last step."""

    device: torch.device
    num_warm_up_steps: int
    num_steps: int
    num_taken: int = 0
    loss_sum: torch.Tensor | float = 0.0
    """Of all steps, on the device: reading it waits."""

    def begin(self) -> None:
        """Forget the peak so far."""
        forget_peak(self.device)

    def step_ended(self, *_: object) -> None:
        """Note the time, where it counts."""
        self.num_taken += 1
        if self.num_taken in (self.num_warm_up_steps, self.num_steps):
            wait(self.device)
            self.wall_seconds.append(time.perf_counter())
            self.bytes_peak = peak_memory_bytes(self.device)

    def found(self, losses: Mapping[str, SupportsFloat]) -> None:
        """Add the loss of a step."""
        loss = losses["loss"]
        self.loss_sum = self.loss_sum + (loss if isinstance(loss, torch.Tensor) else float(loss))

    @property
    def seconds_per_step(self) -> float:
        """Return the mean after the warm-up."""
        started, ended = self.wall_seconds
        return (ended - started) / (self.num_steps - self.num_warm_up_steps)
