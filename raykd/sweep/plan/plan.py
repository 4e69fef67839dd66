"""What a sweep would do, found out without starting or writing anything; and what is against it.

The plan is a function of the sweep file, its inputs and what runs have left in storage. Stages
need not exist: their students' configurations stand in for the models that they will make.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from raykd.config.schema.sweep import NodeConfig, SweepConfig
from raykd.errors import ConfigError
from raykd.runs.inputs import Find, find_input
from raykd.storage import uris
from raykd.sweep.grid.expand import Expansion
from raykd.sweep.grid.space import Draws, points_of, random_draws
from raykd.sweep.grid.suggest import suggested_draws
from raykd.sweep.halving import rung_tokens
from raykd.sweep.ledger import Ledger, SweepPaths, read_ledger
from raykd.sweep.plan.capacity import (
    Machines,
    Need,
    held_at_once,
    idle_gpus,
    machines_of,
    scarcest,
)
from raykd.sweep.plan.checks import comparison_problems
from raykd.sweep.plan.decided import MoreSeeds, decided_runs
from raykd.sweep.plan.pilot import pilot_problems
from raykd.sweep.plan.planned_runs import (
    PlannedRun,
    Process,
    need_of_process,
    processes_of,
)
from raykd.sweep.plan.problems import Problems
from raykd.sweep.plan.question_checks import question_findings
from raykd.sweep.record import KIND, Record, State


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What a sweep would do."""

    sweep: SweepConfig
    uri: str
    """Directory of the sweep."""

    runs: tuple[PlannedRun, ...]
    """Stages, tuning runs, trials, in the order in which they start, each with its probes."""

    num_unknown_samples: int
    """Samples that a searcher that learns suggests while the sweep runs."""

    expected: tuple[PlannedRun, ...]
    """What stands for runs that results decide on, in number and cost: those of samples yet to
    be suggested as the first one's, those of tuned arms with the first values."""

    more_seeds: MoreSeeds | None
    """Which trials have further seeds, and what may follow beside ``expected``; None where no
    seeds may follow."""

    rungs: tuple[int, ...]
    """Tokens at which the scheduler compares trials; empty without one."""

    num_excluded: int
    """Points of the grid that ``exclude`` leaves out, all samples together."""

    machines: Machines
    """The machines that are counted on."""

    at_once: int
    """Processes that run at the same time, each with a trial or several; 0 where one never
    fits."""

    find: Find
    """Knows the inputs as they were found."""

    question_notes: tuple[str, ...]
    """What is to be known of the questions, and speaks against none."""

    problems: tuple[str, ...]
    """Every reason why the sweep, or some of its runs, cannot start."""

    @property
    def records(self) -> tuple[Record, ...]:
        """The runs as they begin in the ledger."""
        return tuple(run.record for run in self.runs)

    @property
    def stages(self) -> tuple[PlannedRun, ...]:
        """The runs of stages and teachers, each after those that it needs."""
        return self.of_kind("stage")

    @property
    def tuning(self) -> tuple[PlannedRun, ...]:
        """The runs that values are chosen by."""
        return self.of_kind("tuning")

    @property
    def trials(self) -> tuple[PlannedRun, ...]:
        """What the sweep compares, the expected ones too."""
        return self.of_kind("trial")

    @property
    def probes(self) -> tuple[PlannedRun, ...]:
        """The runs that score others, the expected ones too."""
        return self.of_kind("probe")

    @property
    def is_open(self) -> bool:
        """Whether results are to decide on further runs."""
        may_follow = () if self.more_seeds is None else self.more_seeds.at_most
        return bool(self.expected or may_follow)

    def of_kind(self, kind: KIND) -> tuple[PlannedRun, ...]:
        """Return the runs of a kind, the expected ones too."""
        return _of_kind(kind, (*self.runs, *self.expected))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is taken for granted, and what evaluations will lack, each once."""
        of_runs = dict.fromkeys(remark for run in self.runs for remark in run.remarks)
        return (*of_runs, *self.question_notes)

    @property
    def nodes(self) -> tuple[NodeConfig, ...]:
        """The machines by kind."""
        return self.machines.nodes

    @property
    def processes(self) -> tuple[Process, ...]:
        """What is trained beside each other, as it is shared out over processes."""
        runs = (*self.tuning, *self.trials)
        return processes_of(runs, most=self.sweep.trials_per_process)

    @property
    def at_once_by(self) -> str:
        """What limits the trials that run at the same time, in words."""
        needs = _needs(self.processes)
        if not needs:
            return "no trial"
        least = min(needs, key=lambda need: held_at_once(need, self.nodes))
        if held_at_once(least, self.nodes) > self.at_once:
            return "max_concurrent_trials"
        return scarcest(least, self.nodes)

    @property
    def cpus(self) -> float:
        """CPU cores of all machines."""
        return sum(node.count * node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all machines."""
        return sum(node.count * node.gpus for node in self.nodes)

    @property
    def data_uris(self) -> tuple[str, ...]:
        """Where the data of the runs lie, or belong."""
        return tuple(dict.fromkeys(run.config.data.uri for run in self.runs))

    @property
    def idle_gpus(self) -> str | None:
        """Which GPUs no trial uses, and why; None where all have work."""
        return idle_gpus(_needs(self.processes), self.nodes, at_once=self.at_once)

    @property
    def is_known(self) -> bool:
        """Whether the sweep has a ledger: it was started before."""
        return uris.exists(SweepPaths(sweep=self.uri).index)


