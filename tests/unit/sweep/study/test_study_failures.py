"""Runs of a study that fail, and studies whose time is spent or that are interrupted."""

import time
from pathlib import Path

from raykd.runs.retry import FailureKind
from raykd.sweep.record import State
from raykd.sweep.study.study import Limits

from tests.unit.sweep.study.simulator import (
    Cluster,
    Script,
    as_found,
    evaluation,
)
from tests.unit.sweep.study.studies import (
    FALLING,
    finish,
    handed_out,
    paths_in,
    run_of,
    states,
    study_of,
    written,
)

# Failures


def test_a_failed_run_starts_again_while_it_may(tmp_path: Path) -> None:
    records = [run_of(tmp_path, "lucky"), run_of(tmp_path, "unlucky")]
    cluster = Cluster(
        {
            "lucky": Script(values=FALLING, failures=2, fails_after=3),
            "unlucky": Script(values=FALLING, failures=9, fails_after=1),
        }
    )
    cluster.run(study_of(tmp_path, records, max_failures=2))
    found = written(tmp_path, records)
    assert states(found) == {"lucky": State.DONE, "unlucky": State.FAILED}
    assert [a.error_class for a in found["lucky"].attempts] == ["ModelError", "ModelError", None]
    # It has a checkpoint after two evaluations.
    assert [a.first_step for a in found["lucky"].attempts] == [0, 20, 20]
    assert found["unlucky"].failures == 3
    assert found["unlucky"].error == "it is wrong"
    assert all(a.world_size == 2 and (a.seconds or 0) >= 0 for a in found["lucky"].attempts)


def test_a_failure_that_another_attempt_would_meet_again_is_final(tmp_path: Path) -> None:
    records = [run_of(tmp_path, "wrong")]
    script = Script(values=FALLING, failures=9, kind=FailureKind.DIVERGED)
    cluster = Cluster({"wrong": script})
    cluster.run(study_of(tmp_path, records))
    assert cluster.started == ["wrong"]
    assert states(written(tmp_path, records)) == {"wrong": State.FAILED}


def test_a_failed_stage_blocks_all_that_needs_it_and_nothing_else(tmp_path: Path) -> None:
    records = [
        run_of(tmp_path, "bad", kind="stage"),
        run_of(tmp_path, "good", kind="stage"),
        run_of(tmp_path, "blocked", needs=("good", "bad")),
        run_of(tmp_path, "free", needs=("good",)),
        run_of(tmp_path, "too", needs=("bad",)),
    ]
    scripts = {record.id: Script(values=FALLING) for record in records}
    scripts["bad"] = Script(values=FALLING, failures=9)
    study = study_of(tmp_path, records, max_failures=0)
    Cluster(scripts).run(study)
    assert study.is_over
    assert states(written(tmp_path, records)) == {
        "bad": State.FAILED,
        "good": State.DONE,
        "blocked": State.BLOCKED,
        "free": State.DONE,
        "too": State.BLOCKED,
    }


def test_what_circumstances_did_counts_against_the_run_itself(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in ("unlucky", "chased", "broken")]
    scripts = {
        # Its cluster.max_failures is 3, its cluster.max_preemptions 2.
        "unlucky": Script(values=FALLING, failures=9, kind=FailureKind.NODE_LOST),
        "chased": Script(values=FALLING, failures=9, kind=FailureKind.PREEMPTED),
        "broken": Script(values=FALLING, failures=9),
    }
    Cluster(scripts).run(study_of(tmp_path, records, max_failures=0))
    found = written(tmp_path, records)
    assert set(states(found).values()) == {State.FAILED}
    assert [a.kind for a in found["unlucky"].attempts] == ["node_lost"] * 4
    assert [a.kind for a in found["chased"].attempts] == ["preempted"] * 3
    assert (found["chased"].failures, found["chased"].preemptions) == (0, 3)
    assert [a.kind for a in found["broken"].attempts] == ["failed"]
    again = as_found(records, paths_in(tmp_path), retries_failed=True)
    assert [(r.state, r.failures, r.preemptions) for r in again] == [(State.WAITING, 0, 0)] * 3


