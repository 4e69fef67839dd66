"""From a RunConfig to live objects: the one place where things are constructed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.prefetch import prefetched
from raykd.data.stream import evaluation_rows, initial_state, rows_per_epoch, training_rows
from raykd.distill.evaluate import evaluate
from raykd.distill.loop import LoopOptions, StepBatches, TrainState
from raykd.distill.models import build_models
from raykd.distill.optimizer import build_optimizer
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.losses.terms import build_terms
from raykd.models.families import family_of
from raykd.models.scored import ScoredModel
from raykd.tasks.build import build_task
from raykd.tasks.task import Task
from raykd.teachers.live import LiveTeacher

_STEPS_AHEAD = 4
"""Steps whose batches are made ahead of the training thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """A run, ready to take its next step."""

    config: RunConfig
    manifest: Manifest
    task: Task
    student: ScoredModel
    objective: DistillationStep
    state: TrainState
    loop_options: LoopOptions
    world: World

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.loop_options.num_steps

    def logs_after(self, step: int) -> bool:
        """Tell whether the training loss is reported after a step."""
        return step == self.num_steps or step % self.config.train.log_every_steps == 0

    def evaluates_after(self, step: int) -> bool:
        """Tell whether the student is evaluated after a step."""
        if self.config.data.eval_split is None:
            return False
        return step == self.num_steps or step % self.config.train.eval_every_steps == 0

    def steps(self) -> Iterator[StepBatches]:
        """Yield this worker's batches of every step from the present state on."""
        return prefetched(self._steps(), depth=_STEPS_AHEAD)

    def evaluate(self, split: str | None = None) -> dict[str, float]:
        """Return the metrics on a split, ``data.eval_split`` unless named, as ``eval/...``."""
        rows = evaluation_rows(
            self.manifest,
            self.config.data,
            split=split or self.config.data.eval_split or self.config.data.train_split,
            batch_size=self.config.train.micro_batch_size,
            worker=(self.world.rank, self.world.size),
        )
        found = evaluate(
            self.objective,
            rows,
            task=self.task,
            languages=self.manifest.languages,
            micro_batch_size=self.config.train.micro_batch_size,
            world=self.world,
        )
        return {f"eval/{name}": value for name, value in found.items()}

    def _steps(self) -> Iterator[StepBatches]:
        for step in training_rows(
            self.manifest,
            self.config.data,
            seed=self.config.train.seed,
            global_batch_size=self.config.train.global_batch_size,
            worker=(self.world.rank, self.world.size),
            state=self.state.data,
        ):
            pieces = step.rows.split(self.config.train.micro_batch_size)
            yield StepBatches(
                micro_batches=tuple(self.task.collate(piece) for piece in pieces),
                data=step.state,
            )


def assemble(config: RunConfig, *, world: World) -> Distillation:
    """Build the data, the models, the terms and the optimizer of a run, at its first step."""
    manifest = read_manifest(config.data.uri)
    models = build_models(config, manifest)
    student = models.student.to(world.device)
    teacher = None if models.teacher is None else LiveTeacher(models.teacher.to(world.device))
    task = task_of(config, manifest, model_type=student.model.config.model_type)
    objective = DistillationStep(
        student,
        teacher=teacher,
        terms=build_terms(config.losses),
        autocast_dtype=torch.bfloat16 if config.train.precision == "bfloat16" else None,
    )
    state = TrainState(
        step=0,
        tokens=0,
        data=initial_state(manifest, config.data),
        optimizer=build_optimizer(student, config.optimizer),
        student=student,
    )
    options = LoopOptions(
        num_steps=num_steps(config, manifest), seed=config.train.seed, optimizer=config.optimizer
    )
    return Distillation(
        config=config,
        manifest=manifest,
        task=task,
        student=student,
        objective=objective.train(),
        state=state,
        loop_options=options,
        world=world,
    )


def task_of(config: RunConfig, manifest: Manifest, *, model_type: str) -> Task:
    """Return the task of a run, for models of a family."""
    return build_task(
        config.task,
        tokenizer=manifest.tokenizer,
        labels=manifest.labels_of(config.task),
        masking=config.data.masking,
        seed=config.train.seed,
        summary=family_of(model_type, where="student").summary,
    )


def num_steps(config: RunConfig, manifest: Manifest) -> int:
    """Return the optimizer steps of a run, given as steps or as passes over the data."""
    if config.train.num_steps is not None:
        return config.train.num_steps
    rows = rows_per_epoch(manifest, config.data)
    return max(
        1, math.ceil((config.train.num_epochs or 0) * rows / config.train.global_batch_size)
    )
