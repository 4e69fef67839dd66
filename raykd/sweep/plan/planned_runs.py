"""The runs of a sweep with what is known before they start: models, cost, need, progress."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from raykd.config.load import plain
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import RunSetup
from raykd.planning.flops import RunFlops
from raykd.planning.memory import ModelPlan
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import run_paths
from raykd.scores import REMEMBERED_BYTES
from raykd.sweep.grid.entry import Entry
from raykd.sweep.grid.expand import Expansion
from raykd.sweep.grid.shared_processes import by_process, sharing_key
from raykd.sweep.plan.capacity import Need, need_of
from raykd.sweep.plan.kinds import KindPlan, Planner
from raykd.sweep.plan.placeholder_models import PlaceholderModels
from raykd.sweep.plan.problems import Problems
from raykd.sweep.plan.progress import Progress, progress_of
from raykd.sweep.record import Record, State


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run of the sweep."""

    record: Record
    config: RunConfig
    first_step: int
    """Step it would continue from; the last one where it is done."""

    setup: RunSetup | None
    """The run and its data; None where these cannot be read."""

    student: ModelPlan | None
    """None where there are problems, as ``flops``."""

    flops: RunFlops | None
    cache_flops: Mapping[str, float]
    """Operations, in all, to compute the outputs that are kept, by teacher."""

    need: Need
    shared_bytes: int | None
    """Part of the memory it needs that runs of one process have once, teachers among it."""

    remarks: tuple[str, ...]
    """What is taken for granted, and what evaluations will lack."""

    @property
    def share_left(self) -> float:
        """Share of its steps that are still to be taken; 0 where it is over."""
        if self.record.state.is_terminal or not self.record.num_steps:
            return 0.0
        return 1 - self.first_step / self.record.num_steps


Process = tuple[PlannedRun, ...]
"""The runs of a process: one, or several that share their teachers."""


def processes_of(runs: Iterable[PlannedRun], *, most: int) -> tuple[Process, ...]:
    """Return how runs are shared out over processes, with so many in one."""
    return tuple(by_process(runs, key=lambda run: run.record.sharing_key, most=most))


def need_of_process(process: Process) -> Need:
    """Return what the runs of a process need together."""
    first = process[0]
    memory, shared = first.need.memory_bytes, first.shared_bytes
    if len(process) == 1 or memory is None or shared is None:
        return first.need
    # The process and the teachers count once; the rest is each run's own.
    own = sum((run.need.memory_bytes or 0) - (run.shared_bytes or 0) for run in process)
    remembered = REMEMBERED_BYTES if first.config.task.endswith("_lm") else 0
    return replace(first.need, memory_bytes=shared + remembered + own)


class Runs:
    """Plans runs, and collects what speaks against them."""

    def __init__(self, models: PlaceholderModels, problems: Problems) -> None:
        """Begin with none.

        Args:
            models: For the models of planned runs, which are added.
            problems: Takes what speaks against runs.
        """
        self._models = models
        self._planner = Planner(models)
        self._problems = problems
        self._unknown: set[str] = set()
        """Runs that cannot be planned, and so none of those that need them."""

    def planned_stages(self, entries: Sequence[Entry]) -> tuple[PlannedRun, ...]:
        """Plan the stages, whose models then stand in for themselves."""
        stages: list[PlannedRun] = []
        for entry in entries:
            # One by one: a stage may begin at the model of one before it.
            stages += self.planned([entry])
            self.stand_in(stages[-1])
        return tuple(stages)

    def planned_with_probes(
        self, entries: Sequence[Entry], expansion: Expansion
    ) -> tuple[PlannedRun, ...]:
        """Plan runs, each followed by those that score its model."""
        return self.with_probes(entries, self.planned(entries), expansion)

    def with_probes(
        self, entries: Sequence[Entry], runs: Sequence[PlannedRun], expansion: Expansion
    ) -> tuple[PlannedRun, ...]:
        """Return runs that are planned, each followed by those that score its model."""
        probes: dict[str, list[Entry]] = {}
        for entry, run in zip(entries, runs, strict=True):
            found = list(expansion.probes_of(entry, num_steps=run.record.num_steps))
            if found:
                probes[entry.id] = found
                self.stand_in(run)
        # All at once: storage may be far away.
        planned = iter(self.planned([probe for found in probes.values() for probe in found]))
        every: list[PlannedRun] = []
        for run in runs:
            every.append(run)
            for probe in itertools.islice(planned, len(probes.get(run.record.id, ()))):
                self._problems.add(probe.record, _gone_problem(probe, run))
                every.append(probe)
        return tuple(every)

    def stand_in(self, run: PlannedRun) -> None:
        """Have what is known of the model of a run stand for it, for those that begin at it."""
        if run.setup is None or run.student is None:
            self._unknown.add(run.record.id)
        else:
            self._models.add(run.setup, run.student.config)

    def planned(self, entries: Sequence[Entry]) -> tuple[PlannedRun, ...]:
        """Plan runs from where they stand, and note their problems."""
        planned = []
        progress = progress_of([run_paths(entry.config) for entry in entries])
        for entry, so_far in zip(entries, progress, strict=True):
            is_known = self._unknown.isdisjoint(entry.needs)
            kind = self._planner.of(entry.config) if is_known else KindPlan()
            run = _run(entry, kind, so_far)
            for problem in kind.problems:
                self._problems.add(run.record, problem)
            self._problems.add_room(run.record, run.need)
            planned.append(run)
        return tuple(planned)


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
        models=dict(kind.models),
        needs=entry.needs,
        tuned=entry.tuned,
        points=entry.points,
        probed=entry.probed,
        probed_step=entry.probed_step,
        sharing_key=sharing_key(entry.config),
        state=State.DONE if progress.is_done else State.WAITING,
        evaluations=progress.evaluations,
    )
    return PlannedRun(
        record=record,
        config=entry.config,
        first_step=kind.num_steps if progress.is_done else min(progress.step, kind.num_steps),
        # All runs of a kind have its data: the manifest is read once for them.
        setup=None if kind.setup is None else replace(kind.setup, config=entry.config),
        student=kind.student,
        flops=kind.flops,
        cache_flops=kind.cache_flops,
        need=need_of(entry.config, kind.memory_bytes),
        shared_bytes=kind.shared_bytes,
        remarks=kind.remarks,
    )


def _gone_problem(probe: PlannedRun, run: PlannedRun) -> str | None:
    """Return why a run does not bring the model that is to be probed; None where it does."""
    step = probe.record.probed_step
    if probe.record.state is State.DONE or run.first_step <= step:
        return None
    if step in committed_steps(run_paths(run.config).checkpoints):
        return None
    name = probe.record.coordinates["probe"]
    return (
        f"probes.{name}.at: {run.record.id} is past step {step:,} and has not kept its model "
        "there; give the runs another name, or leave the fraction out"
    )
