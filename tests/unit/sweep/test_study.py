"""What a study hands out and what it decides; killed anywhere, it ends as if it had not been."""

import itertools
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import checked_sweep
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.ledger import Record, State, Stop, SweepPaths, read_records
from raykd.sweep.resume import resumed
from raykd.sweep.study import Limits, Study
from raykd.train.failures import Kind

from tests.unit.sweep.simulator import (
    STEPS,
    TOKENS_PER_STEP,
    Cluster,
    DriverDiedError,
    Script,
    as_found,
    evaluation,
)

FALLING = (4.0, 3.0, 2.0, 1.0)
RUNGS = (100, 200)
ASHA = {"asha": {"first_rung": 0.25, "reduction_factor": 2}}


def sweep_of(**given: Any) -> SweepConfig:
    return checked_sweep({"name": "study", "base": "base.yaml", **given}, origin="sweep")


def run_of(directory: Path, run_id: str, **changes: Any) -> Record:
    return replace(
        Record(
            id=run_id,
            kind="trial",
            run_uri=str(directory / "runs" / run_id),
            coordinates={},
            arm=run_id,
            seed=1,
            control=None,
            config={"cluster": {"num_workers": 2, "max_failures": 3, "max_preemptions": 2}},
            num_steps=STEPS * len(FALLING),
            planned_tokens=STEPS * len(FALLING) * TOKENS_PER_STEP,
        ),
        **changes,
    )


def paths_in(directory: Path) -> SweepPaths:
    return SweepPaths(sweep=str(directory / "sweep"))


def study_of(
    directory: Path, records: Sequence[Record], limits: Limits | None = None, **sweep: Any
) -> Study:
    # A clock on which every pause is over at once.
    limits = limits or Limits(at_once=2, clock=itertools.count(step=1000).__next__)
    return Study(sweep_of(**sweep), paths_in(directory), records, limits=limits)


def written(directory: Path, records: Sequence[Record]) -> dict[str, Record]:
    """Return what the ledger holds."""
    return read_records(paths_in(directory), [record.id for record in records])


def states(records: Mapping[str, Record]) -> dict[str, State]:
    return {run_id: record.state for run_id, record in records.items()}


def handed_out(study: Study) -> list[str]:
    found = []
    while (record := study.next_run()) is not None:
        found.append(record.id)
    return found


# The order of the plan


def test_runs_start_in_the_order_of_the_plan_so_many_at_once(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in "edcba"]
    cluster = Cluster({name: Script(values=FALLING) for name in "edcba"})
    study = study_of(tmp_path, records, Limits(at_once=3))
    cluster.run(study)
    assert cluster.started == list("edcba")
    assert cluster.most_at_once == 3
    assert set(states(written(tmp_path, records)).values()) == {State.DONE}


def test_a_trial_waits_for_its_stages_and_others_go_first(tmp_path: Path) -> None:
    records = [
        run_of(tmp_path, "first", kind="stage"),
        run_of(tmp_path, "second", kind="stage"),
        run_of(tmp_path, "one", needs=("first",)),
        run_of(tmp_path, "both", needs=("first", "second")),
        run_of(tmp_path, "none"),
    ]
    study = study_of(tmp_path, records, Limits(at_once=9))
    assert handed_out(study) == ["first", "second", "none"]
    for stage in ("second", "first"):
        study.started(stage)
    finish(study, "second")
    assert handed_out(study) == []
    finish(study, "first")
    assert handed_out(study) == ["one", "both"]
    assert not study.is_over


def finish(study: Study, run_id: str) -> None:
    """Let a run that was started reach its last step."""
    path = Path(study.records[run_id].run_uri)
    path.mkdir(parents=True, exist_ok=True)
    result = '{"is_done": true, "step": 1, "num_steps": 1, "metrics": {}, "model_uri": null}'
    (path / "result.json").write_text(result)
    study.ended(run_id)


def test_a_run_is_handed_out_once(tmp_path: Path) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "a"), run_of(tmp_path, "b")], Limits(at_once=9))
    assert handed_out(study) == ["a", "b"]
    assert handed_out(study) == []
    assert not study.is_over


def test_what_is_done_already_is_left_alone(tmp_path: Path) -> None:
    records = [run_of(tmp_path, "a", state=State.DONE), run_of(tmp_path, "b", needs=("a",))]
    study = study_of(tmp_path, records)
    assert handed_out(study) == ["b"]
    assert written(tmp_path, records)["a"].is_reused


def test_only_what_is_chosen_starts(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in "abc"]
    cluster = Cluster({name: Script(values=FALLING) for name in "abc"})
    cluster.run(study_of(tmp_path, records, Limits(at_once=2, only={"c"})))
    assert states(written(tmp_path, records)) == {
        "a": State.WAITING,
        "b": State.WAITING,
        "c": State.DONE,
    }


