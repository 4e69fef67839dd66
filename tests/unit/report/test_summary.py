"""From a ledger to verdicts, curves, heat maps and tables."""

import math
from dataclasses import replace

import pytest
from raykd.report.arms import Arm
from raykd.report.grids import Grid
from raykd.report.statistics import Comparison
from raykd.report.summary import Summary, summarise
from raykd.sweep.ledger import Asked
from raykd.sweep.record import Record, State, Stop

from tests.sweeps import (
    arm_and_control,
    driver,
    evaluations_of,
    ledger_of,
    rich_ledger,
    stage_of,
    trial_of,
)

WEIGHT = "losses.forward_kl.weight"


@pytest.fixture(scope="module")
def rich() -> Summary:
    return summarise(rich_ledger())


def arm(summary: Summary, label: str) -> Arm:
    return next(a for a in summary.arms if a.label == label)


def compared(summary: Summary, label: str) -> Comparison:
    found = arm(summary, label).comparison
    assert found is not None
    return found


def grid(summary: Summary, row: str, column: str) -> Grid:
    return next(g for g in summary.grids if (g.row_name, g.column_name) == (row, column))


def test_an_arm_is_paired_with_its_controls_by_seed() -> None:
    # Unpaired, values this far apart would say nothing.
    records = arm_and_control({WEIGHT: 1.0}, own=[2.9, 4.4, 7.95], control=[3.0, 4.5, 8.0])
    summary = summarise(ledger_of(records))
    found = compared(summary, "weight=1")
    assert found.differences == pytest.approx({1: -0.1, 2: -0.1, 3: -0.05})
    assert found.mean == pytest.approx(-0.25 / 3)
    # Standard deviation 0.0288675, error 0.0166667; t(2, 0.975) = 4.302653.
    assert found.low == pytest.approx(-0.25 / 3 - 4.302653 / 60, abs=1e-6)
    assert (found.verdict, found.num_pairs) == ("better", 3)
    assert arm(summary, "weight=1").mean == pytest.approx((2.9 + 4.4 + 7.95) / 3)


def test_with_mode_max_more_is_better() -> None:
    records = arm_and_control({WEIGHT: 1.0}, own=[2.9, 4.4, 7.95], control=[3.0, 4.5, 8.0])
    assert compared(summarise(ledger_of(records, mode="max")), "weight=1").verdict == "worse"


def test_effects_of_a_rich_sweep_are_found_and_a_weak_one_is_not(rich: Summary) -> None:
    teacher = "teacher=strong quality"
    assert compared(rich, f"{teacher}=1 weight=4 -> 1 init=none").verdict == "better"
    assert compared(rich, f"{teacher}=0.25 weight=4 -> 1 init=remap").verdict == "worse"
    assert compared(rich, f"{teacher}=0.25 weight=0.25 init=none").verdict == "inconclusive"
    assert arm(rich, "control init=remap").is_control
    assert arm(rich, "control init=remap").comparison is None


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.RUNNING, State.WAITING])
def test_a_trial_that_is_not_done_does_not_enter_the_verdict(state: State) -> None:
    records = arm_and_control({WEIGHT: 1.0}, own=[1.0, 1.01, 1.02], control=[3.0, 3.0, 3.0])
    stop = Stop(rung_tokens=10, step=50, value=1.0)
    records[-1] = replace(records[-1], state=state, stop=stop)
    summary = summarise(ledger_of(records, lease=driver()))
    found = compared(summary, "weight=1")
    assert list(found.differences) == [1, 2]
    assert list(arm(summary, "weight=1").values) == [1, 2]
    assert found.verdict == "inconclusive"
    assert found.reason == f"1 of 3 pairs missing: 1 {state.value}"


def test_a_pair_is_missing_where_the_control_failed() -> None:
    records = arm_and_control({WEIGHT: 1.0}, own=[1.0, 1.01, 1.02], control=[3.0, 3.0, 3.0])
    records[0] = replace(records[0], state=State.FAILED)
    found = compared(summarise(ledger_of(records)), "weight=1")
    assert (found.num_pairs, found.num_planned) == (2, 3)
    assert found.reason == "1 of 3 pairs missing: 1 control failed"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_counts_as_missing(value: float) -> None:
    records = arm_and_control({WEIGHT: 1.0}, own=[1.0, 1.01, value], control=[3.0, 3.0, 3.0])
    summary = summarise(ledger_of(records))
    assert compared(summary, "weight=1").reason == "1 of 3 pairs missing: 1 without a finite value"
    assert [point.num_trials for point in summary.curves[1].points] == [2, 2]


