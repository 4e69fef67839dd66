"""Cost is counted once, what was there before costs nothing, and speed is not guessed."""

from dataclasses import replace

import pytest
from raykd.report.summary import summarise
from raykd.report.targets import ToTarget
from raykd.report.units import hours
from raykd.sweep.record import Attempt

from tests.sweeps import (
    arm_and_control,
    evaluations_of,
    ledger_of,
    rich_ledger,
    stage_of,
    trial_of,
)

WEIGHT = "losses.forward_kl.weight"


def to_target(
    own: list[list[float]], control: list[list[float]], *, mode: str = "min"
) -> ToTarget:
    records = []
    for seed, (values, other) in enumerate(zip(own, control, strict=True)):
        beside = trial_of({}, seed=seed, evaluations=evaluations_of(other), is_control=True)
        trial = trial_of(
            {WEIGHT: 1}, seed=seed, evaluations=evaluations_of(values), control=beside
        )
        records += [beside, trial]
    (found,) = summarise(ledger_of(records, mode=mode)).to_target
    return found


def test_a_stage_is_counted_once_and_teachers_beside_students_have_their_share() -> None:
    stage = stage_of("small", values=[3.0])
    *controls, first, second = arm_and_control({WEIGHT: 1}, own=[1.0, 2.0], control=[3.0, 3.0])
    records = [stage, *controls, *(replace(t, needs=(stage.id,)) for t in (first, second))]
    summary = summarise(ledger_of(records))
    total = summary.total_cost
    # Each run has 5,000 tokens; 600 FLOPs a token for a student, 200 for its teacher, and 1,800
    # for the teacher's own training.
    assert total.tokens == 25_000
    assert total.student_flops == 5_000 * (4 * 600 + 1_800)
    assert total.teacher_flops == 5_000 * 2 * 200
    assert total.teacher_share == pytest.approx(400 / (2_400 + 1_800 + 400))
    assert total.seconds == 4 * 30 + 100
    assert [cost.kind for cost in summary.costs] == ["stage", "arm", "arm"]
    assert sum(cost.flops for cost in summary.costs) == total.flops


def test_runs_of_a_process_share_what_their_teacher_costs() -> None:
    *controls, first, second = arm_and_control({WEIGHT: 1}, own=[1.0, 2.0], control=[3.0, 3.0])
    # Of 100 steps the first run takes 40 beside three others, and the rest alone.
    packed = Attempt(started_at=0.0, ended_at=10.0, num_sharing=4)
    alone = Attempt(started_at=20.0, ended_at=30.0, first_step=40)
    records = [*controls, replace(first, attempts=(packed, alone)), second]
    assert summarise(ledger_of(records)).total_cost.teacher_flops == pytest.approx(
        5_000 * 200 * (1 + 0.4 / 4 + 0.6)
    )


def test_cores_and_gpus_are_counted_while_they_are_reserved() -> None:
    shared = Attempt(started_at=0.0, ended_at=40.0, world_size=2, num_sharing=4)
    lost = Attempt(started_at=50.0)
    trial = replace(
        trial_of({WEIGHT: 1}, evaluations=evaluations_of([1.0])),
        config={"cluster": {"cpus_per_worker": 3.0, "gpus_per_worker": 0.5}},
        attempts=(shared, lost),
    )
    total = summarise(ledger_of([trial])).total_cost
    assert (total.core_seconds, total.gpu_seconds) == (40 * 2 * 3 / 4, 40 * 2 * 0.5 / 4)
    assert [hours(seconds) for seconds in (0, 60, 9_000, 1e7)] == ["-", "0.0167", "2.5", "2,778"]


def test_what_was_there_before_costs_nothing_and_is_listed() -> None:
    records = arm_and_control({WEIGHT: 1}, own=[1.0, 2.0], control=[3.0, 3.0])
    records[0] = replace(records[0], attempts=())
    records[1] = replace(
        records[1], attempts=(Attempt(started_at=0.0, ended_at=10.0, first_step=25),)
    )
    summary = summarise(ledger_of(records))
    control, _ = summary.costs
    assert (control.num_runs, control.num_reused) == (2, 1)
    assert control.tokens == 5_000 * 0.75
    assert control.reused_flops == 5_000 * 1.25 * 600
    assert [(e.kind.value, e.text) for e in summary.events] == [
        ("resumed", "from step 25 of an earlier run"),
        ("reused", "done before this sweep"),
    ]


def test_events_tell_what_failed_with_its_error_and_what_waits_for_it() -> None:
    events = summarise(rich_ledger()).events
    assert [event.kind.value for event in events] == [
        *["failed"] * 2,
        *["blocked"] * 2,
        "stopped",
        "resumed",
        "reused",
    ]
    assert events[0].label == "teacher broken"
    assert events[1].label == "teacher=strong quality=0.25 weight=1 init=remap seed=4"
    assert events[1].text == "NonFiniteLossError: step 61: loss is nan"
    assert events[1].run_uri.startswith("s3://bucket/runs/")
    assert events[2].text == "needs teacher broken"
    assert "at step 50" in events[4].text
    assert events[5].text == "from step 50 after an interruption"


def test_the_target_is_reached_at_an_evaluation_not_between_two() -> None:
    found = to_target([[4.0, 3.1, 2.9, 2.0]], [[5.0, 4.0, 3.5, 3.0]])
    assert (found.target, found.steps, found.num_reached) == (3.0, 75, 1)
    assert found.step_ratio == 0.75
    # The teacher's part makes it as dear as the control: 75 x 800 to 100 x 600.
    assert found.flops_ratio == pytest.approx(1.0)
    assert found.flops == 75 * 50 * 800


def test_a_control_that_is_at_its_end_early_is_given_that() -> None:
    found = to_target([[4.0, 3.0, 2.9, 2.0]], [[5.0, 3.0, 3.0, 3.0]])
    assert (found.steps, found.step_ratio) == (50, 1.0)


def test_with_mode_max_the_target_is_reached_from_below() -> None:
    found = to_target([[0.1, 0.6, 0.7, 0.8]], [[0.1, 0.2, 0.4, 0.5]], mode="max")
    assert (found.steps, found.step_ratio) == (50, 0.5)


def test_an_arm_that_never_gets_there_says_so() -> None:
    found = to_target([[4.0, 3.9, 3.8, 3.7]], [[5.0, 4.0, 3.5, 3.0]])
    assert (found.num_reached, found.num_pairs) == (0, 1)
    assert (found.steps, found.tokens, found.flops, found.step_ratio) == (None,) * 4


def test_the_median_counts_pairs_that_never_get_there_as_last() -> None:
    late, early, never = [9.0, 9.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [9.0, 9.0, 9.0, 9.0]
    control = [[5.0, 4.0, 3.5, 3.0]]
    assert to_target([early, late, never], 3 * control).steps == 75
    found = to_target([early, never], 2 * control)
    assert (found.steps, found.num_reached) == (None, 1)
