"""What a planned sweep costs: tokens, FLOPs with the teachers' share, and a guess at its time.

FLOPs are those of training; evaluations come on top. Nothing that is there is counted again.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from raykd.config.schema.run import RunConfig
from raykd.planning.speed import Speed, measured_speed
from raykd.sweep.plan.capacity import held_at_once
from raykd.sweep.plan.placeholder_models import placeholder_models
from raykd.sweep.plan.plan import SweepPlan
from raykd.sweep.plan.planned_runs import PlannedRun, Process, need_of_process, processes_of

SWEEP_START_SECONDS = 20.0
"""Ray and the first processes: what a sweep takes before its first run begins, about."""

START_SECONDS = 6.0
"""What a run takes beside its steps: the models, the last checkpoint, waiting for its place."""

WORKERS_START_SECONDS = 12.0
"""What the workers of one run take more, which start anew for each: see tests/bench/RESULTS.md."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTime:
    """How long what is left takes; a rough figure."""

    seconds: float
    of_starts: float
    """Part of it that would remain with steps that take no time."""

    num_starts: int
    """Starts of processes, each with a run or several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCost:
    """What runs cost, or what is left of them."""

    num_runs: int
    """Those that have steps to take."""

    tokens: float
    student_flops: float
    """FLOPs of what learns, forward and backward; in a stage that is the teacher."""

    teacher_flops: float
    """FLOPs of the teachers' forward passes beside it."""

    cache_flops: float
    """FLOPs of the teachers' passes whose outputs are kept for all runs that ask the same."""

    num_caches: int

    @property
    def flops(self) -> float:
        """Student and teachers."""
        return self.student_flops + self.teacher_flops + self.cache_flops

    @property
    def teacher_share(self) -> float:
        """The teachers' part of the FLOPs, from 0 to 1."""
        return (self.teacher_flops + self.cache_flops) / self.flops if self.flops else 0.0


def whole_cost(runs: Iterable[PlannedRun], *, most: int = 1) -> PlannedCost:
    """Return what runs cost from their first step to their last, with so many in a process."""
    return _cost([[(run, 1.0) for run in process] for process in processes_of(runs, most=most)])


def cost_left(runs: Iterable[PlannedRun], *, most: int = 1) -> PlannedCost:
    """Return what runs cost from where they stand, with so many in a process."""
    return _cost(
        [[(run, run.share_left) for run in process] for process in _left(runs, most=most)]
    )


def measured(plan: SweepPlan) -> Speed | None:
    """Time a few steps of the costliest run that is left, here, and keep nothing of them.

    Returns:
        The speed of one worker; None where nothing is left, costs are not known, or the run asks
        for a GPU that is not here.

    Raises:
        RaykdError: The run's data or models cannot be read.
    """
    left = [run for run in (*plan.runs, *plan.expected) if run.share_left and run.flops]
    if not left:
        return None
    # The costliest dominates the sum, and a small model may be slower for each FLOP.
    run = max(left, key=lambda run: _flops_left((run,)))
    assert run.flops is not None  # noqa: S101  others are not among them
    with placeholder_models() as models:
        for needed in (*plan.runs, *plan.expected):
            if needed.record.id not in run.record.needs:
                continue
            if needed.setup is not None and needed.student is not None:
                models.add(needed.setup, needed.student.config)
        return measured_speed(models.applied(run.config), run.flops)


def planned_time(plan: SweepPlan, speed: Speed) -> PlannedTime:
    """Guess how long what is left takes.

    What waits for the same runs goes on side by side, as far as it fits. All machines are taken to
    be as fast as where the speed was measured, however many runs share one, and workers of a run
    to divide its work without loss; evaluations and waiting for a free place are not counted.
    """
    phases = [_left(phase, most=plan.sweep.trials_per_process) for phase in _phases(plan)]
    return PlannedTime(
        seconds=_seconds(plan, phases, flops_per_second=speed.flops_per_second),
        of_starts=_seconds(plan, phases, flops_per_second=math.inf),
        num_starts=sum(map(len, phases)),
    )


