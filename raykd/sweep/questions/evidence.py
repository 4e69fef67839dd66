"""What the runs of one question say of it, look by look, before it is one of many."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raykd.config.schema.questions import QuestionConfig
from raykd.stats.expectations import Test, tested
from raykd.stats.sequential import looks, sequential_p, shares
from raykd.sweep.questions.contrast import Contrast, mode_of
from raykd.sweep.questions.values import differences_of, missing, seeds_of
from raykd.sweep.record import Record

_ONE_SEED = "one seed: an anecdote"
_NO_SPREAD = "all differences are the same: they tell nothing of the spread over seeds"
_NO_ARMS = "its arms are not in the study"
_NOT_YET = "no trial is known yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of one question."""

    mode: Literal["min", "max"]
    differences: dict[int, float] = field(default_factory=dict)
    """Seed to what is asked about, where all runs of the seed are done."""

    num_planned: int = 0
    """Seeds there are when all runs are done."""

    weights: dict[str, float] = field(default_factory=dict)
    """Arm to its weight; of an arm with several metrics their sum."""

    test: Test | None = None
    """Of all differences."""

    p_yes: float = 1.0
    p_no: float = 1.0
    """After all looks so far, of the claim and of its opposite."""

    share: float = 1.0
    """The part of the error rate that the newest of these looks has."""

    shown_p: float | None = None
    """Of the verdict that is nearer, also before the first look is over."""

    wait: str | None = None
    """Why it is not ready for a verdict; None where it is."""

    open_look: str | None = None
    """What the next look waits for; None where no run of one is planned."""

    @property
    def p(self) -> float:
        """P value by which it is one of many.

        1 where it is not ready, which no test rejects: it makes all others as hard as if it were.
        """
        return 1.0 if self.wait is not None else min(self.p_yes, self.p_no)


def evidence_of(
    question: QuestionConfig,
    contrast: Contrast | None,
    records: Mapping[str, Record],
    *,
    sweep: Mapping[str, Any],
    seeds: Collection[int] | None,
) -> Evidence:
    """Return what the runs say.

    Args:
        question: One that has no parts.
        contrast: Its weighted sum; None where its arms are not there.
        records: Id to record; runs that are probed have the metrics of their probes.
        sweep: The sweep file, resolved.
        seeds: Those that are looked at; None is all.
    """
    if contrast is None:
        has_trials = any(record.kind == "trial" for record in records.values())
        unknown = _NO_ARMS if has_trials else _NOT_YET
        return Evidence(mode=mode_of(question, sweep), wait=unknown)
    looked = [
        seed for seed in seeds_of(contrast, records.values()) if seeds is None or seed in seeds
    ]
    every = differences_of(contrast, records.values())
    differences = {seed: every[seed] for seed in looked if seed in every}
    order = [*(sweep.get("seeds") or ()), *(sweep.get("more_seeds") or ())] or looked
    planned = looks(len(sweep.get("seeds") or order) or 1, len(order) or 1)
    sign = 1 if contrast.mode == "max" else -1

    def test_of(values: list[float]) -> Test | None:
        return tested(values, expect=question.expect, margin=question.margin, sign=sign)

    over = [n for n in planned if differences.keys() >= {*order[:n]}]
    tests = [test_of([differences[seed] for seed in order[:n]]) for n in over]
    # A look without a spread has tested nothing, and has spent its share of the error rate.
    p_yes = sequential_p([1.0 if t is None else t.p_yes for t in tests] or [1.0], planned)
    p_no = sequential_p([1.0 if t is None else t.p_no for t in tests] or [1.0], planned)
    test, shown = test_of(list(differences.values())), None
    if test is not None:
        shown = min(p_yes, p_no) if over else min(test.p_yes, test.p_no)
    begun = next((n for n in planned if n not in over and {*looked} >= {*order[:n]}), None)
    waits_for = missing(contrast, records.values(), order[: begun or planned[0]])
    wait = None
    if len(order) < 2:  # noqa: PLR2004  a spread needs two
        wait = _ONE_SEED
    elif not over:
        wait = waits_for
    elif tests[-1] is None:
        wait = _NO_SPREAD
    return Evidence(
        mode=contrast.mode,
        differences=differences,
        num_planned=len(looked),
        weights=_weights(contrast),
        test=test,
        p_yes=p_yes,
        p_no=p_no,
        share=shares(planned)[max(len(over) - 1, 0)],
        shown_p=shown,
        wait=wait,
        open_look=waits_for,
    )


def evidence_of_parts(parts: Mapping[str, Evidence]) -> Evidence:
    """Return what is known of a question that holds where all of its parts do."""
    every = list(parts.values())
    # All must be true, so the weakest counts; that one is false may come of any of them.
    p_yes = max(part.p_yes for part in every)
    p_no = min(1.0, len(every) * min(part.p_no for part in every))
    wait = next((f"{name}: {part.wait}" for name, part in parts.items() if part.wait), None)
    return Evidence(
        mode=every[0].mode,
        num_planned=min(part.num_planned for part in every),
        p_yes=p_yes,
        p_no=p_no,
        shown_p=None if wait else min(p_yes, p_no),
        wait=wait,
        open_look=next((part.open_look for part in every if part.open_look), None),
    )


def _weights(contrast: Contrast) -> dict[str, float]:
    weights: dict[str, float] = {}
    for each in contrast.weights:
        weights[each.arm] = weights.get(each.arm, 0.0) + each.weight
    return weights