def test_questions_of_the_file_are_answered_with_withdrawn_ones_last() -> None:
    records = arm_and_control({WEIGHT: 1.0}, own=[2.0, 2.1, 2.05], control=[3.0, 3.0, 3.0])
    helps = {"compare": {"weight": 1}, "with": {"control": True, "weight": 1}}
    gone = Asked(
        name="gone",
        question={**helps, "expect": "worse"},
        asked_at=1.0,
        is_afterwards=False,
        withdrawn_at=2.0,
    )
    ledger = ledger_of(records)
    sweep = ledger.sweep | {"questions": {"helps": helps}, "seeds": [1, 2, 3]}
    summary = summarise(replace(ledger, sweep=sweep, asked=(gone,)))
    assert [(a.name, a.verdict, a.is_withdrawn) for a in summary.answers] == [
        ("helps", "yes", False),
        ("gone", "no", True),
    ]
    assert summary.answers[0].estimate == pytest.approx(-0.95)
    assert {summary.label(arm): w for arm, w in summary.answers[0].weights.items()} == {
        "weight=1": 1.0,
        "control": -1.0,
    }


def test_a_sweep_without_controls_or_without_evaluations_has_arms_but_no_verdicts() -> None:
    done = trial_of({WEIGHT: 1.0}, evaluations=evaluations_of([3.0]))
    waiting = trial_of({WEIGHT: 2.0}, state=State.WAITING)
    summary = summarise(ledger_of([done, waiting]))
    assert [a.comparison for a in summary.arms] == [None, None]
    assert [a.mean for a in summary.arms] == [3.0, None]
    assert summary.rule == "Arms without a control have means, and no verdict."
    assert (summary.grids, summary.to_target, summary.is_over) == ((), (), False)


def test_an_empty_ledger_is_summarised() -> None:
    summary = summarise(ledger_of([]))
    assert (summary.arms, summary.num_trials, summary.total_cost.flops) == ((), 0, 0)


def test_a_curve_has_mean_and_range_over_seeds_at_each_step() -> None:
    first = trial_of({WEIGHT: 1}, seed=1, evaluations=evaluations_of([4.0, 2.0]))
    second = trial_of({WEIGHT: 1}, seed=2, evaluations=evaluations_of([6.0, 3.0])[:1])
    (curve,) = summarise(ledger_of([first, second])).curves
    assert [(p.step, p.mean, p.low, p.high, p.num_trials) for p in curve.points] == [
        (50, 5.0, 4.0, 6.0, 2),
        (100, 2.0, 2.0, 2.0, 1),
    ]
    # 50 steps of 50 tokens, 600 FLOPs a token for the student and 200 for the teacher.
    assert (curve.points[0].tokens, curve.points[0].flops) == (2_500, 2_500 * 800)


def test_a_curve_has_the_interval_of_the_mean_where_two_seeds_or_more_are() -> None:
    trials = [
        trial_of({WEIGHT: 1}, seed=seed, evaluations=evaluations_of(values)[:count])
        for seed, values, count in ((1, [4.0, 2.0], 2), (2, [5.0, 3.0], 2), (3, [9.0, 3.0], 1))
    ]
    (curve,) = summarise(ledger_of(trials)).curves
    first, second = curve.points
    # Mean 6, standard deviation sqrt(7); t(2, 0.975) = 4.302653; then 2.5 and t(1, 0.975).
    reach = 4.302653 * math.sqrt(7 / 3)
    assert (first.ci_low, first.ci_high) == pytest.approx((6 - reach, 6 + reach))
    assert (second.ci_low, second.ci_high) == pytest.approx((2.5 - 6.353102, 2.5 + 6.353102))
    (alone,) = summarise(ledger_of(trials[:1])).curves
    assert [(p.ci_low, p.ci_high) for p in alone.points] == [(None, None)] * 2


def test_heat_maps_show_the_difference_over_teacher_and_weight(rich: Summary) -> None:
    found = grid(rich, "teacher", "weight")
    assert found.rows == ("strong 1", "strong 0.25", "broken 1")
    assert found.columns == ("0.25", "1", "4 -> 1")
    cell = found.cells[0][2]
    assert cell is not None
    assert (cell.num_pairs, cell.num_arms) == (8, 2)
    labels = [f"teacher=strong quality=1 weight=4 -> 1 init={init}" for init in ("none", "remap")]
    differences = [d for label in labels for d in compared(rich, label).differences.values()]
    assert cell.difference == pytest.approx(sum(differences) / 8)
    assert found.cells[2] == (None, None, None)


