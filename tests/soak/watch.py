"""Memory and descriptors of the trainers of a soak, over their lives."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import psutil

from tests.soak.losses import Note

_INTERVAL_SECONDS = 0.5
_WARM_CHECKPOINTS = 8
"""After which a trainer has held what it needs at a time: steps, an evaluation, uploads that are
tried again. The heap finds room for each of them once, and keeps it."""

_FEWEST_SAMPLES = 40
"""In a third of a life: over less than a minute nothing can be said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a trainer held at one moment."""

    time: float
    memory_bytes: int
    num_descriptors: int


class Watch:
    """Samples whichever trainer runs."""

    def __init__(self) -> None:
        self.lives: dict[int, list[Sample]] = {}
        """Process id to samples."""

        self._process: psutil.Process | None = None

    def follow(self, process_id: int) -> None:
        """Sample this process from here on."""
        self._process = psutil.Process(process_id)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample while the block runs."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(_INTERVAL_SECONDS):
                self._sample()

        thread = threading.Thread(target=work, name="soak-watch")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _sample(self) -> None:
        process = self._process
        # It may have been killed at any moment.
        with suppress(psutil.Error):
            if process is not None:
                sample = Sample(
                    time=time.time(),
                    memory_bytes=process.memory_info().rss,
                    num_descriptors=process.num_fds(),
                )
                self.lives.setdefault(process.pid, []).append(sample)


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """What the trainer that lived longest came to hold, once warm."""

    seconds: float
    """Time watched after it was warm."""

    memory_bytes: int
    """Median over the first third."""

    memory_growth_bytes: int
    """Medians: of the last third over the first."""

    memory_slope_bytes: float
    """By a straight line, per minute."""

    peak_memory_bytes: int
    """Of any trainer."""

    num_descriptors: int
    descriptors_growth: int
    peak_descriptors: int


def growth(lives: dict[int, list[Sample]], notes: Sequence[Note]) -> Growth | None:
    """Return what is found of the longest life, once warm; None where there is no such life.

    Args:
        lives: By process id.
        notes: Of all processes.
    """
    longest = max((_warm(life, process, notes) for process, life in lives.items()), key=len)
    third = len(longest) // 3
    if third < _FEWEST_SAMPLES:
        return None
    times = np.array([sample.time for sample in longest])
    memory = np.array([sample.memory_bytes for sample in longest])
    descriptors = np.array([sample.num_descriptors for sample in longest])
    first, last = slice(0, third), slice(len(longest) - third, len(longest))
    everyone = [sample for life in lives.values() for sample in life]
    return Growth(
        seconds=float(times[-1] - times[0]),
        memory_bytes=int(np.median(memory[first])),
        memory_growth_bytes=int(np.median(memory[last]) - np.median(memory[first])),
        memory_slope_bytes=float(np.polyfit((times - times[0]) / 60, memory, 1)[0]),
        peak_memory_bytes=max(sample.memory_bytes for sample in everyone),
        num_descriptors=int(np.median(descriptors[first])),
        descriptors_growth=int(np.median(descriptors[last]) - np.median(descriptors[first])),
        peak_descriptors=max(sample.num_descriptors for sample in everyone),
    )


def _warm(life: list[Sample], process: int, notes: Sequence[Note]) -> list[Sample]:
    """Return the samples from a process's first checkpoints to its last step."""
    mine = [note for note in notes if note["process"] == process]
    commits = [note["time"] for note in mine if note["event"] == "commit"]
    if len(commits) < _WARM_CHECKPOINTS:
        return []
    begin, end = commits[_WARM_CHECKPOINTS - 1], mine[-1]["time"]
    return [sample for sample in life if begin <= sample.time <= end]
