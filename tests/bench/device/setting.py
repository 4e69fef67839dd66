"""What a part of the program is told, what it tells, and how it takes the time."""

import gc
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

Row = dict[str, str | float | None]
"""A line of a table, by heading."""

_MOST_FRAMES = 4
_MOST_CHARACTERS = 300

RESULT, WRONG = "result", "WRONG"
"""Heading of what a check found, and what makes the program fail."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where a part runs."""

    device: torch.device
    is_small: bool
    """Seconds on a CPU instead of minutes on a GPU."""

    directory: Path
    """For data and models; parts of one process share them."""


Part = Callable[[Setting], list[Row]]


def check_row(check: str, difference: float, tolerance: float) -> Row:
    """Return the line of a check: how far two results are apart, and how far they may be."""
    return {
        "check": check,
        "difference": difference,
        "at most": tolerance,
        # Not the other way round: NaN is wrong.
        RESULT: "right" if difference <= tolerance else WRONG,
    }


def wait(device: torch.device) -> None:
    """Return when all that a GPU was given to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Let a GPU's peak of memory begin anew, with what is still held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def median_seconds(step: Callable[[], object], device: torch.device, *, rounds: int) -> float:
    """Return the median time of a step, after two that prepare kernels and memory."""
    seconds = []
    for _ in range(2 + rounds):
        wait(device)
        started = time.perf_counter()
        step()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def reason_of(error: Exception) -> str:
    """Return an error and where it came from, in one line."""
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:_MOST_CHARACTERS]} ({places})"
