"""What a sweep would do, found out without starting or writing anything; and what is against it.

The plan is a function of the sweep file, its inputs and what runs have left in storage. Stages
need not exist: their students' configurations stand in for the models that they will make.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from raykd import storage
from raykd.config.load import plain
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import NodeConfig, SweepConfig
from raykd.sweep.checks import metric_problem, rung_problem
from raykd.sweep.expand import Entry, Expansion
from raykd.sweep.halving import rung_tokens
from raykd.sweep.kinds import KindPlan, Planner
from raykd.sweep.ledger import Record, State
from raykd.sweep.problems import Problems
from raykd.sweep.progress import Progress, progress_of
from raykd.sweep.room import Need, held_at_once, need_of, scarcest, this_machine
from raykd.sweep.space import Draws, points_of, random_draws
from raykd.sweep.stand_ins import StandIns, stand_ins
from raykd.train.flops import RunFlops
from raykd.train.paths import run_paths
from raykd.train.sizes import ModelPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run of the sweep."""

    record: Record
    config: RunConfig
    first_step: int
    """Step it would continue from; the last one where it is done."""

    student: ModelPlan | None
    """None where there are problems, as ``flops``."""

    flops: RunFlops | None
    need: Need

    @property
    def share_left(self) -> float:
        """Share of its steps that are still to be taken; 0 where it is over."""
        if self.record.state.is_terminal or not self.record.num_steps:
            return 0.0
        return 1 - self.first_step / self.record.num_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What a sweep would do."""

    sweep: SweepConfig
    uri: str
    """Directory of the sweep."""

    runs: tuple[PlannedRun, ...]
    """Stages first, then trials, in the order in which they start."""

    suggested: tuple[PlannedRun, ...]
    """What one sample of a searcher that learns may look like, to tell costs by: its values are
    suggested while the sweep runs. Empty where all draws are known."""

    rungs: tuple[int, ...]
    """Tokens at which the scheduler compares trials; empty without one."""

    num_excluded: int
    """Points of the grid that ``exclude`` leaves out, all samples together."""

    nodes: tuple[NodeConfig, ...]
    """The machines that are counted on: those declared, or this one."""

    at_once: int
    """Trials that run at the same time; 0 where one never fits."""

    problems: tuple[str, ...]
    """Every reason why the sweep, or some of its runs, cannot start."""

    @property
    def records(self) -> tuple[Record, ...]:
        """The runs as they begin in the ledger."""
        return tuple(run.record for run in self.runs)

    @property
    def stages(self) -> tuple[PlannedRun, ...]:
        """The teachers' runs."""
        return tuple(run for run in self.runs if run.record.kind == "stage")

    @property
    def trials(self) -> tuple[PlannedRun, ...]:
        """What the sweep compares, with as many runs in place of what is to be suggested."""
        known = tuple(run for run in self.runs if run.record.kind == "trial")
        return known + self.suggested * self.sweep.num_samples

    @property
    def at_once_by(self) -> str:
        """What limits the trials that run at the same time, in words."""
        needs = _needs(self.trials)
        if not needs:
            return "no trial"
        least = min(needs, key=lambda need: held_at_once(need, self.nodes))
        if held_at_once(least, self.nodes) > self.at_once:
            return "max_concurrent_trials"
        whose = "the declared nodes" if self.sweep.nodes else "this machine"
        return f"{scarcest(least, self.nodes)} of {whose}"


def sweep_uri(sweep: SweepConfig) -> str:
    """Return the directory of a sweep."""
    return storage.join(storage.absolute(sweep.output_uri), sweep.name)


