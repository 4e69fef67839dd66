"""How soon an arm is as good as its control ends: the same quality for fewer steps, or FLOPs.

An arm is there at its first evaluation at or past its control's final value; nothing is guessed
between evaluations. The control is held to the same rule: it may be there before its end.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from raykd.report.pairing import Pair, Pairing, finite, flops
from raykd.sweep.record import Metrics, Record


@dataclass(frozen=True, kw_only=True, slots=True)
class ToTarget:
    """One arm on its way to its control's final value."""

    arm: str
    target: float
    """Final value of the control; mean over the pairs."""

    num_pairs: int
    num_reached: int
    """Pairs whose trial gets there."""

    steps: float | None
    """Median over the pairs, one that does not get there counting as later than all; None
    where half of them or more do not."""

    tokens: float | None
    """As steps."""

    flops: float | None
    """As steps; the teachers' part too."""

    step_ratio: float | None
    """Steps over those of the control, as steps: below 1 is sooner."""

    flops_ratio: float | None
    """FLOPs over those of the control, as steps: below 1 is cheaper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    steps: float
    tokens: float
    flops: float
    step_ratio: float
    flops_ratio: float


def targets_of(pairing: Pairing) -> tuple[ToTarget, ...]:
    """Return how each compared arm gets to its control's end; arms without pairs are left out."""
    return tuple(_to_target(pairing, arm) for arm, pairs in pairing.pairs.items() if pairs)


def _to_target(pairing: Pairing, arm: str) -> ToTarget:
    pairs = pairing.pairs[arm]
    ways = [_way(pair, metric=pairing.metric, mode=pairing.mode) for pair in pairs]
    targets = (pairing.final(pair.control) for pair in pairs)
    return ToTarget(
        arm=arm,
        target=statistics.fmean(value for value in targets if value is not None),
        num_pairs=len(pairs),
        num_reached=sum(1 for way in ways if math.isfinite(way.steps)),
        steps=_median(way.steps for way in ways),
        tokens=_median(way.tokens for way in ways),
        flops=_median(way.flops for way in ways),
        step_ratio=_median(way.step_ratio for way in ways),
        flops_ratio=_median(way.flops_ratio for way in ways),
    )


def _way(pair: Pair, *, metric: str, mode: Literal["min", "max"]) -> _Way:
    target = pair.control.last_evaluation[metric]
    own = _first_at(pair.trial, target=target, metric=metric, mode=mode)
    other = _first_at(pair.control, target=target, metric=metric, mode=mode)
    if own is None or other is None:
        # Later than all, and not left out: the median of those alone that get there would flatter.
        return _Way(**dict.fromkeys(_Way.__slots__, math.inf))
    own_flops = _known(flops(pair.trial, own["tokens"]))
    other_flops = _known(flops(pair.control, other["tokens"]))
    return _Way(
        steps=own["step"],
        tokens=own["tokens"],
        flops=own_flops,
        step_ratio=_ratio(own["step"], other["step"]),
        flops_ratio=_ratio(own_flops, other_flops),
    )


def _first_at(
    run: Record, *, target: float, metric: str, mode: Literal["min", "max"]
) -> Metrics | None:
    for evaluation in run.evaluations:
        value = finite(evaluation.get(metric))
        if value is not None and (value >= target if mode == "max" else value <= target):
            return evaluation
    return None


def _ratio(own: float, other: float) -> float:
    return own / other if other and math.isfinite(other) else math.inf


def _known(value: float | None) -> float:
    return math.inf if value is None else value


def _median(values: Iterable[float]) -> float | None:
    # Infinite where half of the pairs or more are (of an even number, the mean of the two in the
    # middle).
    return finite(statistics.median(values))
