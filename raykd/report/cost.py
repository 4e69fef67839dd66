"""What the sweep spent: tokens, FLOPs with the teachers' share, and time.

What was there before costs nothing here and is told apart. FLOPs are those of training:
evaluations, and steps that a failure made it do twice, are not counted. A teacher that is a run
of the sweep is trained once and counted once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.report.pairing import Pairing
from raykd.sweep.grid.coordinates import stage_label
from raykd.sweep.record import Record

CostKind = Literal["stage", "tuning", "arm", "probe", "total"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a stage, all tuning runs, an arm, a probe, or the whole sweep cost."""

    kind: CostKind
    id: str
    """Id of the arm or of the stage's run, name of the probe; empty for tuning and the whole
    sweep."""

    label: str
    num_runs: int
    num_reused: int
    """Runs that were done before this sweep started them."""

    tokens: float
    """Trained on by this sweep."""

    student_flops: float
    """FLOPs of what learns, forward and backward; in a stage that is the teacher."""

    teacher_flops: float
    """FLOPs of the teachers' forward passes beside it; runs that share them share this."""

    reused_flops: float
    """What was there before had cost."""

    seconds: float
    """Sum over all attempts whose end is known, as if one followed the other."""

    core_seconds: float
    """Of these attempts, the cores that were reserved for their workers, busy or not; runs that
    share a process share them."""

    gpu_seconds: float
    """As core_seconds, of GPUs; 0 without."""

    @property
    def flops(self) -> float:
        """Student and teachers."""
        return self.student_flops + self.teacher_flops

    @property
    def teacher_share(self) -> float | None:
        """The teachers' part of the FLOPs; None where there are none."""
        return self.teacher_flops / self.flops if self.flops else None


def costs_of(pairing: Pairing) -> tuple[Cost, ...]:
    """Return what each stage, all tuning, each arm and each probe cost, in that order."""
    records = pairing.ledger.records.values()
    stages = (
        _cost([stage], kind="stage", name=stage.id, label=stage_label(stage))
        for stage in pairing.ledger.stages
    )
    tuning = [record for record in records if record.kind == "tuning"]
    arms = (
        _cost(trials, kind="arm", name=arm, label=pairing.labels[arm])
        for arm, trials in pairing.arms.items()
    )
    by_probe: dict[str, list[Record]] = {}
    for record in records:
        if record.kind == "probe":
            by_probe.setdefault(record.coordinates["probe"], []).append(record)
    return (
        *stages,
        *([_cost(tuning, kind="tuning", name="", label="tuning")] if tuning else []),
        *arms,
        *(
            _cost(runs, kind="probe", name=name, label=f"probe {name}")
            for name, runs in by_probe.items()
        ),
    )


def together(costs: Sequence[Cost], *, label: str) -> Cost:
    """Return the sum of costs that have no run in common."""
    return Cost(
        kind="total",
        id="",
        label=label,
        num_runs=sum(cost.num_runs for cost in costs),
        num_reused=sum(cost.num_reused for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        student_flops=sum(cost.student_flops for cost in costs),
        teacher_flops=sum(cost.teacher_flops for cost in costs),
        reused_flops=sum(cost.reused_flops for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        core_seconds=sum(cost.core_seconds for cost in costs),
        gpu_seconds=sum(cost.gpu_seconds for cost in costs),
    )


def total_cost(pairing: Pairing) -> Cost:
    """Return what the sweep cost, every run counted once."""
    return _cost(pairing.ledger.records.values(), kind="total", name="", label="all")


def _cost(runs: Iterable[Record], *, kind: CostKind, name: str, label: str) -> Cost:
    records = list(runs)
    spent = [(record, trained_tokens(record)) for record in records]
    return Cost(
        kind=kind,
        id=name,
        label=label,
        num_runs=len(records),
        num_reused=sum(1 for record in records if record.is_reused),
        tokens=sum(tokens for _, tokens in spent),
        student_flops=sum(r.flops_per_token.get("student", 0.0) * t for r, t in spent),
        teacher_flops=sum(teachers_per_token(record) * tokens for record, tokens in spent),
        reused_flops=sum(sum(r.flops_per_token.values()) * (r.tokens - t) for r, t in spent),
        seconds=sum(seconds(record) for record in records),
        core_seconds=reserved_seconds(records, "cpus"),
        gpu_seconds=reserved_seconds(records, "gpus"),
    )


def seconds(run: Record) -> float:
    """Return how long the attempts of a run took, where their end is known."""
    return sum(attempt.seconds or 0.0 for attempt in run.attempts)


def reserved_seconds(runs: Iterable[Record], resource: Literal["cpus", "gpus"]) -> float:
    """Return how long cores or GPUs were reserved for runs, summed over each of them."""
    total = 0.0
    for run in runs:
        per_worker = float(run.config.get("cluster", {}).get(f"{resource}_per_worker", 0.0))
        for attempt in run.attempts:
            # Its process has them once, however many runs share it.
            num_workers = attempt.world_size / attempt.num_sharing
            total += (attempt.seconds or 0.0) * num_workers * per_worker
    return total


def trained_tokens(run: Record) -> float:
    """Return what this sweep has trained a run on, without what a failure made it do twice."""
    # record.tokens counts to the newest evaluation.
    return run.tokens * (1 - _share_before(run))


def teachers_per_token(run: Record) -> float:
    """Return what the teachers of a run cost for each token; runs of one process share it."""
    starts = [attempt.first_step for attempt in run.attempts]
    # An attempt ends where the next one starts: what it did beyond its last checkpoint is done
    # again, and counted there. max: a later start may lie before, where a checkpoint was lost.
    ends = [*starts[1:], int(run.last_evaluation.get("step", 0))]
    steps = [max(end - start, 0) for start, end in zip(starts, ends, strict=False)]
    paid = sum(
        # As if all of its process went on to the end of the attempt: a run that stops early leaves
        # the rest a little more than this.
        number / attempt.num_sharing
        for number, attempt in zip(steps, run.attempts, strict=True)
    )
    share = paid / sum(steps) if any(steps) else 1.0
    return run.flops_per_token.get("teachers", 0.0) * share


def _share_before(run: Record) -> float:
    """Return the part of a run's tokens that another sweep, or a run by hand, trained on."""
    if not run.attempts:
        return 1.0
    step = run.last_evaluation.get("step", 0)
    # By steps, as if all had equally many tokens.
    return min(1.0, run.attempts[0].first_step / step) if step else 0.0
