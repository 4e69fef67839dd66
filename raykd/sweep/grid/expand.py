"""From a sweep file to its runs: distinct stages, then trials with their controls and seeds."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from raykd.config.given import replace_value
from raykd.config.identity import run_id
from raykd.config.inputs import Named
from raykd.config.kinds import read_run_mapping
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError, RaykdError
from raykd.runs.inputs import Find, Found, input_uris, pinned
from raykd.runs.paths import run_paths
from raykd.sweep.grid.control import control_of, is_control
from raykd.sweep.grid.space import Draws, Point, points_of
from raykd.sweep.grid.stages import TeacherModel, shared_changes, teacher_models
from raykd.sweep.ledger import KIND

_ONLY_TEACHER = "teacher"
"""Name in the run of the sweep's teacher, where the base names none."""

_MOST_TOLD = 5
"""Kinds of trials with problems that are told in full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One run of the sweep, before anything is known of its progress."""

    id: str
    kind: KIND
    config: RunConfig
    coordinates: dict[str, object]
    arm: str
    control: str | None
    needs: tuple[str, ...]


class Expansion:
    """Turns draws into runs; reads run files, manifests and weights' hashes once.

    Data or models that cannot be read stand for themselves: who they are is then not known, and
    the runs of the plan have no names that last.

    Raises:
        RaykdError: A file is wrong.
    """

    def __init__(self, sweep: SweepConfig, find: Find) -> None:
        """Read what all runs have in common.

        Args:
            sweep: What is asked for.
            find: Finds inputs, and remembers them.
        """
        self._sweep = sweep
        self.missing: list[str] = []
        """Why inputs cannot be read."""
        self._base = read_run_mapping(Path(sweep.base))
        for key, value in shared_changes(sweep).items():
            replace_value(self._base, key, value)
        self._find = find
        self._made: dict[str, str] = {}
        """Models that stages make, or are still to make, by place: what they are known by."""

        self._models = teacher_models(sweep, self._pinned)
        self._made = {m.uri: m.origin for m in self._models.values() if m.origin is not None}
        self.stages = _stages(self._models)
        """Each teacher's run, once."""
        self._stage_ids = {run_paths(stage.config).run: stage.id for stage in self.stages}

    def trials(self, draws: Sequence[Draws]) -> list[Entry]:
        """Return the trials of some samples, each once, a control before what it controls.

        Raises:
            ConfigError: A trial contradicts itself; the message lists every contradiction.
        """
        entries: dict[str, Entry] = {}
        problems: dict[str, list[Point]] = {}
        for sample in draws:
            # Each arm is checked once, not once for each seed: a seed contradicts nothing.
            arms: list[tuple[RunConfig, Point]] = []
            for point in points_of(self._sweep, sample):
                try:
                    arms.append((self._config(point), point))
                except ConfigError as error:
                    problems.setdefault(str(error), []).append(point)
            # Seeds outside, arms inside: the first seed of every arm runs before the second of
            # any, so that an early look at the report sees all arms.
            for seed in self._sweep.seeds or (None,):
                for config, point in arms:
                    self._add(config, point, seed, entries)
        _report(self._sweep, problems)
        # A run without a teacher's loss is a control where something is compared with it.
        controls = entries.keys() & {e.control for e in entries.values() if e.control != e.id}
        return [e if e.control in controls else replace(e, control=None) for e in entries.values()]

    def _config(self, point: Point) -> RunConfig:
        """Return the run of a point, checked, with the base's own seed."""
        given = copy.deepcopy(self._base)
        if self._sweep.teachers_are == "together":
            for name in self._sweep.teachers:
                _set_teacher(given, name, next(m for k, m in self._models.items() if k[0] == name))
        elif point.teacher is not None:
            _set_only_teacher(given, self._models[point.teacher, point.quality])
        for key, value in point.changes.items():
            replace_value(given, key, value)
        return checked_run(given, origin="trial")

    def _add(
        self, config: RunConfig, point: Point, seed: int | None, entries: dict[str, Entry]
    ) -> None:
        """Add a trial with a seed, after its control."""
        if seed is not None:
            config = replace(config, train=replace(config.train, seed=seed))
        control = self._pinned(control_of(config))
        # Pinned first: the id holds the fingerprints of the inputs, so that a control is shared by
        # all that read the same content, whatever they call it.
        control_id = run_id(control)
        if self._sweep.controls or is_control(config):
            coordinates = _coordinates_of_control(point, control, self._models)
            if (known := entries.get(control_id)) is not None:
                # One control of several points: it is at what they have in common.
                shared = known.coordinates
                coordinates = {k: v for k, v in shared.items() if coordinates.get(k) == v}
            entries[control_id] = _entry(
                "trial",
                control,
                coordinates=coordinates,
                control=control_id,
                needs=_needs(control, self._stage_ids),
            )
        if not is_control(config):
            pinned = self._pinned(config)
            entry = _entry(
                "trial",
                pinned,
                coordinates=point.coordinates,
                control=control_id,
                needs=_needs(config, self._stage_ids),
            )
            entries.setdefault(entry.id, entry)

    def _pinned(self, config: RunConfig) -> RunConfig:
        """Return a run that names what its inputs hold."""

        def find(key: str, named: Named) -> Found | None:
            if (origin := self._made.get(named.source)) is not None:
                return Found(fingerprint=origin, named=named)
            try:
                return self._find(key, named)
            except RaykdError as error:
                self.missing.append(str(error))
                return Found(fingerprint=f"missing {named.source}", named=named)

        return pinned(config, find)