def sweep_uri(sweep: SweepConfig) -> str:
    """Return the directory of a sweep."""
    return uris.join(uris.absolute(sweep.output_uri), sweep.name)


def plan_sweep(
    sweep: SweepConfig,
    *,
    machines: Machines | None = None,
    known: Mapping[str, Record] | None = None,
    find: Find | None = None,
    retries_failed: bool = False,
) -> SweepPlan:
    """Find out what a sweep would do; read configurations, manifests and progress alone.

    Args:
        sweep: What is asked for.
        machines: Those of a cluster, where the sweep declares none; None is this one.
        known: Records of the sweep's ledger by id: by them a searcher that learns suggests,
            values are chosen, and questions get more seeds. None reads them where they are.
        find: That of an earlier plan, for one of the same inputs; None looks at them anew.
        retries_failed: What has failed is tried again: no value is chosen, and no question gets
            more seeds, before it has ended.

    Raises:
        RaykdError: A run file is wrong, a trial contradicts itself, or an input of a sweep that
            runs, whose records are given, is gone.
    """
    # Each input is looked at once for all runs: a fingerprint reads a manifest or hashes weights,
    # and one plan must not see two contents of a place.
    find = find or functools.cache(find_input)
    expansion = Expansion(sweep, find)
    follows_results = sweep.searcher == "optuna" or sweep.tune is not None
    # Beside records that are given, too: it knows which questions were asked beforehand.
    is_asked = bool(sweep.more_seeds) or (known is None and follows_results)
    ledger = known_ledger(sweep) if is_asked else None
    records = known if known is not None else {} if ledger is None else ledger.records
    if retries_failed:
        records = {run_id: r for run_id, r in records.items() if not _is_retried(sweep, r)}
    samples = _samples(sweep, records)
    machines = machines_of(sweep, machines)
    problems = Problems(machines.nodes)
    runs = decided_runs(
        sweep, samples, records, expansion=expansion, problems=problems, ledger=ledger
    )
    if known is not None and expansion.missing:
        # A sweep that runs already must not begin a run whose name says nothing of its inputs.
        raise ConfigError(expansion.missing[0])
    num_unknown = sweep.num_samples - len(samples)
    # Those of the first sample: what is suggested later must not move the rungs.
    trials = runs.sample if sweep.searcher == "optuna" else (*runs.trials, *runs.undecided)
    rungs = _rungs(sweep, _of_kind("trial", trials))
    beside = (*runs.tuning, *_of_kind("trial", runs.trials))
    processes = processes_of(beside, most=sweep.trials_per_process)
    for process in processes:
        if len(process) > 1:
            problems.add_room(
                process[0].record, need_of_process(process), num_sharing=len(process)
            )
    whole = (*runs.stages, *runs.tuning, *runs.trials)
    for run in (*whole, *runs.undecided):
        for problem in comparison_problems(sweep, run, rungs=rungs):
            problems.add(run.record, problem)
    shared = {run.record.id for run in beside}
    alone = tuple((run,) for run in (*whole, *runs.undecided) if run.record.id not in shared)
    unanswerable, notes = question_findings(
        sweep,
        (*runs.trials, *runs.undecided),
        is_tuned=sweep.tune is not None and not runs.undecided,
    )
    return SweepPlan(
        sweep=sweep,
        uri=sweep_uri(sweep),
        runs=whole,
        num_unknown_samples=num_unknown,
        expected=(*runs.undecided, *runs.sample * num_unknown),
        more_seeds=runs.more_seeds,
        rungs=rungs,
        num_excluded=sum(_num_excluded(sweep, draws) for draws in samples),
        machines=machines,
        find=find,
        at_once=_at_once(sweep, (*alone, *processes), machines.nodes),
        question_notes=tuple(notes),
        problems=(
            *_empty_problem(trials),
            *problems.lines(),
            *unanswerable,
            *_untold(expansion.missing, problems),
            *pilot_problems(sweep, own_uri=sweep_uri(sweep)),
        ),
    )


