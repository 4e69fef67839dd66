"""Which keys of a run name the data and the models that it reads."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from raykd.config.schema.run import RunConfig

DATA = "data.uri"
_PRETRAINED = "student.pretrained"


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """What a key names."""

    source: str
    revision: str | None = None


def models_by_teacher(config: RunConfig) -> dict[str, Named]:
    """Return the models of a run's teachers, by the teachers' names; a unigram has none."""
    return {
        name: Named(source=teacher.model, revision=teacher.revision)
        for name, teacher in config.teachers.items()
        if teacher.model is not None
    }


def models_of(config: RunConfig) -> dict[str, Named]:
    """Return the models that a run reads, by the keys that name them."""
    models = {_teacher_key(name): model for name, model in models_by_teacher(config).items()}
    student = config.student
    if student.pretrained is not None:
        models[_PRETRAINED] = Named(source=student.pretrained, revision=student.revision)
    source = None if student.init is None else student.init.method.source
    # The name of a teacher may be that of a directory here too: the teacher is meant.
    if student.init is not None and source is not None and source not in config.teachers:
        models[f"student.init.{student.init.name}.source"] = Named(source=source)
    return models


def with_models(config: RunConfig, models: Mapping[str, Named]) -> RunConfig:
    """Return a run whose keys name other models.

    Args:
        config: The run.
        models: By the keys of ``models_of``, all of them.
    """
    teachers = dict(config.teachers)
    for name in models_by_teacher(config):
        model = models[_teacher_key(name)]
        teachers[name] = replace(teachers[name], model=model.source, revision=model.revision)
    student = config.student
    if student.pretrained is not None:
        model = models[_PRETRAINED]
        student = replace(student, pretrained=model.source, revision=model.revision)
    if student.init is not None:
        named = models.get(f"student.init.{student.init.name}.source")
        if named is not None:
            student = replace(student, init=student.init.with_source(named.source))
    return replace(config, teachers=teachers, student=student)


def parts_of(key: str) -> list[str]:
    """Return the parts of a key that names an input."""
    # The keys are those of models_of, not what a user types.
    first, _, rest = key.partition(".")
    # The name of a teacher may have dots in it.
    return [first, *(rest.rsplit(".", 1) if first == "teachers" else rest.split("."))]


def value_at(stated: Mapping[str, Any], key: str) -> Any:
    """Return what a run in nested mappings says at the key of an input."""
    return functools.reduce(lambda section, part: section[part], parts_of(key), stated)


def _teacher_key(name: str) -> str:
    return f"teachers.{name}.model"