def plan_sweep(sweep: SweepConfig) -> SweepPlan:
    """Find out what a sweep would do; read configurations, manifests and progress alone.

    Raises:
        RaykdError: A run file is wrong, a trial contradicts itself, or an input is not there.
    """
    expansion = Expansion(sweep)
    samples = [random_draws(sweep, index) for index in range(sweep.num_samples)]
    learns = sweep.searcher == "optuna"
    known = [] if learns else expansion.trials(samples)
    nodes = tuple(sweep.nodes.values()) or (this_machine(),)
    found = Problems(nodes)
    with stand_ins() as models:
        runs = _Runs(models, found)
        stages = runs.planned_stages(expansion.stages)
        trials = runs.planned(known, _progress(known))
        suggested: tuple[PlannedRun, ...] = ()
        if learns:
            one = expansion.trials(samples[:1])
            suggested = runs.planned(one, [Progress()] * len(one))
    compared = trials or suggested
    rungs = _rungs(sweep, compared)
    for run in compared:
        found.add(run.record, metric_problem(sweep.metric, run.config))
        found.add(run.record, rung_problem(rungs, run.record, run.config))
    return SweepPlan(
        sweep=sweep,
        uri=sweep_uri(sweep),
        runs=stages + trials,
        suggested=suggested,
        rungs=rungs,
        num_excluded=sum(_num_excluded(sweep, draws) for draws in samples),
        nodes=nodes,
        at_once=_at_once(sweep, compared, nodes),
        problems=(*_empty_problem(compared), *found.lines()),
    )


class _Runs:
    """Plans runs, and collects what speaks against them."""

    def __init__(self, models: StandIns, found: Problems) -> None:
        self._models = models
        self._planner = Planner(models)
        self._found = found
        self._unknown: set[str] = set()
        """Stages that cannot be planned, and so none of the trials that need them."""

    def planned_stages(self, entries: Sequence[Entry]) -> tuple[PlannedRun, ...]:
        """Plan the stages, whose models then stand in for themselves."""
        stages = self.planned(entries, _progress(entries))
        for stage in stages:
            if stage.student is None:
                self._unknown.add(stage.record.id)
            else:
                self._models.add(stage.config, stage.student.config)
        return stages

    def planned(
        self, entries: Sequence[Entry], progress: Sequence[Progress]
    ) -> tuple[PlannedRun, ...]:
        """Plan runs, and note their problems."""
        planned = []
        for entry, so_far in zip(entries, progress, strict=True):
            is_known = self._unknown.isdisjoint(entry.needs)
            kind = self._planner.of(entry.config) if is_known else KindPlan()
            run = _run(entry, kind, so_far)
            for problem in kind.problems:
                self._found.add(run.record, problem)
            self._found.add_room(run.record, run.need)
            planned.append(run)
        return tuple(planned)


def _progress(entries: Iterable[Entry]) -> list[Progress]:
    return progress_of([run_paths(entry.config) for entry in entries])


def _run(entry: Entry, kind: KindPlan, progress: Progress) -> PlannedRun:
    flops: dict[str, float] = {}
    if kind.flops is not None:
        flops = {
            "student": kind.flops.student_per_token,
            "teachers": kind.flops.teachers_per_token,
        }
    record = Record(
        id=entry.id,
        kind=entry.kind,
        run_uri=run_paths(entry.config).run,
        coordinates=entry.coordinates,
        arm=entry.arm,
        seed=entry.config.train.seed,
        control=entry.control,
        config=plain(entry.config),
        num_steps=kind.num_steps,
        planned_tokens=kind.planned_tokens,
        flops_per_token=flops,
        needs=entry.needs,
        state=State.DONE if progress.is_done else State.WAITING,
        evaluations=progress.evaluations,
    )
    return PlannedRun(
        record=record,
        config=entry.config,
        first_step=kind.num_steps if progress.is_done else min(progress.step, kind.num_steps),
        student=kind.student,
        flops=kind.flops,
        need=need_of(entry.config, kind.memory_bytes),
    )


def _rungs(sweep: SweepConfig, trials: Iterable[PlannedRun]) -> tuple[int, ...]:
    longest = max((run.record.planned_tokens for run in trials), default=0)
    if sweep.scheduler is None or not longest:
        return ()
    return rung_tokens(sweep.scheduler.asha, longest)


def _at_once(sweep: SweepConfig, trials: Iterable[PlannedRun], nodes: Sequence[NodeConfig]) -> int:
    held = [held_at_once(need, nodes) for need in _needs(trials)]
    limit = sweep.max_concurrent_trials
    return min([*held, *([] if limit is None else [limit])], default=0)


def _needs(runs: Iterable[PlannedRun]) -> set[Need]:
    return {run.need for run in runs}


def _num_excluded(sweep: SweepConfig, draws: Draws) -> int:
    return len(points_of(replace(sweep, exclude=[]), draws)) - len(points_of(sweep, draws))


def _empty_problem(trials: Sequence[PlannedRun]) -> list[str]:
    return [] if trials else ["exclude leaves no trial"]
