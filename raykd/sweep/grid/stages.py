"""The stages of a sweep: each teacher's run, trained once, and its checkpoints as qualities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from raykd.config.given import replace_value
from raykd.config.kinds import read_run_mapping
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig, SweepTeacherConfig
from raykd.config.schema.teachers import CacheConfig
from raykd.distill.setup import read_setup
from raykd.errors import RaykdError
from raykd.models.fingerprint import origin_of
from raykd.runs.checkpoint import checkpoint_name, committed_steps
from raykd.runs.checkpointer import milestone_steps
from raykd.runs.inputs import located_model
from raykd.runs.paths import run_paths
from raykd.storage import uris

_MANY_STEPS = 1_000_000
"""Assumed steps of a stage that cannot be started: enough for its milestones to differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherModel:
    """One quality of one teacher."""

    uri: str
    revision: str | None = None
    cache: CacheConfig | None = None
    stage: RunConfig | None = None
    """The run that makes it; None for a model that is there."""

    origin: str | None = None
    """The stage and step that make it."""


def shared_changes(sweep: SweepConfig) -> dict[str, object]:
    """Return the changes that the sweep makes to every run file."""
    runs = {} if sweep.runs_uri is None else {"output_uri": sweep.runs_uri}
    return runs | sweep.overrides


def teacher_models(
    sweep: SweepConfig, pinned: Callable[[RunConfig], RunConfig]
) -> dict[tuple[str, float | None], TeacherModel]:
    """Return every quality of every teacher.

    Args:
        sweep: Names them.
        pinned: Adds to a run what its inputs hold.

    Raises:
        RaykdError: A run file is wrong.
    """
    models: dict[tuple[str, float | None], TeacherModel] = {}
    for name, teacher in sweep.teachers.items():
        if teacher.model is not None:
            models[name, None] = TeacherModel(
                uri=located_model(teacher.model), revision=teacher.revision, cache=teacher.cache
            )
            continue
        config = pinned(_stage_config(name, teacher, shared_changes(sweep)))
        total = _num_steps(config)
        for quality, step in zip(
            teacher.milestones, milestone_steps(teacher.milestones, total), strict=True
        ):
            stage = _that_keeps(config, step)
            paths = run_paths(stage)
            models[name, quality] = TeacherModel(
                uri=uris.join(paths.checkpoints, checkpoint_name(step)),
                origin=origin_of(paths.name, step),
                cache=teacher.cache,
                stage=stage,
            )
    return models


def _num_steps(config: RunConfig) -> int:
    """Return the steps of a stage; as if they were many, where its data cannot be read."""
    try:
        return read_setup(config).num_steps
    except RaykdError:
        return _MANY_STEPS


def _stage_config(
    name: str, teacher: SweepTeacherConfig, shared: Mapping[str, object]
) -> RunConfig:
    given = read_run_mapping(Path(teacher.run or ""))
    for key, value in {**shared, **teacher.overrides}.items():
        replace_value(given, key, value)
    config = checked_run(given, origin=f"teachers.{name}: {teacher.run}")
    # The checkpoints that trials read must outlive keep_last, which milestones do.
    kept = sorted({*config.checkpoint.milestones, *teacher.milestones})
    return replace(config, checkpoint=replace(config.checkpoint, milestones=tuple(kept)))


def _that_keeps(config: RunConfig, step: int) -> RunConfig:
    """Return the run under a name where the checkpoint of a step is there or still to come.

    A run that went past the step without keeping it is trained again, under another name.
    """
    while (steps := committed_steps(run_paths(config).checkpoints)) and (
        steps[-1] > step and step not in steps
    ):
        # The name is part of the identity: the run that is trained again has a directory of its
        # own.
        config = replace(config, name=f"{config.name}-again")
    return config
