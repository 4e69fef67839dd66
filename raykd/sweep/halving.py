"""Successive halving without waiting (ASHA), in the order of the plan.

Each rung looks at the trials that reach it in the order of the plan, whatever the order in which
they arrive: a trial is compared with those before it, as soon as all of those have either been
there or ended. So decisions are a function of the trials' metrics alone. A sweep that is
interrupted anywhere, or runs on more machines, stops the same trials.

Nothing waits: a trial that cannot be judged yet trains on, and stops when it can. What it did
beyond its rung then does not count.
"""

import bisect
import math
from collections import deque
from collections.abc import Mapping
from typing import Literal

from raykd.config.schema.search import AshaConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.record import Metrics, Record, Stop

_NEARLY = 0.95
"""Share of a rung's tokens that counts as the rung: planned tokens are an estimate."""


def rung_tokens(asha: AshaConfig, longest_tokens: int) -> tuple[int, ...]:
    """Return the tokens of each rung, for a longest trial of so many tokens."""
    rungs, share = [], asha.first_rung
    while share < 1:
        rungs.append(round(share * longest_tokens))
        share *= asha.reduction_factor
    return tuple(rungs)


def halving_of(sweep: SweepConfig, rungs: tuple[int, ...]) -> "Halving | None":
    """Return what stops the trials of a sweep early; None where nothing does."""
    if sweep.scheduler is None:
        return None
    return Halving(
        rungs,
        reduction_factor=sweep.scheduler.asha.reduction_factor,
        metric=sweep.metric,
        mode=sweep.mode,
    )


class Halving:
    """Decides which trials stop, each decision once and for ever."""

    def __init__(
        self,
        rungs: tuple[int, ...],
        *,
        reduction_factor: float,
        metric: str,
        mode: Literal["min", "max"],
    ) -> None:
        self._rungs = [_Rung(tokens) for tokens in rungs]
        self._reduction_factor = reduction_factor
        self._metric = metric
        self._sign = 1.0 if mode == "max" else -1.0

    def add(self, record: Record) -> None:
        """Take up a trial that follows those before it in the plan; controls are left alone."""
        if self._rungs and record.kind == "trial" and not record.is_control:
            self._rungs[0].queue.append(record.id)

    def advance(self, records: Mapping[str, Record]) -> dict[str, Stop]:
        """Return the stops that can be decided from what is known, beside those before."""
        stops: dict[str, Stop] = {}
        for index, rung in enumerate(self._rungs):
            following = self._rungs[index + 1] if index + 1 < len(self._rungs) else None
            while rung.queue:
                record = records[rung.queue[0]]
                evaluation = _first_at(record, rung.tokens)
                if evaluation is None and not record.state.is_terminal:
                    break
                rung.queue.popleft()
                if evaluation is None:
                    # It ended before the rung: nothing to compare with.
                    continue
                if self._stops(record, evaluation, rung):
                    stops[record.id] = Stop(
                        rung_tokens=rung.tokens,
                        step=int(evaluation["step"]),
                        value=evaluation.get(self._metric, math.nan),
                    )
                elif following is not None:
                    following.queue.append(record.id)
        return stops

    def _stops(self, record: Record, evaluation: Metrics, rung: "_Rung") -> bool:
        """Compare a trial with those before it at a rung, and count it there."""
        value = self._sign * evaluation.get(self._metric, math.nan)
        # A diverged trial is worse than all, and one more that later ones are compared with.
        value = -math.inf if math.isnan(value) else value
        # Before its own value is among them: the first trial at a rung has nothing to be compared
        # with, and goes on.
        cutoff = rung.cutoff(1 - 1 / self._reduction_factor)
        bisect.insort(rung.values, value)
        if record.stop is not None:
            # It was decided before: what failed then and is known now does not undo it.
            return record.stop.rung_tokens == rung.tokens
        return cutoff is not None and value < cutoff


class _Rung:
    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.queue: deque[str] = deque()
        """Trials that are to be judged here, in the order of the plan."""
        self.values: list[float] = []
        """Values of the trials judged so far, rising; more is better."""

    def cutoff(self, quantile: float) -> float | None:
        """Return the value below which a trial stops, linear between two as numpy's."""
        if not self.values:
            return None
        place = quantile * (len(self.values) - 1)
        low = math.floor(place)
        high = min(low + 1, len(self.values) - 1)
        if self.values[low] == self.values[high]:
            # inf - inf is NaN, and a comparison with NaN would stop nobody.
            return self.values[low]
        return self.values[low] + (place - low) * (self.values[high] - self.values[low])


def _first_at(record: Record, tokens: int) -> Metrics | None:
    reached = (e for e in record.evaluations if e["tokens"] >= _NEARLY * tokens)
    return next(reached, None)
