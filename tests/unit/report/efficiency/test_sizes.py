"""Each architecture of a study has one row, with what it takes to train and to keep."""

from dataclasses import replace
from pathlib import Path

import pytest
from raykd.report.efficiency.latencies import Latency
from raykd.report.efficiency.sizes import ModelRow, sizes_of
from raykd.storage.published.publishing import publishing
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import Attempt, State

from tests.sized_ledger import NUM_CORES, sized, sized_ledger, tiny_size
from tests.study_ledger import probe_of
from tests.sweeps import rich_ledger, stage_of


def rows_of(ledger: Ledger, *latencies: Latency) -> dict[str, ModelRow]:
    sizes = sizes_of(list(ledger.records.values()), latencies)
    return {row.name: row for row in sizes.rows}


def test_architectures_are_named_by_what_they_serve_as() -> None:
    rows = rows_of(sized_ledger())
    assert list(rows) == ["student of 2 arms", "student of 1 arm", "teacher small"]
    teacher = rows["teacher small"]
    assert (teacher.size, teacher.num_runs) == (tiny_size(1), 1)
    assert teacher.size.architecture == "bert, 1 layer x 32"
    assert rows["student of 2 arms"].num_runs == 4


def test_a_student_that_is_the_teachers_twin_has_one_row_with_it() -> None:
    ledger = sized_ledger()
    twins = {
        name: replace(run, models={key: tiny_size(1) for key in run.models})
        for name, run in ledger.records.items()
    }
    (row,) = rows_of(replace(ledger, records=twins)).values()
    assert row.names == ("student", "teacher small")
    assert row.num_runs == 7


def test_a_teacher_that_was_there_before_has_parameters_and_no_runs() -> None:
    ledger = sized_ledger()
    trials = {run.id: run for run in ledger.trials}
    row = rows_of(replace(ledger, records=trials))["teacher small"]
    assert row.size.total > 0
    assert (row.num_runs, row.num_bytes, row.tokens_per_second) == (0, None, None)


def test_stages_are_named_and_probes_are_left_out() -> None:
    ledger = sized_ledger()
    encoder = stage_of("encoder", values=[3.0])
    stage = sized(replace(encoder, coordinates={"stage": "encoder"}), student=tiny_size(3))
    probe = sized(probe_of(stage, "two", values={"eval/accuracy": 1.0}), student=tiny_size(4))
    rows = rows_of(replace(ledger, records={**ledger.records, stage.id: stage, probe.id: probe}))
    assert next(iter(rows)) == "student of 2 arms, stage encoder"
    assert tiny_size(4) not in [row.size for row in rows.values()]


def test_a_ledger_without_sizes_has_no_rows() -> None:
    assert sizes_of(list(rich_ledger().records.values()), ()).rows == ()


def test_training_is_as_fast_as_it_ran_and_reuse_says_nothing() -> None:
    ledger = sized_ledger()
    # Four runs of 5,000 tokens in 30 s each.
    assert rows_of(ledger)["student of 2 arms"].tokens_per_second == pytest.approx(5_000 / 30)
    records = dict(ledger.records)
    fast, lost, *others = [run for run in ledger.trials if run.models["student"] == tiny_size(3)]
    half = Attempt(started_at=0.0, ended_at=10.0, first_step=50)
    records[fast.id] = replace(fast, attempts=(half,))
    # Its driver died: nobody knows when it ended.
    records[lost.id] = replace(lost, attempts=(Attempt(started_at=0.0), *lost.attempts))
    for run in others:
        records[run.id] = replace(run, attempts=())
    row = rows_of(replace(ledger, records=records))["student of 2 arms"]
    assert row.tokens_per_second == pytest.approx(2_500 / 10)
    reused = {name: replace(run, attempts=()) for name, run in records.items()}
    rows = rows_of(replace(ledger, records=reused))
    assert [row.tokens_per_second for row in rows.values()] == [None] * 3


def test_core_hours_are_of_reserved_cores_and_shared_by_runs_of_a_process() -> None:
    ledger = sized_ledger()
    assert rows_of(ledger)["student of 2 arms"].core_seconds == 4 * 30 * NUM_CORES
    shared = {
        name: replace(run, attempts=tuple(replace(a, num_sharing=4) for a in run.attempts))
        for name, run in ledger.records.items()
    }
    row = rows_of(replace(ledger, records=shared))["student of 2 arms"]
    assert (row.core_seconds, row.gpu_seconds) == (30 * NUM_CORES, 0.0)


def test_bytes_are_those_of_the_files_of_an_exported_model(tmp_path: Path) -> None:
    ledger = sized_ledger(runs_uri=str(tmp_path))
    assert [row.num_bytes for row in rows_of(ledger).values()] == [None] * 3
    first = next(run for run in ledger.trials if run.state is State.DONE)
    with publishing(f"{first.run_uri}/model", kind="model") as publication:
        (publication.path / "model.safetensors").write_bytes(b"x" * 1_000)
        (publication.path / "config.json").write_bytes(b"{}")
    assert rows_of(ledger)["student of 2 arms"].num_bytes == 1_002


def test_latencies_are_those_of_the_machine_that_was_measured_last() -> None:
    ledger = sized_ledger()

    def latency(cpu: str, milliseconds: float, *, layers: int, tokens: int = 10) -> Latency:
        return Latency(
            model=tiny_size(layers).id,
            tokens=tokens,
            cpu=cpu,
            threads=2,
            milliseconds=milliseconds,
            num_passes=20,
            load=0.0,
        )

    known = [
        latency("old", 9.0, layers=1),
        latency("new", 1.0, layers=3),
        # Of another study's data, whose rows are longer.
        latency("old", 99.0, layers=3, tokens=99),
    ]
    sizes = sizes_of(list(ledger.records.values()), known)
    assert sizes.latency == (
        "one row of 10 tokens (the mean of the training data), float32, random weights, "
        "median, 2 threads of new"
    )
    busy = [*known, replace(known[1], load=7.5)]
    told = sizes_of(list(ledger.records.values()), busy).latency
    assert told.endswith(
        "new (which was busy, with a load of 7.5: remove latency.json to measure again)"
    )
    shown = [row.latency and row.latency.milliseconds for row in sizes.rows]
    assert shown == [1.0, None, None]
