"""From a sweep file to its runs: stages, tuning runs, trials with controls and seeds, probes."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from raykd.config.given import replace_value
from raykd.config.identity import run_id
from raykd.config.inputs import Named
from raykd.config.load import checked_run
from raykd.config.named_runs import named_runs
from raykd.config.schema.losses import LABEL_TERMS
from raykd.config.schema.run import RunConfig
from raykd.config.schema.study import TuneConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError, RaykdError
from raykd.runs.inputs import Find, Found, input_uris, pinned
from raykd.sweep.grid.control import control_of, is_control
from raykd.sweep.grid.entry import Entry, entry_of, needed_stages, with_milestones, with_seed
from raykd.sweep.grid.probes import Probes
from raykd.sweep.grid.space import Draws, Point, points_of
from raykd.sweep.grid.stages import Stages, TeacherModel
from raykd.sweep.grid.tuned import NOTHING, Values, chosen_values
from raykd.sweep.ledger import KIND, Record
from raykd.sweep.tuning import group_of

_ONLY_TEACHER = "teacher"
"""Name in the run of the sweep's teacher, where the base names none."""

_MOST_TOLD = 5
"""Kinds of trials with problems that are told in full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """The runs of some samples that follow the stages."""

    tuning: tuple[Entry, ...] = ()
    trials: tuple[Entry, ...] = ()
    """Each once, a control before what it controls."""

    undecided: tuple[Entry, ...] = ()
    """Trials whose tuned values are still to be chosen, each with the first ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arm:
    """A point of the grid with each of the tuned values, checked, with the base's own seed."""

    point: Point
    configs: tuple[RunConfig, ...]
    controls: tuple[RunConfig, ...]

    def pair(self, trial: int, control: int) -> "_Pair":
        """Return the arm with its own value and the control's, by their numbers."""
        return _Pair(
            point=self.point,
            trial=self.configs[trial],
            control=self.controls[control],
            numbers=(trial, control),
            tunes_control=any(other != self.controls[0] for other in self.controls),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """A run of a point, and its control."""

    point: Point
    trial: RunConfig
    control: RunConfig
    numbers: tuple[int, int]
    """Which of the tuned values each of them has."""

    tunes_control: bool
    """Whether the control depends on the tuned values."""


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
        self._base = named_runs(sweep)["base"].mapping()
        self._find = find
        self._made: dict[str, str] = {}
        """Models that runs of the study make, or are still to make, by place: what they are known
        by."""

        self._stages = Stages(sweep, self._pinned, self._made)
        self._probes = Probes(sweep, self._stages, self._pinned)
        self.stages = tuple(map(self._as_probed, self._stages.entries))
        """The runs of stages and teachers, each once, after those that it needs."""

        self.probes_of = self._probes.entries_of
        self._candidates: list[Values] = [{}] if sweep.tune is None else sweep.tune.candidates

    def runs(self, draws: Sequence[Draws], records: Mapping[str, Record] = NOTHING) -> Runs:
        """Return the runs of some samples.

        Args:
            draws: The samples.
            records: What is known of the sweep's runs: values are chosen by it.

        Raises:
            ConfigError: A trial contradicts itself; the message lists every contradiction.
        """
        problems: dict[str, list[Point]] = {}
        arms = [self._arms(sample, problems) for sample in draws]
        _report(self._sweep, problems)
        if (tune := self._sweep.tune) is None:
            return Runs(trials=self._trials([[arm.pair(0, 0) for arm in some] for some in arms]))
        every = [arm for some in arms for arm in some]
        tuning = self._tuning(every, tune)
        chosen = chosen_values(self._sweep, tune, tuning.values(), records)
        pairs = [[self._chosen(arm, tuning, chosen or {}) for arm in some] for some in arms]
        first = self._trials([[arm.pair(0, 0) for arm in some] for some in arms])
        return Runs(
            tuning=tuple(tuning.values()),
            trials=self._trials([[p for p in some if p is not None] for some in pairs]),
            undecided=first if chosen is None else (),
        )

    def _arms(self, sample: Draws, problems: dict[str, list[Point]]) -> list[_Arm]:
        """Return the points of a sample; note what is wrong with others."""
        arms = []
        for point in points_of(self._sweep, sample):
            # Each arm is checked once, not once for each seed: a seed contradicts nothing.
            try:
                configs = tuple(self._config(point, values) for values in self._candidates)
                _require_alike(configs, self._candidates)
            except ConfigError as error:
                problems.setdefault(str(error), []).append(point)
                continue
            arms.append(
                _Arm(point=point, configs=configs, controls=tuple(map(control_of, configs)))
            )
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
        config = self._stages.resolved(checked_run(given, origin="trial"))
        if self._sweep.tune is not None and config.train.seed in self._unseeded(self._sweep.tune):
            message = (
                f"tune.seeds has {config.train.seed}, the base's train.seed: choose on others"
            )
            raise ConfigError(message)
        return config

    def _unseeded(self, tune: TuneConfig) -> tuple[int, ...]:
        """Return the seeds that the base's own must not be among."""
        return () if self._sweep.seeds else tune.seeds

    def _tuning(self, arms: Sequence[_Arm], tune: TuneConfig) -> dict[str, Entry]:
        """Return the runs that values are chosen by, by their ids."""
        entries: dict[str, Entry] = {}
        for seed in tune.seeds:
            for arm in arms:
                for number in range(len(self._candidates)):
                    self._add("tuning", arm.pair(number, number), seed, entries)
        return entries

    def _chosen(
        self, arm: _Arm, tuning: Mapping[str, Entry], chosen: Mapping[str, Values]
    ) -> _Pair | None:
        """Return an arm with the values that it goes on with; None where there are none."""
        assert self._sweep.tune is not None  # noqa: S101  only then there is a choice
        numbers = []
        for configs in (arm.configs, arm.controls):
            entry = tuning.get(
                run_id(self._pinned(with_seed(configs[0], self._sweep.tune.seeds[0])))
            )
            if entry is None:
                # A control that is not asked for, or does not depend on the tuned values.
                numbers.append(0)
                continue
            is_of_control = entry.control == entry.id
            group = group_of(self._sweep.tune, entry.coordinates, is_control=is_of_control)
            if group not in chosen:
                return None
            numbers.append(self._candidates.index(chosen[group]))
        return arm.pair(*numbers)

    def _trials(self, samples: Iterable[Sequence[_Pair]]) -> tuple[Entry, ...]:
        """Return the trials of some samples, each once, a control before what it controls."""
        entries: dict[str, Entry] = {}
        for pairs in samples:
            # Seeds outside, arms inside: the first seed of every arm runs before the second of
            # any, so that an early look at the report sees all arms.
            for seed in self._sweep.seeds or (None,):
                for pair in pairs:
                    self._add("trial", pair, seed, entries)
        # A run without a teacher's loss is a control where something is compared with it.
        controls = entries.keys() & {e.control for e in entries.values() if e.control != e.id}
        return tuple(
            self._as_probed(e if e.control in controls else replace(e, control=None))
            for e in entries.values()
        )

    def _add(self, kind: KIND, pair: _Pair, seed: int | None, entries: dict[str, Entry]) -> None:
        """Add a run of an arm with a seed, after its control."""
        values, values_of_control = (self._candidates[number] for number in pair.numbers)
        control = self._pinned(with_seed(pair.control, seed))
        # Pinned first: the id holds the fingerprints of the inputs, so that a control is shared by
        # all that read the same content, whatever they call it.
        control_id = run_id(control)
        is_asked = self._sweep.controls and (kind == "trial" or pair.tunes_control)
        if is_asked or is_control(pair.trial):
            coordinates = _coordinates_of_control(
                pair.point, control, self._teacher_of(pair.point)
            )
            if (known := entries.get(control_id)) is not None:
                # One control of several points: it is at what they have in common.
                shared = known.coordinates
                coordinates = {k: v for k, v in shared.items() if coordinates.get(k) == v}
            entries[control_id] = entry_of(
                control,
                kind=kind,
                coordinates=coordinates,
                control=control_id,
                needs=needed_stages(control, self._stages.ids),
                tuned=values_of_control if known is None else known.tuned,
            )
        if not is_control(pair.trial):
            trial = self._pinned(with_seed(pair.trial, seed))
            entry = entry_of(
                trial,
                kind=kind,
                coordinates=pair.point.coordinates,
                control=control_id if kind == "trial" else None,
                needs=needed_stages(trial, self._stages.ids),
                tuned=values,
            )
            entries.setdefault(entry.id, entry)

    def _teacher_of(self, point: Point) -> TeacherModel | None:
        if point.teacher is None:
            return None
        return self._stages.teacher(point.teacher, point.quality)

    def _as_probed(self, entry: Entry) -> Entry:
        """Return a run that keeps the models that are probed."""
        fractions = self._probes.fractions_of(entry)
        return replace(entry, config=with_milestones(entry.config, fractions))

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


def _require_alike(configs: Sequence[RunConfig], candidates: Sequence[Values]) -> None:
    """Refuse values of which some turn the teacher's losses off, and so make a control.

    Raises:
        ConfigError: There are such.
    """
    are_controls = [is_control(config) for config in configs]
    if any(are_controls) and not all(are_controls):
        values = candidates[are_controls.index(True)]
        message = f"tune.values: {values} turns the teacher's losses off, which is the control"
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


def _coordinates_of_control(
    point: Point, control: RunConfig, teacher: TeacherModel | None
) -> dict[str, object]:
    """Return the coordinates that a control still depends on."""
    kept = {}
    uses_teacher = teacher is not None and (
        bool(control.teachers)
        if teacher.uri is None
        else teacher.uri in input_uris(control).values()
    )
    for name, value in point.coordinates.items():
        # The loss on labels is the control's own, so its weight still tells controls apart.
        of_teacher = name in ("teacher", "quality")
        of_losses = name.startswith(("losses.", "teacher_weights", "teachers."))
        is_kept = uses_teacher if of_teacher else not of_losses
        if is_kept or name.startswith(tuple(f"losses.{term}" for term in LABEL_TERMS)):
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
