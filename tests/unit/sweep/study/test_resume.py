"""The next start of a sweep keeps decisions and failures, and believes storage about the rest."""

from dataclasses import replace
from typing import Any

import pytest
from raykd.errors import ConfigError
from raykd.sweep.record import Attempt, Record, State, Stop
from raykd.sweep.study.resume import resumed, selected

from tests.study_ledger import WEIGHT, study_ledger
from tests.sweeps import stage_of, trial_of

FAILED = Attempt(started_at=1.0, ended_at=2.0, error_class="ModelError", error="why")
KILLED = Attempt(started_at=3.0)
PLANNED = replace(trial_of({"x": 1}), state=State.WAITING, attempts=())
EVALUATION = {"step": 10, "tokens": 500, "eval/loss": 2.0}


def after(known: Record, *, retries_failed: bool = False, **planned: Any) -> Record:
    (record,) = resumed(
        [replace(PLANNED, **planned)], {known.id: known}, retries_failed=retries_failed
    )
    return record


def test_a_run_that_the_ledger_does_not_know_is_as_planned() -> None:
    assert resumed([PLANNED], {}, retries_failed=True) == [PLANNED]


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.BLOCKED, State.DONE])
def test_what_storage_says_of_a_run_is_believed(state: State) -> None:
    known = replace(PLANNED, state=state, attempts=(KILLED,))
    # Done no more where its output has been removed.
    assert after(known).state is State.WAITING
    done = after(known, state=State.DONE, evaluations=(EVALUATION,))
    assert (done.state, done.evaluations) == (State.DONE, (EVALUATION,))
    assert done.attempts == (KILLED,)
    assert done.failures == 0


def test_a_decision_to_stop_stands_even_where_the_run_has_been_finished_by_another_sweep() -> None:
    stop = Stop(rung_tokens=500, step=10, value=2.0)
    known = replace(PLANNED, state=State.RUNNING, stop=stop)
    for state in (State.WAITING, State.DONE):
        for retries_failed in (False, True):
            found = after(known, state=state, retries_failed=retries_failed)
            assert (found.state, found.stop) == (State.STOPPED, stop)


def test_a_failure_stands_until_it_is_to_be_tried_again() -> None:
    known = replace(PLANNED, state=State.FAILED, attempts=(FAILED, KILLED, FAILED))
    assert after(known).state is State.FAILED
    assert after(known).failures == 2
    again = after(known, retries_failed=True)
    assert (again.state, again.failures, again.forgiven_failures) == (State.WAITING, 0, 2)
    assert again.attempts == known.attempts


def test_failures_are_forgiven_each_time_that_is_asked_for() -> None:
    first = replace(PLANNED, state=State.FAILED, attempts=(FAILED,) * 3)
    second = replace(after(first, retries_failed=True), state=State.FAILED, attempts=(FAILED,) * 4)
    assert second.failures == 1
    again = after(second, retries_failed=True)
    assert (again.state, again.failures) == (State.WAITING, 0)


def test_a_failure_that_another_sweep_has_mended_is_none() -> None:
    known = replace(PLANNED, state=State.FAILED, attempts=(FAILED,))
    assert after(known, state=State.DONE).state is State.DONE


def test_attempts_that_failed_before_an_interruption_count() -> None:
    known = replace(PLANNED, state=State.RUNNING, attempts=(FAILED, KILLED))
    for retries_failed in (False, True):
        assert after(known, retries_failed=retries_failed).failures == 1


def test_the_plans_order_is_kept_and_what_is_not_planned_is_left_out() -> None:
    first, second, gone = (trial_of({"x": x}) for x in (1, 2, 3))
    known = {record.id: record for record in (gone, second, first)}
    found = resumed([second, first], known, retries_failed=False)
    assert [record.id for record in found] == [second.id, first.id]


# What is chosen


def chosen(*only: str) -> set[str]:
    """Return the names of what is chosen of a small sweep."""
    return {name for name, record in RUNS.items() if record.id in selected(RUNS.values(), only)}


