"""What is written of a sweep is read back, on this machine and in S3, whatever is missing."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from raykd.config.yaml_text import read_yaml
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.sweep.ledger import (
    Asked,
    Ledger,
    SweepPaths,
    read_ledger,
    read_records,
    write_index,
    write_records,
)
from raykd.sweep.record import Attempt, State, Stop

from tests.sweeps import COMMAND, ledger_of, rich_ledger, trial_of, write_ledger


def test_a_ledger_with_one_of_everything_is_read_back(storage_uri: str) -> None:
    ledger = rich_ledger(uris.join(storage_uri, "rich"), is_over=False)
    write_ledger(ledger)
    found = read_ledger(ledger.uri)
    assert found == ledger
    assert list(found.records) == list(ledger.records)
    assert {record.state for record in found.records.values()} == set(State)
    assert read_ledger(f"{ledger.uri}/") == found


def test_metrics_that_are_no_numbers_are_read_back(tmp_path: Path) -> None:
    uri = str(tmp_path)
    values = {"eval/loss": math.inf, "eval/accuracy": -math.inf, "eval/other": math.nan}
    trial = trial_of({}, evaluations=({"step": 1.0, "tokens": 5.0, **values},))
    stop = Stop(rung_tokens=5, step=1, value=math.nan)
    ledger = ledger_of([replace(trial, stop=stop)], uri=uri)
    write_ledger(ledger)
    (found,) = read_ledger(uri).records.values()
    assert all(math.isnan(found.last_evaluation[name]) for name in values)
    assert (found.last_evaluation["step"], found.last_evaluation["tokens"]) == (1.0, 5.0)
    assert found.stop is not None
    assert math.isnan(found.stop.value)


def test_points_and_what_is_asked_are_read_back(tmp_path: Path) -> None:
    points = ({"teacher": "a", "weight": 0}, {"teacher": "b", "weight": 0})
    trial = replace(trial_of({}, is_control=True), points=points)
    asked = Asked(
        name="whole",
        question={"all": ["part"], "metric": None},
        parts={"part": {"with": {"control": True}}},
        asked_at=1.5,
        is_afterwards=True,
        withdrawn_at=2.5,
    )
    ledger = replace(ledger_of([trial], uri=str(tmp_path)), asked=(asked,))
    write_ledger(ledger)
    assert read_ledger(ledger.uri) == ledger
    assert trial.grid_points == points
    assert replace(trial, points=()).grid_points == ()
    assert trial_of({"teacher": "a"}).grid_points == ({"teacher": "a"},)


def test_a_ledger_from_before_there_were_questions_is_read(tmp_path: Path) -> None:
    ledger = ledger_of([trial_of({"teacher": "a"})], uri=str(tmp_path))
    write_ledger(ledger)
    paths = SweepPaths(sweep=ledger.uri)
    for path in (paths.index, *map(paths.record, ledger.records)):
        saved = json.loads(Path(path).read_text())
        for key in ("asked", "points"):
            saved.pop(key, None)
        Path(path).write_text(json.dumps(saved))
    assert read_ledger(ledger.uri) == ledger


def test_coordinates_keep_their_types(tmp_path: Path) -> None:
    uri = str(tmp_path)
    coordinates = {
        "student.init": None,
        "losses": {"cross_entropy": {"weight": "1"}},
        "layers": [0, 2],
        "rate": 0.1 + 0.2,
        "steps": 3,
        "on": True,
        "language": "日本語",
    }
    ledger = ledger_of([trial_of(coordinates)], uri=uri)
    write_ledger(ledger)
    (found,) = read_ledger(uri).trials
    assert [(v, type(v)) for v in found.coordinates.values()] == [
        (v, type(v)) for v in coordinates.values()
    ]


def test_a_ledger_with_the_former_name_of_a_field_is_read(tmp_path: Path) -> None:
    ledger = ledger_of([replace(trial_of({}), sharing_key="alike")], uri=str(tmp_path))
    write_ledger(ledger)
    (path,) = (tmp_path / "records").iterdir()
    saved = json.loads(path.read_text())
    saved["pack_key"] = saved.pop("sharing_key")
    path.write_text(json.dumps(saved))
    assert read_ledger(ledger.uri) == ledger


def test_where_no_sweep_is_that_is_said(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "gone")
    with pytest.raises(ConfigError, match="gone: holds no sweep; give the directory"):
        read_ledger(uri)


def test_records_of_another_plan_are_ignored(tmp_path: Path) -> None:
    uri = str(tmp_path)
    first, second, third = (trial_of({"x": x}) for x in (1, 2, 3))
    write_ledger(ledger_of([first, second, third], uri=uri))
    write_ledger(smaller := ledger_of([third, first], uri=uri))
    found = read_ledger(uri)
    assert found == smaller
    assert list(found.records) == [third.id, first.id]
    paths = SweepPaths(sweep=uri)
    uris.write_bytes(uris.join(uri, "records", "notes.txt"), b"no record")
    assert read_ledger(uri) == smaller
    assert set(read_records(paths, [second.id, "unknown"])) == {second.id}


def test_a_driver_that_died_before_its_records_leaves_a_ledger_that_is_read(
    storage_uri: str,
) -> None:
    first, second = (trial_of({"x": x}) for x in (1, 2))
    paths = SweepPaths(sweep=storage_uri)
    write_index(paths, sweep={"name": "study"}, run_ids=[first.id, second.id])
    assert read_ledger(storage_uri).records == {}
    write_records(paths, [second])
    assert list(read_ledger(storage_uri).records) == [second.id]


def test_the_sweep_file_and_the_index_are_beside_each_other(tmp_path: Path) -> None:
    uri = str(tmp_path)
    ledger = ledger_of([trial_of({})], uri=uri)
    write_ledger(ledger)
    assert uris.list_names(uri) == ["index.json", "records", "sweep.yaml"]
    paths = SweepPaths(sweep=uri)
    assert read_yaml(io.BytesIO(uris.read_bytes(paths.config))) == ledger.sweep
    index = json.loads(uris.read_bytes(paths.index))
    runs = {"runs": list(ledger.records), "command": COMMAND, "asked": [], "is_open": False}
    assert index == {"sweep": ledger.sweep, **runs}
    assert uris.list_names(f"{uri}/records") == [f"{i}.json" for i in ledger.records]


def test_what_follows_from_a_record() -> None:
    failed = Attempt(started_at=1.0, ended_at=3.5, error_class="ModelError", error="why")
    killed = Attempt(started_at=4.0)
    trial = replace(trial_of({}), attempts=(failed, killed, failed), forgiven_failures=1)
    assert (failed.seconds, killed.seconds) == (2.5, None)
    assert (trial.failures, trial.error) == (1, "why")
    assert (trial.last_evaluation, trial.tokens) == ({}, 0)
    assert not trial.is_reused
    assert replace(trial, attempts=()).is_reused
    assert not replace(trial, attempts=(), state=State.WAITING).is_reused
    assert trial_of({}, is_control=True).is_control


@pytest.mark.parametrize(
    ("state", "is_over"),
    [(s, s not in (State.WAITING, State.RUNNING)) for s in State],
)
def test_a_sweep_is_over_when_every_run_has_ended(state: State, is_over: bool) -> None:
    records = [trial_of({"x": 1}), replace(trial_of({"x": 2}), state=state)]
    ledger: Ledger = ledger_of(records)
    assert ledger.is_over == is_over


def test_a_sweep_is_not_over_while_results_are_to_decide_on_further_runs(tmp_path: Path) -> None:
    ledger = ledger_of([trial_of({"x": 1}), trial_of({"x": 2})], uri=str(tmp_path))
    write_ledger(ledger)
    assert read_ledger(ledger.uri).is_over
    # Whether a driver lives or not: the next one makes the plan.
    write_ledger(replace(ledger, is_open=True))
    assert not read_ledger(ledger.uri).is_over
    # It has died between the index and the record of a run that follows.
    write_ledger(replace(ledger, uri=f"{tmp_path}/other"))
    uris.delete(SweepPaths(sweep=f"{tmp_path}/other").record(ledger.trials[1].id))
    assert not read_ledger(f"{tmp_path}/other").is_over