def test_storage_that_is_away_is_given_time(tmp_path: Path) -> None:
    now = [0.0]
    study = study_of(tmp_path, [run_of(tmp_path, "a")], Limits(at_once=1, clock=lambda: now[0]))
    pauses = []
    for _ in range(3):
        assert handed_out(study) == ["a"]
        study.started("a")
        began = now[0]
        study.failed("a", error_class="StorageError", error="away", kind=FailureKind.STORAGE_AWAY)
        while not handed_out(study):
            now[0] += 1
            assert not study.is_over
        pauses.append(now[0] - began)
        study.interrupted()
    assert pauses == [10.0, 20.0, 40.0]


def test_a_process_that_dies_before_it_begins_counts_as_a_failure(tmp_path: Path) -> None:
    records = [run_of(tmp_path, "a")]
    study = study_of(tmp_path, records, max_failures=1)
    for _ in range(2):
        assert handed_out(study) == ["a"]
        study.failed("a", error_class="RuntimeEnvSetupError", error="no such package")
    (record,) = written(tmp_path, records).values()
    assert (record.state, record.failures, len(record.attempts)) == (State.FAILED, 2, 2)
    assert study.is_over


def test_an_end_without_a_result_is_a_failure(tmp_path: Path) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "a")], max_failures=0)
    handed_out(study)
    study.started("a")
    study.ended("a")
    assert study.records["a"].state is State.FAILED
    assert study.records["a"].error == "ended without a result"


# Time and interruptions


def test_no_run_starts_when_the_time_is_spent(tmp_path: Path) -> None:
    late = Limits(at_once=2, deadline=time.monotonic() - 1)
    study = study_of(tmp_path, [run_of(tmp_path, "a")], late)
    assert study.is_over
    assert study.next_process() == ()


def test_running_trials_stop_when_the_time_is_spent_and_wait_for_the_next_start(
    tmp_path: Path,
) -> None:
    records = [run_of(tmp_path, "a"), run_of(tmp_path, "b")]
    late = Limits(at_once=2, deadline=time.monotonic() - 1)
    study = study_of(tmp_path, records, late)
    # As if it had been handed out just before.
    study.started("a")
    study.reported("a", evaluation(0, 1.0))
    assert study.should_stop("a")
    study.ended("a")
    assert states(written(tmp_path, records)) == {"a": State.WAITING, "b": State.WAITING}
    assert study.records["a"].failures == 0
    again = study_of(tmp_path, as_found(records, paths_in(tmp_path)))
    Cluster({name: Script(values=FALLING) for name in "ab"}).run(again)
    assert set(states(written(tmp_path, records)).values()) == {State.DONE}


def test_a_study_that_leaves_ends_when_what_runs_has_left(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in "abc"]
    study = study_of(tmp_path, records, Limits(at_once=2))
    assert handed_out(study) == ["a", "b"]
    study.started("a")
    study.leave()
    assert study.next_process() == ()
    assert sorted(study.to_leave) == ["a", "b"]
    # It has been handed out, and begins only to leave.
    study.started("b")
    study.ended("b")
    assert study.to_leave == ["a"]
    study.ended("a")
    assert study.is_over
    found = written(tmp_path, records)
    assert set(states(found).values()) == {State.WAITING}
    assert [(a.kind, a.error_class) for a in found["a"].attempts] == [("stopped", None)]
    assert found["a"].failures == 0
    assert found["b"].attempts == ()


def test_a_run_that_is_done_before_it_hears_of_leaving_is_done(tmp_path: Path) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "a")])
    handed_out(study)
    study.started("a")
    study.leave()
    finish(study, "a")
    assert study.records["a"].state is State.DONE


def test_after_an_interruption_what_ran_waits(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in "abc"]
    study = study_of(tmp_path, records, Limits(at_once=2))
    handed_out(study)
    study.started("a")
    study.interrupted()
    found = written(tmp_path, records)
    assert set(states(found).values()) == {State.WAITING}
    (attempt,) = found["a"].attempts
    assert attempt.error_class is None
    assert attempt.seconds is not None
    assert study.records["b"].attempts == ()
    assert handed_out(study) == ["a", "b"]


def test_an_evaluation_that_is_done_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "a")])
    handed_out(study)
    study.started("a")
    for index in (0, 1, 2, 1, 2, 3):
        study.reported("a", evaluation(index, FALLING[index]))
    steps = [e["step"] for e in study.records["a"].evaluations]
    assert steps == [10, 20, 30, 40]
