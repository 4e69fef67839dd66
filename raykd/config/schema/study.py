"""What a study has beside the grid of its trials: stages and teachers, probes, tuned keys."""

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

from raykd.config.schema.model import UnigramConfig
from raykd.config.schema.teachers import CacheConfig

PROBED = Literal["trials", "teachers", "stages"]

_PROBE = "probe/"

PROBES_MEAN = "probe/mean"
"""Mean over all probes of a model, each scaled to 0 for one that knows nothing, 1 for perfect."""

_LESS_IS_BETTER = {"loss", "perplexity", "forgetting"}


def less_is_better(metric: str) -> bool:
    """Tell whether a metric is one of those of which less is better, such as eval/loss/en."""
    # What a probe is called says nothing of its metric.
    names = metric.split("/")[2 if is_probe_metric(metric) else 0 :]
    return bool(_LESS_IS_BETTER & {*names})


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """A run that is trained once, whose model other runs of the study name."""

    run: str
    """Run file of the stage, relative to the sweep file."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Keys of the stage's run and their values, such as student.pretrained: stage:encoder."""

    milestones: tuple[float, ...] = (1.0,)
    """Fractions of its steps whose models can be named, as in stage:encoder@0.25; stage:encoder is
    the model that it ends with, and need not be among them."""

    def problems(self, key: str) -> list[str]:
        """Return every reason this stage cannot be used, each naming its key."""
        return milestone_problems(f"{key}.milestones", self.milestones)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepTeacherConfig:
    """A teacher of the sweep: a run that is trained once, a model that is there, or none."""

    run: str | None = None
    """Run file of the teacher, relative to the sweep file. Give this, model or unigram."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Keys of the teacher's run and their values, such as student.architecture.num_layers: 2."""

    milestones: tuple[float, ...] = (1.0,)
    """Fractions of the teacher's steps; the checkpoint at each is one quality of the teacher."""

    model: str | None = None
    """Hub name, local directory, or URI of a run or of one of its checkpoints."""

    revision: str | None = None
    """Branch, tag or commit of a Hub model."""

    cache: CacheConfig | None = None
    """Keep what the teacher says for all trials that ask the same; null runs it in each."""

    unigram: UnigramConfig | None = None
    """A teacher without knowledge, as in a run."""

    permuted: int | None = None
    """Seed of a permutation of its classes, as in a run."""

    def problems(self, key: str) -> list[str]:
        """Return every reason this teacher cannot be used, each naming its key."""
        problems = []
        if [self.run, self.model, self.unigram].count(None) != 2:  # noqa: PLR2004  all but one
            problems.append(f"{key} needs exactly one of run, model and unigram")
        elif self.run is None and (self.overrides or self.milestones != (1.0,)):
            problems.append(f"{key}: overrides and milestones belong to a run")
        elif self.unigram is not None and (self.revision, self.cache) != (None, None):
            problems.append(f"{key}: revision and cache belong to a model, not to a unigram")
        return problems + milestone_problems(f"{key}.milestones", self.milestones)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """A run that begins at a model of the study, and whose scores tell how good that model is."""

    run: str
    """Run file of the probe, relative to the sweep file. The model that is probed takes the place
    of its student.pretrained; student.freeze: [encoder] makes it a linear probe."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Keys of the probe's run and their values."""

    seeds: tuple[int, ...] = (1,)
    """Values of the probe's train.seed; its metrics are means over them."""

    at: tuple[float, ...] = (1.0,)
    """Fractions of a run's steps at which its model is probed."""

    of: tuple[PROBED, ...] = ("trials",)
    """Whose models are probed: those of trials, controls among them, of teachers, of stages."""

    metric: str = "eval/accuracy"
    """Metric of the probe that counts in probe/mean; more of it is better."""

    floor: float = 0.0
    """What a model that knows nothing has of the metric, such as 0.5 of accuracy for two classes.
    In probe/mean a probe counts as (value - floor) / (1 - floor): 0 for that, 1 for perfect."""

    def scaled(self, value: float) -> float:
        """Return a value of the metric as it counts in probe/mean."""
        return (value - self.floor) / (1 - self.floor)

    def problems(self, key: str) -> list[str]:
        """Return every reason this probe cannot be used, each naming its key."""
        problems = milestone_problems(f"{key}.at", self.at)
        problems += _list_problems(f"{key}.seeds", self.seeds)
        problems += seed_problems(f"{key}.seeds", self.seeds)
        problems += _list_problems(f"{key}.of", self.of)
        if less_is_better(self.metric):
            problems.append(
                f"{key}.metric={self.metric}: more of it has to be better, as of eval/accuracy"
            )
        if not self.floor < 1:
            problems.append(f"{key}.floor must be below 1, got {self.floor}")
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """Keys whose values are chosen, on seeds of their own, before arms are compared.

    Every arm, its control too, is first trained with each value on each of these seeds; the value
    with the best mean goes on with the seeds of the study.
    """

    values: dict[str, list[Any]]
    """Key of a run, such as optimizer.learning_rate, to the values to choose from; of several
    keys every combination is tried."""

    seeds: tuple[int, ...]
    """Values of train.seed to choose on; none is among those of the study."""

    per: tuple[str, ...] | None = None
    """Coordinates that a choice is made for, such as [start]: arms with the same start go on with
    the same value, the best by the mean over them, and their controls with one of their own. null
    chooses for each arm by itself."""

    where: dict[str, Any] = field(default_factory=dict)
    """Coordinates of the arms that are tried, such as {data.fraction: 1}; a list is for each of
    its values. The others of their group go on with what these choose. Empty tries all."""

    metric: str | None = None
    """Metric to choose by, in the last evaluation of each run; null is that of the study."""

    mode: Literal["min", "max"] | None = None
    """Whether less or more of it is better; null is as for the study."""

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """Every combination of the values: key to value."""
        return [
            dict(zip(self.values, values, strict=True))
            for values in itertools.product(*self.values.values())
        ]

    def problems(self, *, searched: set[str], coordinates: set[str]) -> list[str]:
        """Return every reason nothing can be chosen, each naming its key.

        Args:
            searched: Keys that the grid varies.
            coordinates: Names of the study's coordinates.
        """
        problems = [] if self.values else ["tune.values is empty: name a key and its values"]
        for key, values in self.values.items():
            # Not as a set: values may be sections.
            if not values or any(values.count(value) > 1 for value in values):
                problems.append(f"tune.values.{key} must be different values, got {values}")
            problems += [
                f"{key} is tuned and {'' if other == key else f'{other} '}searched: a trial has "
                "one value of it"
                for other in sorted(searched)
                if _overlap(key, other)
            ]
        if "train.seed" in self.values:
            problems.append("train.seed is tuned: give tune.seeds instead")
        problems += _list_problems("tune.seeds", self.seeds)
        problems += seed_problems("tune.seeds", self.seeds)
        problems += [
            f"tune.per names {name}, which is no coordinate: they are "
            f"{', '.join(sorted(coordinates)) or 'none'}"
            for name in self.per or ()
            if name not in coordinates
        ]
        problems += [
            f"tune.where names {name}, which is no coordinate: they are "
            f"{', '.join(sorted(coordinates)) or 'none'}"
            for name in self.where
            if name not in coordinates
        ]
        if self.where and self.per is None:
            problems.append("tune.where needs tune.per: who goes on with what is chosen")
        if (self.metric is None) != (self.mode is None):
            problems.append("tune.metric and tune.mode belong together: give both or none")
        if (self.metric or "").startswith(_PROBE):
            problems.append(f"tune.metric={self.metric}: runs that choose values are not probed")
        return problems


def milestone_problems(key: str, milestones: tuple[float, ...]) -> list[str]:
    """Return what is wrong with fractions of a run's steps."""
    problems = []
    if not milestones or not all(0 < m <= 1 for m in milestones):
        problems.append(f"{key} must be in (0, 1], got {list(milestones)}")
    if len(set(milestones)) < len(milestones):
        problems.append(f"{key} has one twice: {list(milestones)}")
    return problems


def seed_problems(key: str, seeds: tuple[int, ...]) -> list[str]:
    """Return what is wrong with values of train.seed."""
    # Checked here: they take the place of the seed of a run that is checked already.
    if all(0 <= seed < 2**31 for seed in seeds):
        return []
    return [f"{key} must be in [0, 2^31), got {list(seeds)}"]


def is_probe_metric(metric: str) -> bool:
    """Tell whether a metric of a sweep is one of its probes."""
    return metric.startswith(_PROBE)


def _list_problems(key: str, values: tuple[object, ...]) -> list[str]:
    if values and len(set(values)) == len(values):
        return []
    return [f"{key} must be different values, at least one, got {list(values)}"]


def _overlap(key: str, other: str) -> bool:
    """Tell whether two keys are one, or one of them is of a section that the other gives whole."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