def test_a_sweep_of_nothing_is_over(tmp_path: Path) -> None:
    assert study_of(tmp_path, [], scheduler=ASHA).is_over


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
    script = Script(values=FALLING, failures=9, kind=Kind.DIVERGED)
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
        "unlucky": Script(values=FALLING, failures=9, kind=Kind.NODE_LOST),
        "chased": Script(values=FALLING, failures=9, kind=Kind.PREEMPTED),
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
        study.failed("a", error_class="StorageError", error="away", kind=Kind.STORAGE_AWAY)
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
    assert study.next_run() is None


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
    assert study.next_run() is None
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


# Early stops


def test_the_worse_of_the_first_trials_stops_at_its_rung(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in ("good", "bad")]
    scripts = {"good": Script(values=FALLING), "bad": Script(values=(9.0, 8.0, 7.0, 6.0))}
    study = study_of(tmp_path, records, Limits(at_once=1, rungs=RUNGS), scheduler=ASHA)
    Cluster(scripts).run(study)
    found = written(tmp_path, records)
    assert states(found) == {"good": State.DONE, "bad": State.STOPPED}
    assert found["bad"].stop == Stop(rung_tokens=100, step=10, value=9.0)
    assert [e["step"] for e in found["bad"].evaluations] == [10]


def test_a_decision_stands_when_the_trial_ends_before_it_is_told(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in ("good", "bad")]
    study = study_of(tmp_path, records, Limits(at_once=2, rungs=RUNGS), scheduler=ASHA)
    handed_out(study)
    for name in ("good", "bad"):
        study.started(name)
    # The later one is through before the one that it is compared with has begun.
    study.reported("bad", evaluation(0, 9.0))
    assert not study.should_stop("bad")
    finish(study, "bad")
    assert study.records["bad"].state is State.DONE
    study.records["bad"] = replace(
        study.records["bad"], evaluations=(evaluation(0, 9.0), evaluation(3, 0.0))
    )
    study.reported("good", evaluation(0, 1.0))
    assert states(written(tmp_path, records))["bad"] is State.STOPPED


# Runs that follow from results


def test_what_follows_from_results_is_taken_up_even_where_it_is_done(tmp_path: Path) -> None:
    """Each end asks for one more run; every second one is there already."""
    every = [
        run_of(tmp_path, f"r{i}", state=State.DONE if i % 2 else State.WAITING) for i in range(6)
    ]

    def more(known: Mapping[str, Record]) -> Sequence[Record]:
        are_over = all(record.state.is_terminal for record in known.values())
        return every[: len(known) + are_over]

    study = Study(sweep_of(), paths_in(tmp_path), every[:1], limits=Limits(at_once=1), more=more)
    cluster = Cluster({record.id: Script(values=FALLING) for record in every})
    cluster.run(study)
    assert cluster.started == ["r0", "r2", "r4"]
    assert set(states(written(tmp_path, every)).values()) == {State.DONE}
    assert len(study.records) == 6


def test_a_start_with_nothing_left_asks_what_follows(tmp_path: Path) -> None:
    every = [run_of(tmp_path, "a", state=State.DONE), run_of(tmp_path, "b")]
    study = Study(
        sweep_of(),
        paths_in(tmp_path),
        every[:1],
        limits=Limits(at_once=1),
        more=lambda _: every,
    )
    assert handed_out(study) == ["b"]


# A driver that dies


NUM_TRIALS = 7


def eventful(directory: Path) -> tuple[list[Record], dict[str, Script]]:
    """Return a sweep of everything that can happen: failures, blocks, stops, a control."""
    draw = random.Random(3)
    records = [
        run_of(directory, "teacher", kind="stage"),
        run_of(directory, "broken", kind="stage"),
        run_of(directory, "control", control="control"),
        *(run_of(directory, f"t{i}", needs=("teacher",)) for i in range(NUM_TRIALS)),
        run_of(directory, "blocked", needs=("broken",)),
    ]
    scripts = {}
    for record in records:
        level = draw.uniform(0, 3)
        values = tuple(level + 4 - index + draw.gauss(0, 0.2) for index in range(4))
        scripts[record.id] = Script(values=values)
    scripts["broken"] = Script(values=FALLING, failures=99, kind=Kind.DIVERGED)
    scripts["t1"] = replace(scripts["t1"], failures=1, fails_after=1)
    scripts["t4"] = Script(values=(0.0, math.nan, 0.0, 0.0))
    scripts["t6"] = replace(scripts["t0"], failures=99, fails_after=2, kind=Kind.DIVERGED)
    return records, scripts


