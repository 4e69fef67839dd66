"""The root of a run's configuration."""

import re
from dataclasses import dataclass, field
from typing import Literal

from raykd.config.schema.data import DataConfig
from raykd.config.schema.losses import LossesConfig
from raykd.config.schema.model import StudentConfig, TeacherConfig
from raykd.config.schema.train import (
    CheckpointConfig,
    ClusterConfig,
    OptimizerConfig,
    TrackingConfig,
    TrainConfig,
)

TaskName = Literal["masked_lm", "causal_lm", "sequence_classification", "token_classification"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides what one run does: the training of one model."""

    name: str
    """Name of the run; its outputs live under output_uri/name-<hash of the configuration>."""

    output_uri: str = "runs"
    """Directory of runs, local or such as s3://bucket/runs."""

    task: TaskName
    """What the model learns to predict."""

    data: DataConfig
    student: StudentConfig
    losses: LossesConfig
    train: TrainConfig
    teachers: dict[str, TeacherConfig] = field(default_factory=dict)
    """Name to teacher; empty is plain training, as for a teacher itself."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def problems(self) -> list[str]:
        """Return every reason this run cannot start, each naming its key."""
        return [
            *self._name_problems(),
            *self.data.problems(),
            *self.student.problems(),
            *self.losses.problems(),
            *self.train.problems(),
            *self.optimizer.problems(),
            *self.checkpoint.problems(),
            *self.cluster.problems(),
            *self._teacher_problems(),
            *self._lane_problems(),
        ]

    def _name_problems(self) -> list[str]:
        if _NAME.fullmatch(self.name):
            return []
        return [f"name must consist of letters, digits, '.', '_' and '-', got {self.name!r}"]

    def _teacher_problems(self) -> list[str]:
        if len(self.teachers) > 1:
            return [f"teachers must name at most one, got {sorted(self.teachers)}"]
        if self.teachers:
            return []
        found = [
            f"losses.{name} needs a teacher: name one, as in teachers.small.model=URI"
            for name in self.losses.teacher_terms
        ]
        if (built := self.student.architecture) is not None and built.model_type is None:
            found.append("student.architecture.model_type is null: give it where no teacher is")
        init = self.student.init
        if init is not None and init.copy_layers is not None and init.copy_layers.source is None:
            found.append("student.init.copy_layers.source is null: give it where no teacher is")
        return found

    def _lane_problems(self) -> list[str]:
        if self.cluster.num_workers <= max(self.data.num_lanes, 1):
            return []
        return [
            f"cluster.num_workers ({self.cluster.num_workers}) must be at most data.num_lanes "
            f"({self.data.num_lanes}): each worker reads at least one lane"
        ]
