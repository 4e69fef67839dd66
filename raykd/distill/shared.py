"""Teachers of several runs in one process, which are at the same batches at the same time."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, fields, replace

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.distill.models import live_teachers
from raykd.distill.setup import RunSetup
from raykd.scores import REMEMBERED_BYTES, remembered
from raykd.teachers.live import LiveTeacher, Teacher


class SharedTeachers:
    """What is done once for runs that have the same teachers and read the same batches."""

    def __init__(self) -> None:
        self._loaded: dict[str, LiveTeacher] = {}
        self.answers: dict[str, Answers] = {}
        """By what each comes from: a model, by the teacher's name, or a cache, by its place."""

    def load(
        self, setup: RunSetup, names: Collection[str], device: torch.device
    ) -> dict[str, LiveTeacher]:
        """Return teachers of a run, loaded onto a device by whoever asks first."""
        missing = [name for name in names if name not in self._loaded]
        self._loaded |= live_teachers(setup, missing, device)
        return {name: self._loaded[name] for name in names}

    def teacher(self, teacher: Teacher, *, source: str, setup: RunSetup) -> "SharedTeacher":
        """Return a run's teacher, which is asked for the first run only that asks something.

        Args:
            teacher: The run's own way to ask.
            source: The name of a teacher that runs, or the URI of a cache.
            setup: The run.
        """
        train = setup.config.train
        num_micro_batches = -(-train.global_batch_size // train.micro_batch_size)
        answers = self.answers.setdefault(source, Answers(num_kept=num_micro_batches))
        return SharedTeacher(teacher=teacher, answers=answers)


class Answers:
    """What a teacher said last to any of several students.

    Whoever asks something else has it asked again, so students may part, and come together again.
    """

    def __init__(self, *, num_kept: int) -> None:
        """Begin with none.

        Args:
            num_kept: Micro-batches whose answers are kept: as many as a step has.
        """
        self._kept: deque[_Answer] = deque(maxlen=num_kept)
        self._bytes_each = REMEMBERED_BYTES // num_kept
        self.num_made = 0
        """Batches that a teacher was asked about."""

    def of(self, teacher: Teacher, batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        """Return what was said about a batch, by a teacher that is asked where nothing was."""
        # By value: each run has collated its own batches of the same rows.
        for kept in self._kept:
            if kept.wanted == wanted and _are_equal(kept.batch, batch):
                return kept.outputs
        outputs = teacher(batch, wanted)
        # What is left to do of an answer from a cache is the product with all words.
        outputs = replace(outputs, scores=remembered(outputs.scores, most=self._bytes_each))
        self.num_made += 1
        self._kept.append(_Answer(batch=batch, wanted=wanted, outputs=outputs))
        return outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedTeacher:
    """Tells a run's student what a teacher has told the students of other runs."""

    teacher: Teacher
    answers: Answers

    def __call__(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return the teacher's scores at the scored positions, and the layers wanted."""
        return self.answers.of(self.teacher, batch, wanted)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What a teacher has said about a batch."""

    batch: Batch
    wanted: LayersWanted
    outputs: ModelOutputs


def _are_equal(one: Batch, other: Batch) -> bool:
    return all(
        _is_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch)
    )


def _is_equal(one: torch.Tensor | int | None, other: torch.Tensor | int | None) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one is other or (isinstance(one, int) and one == other)
