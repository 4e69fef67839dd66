"""From a RunSetup to live objects: the one place where things are constructed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

import torch

from raykd.batch import Batch
from raykd.config.frozen import parse_frozen
from raykd.config.inputs import models_by_teacher
from raykd.config.schema.run import RunConfig
from raykd.data.selection import initial_state
from raykd.distill.batches import evaluation_batches, first_batches
from raykd.distill.distillation import Distillation
from raykd.distill.loop import LoopOptions, TrainState
from raykd.distill.models import (
    build_student,
    layer_terms,
    live_teachers,
    scored,
    served_languages,
)
from raykd.distill.optimizer import build_optimizer
from raykd.distill.passes import prepare_passes
from raykd.distill.projections import with_projections
from raykd.distill.setup import RunSetup
from raykd.distill.sharding import shard, shards_student
from raykd.distill.shared import SharedTeachers
from raykd.distill.start import StudentStart, source_of, start_student
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.losses.terms import build_terms
from raykd.models.gradients.embeddings import add_gradients_by_rows
from raykd.models.scored import ScoredModel
from raykd.tasks.task import Task
from raykd.teachers.build import build_ensemble, served_table
from raykd.teachers.cache.reading import OpenedCache
from raykd.teachers.cached import CachedTeacher
from raykd.teachers.controls import PermutedTeacher, UnigramTeacher, derangement
from raykd.teachers.ensemble import TeacherEnsemble, mean_margins
from raykd.teachers.live import LiveTeacher, Teacher
from raykd.teachers.overlapped import OverlappedEnsemble
from raykd.teachers.unigram import unigram_log_probs

_NO_CACHES: Mapping[str, OpenedCache] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunModels:
    """The models of a run, on this worker's device."""

    student: ScoredModel
    task: Task
    """For the student's family."""

    teachers: Mapping[str, LiveTeacher] = field(default_factory=dict)
    """Those whose weights are needed, by their names."""

    start: StudentStart | None = None
    """Where the weights of a built student came from; None where they are random, pretrained or
    still to be restored."""


def assemble(
    setup: RunSetup,
    *,
    world: World,
    is_restored: bool = False,
    languages: tuple[str, ...] | None = None,
    caches: Mapping[str, OpenedCache] = _NO_CACHES,
    shared: SharedTeachers | None = None,
) -> Distillation:
    """Build the data, the models, the terms and the optimizer of a run, at its first step.

    Args:
        setup: The run and its data.
        world: This worker among all.
        is_restored: The weights of the student will come from a checkpoint: neither
            student.init nor anything that has to be measured for it is done.
        languages: That the student has projections for where it has one per language; None
            where those are the languages that it trains on.
        caches: Of teachers that are read, not run, by their names; they stay open.
        shared: What other runs of this process have of the teachers, if there are any.
    """
    load = live_teachers if shared is None else shared.load
    running = running_teachers(setup.config, cached=caches, begins=not is_restored)
    models = build_models(
        setup,
        teachers=load(setup, running, world.device),
        world=world,
        is_restored=is_restored,
        languages=languages or setup.trained_languages,
    )
    objective = build_objective(setup, models, world=world, caches=caches, shared=shared)
    return Distillation(
        setup=setup,
        task=models.task,
        student=models.student,
        objective=objective,
        state=build_state(setup, objective),
        loop_options=loop_options(setup),
        world=world,
        start=models.start,
    )


def build_models(
    setup: RunSetup,
    *,
    teachers: Mapping[str, LiveTeacher],
    world: World,
    is_restored: bool,
    languages: tuple[str, ...],
) -> RunModels:
    """Build the student, and give it its first weights unless they will be restored."""
    # Built on the CPU and moved: what train.seed draws is the same for every device.
    model = build_student(setup).to(world.device)
    task, section = setup.task(model.config.model_type), setup.config.student
    read = partial(scored, setup=setup, projections=section.eval_projections)
    start = None
    if section.init is not None and not is_restored:
        start = start_student(
            model,
            setup,
            teachers={name: teacher.model for name, teacher in teachers.items()},
            batches=lambda: first_batches(setup, task, world=world),
            read=read,
        )

    def of_language(language: str) -> Iterator[Batch]:
        data = replace(setup.config.data, languages=(language,), mixing=None)
        alone = replace(setup, config=replace(setup.config, data=data))
        return first_batches(alone, task, world=world)

    student = read(
        with_projections(
            model, section, languages, read=read, batches_of=None if is_restored else of_language
        )
    )
    # Before anything looks for what is trained: the optimizer, DDP's buckets, FSDP2.
    student.freeze(parse_frozen(section.freeze))
    return RunModels(student=student, task=task, teachers=teachers, start=start)