def require_runnable(plan: SweepPlan) -> None:
    """Refuse to start a sweep that has problems.

    Raises:
        ConfigError: There are some; the message lists all of them.
    """
    if plan.problems:
        lines = "\n".join(f"  - {problem}" for problem in plan.problems)
        message = f"{plan.sweep.name}: {len(plan.problems)} problem(s)\n{lines}"
        raise ConfigError(message)


def _samples(sweep: SweepConfig, records: Mapping[str, Record]) -> list[Draws]:
    """Return the samples that are known so far."""
    if sweep.searcher == "random":
        return [random_draws(sweep, index) for index in range(sweep.num_samples)]
    return suggested_draws(sweep, records)


def _is_retried(sweep: SweepConfig, record: Record) -> bool:
    """Tell whether a run of which results decide is to be tried again."""
    # A searcher goes on from what it was told of a failed trial.
    decides = record.kind == "tuning" or bool(sweep.more_seeds)
    return decides and record.state in (State.FAILED, State.BLOCKED)


def _of_kind(kind: KIND, runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    return tuple(run for run in runs if run.record.kind == kind)


def known_ledger(sweep: SweepConfig) -> Ledger | None:
    """Return the sweep's ledger; None before its first start."""
    paths = SweepPaths(sweep=sweep_uri(sweep))
    return read_ledger(paths.sweep) if uris.exists(paths.index) else None


def _rungs(sweep: SweepConfig, trials: Iterable[PlannedRun]) -> tuple[int, ...]:
    longest = max((run.record.planned_tokens for run in trials), default=0)
    if sweep.scheduler is None or not longest:
        return ()
    return rung_tokens(sweep.scheduler.asha, longest)


def _at_once(sweep: SweepConfig, processes: Iterable[Process], nodes: Sequence[NodeConfig]) -> int:
    held = [held_at_once(need, nodes) for need in _needs(processes)]
    limit = sweep.max_concurrent_trials
    # The least of all kinds: Ray Tune takes one number for all trials, and with more of the
    # largest kind some would wait for a placement.
    return min([*held, *([] if limit is None else [limit])], default=0)


def _needs(processes: Iterable[Process]) -> set[Need]:
    return {need_of_process(process) for process in processes}


def _num_excluded(sweep: SweepConfig, draws: Draws) -> int:
    return len(points_of(replace(sweep, exclude=[]), draws)) - len(points_of(sweep, draws))


def _untold(missing: Iterable[str], problems: Problems) -> list[str]:
    """Return what the plans of the runs do not say of inputs that are not there."""
    return [problem for problem in missing if not problems.has(problem)]


def _empty_problem(trials: Sequence[PlannedRun]) -> list[str]:
    return [] if trials else ["exclude leaves no trial"]
