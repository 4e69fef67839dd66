"""The teacher of a cache, loaded to run: in the process of the driver or in a worker."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch

from raykd.config.schema.run import RunConfig
from raykd.distill.models import load_teachers, student_config
from raykd.distill.setup import read_setup
from raykd.distill.world import local_device
from raykd.teachers.cache.building import AskingWriter, Progress, Writer
from raykd.teachers.cache.parts import Coverage
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.planner import ModePlan, planned_modes
from raykd.teachers.cache.runner import TeacherRunner
from raykd.teachers.live import LiveTeacher

BATCHES_AT_ONCE = 4
"""Micro-batches of the run that a teacher computes together: it keeps nothing of a layer for
a backward pass."""

OnProgress = Callable[[str, Progress], None]
"""Told of the name of a teacher and how far its cache is, after every part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheWatch:
    """Who looks on while the caches of a run are made."""

    on_message: Callable[[str], None] = lambda _: None
    """Told in a line what is chosen, and for whom it waits."""

    on_progress: OnProgress = lambda _name, _progress: None

    should_stop: Callable[[], bool] = lambda: False
    """Called before every part, and while it waits for another; what is written stays."""


class CacheWriter(Writer, Protocol):
    """Writes what one teacher of a run says, and measures ways to keep it."""

    def plans(
        self,
        coverages: Sequence[Coverage],
        payloads: Sequence[Payload],
        temperatures: Sequence[float],
    ) -> list[ModePlan]:
        """Measure ways to keep what the teacher says; nothing is written."""


Workers = Callable[[RunConfig, str, CacheWatch], AbstractContextManager[CacheWriter]]
"""From a run and the name of a teacher to who runs it, elsewhere, while a block runs."""


class TeacherWriter(AskingWriter):
    """Runs a teacher of a run in this process."""

    def __init__(self, config: RunConfig, name: str) -> None:
        """Load the teacher.

        Raises:
            RaykdError: It or the data cannot be read.
        """
        super().__init__(_runner(config, name))

    def plans(
        self,
        coverages: Sequence[Coverage],
        payloads: Sequence[Payload],
        temperatures: Sequence[float],
    ) -> list[ModePlan]:
        """Measure ways to keep what the teacher says."""
        return planned_modes(self._runner, coverages, payloads, temperatures=temperatures)


def _runner(config: RunConfig, name: str) -> TeacherRunner:
    device = local_device(config.cluster) or torch.device("cpu")
    setup = read_setup(config)
    model = load_teachers(setup, names=[name])[name].to(device)
    return TeacherRunner(
        name=name,
        manifest=setup.manifest,
        task=setup.task(student_config(setup).model_type),
        teacher=LiveTeacher(model),
        batch_size=BATCHES_AT_ONCE * config.train.micro_batch_size,
        device=device,
    )
