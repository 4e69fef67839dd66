"""The root of a sweep's configuration: one study in one file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raykd.config.schema.names import NAME_RULE, is_name
from raykd.config.schema.questions import QuestionConfig, question_problems
from raykd.config.schema.search import DimensionConfig, SchedulerConfig
from raykd.config.schema.study import (
    PROBES_MEAN,
    ProbeConfig,
    StageConfig,
    SweepTeacherConfig,
    TuneConfig,
    is_probe_metric,
    seed_problems,
)


def _named_problems(
    section: str,
    entries: Mapping[str, StageConfig | SweepTeacherConfig | ProbeConfig],
) -> list[str]:
    """Return what is wrong with the stages, teachers or probes of a sweep, and their names."""
    problems = [f"{section}.{name}: the name {NAME_RULE}" for name in entries if not is_name(name)]
    return problems + [p for name, e in entries.items() for p in e.problems(f"{section}.{name}")]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeConfig:
    """Machines of one kind that the cluster has, or may start."""

    count: int = 1
    """Machines at most: what an autoscaler may grow to."""

    cpus: float
    """CPU cores of one machine."""

    gpus: float = 0.0
    """GPUs of one machine."""

    memory_gb: float | None = None
    """Memory of one machine in 10^9 bytes; null is not checked."""

    gpu_memory_gb: float | None = None
    """Memory of one GPU in 10^9 bytes; null is not checked."""

    def problems(self, key: str) -> list[str]:
        """Return every reason this section makes no sense, each naming its key."""
        problems = [] if self.count >= 1 else [f"{key}.count must be >= 1, got {self.count}"]
        if self.cpus <= 0:
            problems.append(f"{key}.cpus must be > 0, got {self.cpus}")
        if self.gpus < 0:
            problems.append(f"{key}.gpus must be >= 0, got {self.gpus}")
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """Many runs that differ from one base run in a few keys."""

    name: str
    """Name of the sweep; its ledger and report live under output_uri/name."""

    base: str
    """Run file that the trials differ from, relative to the sweep file."""

    output_uri: str = "sweeps"
    """Directory of sweeps, local or such as s3://bucket/sweeps."""

    runs_uri: str | None = None
    """Directory of all runs of the sweep; null leaves each run file its own output_uri."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Keys of a run and their values, for the base and the run of every teacher; those that change
    no result (cluster, checkpoint, tracking) for stages and probes, too. A key of a run on the
    command line, such as data.uri=URI, is put here, and goes before a teacher's own."""

    stages: dict[str, StageConfig] = field(default_factory=dict)
    """Name to a run that is trained once. Wherever a run of the study names a model, in its file,
    in overrides, search or pairs, stage:NAME is the model of a stage, stage:NAME@0.25 one of its
    milestones. Stages may begin at stages."""

    teachers: dict[str, SweepTeacherConfig] = field(default_factory=dict)
    """Name to teacher. Each quality of each teacher is one value of the coordinate teacher."""

    teachers_are: Literal["alternatives", "together"] = "alternatives"
    """alternatives: a trial has one of the teachers; it takes the place of the one that the base
    names, if any. together: every trial has all of them, by their names."""

    search: dict[str, DimensionConfig] = field(default_factory=dict)
    """Key of a run to the values to try. A value replaces what the base has there."""

    pairs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Keys that vary together: name of the coordinate, name of each of its values, and the keys
    of a run with their values. Every value is tried."""

    exclude: list[dict[str, Any]] = field(default_factory=list)
    """Coordinates of trials to leave out, such as {teacher: small, student.init: null}; a list is
    for each of its values. teacher is a teacher's name and quality one of its milestones. With
    control: true it leaves out their controls alone, but for those of other trials."""

    num_samples: int = 1
    """Draws of the keys that are drawn; the grid is tried with each of them."""

    searcher: Literal["random", "optuna"] = "random"
    """Who draws: random search, or Optuna's TPE, which learns from the trials before; it needs
    raykd[optuna]."""

    seed: int = 17
    """Seed of the draws."""

    seeds: tuple[int, ...] = ()
    """Values of train.seed; each arm is trained with every one. Empty is the base's own.
    {at_least: 3, at_most: 12} is short for seeds 1 to 3, and 4 to 12 as more_seeds."""

    more_seeds: tuple[int, ...] = ()
    """Further values of train.seed, for the arms of undecided questions alone. Questions are
    tested with seeds, then with twice as many, and so on up to all; each such look has its share
    of the 5 %, so that all together err no more often than one."""

    questions: dict[str, QuestionConfig] = field(default_factory=dict)
    """Name to what the study is to answer. A question that is added or changed when its arms have
    results is marked as asked afterwards."""

    pilot: str | None = None
    """Directory of an earlier sweep with arms of the same coordinates: raykd check takes from it
    how much differences vary over seeds."""

    tune: TuneConfig | None = None

    probes: dict[str, ProbeConfig] = field(default_factory=dict)
    """Name to a downstream task that models are scored on. Metrics probe/NAME/METRIC are means
    over the probe's seeds; probe/mean is the mean over all probes, each scaled by its floor."""

    controls: bool = True
    """Add to each trial its control: the same run with the teacher's losses off."""

    metric: str = "eval/loss"
    """Metric that trials are compared by, and questions are about that name no other: of their
    evaluations, or of their probes, such as probe/mean."""

    mode: Literal["min", "max"] = "min"
    """Whether less or more of the metric is better."""

    scheduler: SchedulerConfig | None = None

    max_concurrent_trials: int | None = None
    """Trials at a time; null is as many as the machines hold."""

    trials_per_process: int = 1
    """Trials at most that train in one process behind one forward pass of their teachers; of a
    teacher with a cache, behind one product of what is kept with the words of a vocabulary. They
    read the same batches; losses, temperatures, starts, students and optimizers may differ. Each
    is the run that it would be alone; a process has the cores of one trial, so let them be few
    enough that all machines are used."""

    max_failures: int = 2
    """Times that a trial is started again after an error of unknown cause. Killed processes, lost
    nodes and storage that is away count in cluster.max_failures of its run, machines that are
    announced to go in cluster.max_preemptions."""

    time_budget_minutes: float | None = None
    """After it no trial starts and running ones stop; the same command continues."""

    nodes: dict[str, NodeConfig] = field(default_factory=dict)
    """Kinds of machines of the cluster, at an autoscaler's most. Empty is this machine; with
    --address what the cluster has, or, on the head of a launched one, what its autoscaler may
    start."""

    def problems(self) -> list[str]:
        """Return every reason this sweep cannot be planned, each naming its key."""
        problems = []
        if not is_name(self.name):
            problems.append(f"name {NAME_RULE}, got {self.name!r}")
        for name, teacher in self.teachers.items():
            if self.teachers_are == "together" and len(teacher.milestones) > 1:
                problems.append(f"teachers.{name}.milestones: together, each has one quality")
        problems += _named_problems("stages", self.stages)
        problems += _named_problems("teachers", self.teachers)
        problems += _named_problems("probes", self.probes)
        if "mean" in self.probes:
            problems.append("probes.mean: probe/mean is the mean over probes; name it otherwise")
        for key, dimension in self.search.items():
            problems += dimension.problems(f"search.{key}")
        for name, node in self.nodes.items():
            problems += node.problems(f"nodes.{name}")
        if self.scheduler is not None:
            problems += self.scheduler.asha.problems()
        return [
            *problems,
            *self._axis_problems(),
            *self._question_problems(),
            *self._tune_problems(),
            *self._metric_problems(),
            *self._number_problems(),
        ]

    def _axis_problems(self) -> list[str]:
        """Return what is wrong with the coordinates and their keys."""
        problems = []
        keys = list(self.search)
        for name, values in self.pairs.items():
            if not values:
                problems.append(f"pairs.{name} is empty: give at least one value")
                continue
            given = set().union(*values.values())
            for value, changes in values.items():
                if lacks := ", ".join(sorted(given - set(changes))):
                    problems.append(
                        f"pairs.{name}.{value} lacks {lacks}: all values must give the same keys"
                    )
            keys += given
        # A key has one value in a trial: which of two axes wins would depend on their order.
        twice = sorted({key for key in keys if keys.count(key) > 1})
        problems += [f"{key} is searched twice" for key in twice]
        if "train.seed" in keys:
            problems.append("train.seed is searched: give seeds instead")
        reserved = {"teacher", "quality", "control"} & {*self.pairs, *self.search}
        problems += [
            f"pairs.{name}: the name is taken, by teachers or controls" for name in reserved
        ]
        named_alike = self.pairs.keys() & self.search.keys()
        problems += [f"pairs.{name}: the name is that of a searched key" for name in named_alike]
        return problems + self._exclude_problems()

    def _exclude_problems(self) -> list[str]:
        problems = []
        known = self._coordinates
        for index, excluded in enumerate(self.exclude):
            if (control := excluded.get("control", True)) is not True:
                problems.append(
                    f"exclude[{index}].control must be true, for controls alone, or not be there, "
                    f"got {control}"
                )
            if unknown := sorted(set(excluded) - {"control"} - known):
                problems.append(
                    f"exclude[{index}] names {unknown[0]}, which is no coordinate: "
                    f"they are {', '.join(sorted(known))}"
                )
        return problems

    @property
    def _coordinates(self) -> set[str]:
        """Names of what tells arms apart."""
        return {*self.search, *self.pairs, "teacher", "quality"}

    def _question_problems(self) -> list[str]:
        problems = question_problems(self.questions)
        if self.questions and self.searcher == "optuna":
            problems.append(
                "questions are about arms that are known beforehand, and searcher=optuna chooses "
                "arms by results: leave one of them out"
            )
        if self.more_seeds and not self.questions:
            problems.append("more_seeds are for undecided questions, and questions has none")
        if self.more_seeds and len(self.seeds) < 2:  # noqa: PLR2004  a spread needs two
            problems.append("more_seeds needs two seeds or more: those of every arm")
        if twice := sorted({*self.seeds} & {*self.more_seeds}):
            problems.append(f"seeds and more_seeds both have {twice[0]}")
        return [*problems, *seed_problems("more_seeds", self.more_seeds)]

    def _tune_problems(self) -> list[str]:
        if self.tune is None:
            return []
        searched = {
            *self.search,
            *(key for p in self.pairs.values() for c in p.values() for key in c),
        }
        problems = self.tune.problems(searched=searched, coordinates=self._coordinates)
        # On the runs that are compared themselves, the best of several would be a lucky one.
        if both := sorted({*self.tune.seeds} & {*self.seeds, *self.more_seeds}):
            problems.append(f"tune.seeds and seeds both have {both[0]}: choose on others")
        if self.searcher == "optuna":
            problems.append("tune chooses values for a grid: leave it out with searcher=optuna")
        if is_probe_metric(self.metric) and self.tune.metric is None:
            problems.append(
                f"tune.metric is null, which is metric={self.metric}, but runs that choose values "
                "are not probed: give tune.metric and tune.mode"
            )
        return problems

    def _metric_problems(self) -> list[str]:
        """Return why the probes do not give the metric that trials are compared by."""
        if not is_probe_metric(self.metric):
            return []
        _, name, *metrics = self.metric.split("/", 2)
        probed = [
            n for n, probe in self.probes.items() if "trials" in probe.of and 1.0 in probe.at
        ]
        problems = []
        if name not in [*probed, *(["mean"] if probed else [])]:
            problems.append(
                f"metric={self.metric}: no probe of that name is asked at the end of trials: they "
                f"are {', '.join(probed) or 'none'}"
            )
        elif (name == "mean") == any(metrics):
            problems.append(
                f"metric={self.metric} must be as probe/mean or probe/{probed[0]}/accuracy"
            )
        if self.metric == PROBES_MEAN and self.mode == "min":
            problems.append(f"mode=min: more of metric={self.metric} is better: set it to max")
        if self.scheduler is not None:
            problems.append(
                f"scheduler.asha compares evaluations on the way, which metric={self.metric} has "
                "none of: leave one of them out"
            )
        return problems

    def _idle_draws(self) -> list[str]:
        """Return the drawn values that turn a teacher's loss off, and so are the control."""
        return [
            f"searcher=optuna: search.{key} draws 0, which is the control; leave it out"
            for key, dimension in self.search.items()
            if key.startswith("losses.")
            and key.endswith(".weight")
            and any(str(value) in ("0", "0.0") for value in dimension.choice or ())
        ]

    def _number_problems(self) -> list[str]:
        problems = []
        if self.num_samples < 1:
            problems.append(f"num_samples must be >= 1, got {self.num_samples}")
        elif self.num_samples > 1 and not any(d.is_drawn for d in self.search.values()):
            problems.append(
                "num_samples needs a key that is drawn: choice, uniform or log_uniform"
            )
        # A grid is tried in full: there is nothing for a searcher to choose.
        if self.searcher == "optuna" and not any(d.is_drawn for d in self.search.values()):
            problems.append("searcher=optuna needs a key that is drawn, not tried as a grid")
        if self.searcher == "optuna":
            problems += self._idle_draws()
        # The same seed twice is one run: the report would plan for a pair that never comes.
        if len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds has one twice: {list(self.seeds)}")
        if len(set(self.more_seeds)) < len(self.more_seeds):
            problems.append(f"more_seeds has one twice: {list(self.more_seeds)}")
        problems += seed_problems("seeds", self.seeds)
        return [*problems, *self._limit_problems()]

    def _limit_problems(self) -> list[str]:
        problems = []
        if self.max_concurrent_trials is not None and self.max_concurrent_trials < 1:
            problems.append(
                f"max_concurrent_trials must be >= 1, got {self.max_concurrent_trials}"
            )
        if self.trials_per_process < 1:
            problems.append(f"trials_per_process must be >= 1, got {self.trials_per_process}")
        if self.max_failures < 0:
            problems.append(f"max_failures must be >= 0, got {self.max_failures}")
        if self.time_budget_minutes is not None and self.time_budget_minutes <= 0:
            problems.append(f"time_budget_minutes must be > 0, got {self.time_budget_minutes}")
        return problems
