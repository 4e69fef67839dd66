"""The arms of a sweep: points of its grid as runs that are checked, and their controls."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raykd.config.given import replace_value
from raykd.config.identity import run_id
from raykd.config.load import checked_run
from raykd.config.named_runs import named_runs
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError
from raykd.sweep.grid.control import control_of, is_control
from raykd.sweep.grid.space import Draws, Point, points_of
from raykd.sweep.grid.stages import Stages, TeacherModel
from raykd.sweep.grid.tuned import Values

_ONLY_TEACHER = "teacher"
"""Name in the run of the sweep's teacher, where the base names none."""

_MOST_TOLD = 5
"""Kinds of trials with problems that are told in full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A point of the grid with each of the tuned values, checked, with the base's own seed."""

    point: Point
    configs: tuple[RunConfig, ...]
    controls: tuple[RunConfig, ...]

    def pair(self, trial: int = 0, control: int = 0) -> "Pair":
        """Return the arm with its own value and the control's, by their numbers."""
        return Pair(
            point=self.point,
            trial=self.configs[trial],
            control=self.controls[control],
            numbers=(trial, control),
            tunes_control=any(other != self.controls[0] for other in self.controls),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A run of a point, and its control."""

    point: Point
    trial: RunConfig
    control: RunConfig
    numbers: tuple[int, int]
    """Which of the tuned values each of them has."""

    tunes_control: bool
    """Whether the control depends on the tuned values."""


class Arms:
    """Makes the arms of samples."""

    def __init__(self, sweep: SweepConfig, stages: Stages) -> None:
        """Read the base.

        Args:
            sweep: What is asked for.
            stages: Of the sweep, whose models the runs name.

        Raises:
            ConfigError: The file of the base cannot be read.
        """
        self._sweep = sweep
        self._stages = stages
        self._base = named_runs(sweep)["base"].mapping()
        self.candidates: list[Values] = [{}] if sweep.tune is None else sweep.tune.candidates
        """What is tuned; one of nothing where that is nothing."""

    def of(self, samples: Sequence[Draws]) -> list[list[Arm]]:
        """Return the arms of some samples.

        Raises:
            ConfigError: A trial contradicts itself; the message lists every contradiction.
        """
        problems: dict[str, list[Point]] = {}
        arms = [self._of_sample(sample, problems) for sample in samples]
        if problems:
            message = f"{self._sweep.name}: some trials cannot run\n{_told(problems)}"
            raise ConfigError(message)
        return arms

    def _of_sample(self, sample: Draws, problems: dict[str, list[Point]]) -> list[Arm]:
        """Return the points of a sample; note what is wrong with others."""
        arms = []
        for point in points_of(self._sweep, sample):
            # Each arm is checked once, not once for each seed: a seed contradicts nothing.
            try:
                configs = tuple(self._config(point, values) for values in self.candidates)
                self._require_tunable(configs)
            except ConfigError as error:
                problems.setdefault(str(error), []).append(point)
                continue
            controls = tuple(map(control_of, configs))
            arms.append(Arm(point=point, configs=configs, controls=controls))
        return arms

    def _config(self, point: Point, values: Values) -> RunConfig:
        """Return the run of a point, checked, with the base's own seed."""
        given = copy.deepcopy(self._base)
        if self._sweep.teachers_are == "together":
            for name, teacher in self._sweep.teachers.items():
                quality = None if teacher.run is None else teacher.milestones[0]
                _set_teacher(given, name, self._stages.teacher(name, quality))
        elif point.teacher is not None:
            _set_only_teacher(given, self._stages.teacher(point.teacher, point.quality))
        for key, value in {**point.changes, **values}.items():
            replace_value(given, key, value)
        return self._stages.resolved(checked_run(given, origin="trial"))

    def _require_tunable(self, configs: Sequence[RunConfig]) -> None:
        """Refuse to choose among an arm's runs where they do not differ as tuned values should.

        Raises:
            ConfigError: The base's seed decides, some values make a control, or two of them one
                run.
        """
        if (tune := self._sweep.tune) is None:
            return
        if not self._sweep.seeds and (seed := configs[0].train.seed) in tune.seeds:
            message = f"tune.seeds has {seed}, the base's train.seed: choose on others"
            raise ConfigError(message)
        are_controls = [is_control(config) for config in configs]
        if any(are_controls) and not all(are_controls):
            values = self.candidates[are_controls.index(True)]
            message = f"tune.values: {values} turns the teacher's losses off, which is the control"
            raise ConfigError(message)
        ids = list(map(run_id, configs))
        if (again := next((i for i, each in enumerate(ids) if each in ids[:i]), None)) is not None:
            same = self.candidates[ids.index(ids[again])], self.candidates[again]
            message = f"tune.values: with {same[0]} and {same[1]} a run computes the same"
            raise ConfigError(message)


def _set_only_teacher(given: dict[str, Any], model: TeacherModel) -> None:
    """Put a teacher in the place of the one that the base names, which keeps its settings."""
    named = given.get("teachers") or {_ONLY_TEACHER: {}}
    if not isinstance(named, dict) or len(named) > 1:
        message = (
            "teachers: the base names several, but teachers_are is alternatives: a trial has one "
            "of the sweep's; use together, or a base with one"
        )
        raise ConfigError(message)
    given["teachers"] = named
    _set_teacher(given, next(iter(named)), model)


def _set_teacher(given: dict[str, Any], name: str, model: TeacherModel) -> None:
    replace_value(given, f"teachers.{name}.model", model.uri)
    replace_value(given, f"teachers.{name}.unigram", {} if model.uri is None else None)
    if model.uri is None:
        # What the base says of a model's weights is nothing to a unigram.
        for key in ("revision", "dtype", "cache"):
            given["teachers"][name].pop(key, None)
    if model.permuted is not None:
        replace_value(given, f"teachers.{name}.permuted", model.permuted)
    if model.revision is not None:
        replace_value(given, f"teachers.{name}.revision", model.revision)
    if model.cache is not None:
        replace_value(given, f"teachers.{name}.cache", asdict(model.cache))


def _told(problems: Mapping[str, Sequence[Point]]) -> str:
    """Return problems in words, each with the first of its points."""
    lines = []
    for text, points in list(problems.items())[:_MOST_TOLD]:
        example = ", ".join(f"{k}={v}" for k, v in points[0].coordinates.items()) or "the base"
        others = f" and {len(points) - 1} other(s)" if len(points) > 1 else ""
        # What a check finds has a heading of its own; other errors are one line.
        lines.append(f"{example}{others}:\n{text.partition(chr(10))[2] or f'  - {text}'}")
    if (num_untold := len(problems) - len(lines)) > 0:
        lines.append(f"and {num_untold} other kinds of problems")
    return "\n".join(lines)