def build_objective(
    setup: RunSetup,
    models: RunModels,
    *,
    world: World,
    caches: Mapping[str, OpenedCache] = _NO_CACHES,
    shared: SharedTeachers | None = None,
) -> DistillationStep:
    """Bring the models together under the terms of the run; sharded where it asks for that."""
    config = setup.config
    teachers = {name: teacher.model for name, teacher in models.teachers.items()}
    if world.size == 1 and world.device.type == "cpu" and not config.train.compile:
        add_gradients_by_rows(models.student, is_shared=config.task in {"masked_lm", "causal_lm"})
    # Recomputation, compilation, FSDP2, in this order: each wraps what the one before has made.
    prepare_passes(
        config.train, student=models.student, teachers=teachers.values(), device=world.device
    )
    ensemble = _ensemble(setup, models, caches, world, shared)
    overlapped = None
    # Teachers that are read would gain nothing.
    running = running_teachers(config, cached=caches, begins=False)
    if ensemble is not None and running and config.cluster.overlap_teacher:
        overlapped = OverlappedEnsemble(ensemble, device=world.device)
    objective = DistillationStep(
        models.student,
        ensemble=ensemble,
        overlapped=overlapped,
        terms=build_terms(config.losses),
        layer_terms=layer_terms(config, student=models.student, teachers=teachers),
        autocast_dtype=torch.bfloat16 if config.train.precision == "bfloat16" else None,
        compiled=config.train.compile,
    ).to(world.device)
    if shards_student(config, world):
        # Before there is an optimizer: its moments have to be those of the DTensors.
        shard(objective, world)
    return objective.train()


def build_state(setup: RunSetup, objective: DistillationStep) -> TrainState:
    """Return the state of a run before its first step."""
    return TrainState(
        step=0,
        tokens=0,
        data=initial_state(setup.manifest, setup.config.data),
        optimizer=build_optimizer(objective, setup.config.optimizer),
        student=objective.student,
        projections=objective.projections,
    )


def loop_options(setup: RunSetup) -> LoopOptions:
    """Return what the loop needs to know of a run."""
    train = setup.config.train
    return LoopOptions(
        num_steps=setup.num_steps,
        seed=train.seed,
        optimizer=setup.config.optimizer,
        loss_spike_factor=train.loss_spike_factor,
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
    needed = set(models_by_teacher(config)) - set(cached)
    # No cache keeps layers: a teacher whose layers are compared runs, cached or not.
    for term in config.losses.layer_terms.values():
        needed.add(term.teacher or next(iter(config.teachers)))
    if begins and config.student.init is not None:
        needed.add(source_of(config))
    return tuple(name for name in config.teachers if name in needed)


def _ensemble(
    setup: RunSetup,
    models: RunModels,
    caches: Mapping[str, OpenedCache],
    world: World,
    shared: SharedTeachers | None,
) -> TeacherEnsemble | None:
    """Bring the teachers together; measure their margins where importance is per language."""
    config, languages = setup.config, setup.manifest.languages
    teachers = {
        name: _teacher(name, setup, models, caches, world, shared) for name in config.teachers
    }
    if not teachers:
        return None
    served = served_languages(config)
    mean_margins_NG = None
    weights = config.teacher_weights
    if weights is not None and weights.is_measured:
        split = config.data.eval_split or config.data.train_split
        # Summed over all workers: they have to weight the teachers alike.
        mean_margins_NG = mean_margins(
            teachers,
            served_table(served, languages),
            evaluation_batches(setup, models.task, split=split, world=world),
            total=world.all_reduce_sum,
        )
    return build_ensemble(
        weights,
        teachers,
        served=served,
        languages=languages,
        trained=setup.trained_languages,
        mean_margins_NG=mean_margins_NG,
    )


def _teacher(
    name: str,
    setup: RunSetup,
    models: RunModels,
    caches: Mapping[str, OpenedCache],
    world: World,
    shared: SharedTeachers | None,
) -> Teacher:
    """Return what answers for a teacher: a model, what is kept of it, or a count of labels."""
    section = setup.config.teachers[name]
    teacher: Teacher
    if section.unigram is not None:
        log_probs_K = unigram_log_probs(setup.manifest, setup.config.data, models.task)
        teacher = UnigramTeacher(log_probs_K.to(world.device))
    elif name in caches:
        live = models.teachers.get(name)
        teacher = CachedTeacher(caches[name], device=world.device, live=live)
    else:
        teacher = models.teachers[name]
    if shared is not None:
        source = caches[name].uri if name in caches else name
        teacher = shared.teacher(teacher, source=source, setup=setup)
    if section.permuted is None:
        return teacher
    order_K = derangement(setup.num_classes, seed=section.permuted)
    return PermutedTeacher(teacher, order_K.to(world.device))
