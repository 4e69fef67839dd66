"""An answer is yes or no where that is significant over all questions, and says why it is not."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from raykd.stats.holm import holm
from raykd.stats.means import interval
from raykd.stats.sequential import sequential_p
from raykd.sweep.ledger import Asked
from raykd.sweep.questions.answers import Answer, answers_of
from raykd.sweep.record import Record, State

from tests.study_ledger import study_ledger
from tests.unit.sweep.questions.studies import SCORE, Coordinates, grid, study_of, sweep_of

POINTS = grid(teacher=["a", "b", "c"], weight=[1])

NOISE = {1: 0.0, 2: 0.01, 3: -0.01, 4: 0.02, 5: -0.02, 6: 0.005, 7: 0.001, 8: -0.004}


def score(effects: Mapping[str, float]) -> Any:
    """Return scores where a teacher has an effect, with noise that no two teachers share."""

    def of(point: Coordinates, seed: int) -> float:
        name = point.get("teacher", "")
        noise = NOISE[seed] * (1 + 3 * len(name) * sum(map(ord, name)) / 300)
        return 0.5 + seed / 10 + effects.get(name, 0.0) + noise

    return of


def against_control(teacher: str, **given: Any) -> dict[str, Any]:
    return {"compare": {"teacher": teacher, "weight": 1}, "with": {"control": True}, **given}


def answered(
    questions: Mapping[str, Any],
    records: Mapping[str, Record] | None = None,
    *,
    effects: Mapping[str, float] | None = None,
    asked: tuple[Asked, ...] = (),
    **given: Any,
) -> dict[str, Answer]:
    sweep = sweep_of(questions, **given)
    seeds = (*sweep["seeds"], *sweep["more_seeds"])
    if records is None:
        records = study_of(POINTS, score(effects or {"a": 0.2, "b": -0.2}), seeds=seeds)
    return {a.name: a for a in answers_of(sweep, records, asked=asked)}


# Yes, no, undecided


@pytest.mark.parametrize(
    ("teacher", "given", "verdict"),
    [
        ("a", {}, "yes"),
        ("b", {}, "no"),
        ("c", {}, "undecided"),
        ("a", {"expect": "worse"}, "no"),
        ("b", {"expect": "worse"}, "yes"),
        ("a", {"expect": "different"}, "yes"),
        ("b", {"expect": "different"}, "yes"),
        ("c", {"expect": "alike", "margin": 0.1}, "yes"),
        ("c", {"expect": "alike", "margin": 0.001}, "undecided"),
        ("a", {"expect": "alike", "margin": 0.1}, "no"),
        ("c", {"expect": "no worse", "margin": 0.1}, "yes"),
        ("b", {"expect": "no worse", "margin": 0.1}, "no"),
        ("a", {"expect": "no worse", "margin": 0.1}, "yes"),
    ],
)
def test_an_answer_is_what_is_significant(
    teacher: str, given: dict[str, Any], verdict: str
) -> None:
    answer = answered({"q": against_control(teacher, **given)})["q"]
    assert answer.verdict == verdict
    assert answer.reason.startswith(f"{verdict}: the mean difference over 3 seeds is ")
    assert answer.adjusted_p is not None
    assert (answer.adjusted_p < 0.05) == (verdict != "undecided")


def test_less_is_better_where_the_metric_says_so() -> None:
    loss = study_of(POINTS, score({"a": 0.2, "b": -0.2}), metric="eval/loss")
    questions = {name: against_control(name) for name in "ab"}
    answers = answered(questions, loss, metric="eval/loss", mode="min")
    assert {name: (a.verdict, a.mode) for name, a in answers.items()} == {
        "a": ("no", "min"), "b": ("yes", "min"),
    }  # fmt: skip


def test_an_answer_shows_its_numbers() -> None:
    answer = answered({"q": against_control("a")}, effects={"a": 0.2})["q"]
    values = list(answer.differences.values())
    estimate = interval(values)
    assert estimate is not None
    assert list(answer.differences) == [1, 2, 3]
    assert answer.estimate == pytest.approx(sum(values) / 3)
    assert (answer.low, answer.high, answer.level) == (estimate.low, estimate.high, 0.95)
    assert answer.p == answer.adjusted_p == pytest.approx(estimate.p)
    assert (answer.num_planned, answer.num_seeds) == (3, 3)
    assert sorted(answer.weights.values()) == [-1, 1]
    assert answer.asked == "teacher=a weight=1 minus control is better"
    assert answer.metric == "eval/accuracy"


def test_the_smallest_difference_is_where_the_answer_would_turn() -> None:
    first = answered({"q": against_control("c")})["q"]
    assert first.smallest is not None
    assert first.estimate is not None
    for share, verdict in ((0.99, "undecided"), (1.01, "yes")):
        effect = share * first.smallest - first.estimate
        assert answered({"q": against_control("c")}, effects={"c": effect})["q"].verdict == verdict


def test_a_smaller_p_that_is_not_significant_makes_no_other_question_easier() -> None:
    questions = {name: against_control(name) for name in "abc"}
    # b is the next after a, whose p is between 5 % / 3 and 5 %.
    first = answered(questions, effects={"a": 0.032, "b": -0.02})
    assert 0.05 / 3 < (first["a"].p or 1) < min(0.05, first["b"].p or 1)
    smallest, estimate = first["b"].smallest, first["b"].estimate
    assert smallest is not None
    assert estimate is not None
    for share, verdict in ((0.99, "undecided"), (1.01, "no")):
        effect = -0.02 - share * smallest - estimate
        assert answered(questions, effects={"a": 0.032, "b": effect})["b"].verdict == verdict


def test_a_part_is_judged_at_no_easier_level_than_its_whole() -> None:
    questions = {
        "first": against_control("a"),
        "whole": {"all": ["clear", "vague"]},
        "clear": against_control("b", expect="worse"),
        "vague": against_control("c"),
    }
    answers = answered(questions, effects={"a": 0.032, "b": -0.031})
    # Two questions: neither p is below 5 % / 2, though both are below 5 %.
    assert [0.025 < (answers[n].p or 1) < 0.05 for n in ("first", "clear")] == [True, True]
    assert {answer.verdict for answer in answers.values()} == {"undecided"}


# Many questions


def test_holm_is_over_the_questions_that_are_no_parts() -> None:
    questions = {name: against_control(name) for name in "abc"}
    effects = {"a": 0.06, "b": -0.05, "c": 0.02}
    apart = {n: answered({n: q}, effects=effects)[n].p for n, q in questions.items()}
    together = answered(questions, effects=effects)
    assert [a.p for a in together.values()] == list(apart.values())
    assert [a.adjusted_p for a in together.values()] == holm([p or 1 for p in apart.values()])
    # A whole counts once, and its parts do not.
    whole = answered({"a": questions["a"], "w": {"all": ["b", "c"]}, **questions}, effects=effects)
    assert list(whole) == ["a", "w", "b", "c"]
    assert whole["b"].part_of == whole["c"].part_of == "w"
    assert whole["b"].adjusted_p is whole["c"].adjusted_p is None
    num_two = holm([whole["a"].p or 1, whole["w"].p or 1])
    assert [whole["a"].adjusted_p, whole["w"].adjusted_p] == num_two


@pytest.mark.parametrize(
    ("expected", "verdicts"),
    [
        ({"a": "better", "b": "worse"}, ("yes", "yes", "yes")),
        ({"a": "better", "c": "better"}, ("undecided", "yes", "undecided")),
        ({"a": "better", "b": "better"}, ("no", "yes", "no")),
        ({"c": "better", "b": "better"}, ("no", "undecided", "no")),
    ],
)
def test_a_question_with_parts_is_yes_where_all_are_and_no_where_one_is(
    expected: dict[str, str], verdicts: tuple[str, ...]
) -> None:
    parts = {name: against_control(name, expect=expect) for name, expect in expected.items()}
    answers = answered({"w": {"all": list(parts)}, **parts}, effects={"a": 0.4, "b": -0.4})
    assert tuple(a.verdict for a in answers.values()) == verdicts
    alone = [
        answered({name: part}, effects={"a": 0.4, "b": -0.4})[name] for name, part in parts.items()
    ]
    p_values = [a.p or 1 for a in alone]
    if verdicts[0] == "yes":
        assert answers["w"].p == max(p_values)
    if verdicts[0] == "no":
        assert answers["w"].p == pytest.approx(
            2 * min(p for p, a in zip(p_values, alone, strict=True) if a.verdict == "no")
        )


def test_a_question_is_asked_only_where_those_that_it_is_given_are_yes() -> None:
    questions = {
        "first": against_control("a"),
        "second": against_control("b", expect="worse", given=["first"]),
        "third": against_control("b", expect="worse", given=["fourth"]),
        "fourth": against_control("a", given=["fifth"]),
        "fifth": against_control("c"),
    }
    answers = answered(questions, effects={"a": 0.4, "b": -0.4})
    assert [a.verdict for a in answers.values()] == [
        "yes", "yes", "undecided", "undecided", "undecided",
    ]  # fmt: skip
    assert answers["third"].reason == (
        "undecided: it is asked only where fourth is yes, which is not so"
    )
    assert answers["third"].adjusted_p is None


def test_what_is_asked_afterwards_makes_nothing_else_harder() -> None:
    planned = {"a": against_control("a")}
    late = {"b": against_control("b"), "c": against_control("c")}
    sweep = sweep_of(planned | late)
    asked = tuple(
        Asked(name=n, question=sweep["questions"][n], asked_at=5.0, is_afterwards=n != "a")
        for n in "abc"
    )
    effects = {"a": 0.06, "b": -0.06}
    answers = answered(planned | late, effects=effects, asked=asked)
    assert answers["a"].adjusted_p == answered(planned, effects=effects)["a"].p
    assert not answers["a"].is_afterwards
    p_values = [a.p or 1 for a in answers.values()]
    assert [answers[n].adjusted_p for n in "bc"] == holm(p_values)[1:]
    assert answers["b"].is_afterwards
    assert answers["b"].asked_at == 5.0


def test_a_withdrawn_question_is_answered_last_and_counts() -> None:
    sweep = sweep_of({"a": against_control("b"), "w": {"all": ["x", "y"]},
                      "x": against_control("b"), "y": against_control("c")})  # fmt: skip
    given = sweep["questions"]
    asked = (
        Asked(name="a", question=given["a"], asked_at=1.0, is_afterwards=False, withdrawn_at=2.0),
        Asked(name="w", question=given["w"], parts={n: given[n] for n in "xy"}, asked_at=1.0,
              is_afterwards=False, withdrawn_at=2.0),
    )  # fmt: skip
    records = study_of(POINTS, score({"a": 0.06, "b": -0.2}))
    answers = answers_of(sweep_of({"a": against_control("a")}), records, asked=asked)
    assert [(a.name, a.is_withdrawn) for a in answers] == [
        ("a", False), ("a", True), ("w", True), ("x", True), ("y", True),
    ]  # fmt: skip
    adjusted = holm([a.p or 1 for a in answers[:3]])
    assert answers[0].adjusted_p == adjusted[0]
    assert answers[0].reason.endswith("of 3 questions")


def test_a_withdrawn_question_whose_arms_are_gone_stays_undecided_and_counts() -> None:
    gone = sweep_of({"q": against_control("z")})["questions"]["q"]
    asked = Asked(name="q", question=gone, asked_at=1.0, is_afterwards=False, withdrawn_at=2.0)
    answers = answers_of(
        sweep_of({"a": against_control("a")}), study_of(POINTS, score({"a": 0.06})), asked=(asked,)
    )
    assert answers[1].reason == "undecided: its arms are not in the study"
    assert answers[0].adjusted_p == pytest.approx(2 * (answers[0].p or 1))


# Not ready


def changed(
    records: Mapping[str, Record], teacher: str, seed: int, **given: Any
) -> dict[str, Record]:
    """Return the records where the trial of a teacher with a seed is changed."""
    return {
        key: replace(record, **given)
        if record.coordinates.get("teacher") == teacher and record.seed == seed
        else record
        for key, record in records.items()
    }


NAN = ({"step": 100, "tokens": 1, "eval/accuracy": math.nan},)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"state": State.RUNNING}, "1 of 3 seeds missing: 1 running"),
        ({"state": State.FAILED}, "1 of 3 seeds missing: 1 failed"),
        ({"state": State.STOPPED}, "1 of 3 seeds missing: 1 stopped"),
        ({"evaluations": NAN}, "1 of 3 seeds missing: 1 without a finite eval/accuracy"),
    ],
)
def test_what_is_not_complete_is_undecided_and_makes_others_no_easier(
    given: dict[str, Any], reason: str
) -> None:
    records = study_of(POINTS, score({"a": 0.06, "b": -0.06}))
    questions = {name: against_control(name) for name in "ab"}
    answers = answered(questions, changed(records, "a", 2, **given))
    assert (answers["a"].verdict, answers["a"].reason) == ("undecided", f"undecided: {reason}")
    assert answers["a"].adjusted_p is None
    assert list(answers["a"].differences) == [1, 3]
    assert answers["b"].adjusted_p == pytest.approx(2 * (answers["b"].p or 1))


def test_one_seed_is_an_anecdote_and_equal_differences_have_no_spread() -> None:
    one = answered({"q": against_control("a")}, seeds=[1])["q"]
    assert (one.reason, one.p, one.low) == ("undecided: one seed: an anecdote", None, None)
    assert one.estimate == pytest.approx(0.2)
    flat = answered(
        {"q": against_control("a")}, study_of(POINTS, lambda point, _: float("teacher" in point))
    )
    assert flat["q"].reason.startswith("undecided: all differences are the same")
    assert (flat["q"].p, flat["q"].smallest, flat["q"].adjusted_p) == (None, None, None)


def test_arms_that_are_not_known_yet_leave_a_question_undecided() -> None:
    answer = answered({"q": against_control("a")}, {})["q"]
    assert (answer.verdict, answer.reason) == ("undecided", "undecided: no trial is known yet")
    assert (answer.differences, answer.weights, answer.num_planned) == ({}, {}, 0)


@pytest.mark.parametrize(
    ("given", "mode"), [({}, "min"), ({"metric": SCORE}, "max"), ({"steps_to": 0.5}, "min")]
)
def test_whether_less_is_better_is_known_before_the_arms_are(
    given: dict[str, Any], mode: str
) -> None:
    asks = {"q": against_control("a", **given)}
    assert answered(asks, {}, metric="eval/loss", mode="min")["q"].mode == mode


def test_a_question_waits_for_all_of_its_probes() -> None:
    ledger = study_ledger()
    question = {
        "compare": {"weight": 1},
        "with": {"control": True},
        "metric": "probe/four/accuracy",
    }
    far = question | {"compare": {"weight": 2}}
    sweep = ledger.sweep | {
        "questions": sweep_of({"near": question, "far": far})["questions"],
        "seeds": [1, 2, 3],
    }
    near, far_answer = answers_of(sweep, ledger.records)
    assert near.num_seeds == 3
    assert near.estimate == pytest.approx(0.05 + 0.5 * 2 / 1000)
    assert far_answer.reason == "undecided: 1 of 3 seeds missing: 1 not fully probed"


# More seeds where they decide


def test_each_look_spends_its_share_of_the_error_rate() -> None:
    effects = {"a": 0.06}
    asks = {"q": against_control("a")}
    seeds: dict[str, Any] = {"seeds": [1, 2], "more_seeds": [3, 4, 5, 6, 7, 8]}
    answer = answered(asks, effects=effects, **seeds)["q"]
    values = list(answer.differences.values())
    tests = [interval(values[:n]) for n in (2, 4, 8)]
    p_values = [1.0 if t is None else t.p for t in tests]
    assert answer.p == sequential_p(p_values, (2, 4, 8))
    assert answer.num_planned == 8


def test_what_later_seeds_say_changes_no_earlier_look() -> None:
    seeds: dict[str, Any] = {"seeds": [1, 2], "more_seeds": [3, 4, 5, 6, 7, 8]}
    sweep = sweep_of({"q": against_control("a")}, **seeds)
    every = study_of(POINTS, score({"a": 0.06}), seeds=range(1, 9))
    first = {key: record for key, record in every.items() if record.seed <= 2}
    (before,) = answers_of(sweep, first)
    (again,) = answers_of(sweep, every, seeds=[1, 2])
    assert before == again
    assert before.differences.keys() == {1, 2}


def test_a_look_that_is_not_over_decides_nothing() -> None:
    seeds: dict[str, Any] = {"seeds": [1, 2, 3], "more_seeds": [4, 5, 6]}
    records = study_of(POINTS, score({"a": 0.002}), seeds=range(1, 7))
    running = changed(records, "a", 5, state=State.RUNNING)
    answer = answered({"q": against_control("a")}, running, **seeds)["q"]
    assert answer.verdict == "undecided"
    assert answer.reason.endswith("; 1 of 6 seeds missing: 1 running")
    three = {key: record for key, record in records.items() if record.seed <= 3}
    assert answer.p == answered({"q": against_control("a")}, three, **seeds)["q"].p
    assert list(answer.differences) == [1, 2, 3, 4, 6]
