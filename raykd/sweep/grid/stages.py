"""The stages of a study: runs that others begin at or learn from, each trained once.

They are the entries of ``stages`` and the runs of teachers. A run names the model of one as
``stage:NAME`` or, of one of its milestones, as ``stage:NAME@0.25``.
"""

import graphlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from raykd.config.inputs import models_of, with_models
from raykd.config.load import checked_run, plain
from raykd.config.named_runs import NamedRun, named_runs
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.config.schema.teachers import CacheConfig
from raykd.distill.setup import read_setup
from raykd.errors import ConfigError, RaykdError
from raykd.models.fingerprint import BEST, origin_of
from raykd.runs.checkpoint import checkpoint_name, committed_steps
from raykd.runs.inputs import located_model
from raykd.runs.paths import run_paths
from raykd.steps import milestone_steps
from raykd.storage import uris
from raykd.sweep.grid.entry import Entry, entry_of, needed_stages, with_milestones

_STAGE = "stage:"
_REFERENCE = re.compile(rf"{_STAGE}([A-Za-z0-9][A-Za-z0-9._-]*)(?:@([0-9.]+))?")

_MANY_STEPS = 1_000_000
"""Assumed steps of a run that cannot be started: enough for its milestones to differ."""

_LAST = 1.0
"""Milestone that every run keeps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherModel:
    """One quality of one teacher."""

    uri: str | None
    """None for a unigram, which is no model."""

    revision: str | None = None
    cache: CacheConfig | None = None

    permuted: int | None = None


class Stages:
    """The stages of a study in the order in which they are trained, and where their models are.

    Raises:
        ConfigError: A stage is not there, needs itself, or is needed by nobody; a milestone is
            not kept; a run file is wrong.
    """

    def __init__(
        self,
        sweep: SweepConfig,
        pinned: Callable[[RunConfig], RunConfig],
        made: dict[str, str],
    ) -> None:
        """Read the run files.

        Args:
            sweep: Names them.
            pinned: Adds to a run what its inputs hold; asked in the order of the stages.
            made: By place, what models are known by that runs of the study make; gets those of
                the stages.
        """
        self._sweep = sweep
        self._pinned = pinned
        self.made = made
        self.ids: dict[str, str] = {}
        """Directory of a stage's run to the id of the stage."""

        self._uris: dict[tuple[str, float], str] = {}
        """Key of a run, such as stages.encoder, and milestone to the model's place."""

        self._entries: dict[str, Entry] = {}
        for run in _in_order(sweep):
            self._add(run)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Each distinct run once, with the milestones of all who need it."""
        return tuple(self._entries.values())

    def teacher(self, name: str, quality: float | None) -> TeacherModel:
        """Return one quality of a teacher; None of one that is a model."""
        teacher = self._sweep.teachers[name]
        uri: str | None = None
        if quality is not None:
            uri = self._uris[f"teachers.{name}", quality]
        elif teacher.model is not None:
            stage = self._resolved(teacher.model, key=f"teachers.{name}.model")
            uri = stage or located_model(teacher.model)
        return TeacherModel(
            uri=uri, revision=teacher.revision, cache=teacher.cache, permuted=teacher.permuted
        )

    def resolved(self, config: RunConfig, *, origin: str = "") -> RunConfig:
        """Return a run with the places of the models that it names as those of stages.

        Args:
            config: The run.
            origin: What errors begin with: whose run it is.

        Raises:
            ConfigError: There is no such stage, it does not keep the milestone, or one is named
                where no model belongs.
        """
        models = models_of(config)
        places = {k: self._resolved(m.source, key=f"{origin}{k}") for k, m in models.items()}
        resolved = with_models(
            config, {k: replace(m, source=places[k] or m.source) for k, m in models.items()}
        )
        for key, text in _texts(plain(resolved)):
            if text.startswith(_STAGE):
                message = (
                    f"{origin}{key}: {text} is a model, which {key} does not name: write it where "
                    "one is named, as in student.pretrained"
                )
                raise ConfigError(message)
        return resolved

    def _resolved(self, source: str, *, key: str) -> str | None:
        """Return the place of the model that a text names as a stage's; None for other texts."""
        if (reference := _read_reference(source, key=key)) is None:
            return None
        name, milestone = reference
        if name not in self._sweep.stages:
            known = ", ".join(self._sweep.stages) or "none"
            message = f"{key}: {source} names no stage of the study: they are {known}"
            raise ConfigError(message)
        if (uri := self._uris.get((f"stages.{name}", milestone))) is None:
            kept = ", ".join(f"{m:g}" for m in self._sweep.stages[name].milestones)
            message = (
                f"{key}: {source} is not kept: stages.{name}.milestones is [{kept}]; add "
                f"{milestone:g} there"
            )
            raise ConfigError(message)
        return uri

    def _add(self, run: NamedRun) -> None:
        """Take up a run whose own stages are known."""
        section, _, name = run.key.partition(".")
        named = self._sweep.stages if section == "stages" else self._sweep.teachers
        # A stage is named without a milestone, too.
        last = (_LAST,) if section == "stages" else ()
        milestones = tuple(dict.fromkeys((*named[name].milestones, *last)))
        given = checked_run(run.mapping(), origin=f"{run.key}: {run.path}")
        # The checkpoints that others read must outlive keep_last, which milestones do.
        resolved = self.resolved(given, origin=f"{run.key}: ")
        config = with_milestones(self._pinned(resolved), set(milestones))
        models = milestones_of(config, milestones, num_steps=num_steps(config))
        for milestone, model in zip(milestones, models, strict=True):
            kept = replace(model, run=_that_keeps(config, model.step))
            self._uris[run.key, milestone] = kept.uri
            self.made[kept.uri] = kept.origin
            self._add_entry(kept.run, {section.removesuffix("s"): name})

    def _add_entry(self, config: RunConfig, coordinates: dict[str, str]) -> None:
        needs = needed_stages(config, self.ids)
        entry = entry_of(config, kind="stage", coordinates=coordinates, needs=needs)
        # Milestones are no part of a run's identity: two that differ in them are one run.
        known = self._entries.setdefault(entry.id, entry)
        kept = with_milestones(known.config, set(config.checkpoint.milestones))
        self._entries[entry.id] = replace(known, config=kept)
        self.ids[run_paths(config).run] = entry.id


