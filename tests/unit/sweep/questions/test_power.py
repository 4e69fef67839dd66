"""What a study can show is known before it runs, and in units of its metric with results."""

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from raykd.stats.power import detectable, seeds_for
from raykd.stats.spread import deviation_limit
from raykd.sweep.ledger import Asked, Ledger
from raykd.sweep.questions.power import Power, Spread, StudyPower, power_of_study
from raykd.sweep.record import Record

from tests.study_ledger import study_ledger
from tests.unit.sweep.questions.studies import WEIGHT, grid, study_of, sweep_of

GRID = grid(start=["random", "tuned"], weight=[0, 1])
STARTS = {"compare": {"start": "tuned"}, "with": {"start": "random"}}
WEIGHTS = {"compare": {"weight": 1}, "with": {"weight": 0}}

NOISE = {1: 0.3, 2: -0.1, 3: 0.4, 4: 0.2}
"""Seed to what the tuned start is better by."""


def score(point: Mapping[str, Any], seed: int) -> float:
    """Return a score whose differences over seeds are NOISE for starts, 1 for weights."""
    return seed + float(point[WEIGHT]) + (NOISE[seed] if point["start"] == "tuned" else 0)


def no_result(point: Mapping[str, Any], seed: int) -> None:
    return None


def power_of(
    questions: Mapping[str, Any],
    records: Mapping[str, Record] | None = None,
    *,
    more_seeds: tuple[int, ...] = (),
    **earlier: Ledger | None,
) -> StudyPower:
    records = study_of(GRID, no_result) if records is None else records
    seeds = sorted({record.seed for record in records.values()})
    sweep = sweep_of(questions, seeds=seeds, more_seeds=list(more_seeds))
    return power_of_study(sweep, records.values(), **earlier)


def of_questions(power: StudyPower) -> dict[str, Power]:
    return {q.name: q.power for q in power.questions if q.power is not None}


def ledger(records: Mapping[str, Record], **given: Any) -> Ledger:
    return Ledger(uri="sweeps/other", sweep=sweep_of({}), records=dict(records), **given)


def test_questions_share_5_percent_apart_from_the_arms_and_parts_count_as_one() -> None:
    parts = {"early": STARTS | {"at": 0.1}, "late": STARTS | {"expect": "worse"}}
    power = power_of(
        {"alike": WEIGHTS | {"expect": "alike", "margin": 1}, "both": {"all": [*parts]}} | parts
    )
    assert [(q.name, q.part_of) for q in power.questions] == [
        ("alike", None),
        ("both", None),
        ("early", "both"),
        ("late", "both"),
    ]
    tests = of_questions(power)
    assert tests.keys() == {"alike", "early", "late"}
    assert {test.alpha for test in tests.values()} == {0.05 / 2}
    assert tests["alike"].finds == detectable(3, expect="alike", alpha=0.05 / 2)
    assert tests["late"].finds == detectable(3, expect="worse", alpha=0.05 / 2)
    assert power.arms is not None
    # Each start with weight 1 has a control.
    assert power.arms.finds == detectable(3, expect="different", alpha=0.05 / 2)


def test_further_seeds_count_for_questions_and_the_last_look_has_its_share() -> None:
    power = power_of({"starts": STARTS}, more_seeds=tuple(range(4, 13)))
    (test,) = of_questions(power).values()
    assert (test.first_seeds, test.num_seeds) == (3, 12)
    # Looks at 3, 6 and 12 seeds: the last adds half of them.
    assert test.finds == detectable(12, expect="better", alpha=0.05 / 2)
    assert power.arms is not None
    assert power.arms.num_seeds == 3


def test_without_results_nothing_is_known_in_units_of_the_metric() -> None:
    (test,) = of_questions(power_of({"starts": STARTS | {"detect": 0.1}})).values()
    assert test.wanted == 0.1
    known = (test.spread, test.finds_in_units, test.share_found, test.is_enough, test.needed_seeds)
    assert known == (None,) * 5


def test_results_tell_the_spread_and_with_it_how_many_seeds_a_difference_needs() -> None:
    power = power_of({"starts": STARTS | {"detect": 0.5}}, study_of(GRID, score))
    (test,) = of_questions(power).values()
    limit = deviation_limit([[NOISE[seed] for seed in (1, 2, 3)]])
    assert limit is not None
    assert test.spread is not None
    assert test.spread.limit == pytest.approx(limit, rel=1e-9)
    assert (test.spread.num_seeds, test.spread.origin) == (3, "this study")
    found = detectable(3, expect="better", alpha=0.05)
    assert found is not None
    assert test.finds_in_units == pytest.approx(found * limit)
    assert test.needed_seeds == seeds_for(0.5 / limit, expect="better", alpha=0.05)
    assert test.is_enough is False


