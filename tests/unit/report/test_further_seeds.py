"""Arms are compared with their controls over the first seeds, whatever seeds questions add."""

from dataclasses import replace

import pytest
from raykd.report.curves import curves_of
from raykd.report.pairing import pairing_of
from raykd.report.probes import probe_scores_of
from raykd.report.summary import Summary, summarise
from raykd.sweep.ledger import Ledger
from raykd.sweep.probe_scores import probe_metric
from raykd.sweep.record import Record, State

from tests.study_ledger import study_ledger
from tests.sweeps import arm_and_control, evaluations_of, ledger_of, trial_of

OWN, CONTROL = [2.0, 2.3, 2.1], [3.1, 3.3, 3.2]
WEIGHT = {"losses.forward_kl.weight": 1}


def ledger(further: list[Record]) -> Ledger:
    records = [*arm_and_control(WEIGHT, own=OWN, control=CONTROL), *further]
    whole = ledger_of(records)
    return replace(whole, sweep={**whole.sweep, "seeds": [1, 2, 3], "more_seeds": [4, 5]})


def summary(*further: Record) -> Summary:
    return summarise(ledger(list(further)))


def of_arm(seed: int, loss: float, control: Record | None = None) -> Record:
    return trial_of(WEIGHT, seed=seed, evaluations=evaluations_of([loss]), control=control)


@pytest.mark.parametrize("has_control", [False, True])
def test_an_arm_with_further_seeds_is_compared_by_the_first(has_control: bool) -> None:
    ends = evaluations_of([9.0])
    control = trial_of({}, seed=4, evaluations=ends, is_control=True) if has_control else None
    further = [*([control] if control is not None else []), of_arm(4, 5.0, control)]
    (before, after) = (summary().arms[1], summary(*further).arms[1])
    assert after.comparison == before.comparison
    assert before.comparison is not None
    assert before.comparison.differences == pytest.approx({1: -1.1, 2: -1.0, 3: -1.1})
    assert before.comparison.num_planned == 3
    # All else is of all seeds.
    assert after.values == before.values | {4: 5.0}
    assert after.num_done == 4


def test_the_rule_says_which_seeds_arms_are_compared_by() -> None:
    rule = summary().rule
    assert rule.endswith("over the first 3 seeds alone: further ones are for questions.")
    whole = ledger([])
    assert rule.startswith(summarise(replace(whole, sweep=whole.sweep | {"more_seeds": []})).rule)


def test_a_further_seed_that_is_on_its_way_keeps_no_arm_waiting() -> None:
    waiting = trial_of(WEIGHT, seed=4, state=State.WAITING)
    (arm,) = (arm for arm in summary(waiting).arms if not arm.is_control)
    assert arm.comparison is not None
    assert arm.comparison.reason.startswith("adjusted p")


def test_curves_are_of_all_seeds() -> None:
    pairing = pairing_of(ledger([of_arm(4, 5.0)]))
    ends = {curve.arm: curve.points[-1] for curve in curves_of(pairing)}
    arm = next(arm for arm, trials in pairing.arms.items() if not trials[0].is_control)
    assert ends[arm].num_trials == 4


def test_differences_of_probes_are_of_the_first_seeds() -> None:
    whole = study_ledger()
    first = replace(whole, sweep={**whole.sweep, "seeds": [1, 2], "more_seeds": [3]})
    metric = probe_metric("two", "eval/accuracy")

    def cells(of: Ledger) -> list[tuple[float, float | None, int]]:
        """Return mean, difference and number of runs of each arm, at the end."""
        scores = probe_scores_of(pairing_of(of))
        column = next(i for i, c in enumerate(scores.columns) if (c.metric, c.at) == (metric, 1))
        rows = (row.cells[column] for row in scores.rows if row.kind == "arm")
        return [(c.mean, c.difference, c.num_runs) for c in rows if c is not None]

    # A seed s adds s w / 1000 to the difference of weight w.
    assert [d for _, d, _ in cells(whole)] == pytest.approx([0.102, 0.204])
    assert [d for _, d, _ in cells(first)] == pytest.approx([0.1015, 0.203])
    assert [(m, n) for m, _, n in cells(first)] == [(m, n) for m, _, n in cells(whole)]
