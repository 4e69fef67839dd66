"""Teachers that several runs of one process share."""

from collections.abc import Collection

import torch

from raykd.distill.models import load_teachers
from raykd.distill.setup import RunSetup
from raykd.teachers.live import LiveTeacher
from raykd.teachers.shared import SharedTeacher


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