def _stages(models: Mapping[tuple[str, float | None], TeacherModel]) -> tuple[Entry, ...]:
    """Return each run that makes a teacher once, with the milestones of all who need it."""
    entries: dict[str, Entry] = {}
    for (name, _), model in models.items():
        if model.stage is None:
            continue
        entry = _entry("stage", model.stage, coordinates={"teacher": name})
        # Milestones are no part of a run's identity: two qualities of one teacher are one run,
        # which keeps the checkpoints of both.
        known = entries.setdefault(entry.id, entry)
        checkpoint = known.config.checkpoint
        kept = {*checkpoint.milestones, *model.stage.checkpoint.milestones}
        checkpoint = replace(checkpoint, milestones=tuple(sorted(kept)))
        entries[entry.id] = replace(known, config=replace(known.config, checkpoint=checkpoint))
    return tuple(entries.values())


def _entry(
    kind: KIND,
    config: RunConfig,
    *,
    coordinates: dict[str, object],
    control: str | None = None,
    needs: tuple[str, ...] = (),
) -> Entry:
    return Entry(
        id=run_id(config),
        kind=kind,
        config=config,
        coordinates=coordinates,
        # Seeds differ within an arm; one fixed seed gives all of them the same hash.
        arm=run_id(replace(config, train=replace(config.train, seed=0))),
        control=control,
        needs=needs,
    )


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
    if model.revision is not None:
        replace_value(given, f"teachers.{name}.revision", model.revision)
    if model.cache is not None:
        replace_value(given, f"teachers.{name}.cache", asdict(model.cache))


def _needs(config: RunConfig, stages: Mapping[str, str]) -> tuple[str, ...]:
    """Return the stages in whose runs the inputs of a run lie."""
    uris = tuple(input_uris(config).values())
    return tuple(
        stage
        for run_uri, stage in stages.items()
        # With the slash: a run's directory may be the beginning of another's name.
        if any(uri.startswith(f"{run_uri}/") for uri in uris)
    )


def _coordinates_of_control(
    point: Point, control: RunConfig, models: Mapping[tuple[str, float | None], TeacherModel]
) -> dict[str, object]:
    """Return the coordinates that a control still depends on."""
    kept = {}
    uses_teacher = (
        point.teacher is not None
        and models[point.teacher, point.quality].uri in input_uris(control).values()
    )
    for name, value in point.coordinates.items():
        # Cross entropy is the control's own loss, so its weight still tells controls apart.
        of_teacher = name in ("teacher", "quality")
        of_losses = name.startswith(("losses.", "teacher_weights", "teachers."))
        is_kept = uses_teacher if of_teacher else not of_losses
        if is_kept or name.startswith("losses.cross_entropy"):
            kept[name] = value
    return kept


def _report(sweep: SweepConfig, problems: Mapping[str, Sequence[Point]]) -> None:
    if not problems:
        return
    lines = []
    for text, points in list(problems.items())[:_MOST_TOLD]:
        example = ", ".join(f"{k}={v}" for k, v in points[0].coordinates.items()) or "the base"
        others = f" and {len(points) - 1} other(s)" if len(points) > 1 else ""
        # What a check finds has a heading of its own; other errors are one line.
        lines.append(f"{example}{others}:\n{text.partition(chr(10))[2] or f'  - {text}'}")
    if (num_untold := len(problems) - len(lines)) > 0:
        lines.append(f"and {num_untold} other kinds of problems")
    message = f"{sweep.name}: some trials cannot run\n" + "\n".join(lines)
    raise ConfigError(message)