@dataclass(frozen=True, kw_only=True, slots=True)
class Milestone:
    """The model of a run after a fraction of its steps."""

    run: RunConfig
    step: int
    is_export: bool = False
    """Whether it is known at the end only which of its steps the model is of."""

    @property
    def uri(self) -> str:
        """Place of its checkpoint, or of what the run exports."""
        paths = run_paths(self.run)
        if self.is_export:
            return paths.model
        return uris.join(paths.checkpoints, checkpoint_name(self.step))

    @property
    def origin(self) -> str:
        """What it is known by before it is there."""
        name = run_paths(self.run).name
        return origin_of(name, BEST) if self.is_export else origin_of(name, self.step)


def milestones_of(
    config: RunConfig, fractions: tuple[float, ...], *, num_steps: int
) -> list[Milestone]:
    """Return the models of a pinned run after fractions of its steps, at its end what it keeps."""
    return [
        Milestone(run=config, step=step, is_export=config.train.keep == BEST and fraction == _LAST)
        for fraction, step in zip(fractions, milestone_steps(fractions, num_steps), strict=True)
    ]


def num_steps(config: RunConfig) -> int:
    """Return the steps of a run; as if they were many, where its data cannot be read."""
    try:
        return read_setup(config).num_steps
    except RaykdError:
        return _MANY_STEPS


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


def _in_order(sweep: SweepConfig) -> list[NamedRun]:
    """Return the runs of stages and teachers, each after those that it needs.

    Raises:
        ConfigError: Stages need each other in a circle, or one is needed by nobody.
    """
    runs = named_runs(sweep)
    staged = {key: run for key, run in runs.items() if key.startswith(("stages.", "teachers."))}
    mentioned = {key: _mentioned(run.mapping()) for key, run in runs.items()}
    # A probe of stages is asked of each.
    everywhere = _mentioned(plain(sweep)) | set().union(*mentioned.values())
    if not any("stages" in probe.of for probe in sweep.probes.values()):
        for name in sweep.stages:
            if name not in everywhere:
                message = f"stages.{name}: no run of the study names stage:{name}: leave it out"
                raise ConfigError(message)
    needs = {
        key: [f"stages.{name}" for name in mentioned[key] if name in sweep.stages]
        for key in staged
    }
    try:
        return [staged[key] for key in graphlib.TopologicalSorter(needs).static_order()]
    except graphlib.CycleError as error:
        circle = " <- ".join(error.args[1])
        message = f"{error.args[1][0]} needs itself: {circle}"
        raise ConfigError(message) from error


def _mentioned(given: Mapping[str, object]) -> set[str]:
    """Return the names of the stages that a configuration names anywhere."""
    return {match[1] for _, text in _texts(given) if (match := _REFERENCE.fullmatch(text))}


def _texts(given: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a configuration after its key."""
    entries: Iterable[tuple[object, object]] = ()
    if isinstance(given, str):
        yield key, given
    elif isinstance(given, Mapping):
        entries = given.items()
    elif isinstance(given, list | tuple):
        entries = enumerate(given)
    for name, entry in entries:
        yield from _texts(entry, f"{key}.{name}" if key else str(name))


def _read_reference(source: str, *, key: str) -> tuple[str, float] | None:
    """Return the stage and the milestone that a text names; None where it names no stage."""
    if not source.startswith(_STAGE):
        return None
    match = _REFERENCE.fullmatch(source)
    try:
        return (match[1], float(match[2] or _LAST)) if match else _refuse_reference(source, key)
    except ValueError:
        return _refuse_reference(source, key)


def _refuse_reference(source: str, key: str) -> tuple[str, float]:
    message = f"{key}: {source} must be as stage:NAME or stage:NAME@0.25"
    raise ConfigError(message)
