"""A question is a weighted sum of arms, chosen by coordinates, with balanced sides."""

from typing import Any

import pytest
from raykd.sweep.questions.contrast import contrasts_of
from raykd.sweep.record import Record

from tests.unit.sweep.questions.studies import WEIGHT, grid, study_of, sweep_of

FULL = grid(teacher=["a", "b", "c"], start=["tuned", "random"], weight=[0, 1, 4])


def weights_of(
    question: dict[str, Any], records: dict[str, Record] | None = None
) -> dict[str, float]:
    """Return label of an arm to its weight, in twelfths."""
    records = study_of(FULL) if records is None else records
    contrasts, problems = contrasts_of(sweep_of({"q": question}), records.values())
    assert not problems
    labels = {
        record.arm: " ".join(str(v) for v in record.coordinates.values())
        + (" control" if record.is_control else "")
        for record in records.values()
    }
    return {labels[w.arm]: round(12 * w.weight, 6) for w in contrasts["q"].weights}


def problem_of(question: dict[str, Any], records: dict[str, Record] | None = None) -> str:
    records = study_of(FULL) if records is None else records
    contrasts, problems = contrasts_of(sweep_of({"q": question}), records.values())
    assert not contrasts
    (problem,) = problems
    return problem.removeprefix("questions.q")


def pair(compare: Any, other: Any, **given: Any) -> dict[str, Any]:
    return {"compare": compare, "with": other, **given}


# Which arms count, and how much


def test_what_no_side_names_is_averaged_over() -> None:
    assert weights_of(pair({"start": "tuned", "weight": 1}, {"start": "random", "weight": 1})) == {
        "a tuned 1": 4, "b tuned 1": 4, "c tuned 1": 4,
        "a random 1": -4, "b random 1": -4, "c random 1": -4,
    }  # fmt: skip


def test_one_control_of_all_teachers_counts_once() -> None:
    expected = {"a tuned 1": 4, "b tuned 1": 4, "c tuned 1": 4, "random control": -12}
    tuned = {"start": "tuned", "weight": 1}
    assert weights_of(pair(tuned, {"start": "random", "control": True})) == expected
    assert weights_of(pair(tuned, {"start": "random", "weight": 0})) == expected
    # Also where it is beside the grid.
    beside = study_of(grid(teacher=["a", "b", "c"], start=["tuned", "random"], weight=[1, 4]))
    assert weights_of(pair(tuned, {"start": "random", "control": True}), beside) == expected


def test_a_control_beside_the_grid_is_no_arm_of_the_mean() -> None:
    beside = study_of(grid(teacher=["a", "b"], start=["tuned", "random"], weight=[1]))
    assert weights_of(pair({"start": "tuned"}, 0.5), beside) == {"a tuned 1": 6, "b tuned 1": 6}


def test_one_teacher_is_compared_with_another_and_with_its_control() -> None:
    at_1 = {"start": "tuned", "weight": 1}
    assert weights_of(pair({"teacher": "a", **at_1}, {"teacher": "b", **at_1})) == {
        "a tuned 1": 12, "b tuned 1": -12,
    }  # fmt: skip
    assert weights_of(pair({"teacher": "a", **at_1}, {"control": True, "start": "tuned"})) == {
        "a tuned 1": 12, "tuned control": -12,
    }  # fmt: skip


def test_several_values_of_a_coordinate_are_averaged() -> None:
    question = pair({"teacher": "a", "weight": [1, 4]}, {"teacher": ["b"], "weight": [1, 4]})
    assert weights_of(question | {"with": {**question["with"], "start": "tuned"},
                                  "compare": {**question["compare"], "start": "tuned"}}) == {
        "a tuned 1": 6, "a tuned 4": 6, "b tuned 1": -6, "b tuned 4": -6,
    }  # fmt: skip


def test_a_difference_of_differences_cancels_what_is_in_both() -> None:
    control = {"start": "random", "control": True}
    question = pair(
        {"start": "tuned", "weight": 1, "teacher": "a"},
        control,
        against=pair({"start": "random", "weight": 1, "teacher": "a"}, control),
    )
    assert weights_of(question) == {"a tuned 1": 12, "a random 1": -12}


