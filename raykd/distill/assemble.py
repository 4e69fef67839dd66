"""From a RunConfig to live objects: the one place where things are constructed."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import torch

from raykd.batch import Batch
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.stream import initial_state, rows_per_epoch
from raykd.distill.batches import evaluation_batches, first_batches
from raykd.distill.distillation import Distillation
from raykd.distill.loop import LoopOptions, TrainState
from raykd.distill.models import (
    build_student,
    layer_terms,
    live_teachers,
    scored,
    served_languages,
    trained_languages,
)
from raykd.distill.optimizer import build_optimizer
from raykd.distill.passes import prepare_passes
from raykd.distill.projections import with_projections
from raykd.distill.sharding import shard, shards_student
from raykd.distill.start import source_of, start_student
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.losses.terms import build_terms
from raykd.models.families import family_of
from raykd.tasks.build import build_task
from raykd.tasks.task import Task
from raykd.teachers.build import build_ensemble, served_table
from raykd.teachers.cache.reading import OpenedCache
from raykd.teachers.cached import CachedTeacher
from raykd.teachers.ensemble import TeacherEnsemble, mean_margins
from raykd.teachers.live import LiveTeacher, Teacher

LiveTeachers = Callable[
    [RunConfig, Manifest, Collection[str], torch.device], dict[str, LiveTeacher]
]
"""Loads teachers of a run, by their names, onto a device."""


def assemble(
    config: RunConfig,
    *,
    world: World,
    is_restored: bool = False,
    languages: tuple[str, ...] | None = None,
    caches: Mapping[str, OpenedCache] = MappingProxyType({}),
    load: LiveTeachers = live_teachers,
) -> Distillation:
    """Build the data, the models, the terms and the optimizer of a run, at its first step.

    Args:
        config: The run.
        world: This worker among all.
        is_restored: The weights of the student will come from a checkpoint: neither
            student.init nor anything that has to be measured for it is done.
        languages: That the student has projections for where it has one per language; None
            where those are the languages that it trains on.
        caches: Of teachers that are read, not run, by their names; they stay open.
        load: The other teachers, which several runs may share.
    """
    manifest = read_manifest(config.data.uri)
    running = running_teachers(config, cached=caches, begins=not is_restored)
    live = load(config, manifest, running, world.device)
    teachers = {name: teacher.model for name, teacher in live.items()}
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
    prepare_passes(config.train, student=student, teachers=teachers.values(), device=world.device)
    objective = DistillationStep(
        student,
        ensemble=_ensemble(
            config, manifest, task, teachers=_asked(config, live, caches, world), world=world
        ),
        terms=build_terms(config.losses, compiled=config.train.compile),
        layer_terms=layer_terms(config, student=student, teachers=teachers),
        autocast_dtype=torch.bfloat16 if config.train.precision == "bfloat16" else None,
    ).to(world.device)
    if shards_student(config, world):
        shard(objective, world)
    state = TrainState(
        step=0,
        tokens=0,
        data=initial_state(manifest, config.data),
        optimizer=build_optimizer(objective, config.optimizer),
        student=student,
        projections=objective.projections,
    )
    options = LoopOptions(
        num_steps=num_steps(config, manifest),
        seed=config.train.seed,
        optimizer=config.optimizer,
        loss_spike_factor=config.train.loss_spike_factor,
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


def running_teachers(
    config: RunConfig, *, cached: Collection[str], begins: bool
) -> tuple[str, ...]:
    """Return the teachers whose weights are needed, in their order.

    Args:
        config: The run.
        cached: Teachers whose scores are kept.
        begins: Whether the student is still to be given its first weights.
    """
    needed = set(config.teachers) - set(cached)
    for term in config.losses.layer_terms.values():
        needed.add(term.teacher or next(iter(config.teachers)))
    if begins and config.student.init is not None:
        needed.add(source_of(config))
    return tuple(name for name in config.teachers if name in needed)


def _asked(
    config: RunConfig,
    live: Mapping[str, LiveTeacher],
    caches: Mapping[str, OpenedCache],
    world: World,
) -> dict[str, Teacher]:
    """Return every teacher, to be run or read."""
    return {
        name: CachedTeacher(caches[name], device=world.device, live=live.get(name))
        if name in caches
        else live[name]
        for name in config.teachers
    }


def _ensemble(
    config: RunConfig,
    manifest: Manifest,
    task: Task,
    *,
    teachers: Mapping[str, Teacher],
    world: World,
) -> TeacherEnsemble | None:
    """Bring the teachers together; measure their margins where importance is per language."""
    if not teachers:
        return None
    served = served_languages(config)
    mean_margins_NG = None
    weights = config.teacher_weights
    if weights is not None and weights.is_measured:
        split = config.data.eval_split or config.data.train_split
        mean_margins_NG = mean_margins(
            teachers,
            served_table(served, manifest.languages),
            evaluation_batches(config, manifest, task, split=split, world=world),
            total=world.all_reduce_sum,
        )
    return build_ensemble(
        weights,
        teachers,
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
