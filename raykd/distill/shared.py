"""Teachers of several runs in one process, which are at the same batches at the same time."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, fields

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.distill.models import load_teachers
from raykd.distill.setup import RunSetup
from raykd.models.scored import ScoredModel
from raykd.teachers.live import LiveTeacher


class SharedTeachers:
    """Loads each teacher once, for runs that have the same ones and read the same batches."""

    def __init__(self) -> None:
        self._loaded: dict[str, SharedTeacher] = {}

    def load(
        self, setup: RunSetup, names: Collection[str], device: torch.device
    ) -> dict[str, LiveTeacher]:
        """Return teachers of a run, loaded onto a device by whoever asks first."""
        missing = [name for name in names if name not in self._loaded]
        train = setup.config.train
        num_micro_batches = -(-train.global_batch_size // train.micro_batch_size)
        for name, model in load_teachers(setup, names=missing).items():
            self._loaded[name] = SharedTeacher(model.to(device), num_remembered=num_micro_batches)
        return {name: self._loaded[name] for name in names}


class SharedTeacher(LiveTeacher):
    """Is asked by each student, and runs for the first one only: to the others it says the same.

    It remembers no more than what it said last. Whoever asks something else has it run again, so
    students may part, and come together again.
    """

    def __init__(self, model: ScoredModel, *, num_remembered: int) -> None:
        """Begin with nothing to remember.

        Args:
            model: The teacher.
            num_remembered: Micro-batches: as many as a step has.
        """
        super().__init__(model)
        self._said: deque[_Said] = deque(maxlen=num_remembered)
        self.num_runs = 0
        """Batches that the model has run on."""

    def __call__(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return the teacher's scores at the scored positions, and the layers wanted."""
        # By value: each run has collated its own batches of the same rows.
        for said in self._said:
            if said.wanted == wanted and _are_equal(said.batch, batch):
                return said.outputs
        outputs = super().__call__(batch, wanted)
        self.num_runs += 1
        self._said.append(_Said(batch=batch, wanted=wanted, outputs=outputs))
        return outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What the teacher has said about a batch."""

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
