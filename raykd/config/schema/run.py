"""The root of a run's configuration."""

from dataclasses import dataclass, field
from typing import Literal

from raykd.config.schema.data import DataConfig
from raykd.config.schema.losses import LossesConfig
from raykd.config.schema.model import StudentConfig, TeacherConfig
from raykd.config.schema.names import NAME_RULE, is_name
from raykd.config.schema.teachers import SPARSE_MODES, TeacherWeightsConfig
from raykd.config.schema.train import (
    CheckpointConfig,
    ClusterConfig,
    OptimizerConfig,
    TrackingConfig,
    TrainConfig,
)

TaskName = Literal["masked_lm", "causal_lm", "sequence_classification", "token_classification"]


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

    teacher_weights: TeacherWeightsConfig | None = None
    """How several teachers are weighted; null weighs them alike."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    inputs: dict[str, str] = field(default_factory=dict)
    """What data and models held when the run was planned: data.uri, teachers.NAME.model or another
    key that names an input, to its fingerprint. Filled in by raykd, so that other data is another
    run; a run whose inputs hold something else than it says does not start."""

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
            *self.tracking.problems(),
            *self._teacher_problems(),
            *self._task_problems(),
            *self._evaluation_problems(),
            *self._keep_problems(),
            *self._lane_problems(),
            *self._sharding_problems(),
            *self._overlap_problems(),
        ]

    def _name_problems(self) -> list[str]:
        return [] if is_name(self.name) else [f"name {NAME_RULE}, got {self.name!r}"]

    def _teacher_problems(self) -> list[str]:
        if not self.teachers:
            return self._needs_teacher()
        problems = []
        if bad := [name for name in self.teachers if not is_name(name)]:
            problems.append(f"teachers: names {NAME_RULE}, got {sorted(bad)}")
        for name, teacher in self.teachers.items():
            problems += teacher.problems(f"teachers.{name}", task=self.task)
        if self.teacher_weights is not None:
            problems += self.teacher_weights.problems(list(self.teachers))
        return [
            *problems,
            *self._layer_teacher_problems(),
            *self._unigram_problems(),
            *self._cache_problems(),
        ]

    def _unigram_problems(self) -> list[str]:
        """Return where the student would start from a teacher that is no model."""
        problems = []
        unigrams = [name for name, teacher in self.teachers.items() if teacher.unigram is not None]
        first = next(iter(self.teachers))
        # Null stands for the first teacher, here and in the method of init.
        built, init = self.student.architecture, self.student.init
        if built is not None and built.model_type is None and first in unigrams:
            problems.append(
                f"student.architecture.model_type is null, but the first teacher, {first}, is a "
                "unigram: give it, or name a model first"
            )
        if init is not None and not init.problems():
            source = init.method.source or first
            if source in unigrams:
                problems.append(
                    f"student.init.{init.name}.source: {source} is a unigram and has no weights: "
                    "name a model"
                )
        return problems

    def _cache_problems(self) -> list[str]:
        """Return why what the teachers say cannot be kept, or not used by this run."""
        problems = []
        weights, mixing = self.teacher_weights, self.data.mixing
        for name, teacher in self.teachers.items():
            key, cache = f"teachers.{name}.cache", teacher.cache
            if cache is None:
                continue
            problems += cache.problems(key, task=self.task, losses=self.losses)
            # Margins and entropies are functions of every class's score.
            if cache.mode in SPARSE_MODES and weights is not None and weights.is_by_score:
                problems.append(
                    f"{key}.mode={cache.mode}: teacher_weights needs all scores: use the mode "
                    "hidden"
                )
            # A cache for masked_lm holds a row once for each mask that it is read with.
            if self.task == "masked_lm" and mixing is not None and mixing.adaptive is not None:
                problems.append(
                    f"{key}: with data.mixing.adaptive it is not known beforehand how often a "
                    "language is read, and so which masks are needed: use temperature or fixed"
                )
        return problems

    def _layer_teacher_problems(self) -> list[str]:
        """Return why the terms on layers have no teacher that sees every row."""
        problems = []
        for name, term in self.losses.layer_terms.items():
            key, chosen = f"losses.{name}.teacher", term.teacher
            if chosen is None and len(self.teachers) > 1:
                problems.append(
                    f"{key} is null, but there are {len(self.teachers)} teachers: name one of "
                    f"{sorted(self.teachers)}"
                )
            elif chosen is not None and chosen not in self.teachers:
                problems.append(
                    f"{key} is {chosen!r}, but the teachers are {sorted(self.teachers)}"
                )
            elif self.teachers[chosen or next(iter(self.teachers))].unigram is not None:
                problems.append(f"{key}: a unigram has no layers: name a model")
            else:
                chosen = chosen or next(iter(self.teachers))
                # Rows that a teacher is not asked about have no layers of its to be compared with.
                if not self._sees_every_row(chosen):
                    problems.append(
                        f"{key}: {chosen} is not asked about every row, but layers are compared "
                        "on all of them: give it all languages and a weight in each"
                    )
        return problems

    def _sees_every_row(self, teacher: str) -> bool:
        weights = self.teacher_weights
        if self.teachers[teacher].languages is not None:
            return False
        if weights is not None and weights.fixed is not None:
            return weights.fixed.weights.get(teacher, 0) > 0
        return weights is None or (weights.by_language is None and not weights.is_measured)

    def _needs_teacher(self) -> list[str]:
        """Return what is configured that cannot be without a teacher."""
        problems = [
            f"losses.{name} needs a teacher: name one, as in teachers.small.model=URI"
            for name in self.losses.teacher_terms
        ]
        if self.teacher_weights is not None:
            problems.append(
                "teacher_weights needs teachers: name them, as in teachers.small.model=URI"
            )
        if self.data.mixing is not None and self.data.mixing.adaptive is not None:
            problems.append("data.mixing.adaptive needs a teacher: use temperature or fixed")
        # Null stands for the first teacher, here and in the method of init.
        if (built := self.student.architecture) is not None and built.model_type is None:
            problems.append("student.architecture.model_type is null: give it where no teacher is")
        init = self.student.init
        if init is not None and not init.problems() and init.method.source is None:
            problems.append(
                f"student.init.{init.name}.source is null: give it where no teacher is"
            )
        return problems

    def _task_problems(self) -> list[str]:
        if self.student.projections == "per_language" and self.task.endswith("_lm"):
            return [
                f"student.projections=per_language needs a classification task, got {self.task}: "
                "the head of a language model is its vocabulary"
            ]
        return []

    def _evaluation_problems(self) -> list[str]:
        """Return what follows evaluations where there are none."""
        if self.data.eval_split is not None:
            return []
        problems = []
        mixing, weights = self.data.mixing, self.teacher_weights
        if mixing is not None and mixing.adaptive is not None:
            problems.append(
                "data.mixing.adaptive follows evaluations, but data.eval_split is null"
            )
        if weights is not None and weights.is_measured:
            key = "teacher_weights.importance.per=language"
            problems.append(f"{key} is measured on data.eval_split, which is null")
        if self.train.eval_first:
            problems.append("train.eval_first is true, but data.eval_split is null")
        return problems

    def _keep_problems(self) -> list[str]:
        if self.train.keep == "last":
            return []
        problems = []
        if self.data.eval_split is None:
            problems.append("train.keep=best follows evaluations, but data.eval_split is null")
        if not self.checkpoint.keep_best:
            problems.append(
                "train.keep=best exports what checkpoint.keep_best=false removes: set it to true"
            )
        return problems

    def _lane_problems(self) -> list[str]:
        if self.cluster.num_workers <= max(self.data.num_lanes, 1):
            return []
        return [
            f"cluster.num_workers ({self.cluster.num_workers}) must be at most data.num_lanes "
            f"({self.data.num_lanes}): each worker reads at least one lane"
        ]

    def _sharding_problems(self) -> list[str]:
        if not (self.cluster.shard_student and self.train.compile):
            return []
        return [
            "cluster.shard_student and train.compile are both true: a sharded student is not "
            "compiled; set one of them to false"
        ]

    def _overlap_problems(self) -> list[str]:
        # Compiled, transformers keeps the layers that are wanted in one place for all threads.
        is_mixed_up = self.train.compile and self.losses.layer_terms
        if not (self.cluster.overlap_teacher and is_mixed_up):
            return []
        return [
            "cluster.overlap_teacher and train.compile are both true: compiled models take turns "
            f"where their layers are compared (losses.{next(iter(self.losses.layer_terms))}); set "
            "one of them to false"
        ]
