"""The files of a report can be read by others, whatever is in the ledger."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from raykd import strict_json
from raykd.report.pairing import pairing_of
from raykd.report.summary import summarise
from raykd.report.tables import evaluations_table, parquet, trials_table
from raykd.report.write import write_report
from raykd.storage import uris
from raykd.sweep.record import State

from tests.answered import answered_summary
from tests.sweeps import (
    arm_and_control,
    evaluations_of,
    ledger_of,
    many_trials,
    rich_ledger,
    trial_of,
)


def read(table: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(parquet(table))).to_pylist()
    return rows


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_trials_are_one_row_each_with_coordinates_and_final_metrics() -> None:
    ledger = rich_ledger()
    rows = {row["id"]: row for row in read(trials_table(pairing_of(ledger)))}
    assert list(rows) == [trial.id for trial in ledger.trials]
    trial = next(t for t in ledger.trials if t.coordinates.get("quality") == 0.25)
    row = rows[trial.id]
    assert row["label"] == "teacher=strong quality=0.25 weight=0.25 init=none"
    assert row["coordinate/teacher"] == "strong"
    assert row["coordinate/losses.forward_kl.weight"] == "0.25"
    assert row["coordinate/student.init"] == "null"
    assert row["control"] == trial.control
    assert row["eval/loss"] == trial.last_evaluation["eval/loss"]
    assert row["eval/teacher/loss"] == 4.0
    assert (row["state"], row["seed"], row["step"], row["tokens"]) == ("done", 1, 100, 5_000)
    assert (row["student_flops"], row["teacher_flops"]) == (3e6, 1e6)
    assert (row["seconds"], row["num_attempts"]) == (30.0, 1)
    control = rows[trial.control or ""]
    assert control["is_control"]
    assert control["coordinate/teacher"] is None
    failed = next(row for row in rows.values() if row["state"] == "failed")
    assert failed["error"] == "step 61: loss is nan"


def test_the_summary_says_what_was_asked_and_names_the_arms_of_every_answer(
    tmp_path: Path,
) -> None:
    summary = answered_summary()
    gone = replace(summary.answers[-1], weights={"an-arm-that-is-gone": 1.0})
    summary = replace(summary, answers=(*summary.answers[:-1], gone))
    write_report(rich_ledger(), summary, directory_uri=str(tmp_path))
    saved = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    first, *_, last = saved["answers"]
    assert len(saved["answers"]) == len(summary.answers)
    assert (first["name"], first["verdict"], first["level"]) == ("strong-helps", "yes", 0.95)
    # As in a file: spelt so, and without what is left out there.
    assert first["question"] == {
        "expect": "better",
        "claim": "A fully trained teacher helps its student.",
        "source": "Weak teachers, 2023",
        "compare": {"quality": 1.0, "init": "none"},
        "with": {"control": True},
        "detect": 0.1,
    }
    assert [(arm["label"], arm["weight"]) for arm in first["arms"]] == [
        ("teacher=strong quality=1 weight=1 init=none", 1.0),
        ("control init=none", -1.0),
    ]
    assert first["estimate"] == pytest.approx(sum(first["differences"].values()) / 4)
    assert (first["p"], first["adjusted_p"]) == (1e-4, 6e-4)
    assert last["arms"] == [
        {"id": "an-arm-that-is-gone", "label": "an-arm-that-is-gone", "weight": 1.0}
    ]
    keys = list(saved)
    assert keys.index("answers") < keys.index("rule") < keys.index("arms")


def test_evaluations_are_one_row_each_those_of_stages_too() -> None:
    ledger = rich_ledger()
    rows = read(evaluations_table(ledger))
    assert len(rows) == sum(len(record.evaluations) for record in ledger.records.values())
    stage = [row for row in rows if row["kind"] == "stage"]
    assert [row["eval/loss"] for row in stage] == [4.0, 3.4, 3.1, 2.9]
    assert [row["step"] for row in stage] == [25, 50, 75, 100]
    assert stage[0]["flops"] == 25 * 50 * 1_800


def test_a_sweep_without_trials_leaves_tables_without_rows() -> None:
    ledger = ledger_of([])
    assert read(trials_table(pairing_of(ledger))) == []
    assert read(evaluations_table(ledger)) == []


def test_the_summary_is_strict_json_with_null_for_what_is_not_finite() -> None:
    records = arm_and_control({"weight": math.inf}, own=[1.0, math.nan], control=[3.0, math.inf])
    text = strict_json.file_content(summarise(ledger_of(records)))
    found = json.loads(text, parse_constant=refuse)
    control, own = found["arms"]
    assert own["coordinates"] == {"weight": None}
    assert own["values"] == {"1": 1.0}
    assert own["comparison"]["verdict"] == "inconclusive"
    assert control["states"] == {"done": 2}


def test_all_files_are_written_and_replaced(storage_uri: str) -> None:
    directory_uri = uris.join(storage_uri, "report")
    for ledger in (rich_ledger(is_over=False), rich_ledger()):
        summary = summarise(ledger)
        page_uri = write_report(ledger, summary, directory_uri=directory_uri)
        assert page_uri == uris.join(directory_uri, "report.html")
    assert uris.list_names(directory_uri) == [
        "evaluations.parquet",
        "manifest.json",
        "report.html",
        "summary.json",
        "trials.parquet",
    ]
    found = json.loads(uris.read_bytes(uris.join(directory_uri, "summary.json")))
    assert (found["is_over"], found["states"]["done"]) == (True, 54)
    table = pq.read_table(io.BytesIO(uris.read_bytes(f"{directory_uri}/trials.parquet")))
    assert table.num_rows == 58


def test_a_large_sweep_has_every_trial_and_evaluation_in_its_tables() -> None:
    ledger = many_trials(1_000)
    summary = summarise(ledger)
    assert (len(summary.arms), summary.num_trials) == (200, 1_000)
    assert trials_table(pairing_of(ledger)).num_rows == 1_000
    assert evaluations_table(ledger).num_rows == 20_000


def test_a_trial_that_waits_has_a_row_without_metrics() -> None:
    done = trial_of({"weight": 1}, evaluations=evaluations_of([3.0]))
    waiting = trial_of({"weight": 2}, state=State.WAITING)
    _, row = read(trials_table(pairing_of(ledger_of([done, waiting]))))
    assert (row["state"], row["eval/loss"], row["tokens"]) == ("waiting", None, 0)
