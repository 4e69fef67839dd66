"""The control of a trial: the same run without the teacher's losses, and without the teacher.

A control that needs no teacher is one run for all teachers and all weights: it is trained once.
"""

from collections.abc import Mapping
from dataclasses import replace

from raykd.config.inputs import models_by_teacher
from raykd.config.schedule import parse_schedule
from raykd.config.schema.losses import (
    LABEL_TERMS,
    CrossEntropyConfig,
    LossesConfig,
    SquaredErrorConfig,
)
from raykd.config.schema.model import StudentConfig
from raykd.config.schema.run import RunConfig
from raykd.runs.inputs import input_uris
from raykd.sweep.grid.stages import TeacherModel


def control_of(config: RunConfig) -> RunConfig:
    """Return the run trained on labels alone, all else alike.

    The teacher stays where the student's start, its architecture or the mixture of languages
    depends on it. A run whose labels never count gets them with weight 1: as cross entropy, or as
    squared error where that is present with weight 0.
    """
    losses = _on_labels(config.losses)
    # Temperatures and layer maps go with their terms: arms that differ in those alone have one
    # control, so that it is trained once and their tests share it.
    control = replace(config, losses=losses, teacher_weights=None)
    if not config.teachers:
        return control
    control = replace(control, student=_with_named_source(config))
    return control if _depends_on_teachers(control) else replace(control, teachers={})


def is_control(config: RunConfig) -> bool:
    """Tell whether no teacher's loss ever has a weight in a run."""
    losses = config.losses
    return not any(_counts(getattr(losses, name).weight) for name in losses.teacher_terms)


def coordinates_of_control(
    coordinates: Mapping[str, object], control: RunConfig, teacher: TeacherModel | None
) -> dict[str, object]:
    """Return the coordinates that a control still depends on."""
    kept = {}
    uses_teacher = teacher is not None and (
        bool(control.teachers)
        if teacher.uri is None
        else teacher.uri in input_uris(control).values()
    )
    for name, value in coordinates.items():
        # The loss on labels is the control's own, so its weight still tells controls apart.
        of_teacher = name in ("teacher", "quality")
        of_losses = name.startswith(("losses.", "teacher_weights", "teachers."))
        is_kept = uses_teacher if of_teacher else not of_losses
        if is_kept or name.startswith(tuple(f"losses.{term}" for term in LABEL_TERMS)):
            kept[name] = value
    return kept


def _on_labels(losses: LossesConfig) -> LossesConfig:
    """Return the terms on labels; the one that the data needs, where none ever counts."""
    hard = LossesConfig(cross_entropy=losses.cross_entropy, squared_error=losses.squared_error)
    if any(_counts(getattr(hard, name).weight) for name in hard.present):
        return hard
    if hard.squared_error is not None:
        return LossesConfig(squared_error=SquaredErrorConfig())
    return LossesConfig(cross_entropy=CrossEntropyConfig())


def _counts(weight: str) -> bool:
    # A schedule counts by its points: between two zeros it is zero too.
    return any(parse_schedule(weight).values)


def _with_named_source(config: RunConfig) -> StudentConfig:
    """Name the model that the student starts from, where a teacher's name stands for it."""
    init = config.student.init
    if init is None:
        return config.student
    # The name of a teacher would mean nothing in a run without teachers.
    source = init.method.source or next(iter(config.teachers))
    if (named := models_by_teacher(config).get(source)) is None:
        return config.student
    return replace(config.student, init=init.with_source(named.source))


def _depends_on_teachers(config: RunConfig) -> bool:
    # A null model_type takes the first teacher's architecture, and adaptive mixing follows the gap
    # to the teachers' accuracy: neither is defined without a teacher.
    built, mixing = config.student.architecture, config.data.mixing
    return (built is not None and built.model_type is None) or (
        mixing is not None and mixing.adaptive is not None
    )