def test_a_trend_is_the_slope_for_each_step_of_the_order() -> None:
    trend = {"over": "teacher", "order": ["a", "b", "c"], "of": {"weight": 1, "start": "tuned"}}
    assert weights_of({"trend": trend}) == {"a tuned 1": -6, "c tuned 1": 6}
    # Against one control of all, which cancels.
    trend["with"] = {"weight": 0, "start": "tuned"}
    assert weights_of({"trend": trend}) == {"a tuned 1": -6, "c tuned 1": 6}


def test_terms_have_their_own_weights_metrics_and_number() -> None:
    at_1 = {"start": "tuned", "weight": 1}
    terms = [
        {"arms": {"teacher": "a", **at_1}, "weight": 2},
        {"arms": {"teacher": "a", **at_1}, "weight": -1, "metric": "eval/loss"},
    ]
    sweep = sweep_of({"q": {"terms": terms, "with": 0.25, "at": 0.5}})
    contrasts, _ = contrasts_of(sweep, study_of(FULL).values())
    found = [
        (w.weight, w.measure.metric, w.measure.mode, w.measure.at) for w in contrasts["q"].weights
    ]
    assert found == [(2, "eval/accuracy", "max", 0.5), (-1, "eval/loss", "min", 0.5)]
    assert (contrasts["q"].minus, contrasts["q"].mode) == (0.25, "max")


def test_numbers_on_both_sides_of_a_difference_are_taken_off() -> None:
    against = {"compare": {"start": "random", "weight": 1}, "with": 0.2}
    sweep = sweep_of({"q": pair({"start": "tuned", "weight": 1}, 0.5, against=against)})
    contrasts, _ = contrasts_of(sweep, study_of(FULL).values())
    assert contrasts["q"].minus == pytest.approx(0.3)


def test_fewer_steps_are_better_whatever_the_metric() -> None:
    question = pair({"start": "tuned", "weight": 1}, {"start": "random", "weight": 1})
    questions = {
        "steps": question | {"steps_to": 0.5},
        "loss": question | {"metric": "eval/worst/loss"},
        "probe": question | {"metric": "probe/loss/accuracy"},
    }
    contrasts, _ = contrasts_of(sweep_of(questions), study_of(FULL).values())
    assert {name: c.mode for name, c in contrasts.items()} == {
        "steps": "min", "loss": "min", "probe": "max",
    }  # fmt: skip
    # Which way the metric reaches the value is its own.
    assert contrasts["steps"].weights[0].measure.mode == "max"


def test_a_section_is_named_by_its_method_and_a_number_in_either_form() -> None:
    sections: list[Any] = [None, {"copy_layers": {}}, {"remap": {"source": "s3://b/x"}}]
    records = study_of(grid(**{"student.init": sections}, teacher=["a"], weight=[1.0]))
    question = pair({"init": "remap", "weight": 1}, {"student.init": None, "weight": 1.0})
    assert set(weights_of(question, records).values()) == {12, -12}
    assert weights_of(question, records) == weights_of(
        pair({"init": sections[2], "weight": 1}, {"init": "none", "weight": 1}), records
    )


def test_a_coordinate_that_some_teachers_lack_is_averaged_where_both_sides_have_it() -> None:
    points = [
        {**own, "start": start, WEIGHT: 1}
        for own in (
            {"teacher": "a", "quality": 0.5},
            {"teacher": "a", "quality": 1.0},
            {"teacher": "u"},
        )
        for start in ("tuned", "random")
    ]
    records = study_of(points)
    found = weights_of(pair({"start": "tuned"}, {"start": "random"}), records)
    assert sorted(found.values()) == [-4, -4, -4, 4, 4, 4]
    # Of two teachers, the qualities of one would be averaged against none of the other.
    assert problem_of(pair({"teacher": "a"}, {"teacher": "u"}), records) == (
        ".compare averages over quality=0.5 and quality=1, but questions.q.with has no quality: "
        "name one in it"
    )
    named = weights_of(pair({"teacher": "a", "quality": 1}, {"teacher": "u"}), records)
    assert sorted(named.values()) == [-6, -6, 6, 6]