def test_heat_maps_show_initialisation_and_weight_first_and_need_two_values(
    rich: Summary,
) -> None:
    assert grid(rich, "init", "weight").rows == ("none", "remap")
    assert [g.column_name for g in rich.grids] == ["weight", "weight", "init"]
    one = summarise(ledger_of(arm_and_control({WEIGHT: 1, "x": 2}, own=[1.0], control=[2.0])))
    assert one.grids == ()


def test_columns_of_numbers_are_in_order_of_size() -> None:
    records: list[Record] = []
    for weight in (4, 0.5, 10):
        for rate in (0.1, 0.2):
            records += arm_and_control({WEIGHT: weight, "rate": rate}, own=[1.0], control=[2.0])
    (found,) = summarise(ledger_of(records)).grids
    assert (found.rows, found.columns) == (("0.5", "4", "10"), ("0.1", "0.2"))


def test_qualities_set_the_teachers_own_score_against_what_students_gain(rich: Summary) -> None:
    best, weak, broken = rich.qualities
    assert (best.teacher, best.quality, best.score) == ("strong", 1.0, 2.9)
    assert (weak.quality, weak.score) == (0.25, 4.0)
    assert [d.weight for d in weak.differences] == ["0.25", "1", "4 -> 1"]
    assert weak.differences[2].mean == pytest.approx(0.5, abs=0.05)
    assert best.differences[2].mean == pytest.approx(-0.6, abs=0.05)
    assert best.control_mean == pytest.approx(3.55, abs=0.1)
    assert (broken.score, broken.differences) == (None, ())


def test_a_teachers_score_comes_from_its_own_run_where_its_students_do_not_tell_it() -> None:
    stage = stage_of("small", values=[4.0, 3.5, 3.2, 3.0])
    coordinates = {"teacher": "small", "quality": 0.5, WEIGHT: 1}
    *controls, trial = arm_and_control(coordinates, own=[2.0], control=[3.0])
    records = [stage, *controls, replace(trial, needs=(stage.id,))]
    (quality,) = summarise(ledger_of(records)).qualities
    assert quality.score == 3.5


def test_languages_are_compared_with_the_control_too() -> None:
    records = arm_and_control({WEIGHT: 1}, own=[2.0, 3.0], control=[2.5, 3.3])
    languages = summarise(ledger_of(records)).languages
    assert (languages.metric, languages.names) == ("eval/loss", ("de", "en"))
    control, own = languages.rows
    assert own.cells[0] is not None
    assert own.cells[0].mean == pytest.approx(2.6)
    assert own.cells[0].difference == pytest.approx(-0.4)
    assert control.cells[1] is not None
    assert (control.cells[1].difference, control.cells[1].num_trials) == (None, 2)


@pytest.mark.parametrize("metric", ["eval/loss", "eval/seen/loss", "eval/unseen/loss"])
def test_seen_and_unseen_languages_stand_before_each_language(metric: str) -> None:
    values = {
        "eval/loss": 2.0,
        "eval/seen/loss": 1.0,
        "eval/unseen/loss": 4.0,
        "eval/loss/sw": 4.0,
    }
    trial = trial_of(
        {WEIGHT: 1}, evaluations=({"step": 100, "tokens": 9, "eval/loss/en": 1.0, **values},)
    )
    data = {"languages": ["en"], "eval_languages": ["en", "sw"]}
    ledger = ledger_of([replace(trial, config={"data": data})], metric=metric)
    languages = summarise(ledger).languages
    assert (languages.metric, languages.names) == (
        "eval/loss",
        ("seen", "unseen", "en", "sw (unseen)"),
    )
    assert [cell and cell.mean for cell in languages.rows[0].cells] == [1.0, 4.0, 1.0, 4.0]
    # Where the data alone knows what is trained on, nothing is marked.
    ledger = ledger_of(
        [replace(trial, config={"data": data | {"languages": None}})], metric=metric
    )
    assert summarise(ledger).languages.names == ("seen", "unseen", "en", "sw")


def test_arms_with_the_same_coordinates_have_different_labels() -> None:
    first = trial_of({}, is_control=True, evaluations=evaluations_of([1.0]))
    second = replace(first, id="other", arm="other", control="other")
    summary = summarise(ledger_of([first, second]))
    assert [a.label for a in summary.arms] == ["control", "control #2"]