def new_study(directory: Path, records: Sequence[Record]) -> Study:
    return Study(
        sweep_of(scheduler=ASHA, max_failures=1),
        paths_in(directory),
        as_found(records, paths_in(directory)),
        limits=Limits(at_once=3, rungs=RUNGS),
    )


def outcome(directory: Path, records: Sequence[Record]) -> dict[str, Any]:
    """Return how each run has ended, the same for the same results."""
    return {
        run_id: (record.state, repr(record.stop), repr(record.evaluations))
        if record.state is State.DONE
        else (record.state, repr(record.stop))
        for run_id, record in written(directory, records).items()
    }


def finished(directory: Path, *, dies_after: Sequence[int], seed: int = 0) -> dict[str, Any]:
    """Run an eventful sweep whose driver dies so many events after each start."""
    directory.mkdir()
    records, scripts = eventful(directory)
    cluster = Cluster(scripts, seed=seed)
    for events in dies_after:
        with pytest.raises(DriverDiedError):
            cluster.run(new_study(directory, records), events=events)
    cluster.run(new_study(directory, records))
    return outcome(directory, records)


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return how an eventful sweep ends that nobody interrupts."""
    return finished(tmp_path_factory.mktemp("smooth") / "sweep", dies_after=())


def test_an_uninterrupted_sweep_has_one_of_everything(smooth: dict[str, Any]) -> None:
    ended = {run_id: state for run_id, (state, *_) in smooth.items()}
    assert set(ended.values()) == {State.DONE, State.STOPPED, State.FAILED, State.BLOCKED}
    assert ended["control"] is ended["teacher"] is State.DONE
    assert list(ended.values()).count(State.STOPPED) >= 3
    stops = {stop.partition(",")[0] for state, stop, *_ in smooth.values() if "Stop" in stop}
    assert len(stops) == 2


@pytest.mark.parametrize("seed", range(1, 6))
def test_in_whatever_order_trials_advance_they_end_the_same(
    tmp_path: Path, smooth: dict[str, Any], seed: int
) -> None:
    assert finished(tmp_path / "sweep", dies_after=(), seed=seed) == smooth


def test_a_driver_that_dies_at_any_event_changes_nothing(
    tmp_path: Path, smooth: dict[str, Any]
) -> None:
    (tmp_path / "whole").mkdir()
    records, scripts = eventful(tmp_path / "whole")
    whole = Cluster(scripts)
    whole.run(new_study(tmp_path / "whole", records))
    assert whole.num_events > 40
    for event in range(whole.num_events):
        assert finished(tmp_path / f"{event}", dies_after=[event]) == smooth, event


@pytest.mark.parametrize("events", [(7, 11, 13, 9), (20, 20), (3,) * 9])
def test_a_driver_that_dies_again_and_again_changes_nothing(
    tmp_path: Path, smooth: dict[str, Any], events: tuple[int, ...]
) -> None:
    assert finished(tmp_path / "sweep", dies_after=events, seed=2) == smooth


def test_evaluations_repeated_after_a_death_are_there_once(tmp_path: Path) -> None:
    finished(tmp_path / "sweep", dies_after=(17, 19))
    records, _ = eventful(tmp_path / "sweep")
    done = [r for r in written(tmp_path / "sweep", records).values() if r.state is State.DONE]
    assert any(len(record.attempts) > 1 for record in done)
    for record in done:
        assert [e["step"] for e in record.evaluations] == [10, 20, 30, 40]


def test_a_start_after_the_end_has_nothing_to_do(tmp_path: Path, smooth: dict[str, Any]) -> None:
    finished(tmp_path / "sweep", dies_after=())
    records, scripts = eventful(tmp_path / "sweep")
    study = new_study(tmp_path / "sweep", records)
    cluster = Cluster(scripts)
    cluster.run(study)
    assert cluster.started == []
    assert outcome(tmp_path / "sweep", records) == smooth


def test_what_failed_is_tried_again_only_where_that_is_asked_for(tmp_path: Path) -> None:
    records = [
        run_of(tmp_path, "bad", kind="stage"),
        run_of(tmp_path, "blocked", needs=("bad",)),
    ]
    scripts = {"bad": Script(values=FALLING, failures=2), "blocked": Script(values=FALLING)}
    cluster = Cluster(scripts)
    cluster.run(study_of(tmp_path, records, max_failures=1))
    known = written(tmp_path, records)
    assert states(known) == {"bad": State.FAILED, "blocked": State.BLOCKED}
    cluster.run(study_of(tmp_path, resumed(records, known, retries_failed=False)))
    assert states(written(tmp_path, records)) == states(known)
    cluster.run(study_of(tmp_path, resumed(records, known, retries_failed=True)))
    found = written(tmp_path, records)
    assert set(states(found).values()) == {State.DONE}
    assert (len(found["bad"].attempts), found["bad"].failures) == (3, 0)