# What cannot be asked of these arms


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        (pair({"strat": "tuned"}, 0), ".compare: strat is no coordinate: they are start, tea"),
        (pair({"start": "x"}, 0), ".compare: no arm has start=x: start is tuned, random"),
        (pair({"start": []}, 0), ".compare: no arm has start=: start is tuned, random"),
        (pair({"start": ["tuned", "x"]}, 0), ".compare: no arm has start=x: start is tuned"),
        (pair({"weight": True}, 0), ".compare: no arm has weight=true: weight is 0, 1, 4"),
        (
            pair({"weight": 1, WEIGHT: 4}, 0),
            ".compare names losses.forward_kl.weight twice",
        ),
        (
            pair({"start": "tuned", "weight": 1}, {"start": "random"}),
            ".with averages over weight=0 and weight=1, but questions.q.compare names weight",
        ),
        (
            pair({"start": "tuned"}, {"start": "random", "weight": 1}),
            ".compare averages over weight=0 and weight=1, but questions.q.with names weight",
        ),
        (
            pair({"start": "tuned", "weight": 0}, {"start": "tuned", "control": True}),
            " compares arms with themselves: what it names on both sides is the same",
        ),
        (pair({"start": "tuned"}, {"control": 1}), ".with.control must be true or absent, got 1"),
        (
            {"trend": {"over": "teacher", "order": ["a", "b", "d"]}},
            ".trend.order: no arm has teacher=d: teacher is a, b, c",
        ),
        (
            {"trend": {"over": "techer", "order": ["a", "b", "c"]}},
            ".trend.order: techer is no coordinate: they are start, teacher, weight",
        ),
        (
            {"terms": [{"arms": {"start": "y"}, "weight": 1}]},
            ".terms[0].arms: no arm has start=y: start is tuned, random",
        ),
    ],
)  # fmt: skip
def test_what_names_no_arms_or_unequal_sides_is_a_problem(
    question: dict[str, Any], problem: str
) -> None:
    assert problem_of(question).startswith(problem)


def test_sides_that_differ_in_what_neither_names_are_a_problem() -> None:
    lacking = [p for p in FULL if (p["teacher"], p["start"]) != ("c", "random")]
    question = pair({"start": "tuned", "weight": 1}, {"start": "random", "weight": 1})
    assert problem_of(question, study_of(lacking)) == (
        ".compare has teacher=c, and questions.q.with has not: name in both what they are to have "
        "in common"
    )
    named = {"teacher": ["a", "b"]}
    both = pair(question["compare"] | named, question["with"] | named)
    assert len(weights_of(both, study_of(lacking))) == 4
    crossed = [
        p
        for p in grid(teacher=["a", "b"], start=["tuned", "random"], fold=[1, 2], weight=[1])
        if p["start"] == "random" or (p["teacher"] == "a") == (p["fold"] == 1)
    ]
    assert problem_of(question, study_of(crossed)).startswith(
        ".with has teacher=b, fold=1, and questions.q.compare has not"
    )


def test_a_key_of_two_coordinates_must_be_written_longer() -> None:
    points = grid(**{"losses.a.weight": [1], "losses.b.weight": [1, 2]})
    assert problem_of(pair({"weight": 1}, 0), study_of(points)) == (
        ".compare: weight may be losses.a.weight or losses.b.weight: write more of it"
    )


def test_a_method_that_two_sections_have_is_not_enough() -> None:
    points = grid(init=[{"remap": {"source": "x"}}, {"remap": {"source": "y"}}])
    assert problem_of(pair({"init": "remap"}, 0), study_of(points)) == (
        '.compare: init=remap may be {"remap":{"source":"x"}} or {"remap":{"source":"y"}}: write '
        "the whole value"
    )


def test_a_study_without_controls_has_none_to_compare_with() -> None:
    records = {
        k: r for k, r in study_of(grid(teacher=["a"], weight=[1])).items() if not r.is_control
    }
    assert problem_of(pair({"teacher": "a"}, {"control": True}), records) == (
        ".with: an arm there has no control; set controls to true"
    )


def test_every_question_is_told_of_and_others_are_asked() -> None:
    questions = {
        "good": pair({"weight": 1}, {"weight": 4}),
        "bad": pair({"wait": 1}, 0),
        "worse": pair({"weight": 3}, 0),
        "whole": {"all": ["good", "bad"]},
    }
    contrasts, problems = contrasts_of(sweep_of(questions), study_of(FULL).values())
    assert list(contrasts) == ["good"]
    assert [p.partition(":")[0] for p in problems] == [
        "questions.bad.compare", "questions.worse.compare",
    ]  # fmt: skip


def test_a_study_without_questions_asks_nothing() -> None:
    assert contrasts_of({"metric": "eval/loss", "mode": "min"}, study_of(FULL).values()) == (
        {},
        [],
    )
