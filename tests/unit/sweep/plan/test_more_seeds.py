"""Arms of undecided questions get further seeds, look by look, and no others do."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import plain
from raykd.sweep.ledger import Ledger
from raykd.sweep.plan.changes import difference
from raykd.sweep.plan.cost import whole_cost
from raykd.sweep.plan.decided import MoreSeeds, is_waiting
from raykd.sweep.plan.plan import SweepPlan, plan_sweep
from raykd.sweep.record import Record, State

from tests.sweep_files import WEIGHT, sweep_in

Known = dict[str, Record]

GIVEN: dict[str, Any] = {
    "search": {WEIGHT: {"grid": [1, 2, 4]}},
    "seeds": {"at_least": 2, "at_most": 6},
    "questions": {
        "clear": {"compare": {"weight": 2}, "with": {"weight": 1}},
        "faint": {"compare": {"weight": 4}, "with": {"weight": 1}},
    },
}


def plan_of(directory: Path, known: Known | None = None, **changes: Any) -> SweepPlan:
    retries = changes.pop("retries_failed", False)
    sweep = sweep_in(directory, **{**GIVEN, **changes})
    return plan_sweep(sweep, known=known or {}, retries_failed=retries)


def ended(
    plan: SweepPlan, loss: Callable[[float, int], float] | None = None, **of_last: Any
) -> Known:
    """Return the runs of a plan as if all were done, but for what is said of the last trial.

    By default weight 2 is better than the others by 1 in all seeds; weight 4 differs from weight 1
    by chance alone.
    """
    found = {}
    for record in plan.records:
        weight = record.coordinates.get(WEIGHT, 0)
        noise = (record.seed * 7 + weight * record.seed**2 * 3) % 11 / 1_000
        value = loss(weight, record.seed) if loss else (3.0 if weight == 2 else 4.0) + noise
        evaluation = {"step": 6, "tokens": 90, "eval/loss": value}
        found[record.id] = replace(record, state=State.DONE, evaluations=(evaluation,))
    last = [record.id for record in plan.records if record.kind == "trial"][-1]
    return found | {last: replace(found[last], **of_last)}


def more_of(plan: SweepPlan) -> MoreSeeds:
    assert not plan.problems, plan.problems
    assert plan.more_seeds is not None
    return plan.more_seeds


def trained(runs: Iterable[Any]) -> list[tuple[float, int]]:
    """Return weight and seed of trials, in their order."""
    records = (getattr(run, "record", run) for run in runs)
    return [(r.coordinates.get(WEIGHT, 0), r.seed) for r in records if r.kind == "trial"]


@pytest.fixture(scope="module")
def first(directory: Path) -> SweepPlan:
    return plan_of(directory)


@pytest.fixture(scope="module")
def second(directory: Path, first: SweepPlan) -> SweepPlan:
    """Return the plan after the first look."""
    return plan_of(directory, ended(first))


def test_before_the_first_look_all_that_questions_name_may_follow(first: SweepPlan) -> None:
    assert trained(first.records) == [(w, s) for s in (1, 2) for w in (0, 1, 2, 4)]
    more = more_of(first)
    assert (more.look.number, more.undecided, first.is_open) == (1, ("clear", "faint"), True)
    # The control, which no question names, never gets more.
    assert sorted(trained(more.at_most)) == sorted([(1, 1), (2, 1), (4, 1)] * 4)
    cost = whole_cost(more.at_most)
    assert cost.num_runs == 12
    assert cost.flops == pytest.approx(12 * whole_cost([first.trials[-1]]).flops, rel=0.2)
    assert {run.config.train.seed for run in more.at_most} == {3, 4, 5, 6}


def test_the_arms_of_undecided_questions_get_the_seeds_of_the_next_look(
    first: SweepPlan, second: SweepPlan
) -> None:
    assert trained(second.records)[: len(first.trials)] == trained(first.records)
    assert trained(second.records)[len(first.trials) :] == [(1, 3), (4, 3), (1, 4), (4, 4)]
    more = more_of(second)
    assert (more.look.number, more.undecided) == (2, ("faint",))
    assert len(more.at_most) == 2 * 2


def test_after_the_last_look_nothing_follows(directory: Path, second: SweepPlan) -> None:
    third = plan_of(directory, ended(second))
    assert trained(third.records)[-4:] == [(1, 5), (4, 5), (1, 6), (4, 6)]
    # The last look needs runs, and decides on no others.
    assert (more_of(third).is_over, third.is_open) == (False, False)
    last = plan_of(directory, ended(third))
    assert last.records == third.records
    assert (more_of(last).undecided, more_of(last).is_over) == (("faint",), True)


def test_what_is_decided_at_every_question_leaves_nothing_to_follow(
    directory: Path, first: SweepPlan
) -> None:
    plan = plan_of(directory, ended(first, lambda weight, seed: weight + seed / 1_000 * weight))
    assert plan.records == first.records
    assert (more_of(plan).undecided, plan.is_open) == ((), False)


def test_later_looks_change_no_earlier_one(directory: Path, second: SweepPlan) -> None:
    known = ended(second)
    for value in (0.0, 9.0):
        later = {
            i: replace(r, evaluations=({"step": 6, "tokens": 90, "eval/loss": value * r.seed},))
            for i, r in known.items()
            if r.seed > 2 and r.kind == "trial"
        }
        plan = plan_of(directory, known | later)
        assert plan.records[: len(second.records)] == second.records


@pytest.mark.parametrize("state", [State.RUNNING, State.WAITING])
def test_no_look_is_taken_before_its_last_run_is_over(
    directory: Path, first: SweepPlan, state: State
) -> None:
    known = ended(first, state=state)
    assert is_waiting(first.sweep, known)
    plan = plan_of(directory, known)
    assert plan.records == first.records
    assert plan.is_open
    assert not is_waiting(first.sweep, ended(first))


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_a_question_with_a_run_that_gives_nothing_gets_no_seeds_until_it_is_tried_again(
    directory: Path, first: SweepPlan, state: State
) -> None:
    # The last trial is of weight 4.
    known = ended(first, state=state)
    plan = plan_of(directory, known)
    assert plan.records == first.records
    assert not plan.is_open
    again = plan_of(directory, known, retries_failed=True)
    assert again.is_open == (state is State.FAILED)


def test_trials_that_may_follow_again_are_not_called_dropped(
    directory: Path, second: SweepPlan
) -> None:
    known = ended(second)
    ledger = Ledger(uri=second.uri, sweep=plain(second.sweep), records=known)
    assert difference(ledger, plan_of(directory, known)).dropped == ()
    first = next(r for r in second.records if r.kind == "trial")
    failed = known | {first.id: replace(known[first.id], state=State.FAILED)}
    retried = plan_of(directory, failed, retries_failed=True)
    assert len(retried.records) < len(known)
    assert difference(ledger, retried).dropped == ()
    questions = {"clear": GIVEN["questions"]["clear"]}
    asked_less = plan_of(directory, known, questions=questions)
    assert trained(difference(ledger, asked_less).dropped) == [(1, 3), (4, 3), (1, 4), (4, 4)]