def _phases(plan: SweepPlan) -> list[list[PlannedRun]]:
    """Return the runs by how long a chain of others each waits for."""
    depths: dict[str, int] = {}
    phases: dict[int, list[PlannedRun]] = {}
    after_tuning = 0
    # In the plan a run comes after those that it needs.
    for run in (*plan.runs, *plan.expected):
        needed = [depths[run_id] + 1 for run_id in run.record.needs if run_id in depths]
        # Trials wait for the runs that choose their values.
        chosen = after_tuning if run.record.kind == "trial" else 0
        depth = max([0, *needed, chosen])
        if run.record.kind == "tuning":
            after_tuning = max(after_tuning, depth + 1)
        depths[run.record.id] = depth
        phases.setdefault(depth, []).append(run)
    return list(phases.values())


def _seconds(
    plan: SweepPlan, phases: Sequence[Sequence[Process]], *, flops_per_second: float
) -> float:
    # Those that run at a time build a cache together.
    caches = cost_left(plan.trials, most=plan.sweep.trials_per_process).cache_flops
    building = caches / (flops_per_second * max(min(plan.at_once, len(plan.trials)), 1))
    in_phases = sum(_phase_seconds(plan, phase, flops_per_second) for phase in phases)
    return SWEEP_START_SECONDS + building + in_phases


def _left(runs: Iterable[PlannedRun], *, most: int) -> tuple[Process, ...]:
    return processes_of((run for run in runs if run.share_left), most=most)


def _phase_seconds(
    plan: SweepPlan, processes: Sequence[Process], flops_per_second: float
) -> float:
    """Return the time of processes that wait for nothing but a place."""
    if not processes:
        return 0.0
    at_once = min(held_at_once(need_of_process(process), plan.nodes) for process in processes)
    if plan.sweep.max_concurrent_trials is not None:
        at_once = min(at_once, plan.sweep.max_concurrent_trials)
    each = [
        _start_seconds(process)
        + _flops_left(process) / (flops_per_second * process[0].need.num_bundles)
        for process in processes
    ]
    # The two lower bounds of a schedule: the longest job, and all work spread evenly. Jobs of a
    # sweep are alike and many, so the larger of them is close.
    return max(*each, sum(each) / max(at_once, 1))


def _start_seconds(process: Process) -> float:
    has_workers = process[0].need.num_workers > 1
    return START_SECONDS + (WORKERS_START_SECONDS if has_workers else 0.0)


def _flops_left(process: Process) -> float:
    cost = _cost([[(run, run.share_left) for run in process]])
    return cost.student_flops + cost.teacher_flops


def _cost(processes: Iterable[Sequence[tuple[PlannedRun, float]]]) -> PlannedCost:
    """Add up what the runs of processes cost, of each the share beside it."""
    tokens = student = teachers = 0.0
    caches: dict[str, float] = {}
    num_runs = 0
    for process in processes:
        of_teachers = 0.0
        for run, part in process:
            of_run = part * run.record.planned_tokens
            num_runs += 1
            tokens += of_run
            student += of_run * run.record.flops_per_token.get("student", 0.0)
            asked = of_run * run.record.flops_per_token.get("teachers", 0.0)
            # One forward pass serves all runs of a process: the one that takes the most steps
            # decides how many there are.
            of_teachers = max(of_teachers, asked)
            for name, flops in run.cache_flops.items():
                question = _asked(name, run.config)
                # Counted once for all that ask the same; the longest run asks about the most rows.
                caches[question] = max(flops, caches.get(question, 0.0))
        teachers += of_teachers
    return PlannedCost(
        num_runs=num_runs,
        tokens=tokens,
        student_flops=student,
        teacher_flops=teachers,
        cache_flops=sum(caches.values()),
        num_caches=len(caches),
    )


def _asked(name: str, config: RunConfig) -> str:
    """Return what tells the caches of different questions to teachers apart."""
    # A teacher of masked_lm is asked about masked rows, and the masks follow the seed.
    masks = (config.data.masking, config.train.seed) if config.task == "masked_lm" else None
    data = config.data
    rows = (data.uri, data.fraction, data.fraction_seed)
    # A cache keeps what a teacher says before its classes are permuted.
    teacher = replace(config.teachers[name], permuted=None)
    return repr((teacher, rows, config.task, masks))