def test_arms_are_taken_to_vary_alike() -> None:
    def noisy(point: Mapping[str, Any], seed: int) -> float:
        return float(point[WEIGHT]) * (seed if point["start"] == "tuned" else 10 * seed)

    power = power_of({}, study_of(GRID, noisy))
    assert power.arms is not None
    assert power.arms.spread is not None
    assert power.arms.spread.limit == deviation_limit([[1, 2, 3], [10, 20, 30]])


def test_a_pilot_tells_what_the_study_itself_does_not_know_yet() -> None:
    pilot = study_of(GRID, score, seeds=(1, 2, 3, 4))
    (test,) = of_questions(power_of({"starts": STARTS}, pilot=ledger(pilot))).values()
    assert test.spread is not None
    assert (test.spread.num_seeds, test.spread.origin) == (4, "the pilot")
    assert test.num_seeds == 3
    (test,) = of_questions(
        power_of({"starts": STARTS}, study_of(GRID, score), pilot=ledger(pilot))
    ).values()
    assert test.spread is not None
    assert test.spread.origin == "this study"


def test_a_pilot_without_the_arms_of_a_question_leaves_it_open() -> None:
    pilot = study_of(grid(start=["random"], weight=[0, 1]), lambda p, seed: seed * p[WEIGHT])
    power = power_of({"starts": STARTS, "weights": WEIGHTS}, pilot=ledger(pilot))
    assert power.has_pilot
    assert {n: test.spread is not None for n, test in of_questions(power).items()} == {
        "starts": False,
        "weights": True,
    }


def test_an_earlier_start_counts_before_the_pilot() -> None:
    results = study_of(GRID, score)
    power = power_of({"starts": STARTS}, before=ledger(results), pilot=ledger(results))
    (test,) = of_questions(power).values()
    assert test.spread is not None
    assert test.spread.origin == "an earlier start"


def test_withdrawn_questions_count_and_those_asked_afterwards_for_themselves_alone() -> None:
    sweep = sweep_of({"starts": STARTS, "gone": WEIGHTS})
    planned, gone = (
        Asked(name=name, question=sweep["questions"][name], asked_at=1.0, is_afterwards=False)
        for name in ("starts", "gone")
    )
    planned, gone = (
        replace(e, question=e.question | {"metric": sweep["metric"]}) for e in (planned, gone)
    )
    results = study_of(GRID, score)
    before = ledger(results, asked=(planned, replace(gone, withdrawn_at=2.0)))
    late = WEIGHTS | {"expect": "different"}
    tests = of_questions(power_of({"starts": STARTS, "late": late}, results, before=before))
    assert {name: test.num_tests for name, test in tests.items()} == {"starts": 2, "late": 3}


def test_scores_of_probes_tell_a_spread() -> None:
    known = study_ledger()
    sweep = sweep_of({"helps": {"compare": {"weight": 1}, "with": {"weight": 2}}}) | {
        name: known.sweep[name] for name in ("metric", "mode", "probes")
    }
    (test,) = of_questions(power_of_study(sweep, known.records.values())).values()
    assert test.spread is not None
    # Of a seed s, the difference is -0.1 - s / 1000.
    limit = deviation_limit([[0.001, 0.002, 0.003]])
    assert test.spread.limit == pytest.approx(limit)


def test_one_seed_finds_nothing() -> None:
    power = power_of({"starts": STARTS}, study_of(GRID, no_result, seeds=[1]))
    assert power.arms is not None
    assert {test.finds for test in power.tests} == {None}


@pytest.mark.parametrize("expect", ["better", "alike", "no worse"])
def test_what_is_found_in_four_of_five_cases_is_enough(expect: Any) -> None:
    test = Power(
        expect=expect,
        num_tests=3,
        first_seeds=5,
        num_seeds=5,
        spread=Spread(limit=0.1, num_seeds=5, origin="this study"),
        wanted=1.0,
    )
    assert test.finds_in_units is not None
    around = [replace(test, wanted=test.finds_in_units * factor) for factor in (0.99, 1.01)]
    assert [each.is_enough for each in around] == [False, True]
    few, enough = (each.share_found or 0.0 for each in around)
    assert statistics.fmean((few, enough)) == pytest.approx(0.8, abs=0.011)
    assert few < 0.8 <= enough
    assert around[1].needed_seeds == 5
    assert (around[0].needed_seeds or 0) > 5
