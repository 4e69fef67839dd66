"""From a RunConfig to live objects: the one place where things are constructed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from raykd.batch import Batch
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.mixture import adaptive_weights
from raykd.data.stream import initial_state, rows_per_epoch, with_weights
from raykd.distill.batches import StepReader, evaluation_batches, first_batches
from raykd.distill.evaluate import Evaluation, evaluate
from raykd.distill.loop import LoopOptions, TrainState
from raykd.distill.models import (
    build_student,
    layer_terms,
    load_teachers,
    scored,
    served_languages,
    trained_languages,
)
from raykd.distill.optimizer import build_optimizer
from raykd.distill.projections import with_projections
from raykd.distill.start import StudentStart, start_student
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.losses.terms import build_terms
from raykd.models.families import family_of
from raykd.models.scored import ScoredModel
from raykd.tasks.build import build_task
from raykd.tasks.task import Task
from raykd.teachers.build import build_panel, served_table
from raykd.teachers.live import LiveTeacher
from raykd.teachers.panel import Panel, mean_margins


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
    start: StudentStart | None
    """Where the weights of a built student came from; None where they are random, pretrained or
    still to be restored."""

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

    @property
    def evaluates_first(self) -> bool:
        """Whether the student is evaluated before the first step, and that is still to come."""
        return self.config.train.eval_first and self.state.step == 0

    def steps(self) -> StepReader:
        """Return this worker's batches of every step from the present state on."""
        return StepReader(
            self.config, self.manifest, self.task, state=self.state, world=self.world
        )

    def evaluate(self, split: str | None = None) -> Evaluation:
        """Score student and teachers on a split, ``data.eval_split`` unless named."""
        data = self.config.data
        batches = evaluation_batches(
            self.config,
            self.manifest,
            self.task,
            split=split or data.eval_split or data.train_split,
            world=self.world,
        )
        return evaluate(
            self.objective,
            batches,
            task=self.task,
            languages=self.manifest.languages,
            world=self.world,
        )

    def named(self, evaluation: Evaluation) -> dict[str, float]:
        """Return the metrics of an evaluation as ``eval/...``."""
        found = evaluation.metrics(self.task, self.manifest.languages)
        return {f"eval/{name}": value for name, value in found.items()}

    @property
    def mixes_adaptively(self) -> bool:
        """Whether every evaluation decides how languages are drawn after it."""
        return self.config.data.mixing is not None and self.config.data.mixing.adaptive is not None

    def adapt(self, evaluation: Evaluation) -> dict[str, float]:
        """Draw languages by the gaps of an evaluation; return the share of each.

        Raises:
            ValueError: The run does not mix adaptively.
        """
        mixing = self.config.data.mixing
        if mixing is None or mixing.adaptive is None:
            message = "data.mixing.adaptive is null: there is nothing to adapt"
            raise ValueError(message)
        shares = adaptive_weights(
            mixing.adaptive,
            self.state.data.rows,
            gaps=evaluation.accuracy_gaps(self.manifest.languages),
        )
        self.state.data = with_weights(self.state.data, shares)
        return shares


def assemble(
    config: RunConfig,
    *,
    world: World,
    is_restored: bool = False,
    languages: tuple[str, ...] | None = None,
) -> Distillation:
    """Build the data, the models, the terms and the optimizer of a run, at its first step.

    Args:
        config: The run.
        world: This worker among all.
        is_restored: The weights of the student will come from a checkpoint: neither
            student.init nor anything that has to be measured for it is done.
        languages: That the student has projections for where it has one per language; None
            where those are the languages that it trains on.
    """
    manifest = read_manifest(config.data.uri)
    teachers = {
        name: teacher.to(world.device) for name, teacher in load_teachers(config, manifest).items()
    }
    model = build_student(config, manifest).to(world.device)
    task = task_of(config, manifest, model_type=model.config.model_type)
    read = partial(scored, config=config, manifest=manifest)
    start = None
    if config.student.init is not None and not is_restored:
        start = start_student(
            model,
            config,
            manifest,
            teachers=teachers,
            batches=lambda: first_batches(config, manifest, task, world=world),
            read=read,
        )

    def of_language(language: str) -> Iterator[Batch]:
        data = replace(config.data, languages=(language,), mixing=None)
        return first_batches(replace(config, data=data), manifest, task, world=world)

    student = read(
        with_projections(
            model,
            config,
            languages or trained_languages(config, manifest),
            read=read,
            batches_of=None if is_restored else of_language,
        )
    )
    objective = DistillationStep(
        student,
        panel=_panel(config, manifest, task, teachers=teachers, world=world),
        terms=build_terms(config.losses),
        layer_terms=layer_terms(config, student=student, teachers=teachers),
        autocast_dtype=torch.bfloat16 if config.train.precision == "bfloat16" else None,
    ).to(world.device)
    state = TrainState(
        step=0,
        tokens=0,
        data=initial_state(manifest, config.data),
        optimizer=build_optimizer(objective, config.optimizer),
        student=student,
        projections=objective.projections,
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
        start=start,
    )


def _panel(
    config: RunConfig,
    manifest: Manifest,
    task: Task,
    *,
    teachers: Mapping[str, ScoredModel],
    world: World,
) -> Panel | None:
    """Bring the teachers together; measure their margins where importance is per language."""
    if not teachers:
        return None
    live = {name: LiveTeacher(model) for name, model in teachers.items()}
    served = served_languages(config)
    mean_margins_NG = None
    weights = config.teacher_weights
    if weights is not None and weights.is_measured:
        split = config.data.eval_split or config.data.train_split
        mean_margins_NG = mean_margins(
            live,
            served_table(served, manifest.languages),
            evaluation_batches(config, manifest, task, split=split, world=world),
            total=world.sum,
        )
    return build_panel(
        weights,
        live,
        served=served,
        languages=manifest.languages,
        trained=trained_languages(config, manifest),
        mean_margins_NG=mean_margins_NG,
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
