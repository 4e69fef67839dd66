"""Quality against cost: each arm by its mean and what one model of it costs, and the frontier.

An arm is on the Pareto frontier where no other is as good for less, or better for as much. By
means alone: described, not tested.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raykd import strict_json
from raykd.report.arms import Arm
from raykd.report.efficiency.sizes import ModelRow, student_of
from raykd.report.pairing import Pairing, flops
from raykd.storage.published import layout
from raykd.sweep.record import Record

CostName = Literal["flops", "latency"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmPoint:
    """One arm, a control too, that has a mean and a cost."""

    arm: str
    label: str
    is_control: bool
    cost: float
    mean: float
    """Of the sweep's metric."""

    is_on_frontier: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """Arms by one kind of cost."""

    cost: CostName
    """flops: of training one model of the arm, alone, with the training of its teachers and of
    the models it begins at, as far as the study trains them and up to the checkpoint that it
    uses. latency: milliseconds for one example."""

    points: tuple[ArmPoint, ...]
    """In the order of the plan."""

    @property
    def best(self) -> list[ArmPoint]:
        """The arms on the frontier, the cheapest first."""
        return sorted((p for p in self.points if p.is_on_frontier), key=lambda p: p.cost)


def frontiers_of(
    pairing: Pairing, arms: Sequence[Arm], rows: Sequence[ModelRow]
) -> tuple[Frontier, ...]:
    """Return the arms by each cost that is known and not the same for all of them.

    Args:
        pairing: The trials.
        arms: Their means.
        rows: Latencies of their students.
    """
    latencies = {row.size: row.latency.milliseconds for row in rows if row.latency is not None}
    known: dict[CostName, dict[str, float | None]] = {
        "flops": {arm: _mean_flops(pairing, arm) for arm in pairing.arms},
        "latency": {
            arm: None if (size := student_of(trials[0])) is None else latencies.get(size)
            for arm, trials in pairing.arms.items()
        },
    }
    found = (
        Frontier(cost=cost, points=_points(arms, by_arm, pairing.mode))
        for cost, by_arm in known.items()
    )
    return tuple(f for f in found if len({point.cost for point in f.points}) > 1)


def training_flops(run: Record, records: Mapping[str, Record]) -> float | None:
    """Return the FLOPs of a run and of all runs that made its models, each once.

    As if it were the only one to use them. None where they are not known of one.
    """
    used: dict[str, float] = {}
    _use(run, records, used)
    shares = [(run, 1.0), *((records[name], share) for name, share in used.items())]
    spent = [flops(each, share * each.tokens) for each, share in shares]
    known = [part for part in spent if part is not None]
    return sum(known) if len(known) == len(spent) else None


def _use(run: Record, records: Mapping[str, Record], used: dict[str, float]) -> None:
    """Note how much of its training each needed run spends on the model that is used."""
    for name in run.needs:
        if name not in records:
            continue
        used[name] = max(used.get(name, 0.0), _share_used(run, records[name]))
        _use(records[name], records, used)


def _share_used(run: Record, needed: Record) -> float:
    """Return the share of a run's steps before the checkpoint that another names, else all."""
    place = f"{needed.run_uri}/{layout.CHECKPOINTS}/{layout.CHECKPOINT_PREFIX}"
    # Quoted as in the text, without its quotes.
    quoted = re.escape(strict_json.text(place)[1:-1])
    steps = map(int, re.findall(rf"{quoted}(\d+)", strict_json.text(run.config)))
    return min(1.0, max(steps, default=needed.num_steps) / needed.num_steps)


def _mean_flops(pairing: Pairing, arm: str) -> float | None:
    done = [trial for trial in pairing.arms[arm] if pairing.final(trial) is not None]
    spent = [training_flops(trial, pairing.ledger.records) for trial in done]
    known = [value for value in spent if value is not None]
    return statistics.fmean(known) if known else None


def _points(
    arms: Sequence[Arm], costs: Mapping[str, float | None], mode: Literal["min", "max"]
) -> tuple[ArmPoint, ...]:
    placed = [
        (arm, arm.mean, cost)
        for arm in arms
        if arm.mean is not None and (cost := costs[arm.id]) is not None
    ]
    sign = 1 if mode == "max" else -1
    efficient, best = set(), None
    # From the cheapest on, of equal cost the best first: each that is better than all before.
    for arm, mean, cost in sorted(placed, key=lambda p: (p[2], -sign * p[1])):
        if best is None or sign * mean > best[0] or (sign * mean, cost) == best:
            efficient.add(arm.id)
            best = (sign * mean, cost)
    return tuple(
        ArmPoint(
            arm=arm.id,
            label=arm.label,
            is_control=arm.is_control,
            cost=cost,
            mean=mean,
            is_on_frontier=arm.id in efficient,
        )
        for arm, mean, cost in placed
    )
