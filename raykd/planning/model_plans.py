"""The student and the teachers of a run as they are planned, and what speaks against them."""

from functools import partial

from raykd.config.inputs import Named, models_by_teacher
from raykd.distill.models import (
    check_layer_terms,
    check_pretrained,
    served_languages,
    student_config,
    teacher_class_order,
)
from raykd.distill.projections import check_projections, check_teacher_projections
from raykd.distill.setup import RunSetup
from raykd.models.build import count_parameters
from raykd.planning.memory import ModelPlan
from raykd.planning.model_fit import planned_model, with_frozen
from raykd.planning.problems import Problems
from raykd.teachers.build import check_languages


def plan_models(
    setup: RunSetup, problems: Problems
) -> tuple[ModelPlan | None, dict[str, ModelPlan]]:
    """Describe the student and the teachers that can be read, by name.

    Args:
        setup: The run and its data.
        problems: Given what is wrong with a model, for the data or beside the others.
    """
    teachers = _plan_teachers(setup, problems)
    student = problems.collect(lambda: _plan_student(setup))
    problems.collect(
        lambda: check_languages(
            setup.config.teacher_weights,
            served_languages(setup.config),
            languages=setup.manifest.languages,
            trained=setup.trained_languages,
        )
    )
    if student is not None:
        student = problems.collect(partial(with_frozen, student, setup)) or student
        problems.collect(partial(check_projections, setup, student=student.config))
        problems.collect(partial(_check_models, setup, student, teachers))
    return student, teachers


def _plan_teachers(setup: RunSetup, problems: Problems) -> dict[str, ModelPlan]:
    models = models_by_teacher(setup.config).items()
    plans = {name: _plan_teacher(name, named, setup, problems) for name, named in models}
    return {name: plan for name, plan in plans.items() if plan is not None}


def _plan_teacher(
    name: str, named: Named, setup: RunSetup, problems: Problems
) -> ModelPlan | None:
    plan = problems.collect(
        lambda: planned_model(
            setup,
            key=f"teachers.{name}.model",
            source=named.source,
            revision=named.revision,
            new_head="refused",
        )
    )
    if plan is not None:
        problems.collect(lambda: _check_teacher(name, setup, plan))
    return plan


def _check_teacher(name: str, setup: RunSetup, plan: ModelPlan) -> None:
    """Check that a teacher scores the data's classes, in every language it is asked about."""
    teacher_class_order(name, plan.config, setup)
    check_teacher_projections(name, setup, teacher=plan.config)


def _plan_student(setup: RunSetup) -> ModelPlan:
    section = setup.config.student
    if section.pretrained is not None:
        return planned_model(
            setup,
            key="student.pretrained",
            source=section.pretrained,
            revision=section.revision,
            new_head="allowed",
        )
    built = student_config(setup)
    return ModelPlan(config=built, parameters=count_parameters(built, setup.config.task))


def _check_models(setup: RunSetup, student: ModelPlan, teachers: dict[str, ModelPlan]) -> None:
    """Check what the student has to do with the task, and its layers with the teachers'."""
    config = setup.config
    if config.student.pretrained is not None:
        check_pretrained(setup, student.config)
    setup.task(student.config.model_type)
    # One that cannot be read has been told already; without it no layers can be compared.
    if teachers.keys() == models_by_teacher(config).keys():
        check_layer_terms(
            config,
            student=student.config,
            teachers={name: plan.config for name, plan in teachers.items()},
        )