def _runs() -> dict[str, Record]:
    """Return a sweep of two teachers, two starts and two weights."""
    stages = {teacher: stage_of(teacher, values=[1.0]) for teacher in ("small", "big")}
    runs: dict[str, Record] = dict(stages)
    for init, text in ((None, "random"), ({"remap": {}}, "grown")):
        control = trial_of({"student.init": init}, is_control=True)
        runs[f"control {text}"] = control
        for teacher, stage in stages.items():
            for weight in (1, "4 -> 1"):
                coordinates = {
                    "teacher": teacher,
                    "quality": 1.0,
                    "losses.forward_kl.weight": weight,
                    "student.init": init,
                }
                trial = replace(trial_of(coordinates, control=control), needs=(stage.id,))
                runs[f"{teacher} {text} {weight}"] = trial
    return runs


RUNS = _runs()
OF_SMALL = {name for name in RUNS if name.startswith("small")}
CONTROLS = {"control random", "control grown"}


def test_trials_are_chosen_with_their_stage_and_their_controls() -> None:
    assert len(OF_SMALL) == 1 + 2 * 2
    assert chosen("teacher=small") == OF_SMALL | CONTROLS


@pytest.mark.parametrize(
    "only",
    [
        ("losses.forward_kl.weight=1", "teacher=big", "student.init=none"),
        ("forward_kl.weight=1", "teacher=big", "init=none"),
        ("weight=1", "teacher=big", "init=none"),
    ],
)
def test_a_coordinate_is_named_in_full_or_by_the_end_of_its_key(only: tuple[str, ...]) -> None:
    assert chosen(*only) == {"big", "big random 1", "control random"}


def test_values_are_written_as_reports_write_them() -> None:
    assert chosen("quality=1", "init=remap", "weight=4 -> 1") == {
        "small",
        "big",
        "small grown 4 -> 1",
        "big grown 4 -> 1",
        "control grown",
    }


def test_a_control_alone_is_chosen_by_what_it_depends_on() -> None:
    alone = trial_of({"optimizer.learning_rate": 1e-3}, is_control=True)
    assert selected([alone], ["learning_rate=0.001"]) == {alone.id}


def test_trials_are_chosen_with_all_that_chooses_values_and_with_their_probes() -> None:
    records = study_ledger().records
    ids = selected(records.values(), ["weight=1"])
    chosen_runs = [record for record in records.values() if record.id in ids]
    of_kind = {
        kind: [r for r in chosen_runs if r.kind == kind] for kind in ("trial", "tuning", "probe")
    }
    trials = of_kind["trial"]
    assert sorted((t.coordinates.get(WEIGHT, 0), t.seed) for t in trials) == [
        (weight, seed) for weight in (0, 1) for seed in (1, 2, 3)
    ]
    assert of_kind["tuning"] == [r for r in records.values() if r.kind == "tuning"]
    assert {probe.probed for probe in of_kind["probe"]} == {trial.id for trial in trials}


@pytest.mark.parametrize("only", ["teacher=smal", "eight=1", "size=small", "teacher=", "=small"])
def test_where_no_trial_is_that_is_said(only: str) -> None:
    with pytest.raises(ConfigError, match=f"--only {only}: no trial is there; raykd check"):
        chosen(only)


def test_all_that_is_given_has_to_hold() -> None:
    with pytest.raises(ConfigError, match="--only teacher=small teacher=big: no trial is there"):
        chosen("teacher=small", "teacher=big")


def test_a_choice_without_a_value_is_told() -> None:
    with pytest.raises(ConfigError, match="--only small must have the form COORDINATE=VALUE"):
        chosen("teacher=small", "small")


def test_a_part_of_a_study_has_all_runs_that_choose_values_and_the_stages_of_these() -> None:
    stage = stage_of("encoder", values=[1.0])
    here, there = (
        replace(trial_of({"start": start}), kind="tuning", needs=(stage.id,))
        for start in ("random", "base")
    )
    # No value is chosen before all of these runs are over.
    assert selected([stage, here, there], ["start=base"]) == {stage.id, here.id, there.id}
