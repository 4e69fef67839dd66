"""A study whose driver is killed anywhere ends as if it had not been."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.runs.retry import FailureKind
from raykd.sweep.record import Record, State
from raykd.sweep.study.resume import resumed
from raykd.sweep.study.study import Limits, Study

from tests.unit.sweep.study.simulator import (
    Cluster,
    DriverDiedError,
    Script,
    as_found,
)
from tests.unit.sweep.study.studies import (
    ASHA,
    FALLING,
    RUNGS,
    paths_in,
    probe_of,
    run_of,
    states,
    study_of,
    sweep_of,
    written,
)

NUM_TRIALS = 7
PROBED = ("control", "t1", "t6", "blocked")
"""Trials whose models are scored half way and at the end: one fails once, one stops early."""


def eventful(directory: Path) -> tuple[list[Record], dict[str, Script]]:
    """Return a sweep of everything that can happen: failures, blocks, stops, a control, probes."""
    draw = random.Random(3)
    records = [
        run_of(directory, "encoder", kind="stage"),
        run_of(directory, "teacher", kind="stage", needs=("encoder",)),
        run_of(directory, "broken", kind="stage"),
        run_of(directory, "control", control="control"),
        *(run_of(directory, f"t{i}", needs=("teacher",)) for i in range(NUM_TRIALS)),
        run_of(directory, "blocked", needs=("broken",)),
    ]
    records += [
        probe_of(directory, f"{trial}@{step}", trial, step=step)
        for trial in PROBED
        for step in (20, 40)
    ]
    scripts = {}
    for record in records:
        level = draw.uniform(0, 3)
        values = tuple(level + 4 - index + draw.gauss(0, 0.2) for index in range(4))
        scripts[record.id] = Script(values=values)
    scripts["broken"] = Script(values=FALLING, failures=99, kind=FailureKind.DIVERGED)
    scripts["t1"] = replace(scripts["t1"], failures=1, fails_after=1)
    scripts["t4"] = Script(values=(0.0, math.nan, 0.0, 0.0))
    scripts["t6"] = replace(scripts["t0"], failures=99, fails_after=2, kind=FailureKind.DIVERGED)
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
    assert ended["control@20"] is ended["control@40"] is State.DONE
    assert (ended["t6@40"], ended["blocked@40"]) == (State.STOPPED, State.BLOCKED)
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
