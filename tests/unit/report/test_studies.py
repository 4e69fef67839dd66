"""Stages, tuned values and probes of a study, in the summary and in all that shows it."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq
import pytest
from raykd import strict_json
from raykd.report.html import page
from raykd.report.html.document import state_line
from raykd.report.pairing import pairing_of
from raykd.report.probes import ProbeCell, column_title, metric_words
from raykd.report.summary import Summary, summarise
from raykd.report.tables import evaluations_table, parquet, trials_table
from raykd.report.terminal import WIDTH, terminal_report
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import Record, State
from rich.console import Console

from tests.study_ledger import RATE, WEIGHT, probe_of, study_ledger
from tests.sweeps import driver, rich_ledger

TWO, FOUR, MEAN = "probe/two/accuracy", "probe/four/accuracy", "probe/mean"


@pytest.fixture(scope="module")
def study() -> Summary:
    return summarise(study_ledger())


def changed(ledger: Ledger, change: Callable[[Record], Record]) -> Ledger:
    return replace(ledger, records={r.id: change(r) for r in ledger.records.values()})


def cells(summary: Summary, label: str) -> dict[str, ProbeCell | None]:
    row = next(row for row in summary.probes.rows if row.label == label)
    return dict(zip(map(column_title, summary.probes.columns), row.cells, strict=True))


def shown(summary: Summary) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, highlight=False)
    console.print(terminal_report(summary, page_uri="report.html"))
    return [" ".join(line.split()) for line in stream.getvalue().splitlines()]


def test_runs_are_counted_by_their_kind(study: Summary) -> None:
    assert study.states == {State.DONE: 9}
    assert study.stage_states == {State.DONE: 2}
    assert study.tuning_states == {State.DONE: 8, State.FAILED: 1}
    assert study.probe_states == {State.DONE: 61, State.FAILED: 1}
    assert list(study.other_states) == ["stages", "tuning runs", "probes"]
    assert list(summarise(rich_ledger()).other_states) == ["teachers' runs"]


def test_arms_are_compared_by_a_probe_as_by_any_metric(study: Summary) -> None:
    control, one, two = study.arms
    assert list(control.values.values()) == pytest.approx([0.71, 0.72, 0.73])
    assert one.comparison is not None
    assert two.comparison is not None
    assert list(one.comparison.differences.values()) == pytest.approx([0.101, 0.102, 0.103])
    assert two.comparison.mean == pytest.approx(0.204)
    assert (one.comparison.verdict, two.comparison.verdict) == ("better", "better")
    assert summarise(study_ledger(metric="eval/loss")).arms[1].mean == pytest.approx(1.9)


def test_a_pair_without_all_of_its_probes_is_missing() -> None:
    comparison = summarise(study_ledger(metric=FOUR)).arms[2].comparison
    assert comparison is not None
    assert list(comparison.differences.values()) == pytest.approx([0.101, 0.102])
    assert comparison.reason == "1 of 3 pairs missing: 1 not fully probed"
    # The mean over the probes waits for each of them.
    comparison = summarise(study_ledger(metric=MEAN)).arms[2].comparison
    assert comparison is not None
    assert list(comparison.differences) == [1, 2]


def test_models_are_set_beside_one_another_by_probe(study: Summary) -> None:
    assert [(row.kind, row.label) for row in study.probes.rows] == [
        ("stage", "stage encoder"),
        ("stage", "teacher small"),
        ("control", "control"),
        ("arm", "weight=1"),
        ("arm", "weight=2"),
    ]
    stage = cells(study, "stage encoder")
    assert list(stage) == ["two accuracy", "four accuracy", "mean", "two accuracy at 0.1"]
    at_end = stage["two accuracy"]
    assert at_end is not None
    assert at_end.mean == pytest.approx(0.6)
    assert (at_end.standard_deviation, at_end.difference, at_end.num_runs) == (None, None, 1)
    # (0.6 - 0.5) / 0.5 = 0.2, and 0.3 from a floor of 0.
    mean = stage["mean"]
    assert mean is not None
    assert mean.mean == pytest.approx(0.25)
    assert stage["two accuracy at 0.1"] is None

    arm = cells(study, "weight=2")
    at_end, half, early = arm["two accuracy"], arm["four accuracy"], arm["two accuracy at 0.1"]
    assert at_end is not None
    assert half is not None
    assert early is not None
    assert at_end.num_runs == 3
    assert at_end.mean == pytest.approx(0.924)
    assert at_end.standard_deviation == pytest.approx(0.012)
    assert at_end.difference == pytest.approx(0.204)
    assert half.num_runs == 2
    assert half.mean == pytest.approx(0.459)
    assert half.difference == pytest.approx(0.1015)
    assert early.mean == pytest.approx(0.6)
    assert early.difference == pytest.approx(0)


def test_a_curve_of_a_probe_has_a_point_at_each_fraction(study: Summary) -> None:
    points = study.curves[1].points
    assert [(point.step, point.num_trials) for point in points] == [(10, 3), (100, 3)]
    assert [point.mean for point in points] == pytest.approx([0.6, 0.822])
    # Evaluations that are there for probes alone are no points of other metrics.
    by_loss = summarise(study_ledger(metric="eval/loss"))
    assert [point.step for point in by_loss.curves[1].points] == [50, 100]
    assert [target.steps for target in by_loss.to_target] == [50, 50]
    assert [target.steps for target in study.to_target] == [100, 100]


def test_the_score_of_a_teacher_is_that_of_its_own_probes_at_its_quality() -> None:
    teacher = study_ledger().stages[1]

    def with_teacher(record: Record) -> Record:
        if record.kind != "trial" or record.is_control:
            return record
        more = {"teacher": "small", "quality": 1.0}
        return replace(record, coordinates=record.coordinates | more, needs=(teacher.id,))

    ledger = changed(study_ledger(), with_teacher)
    early = [
        probe_of(teacher, "two", at=0.1, seed=seed, values={"eval/accuracy": 0.3})
        for seed in (1, 2)
    ]
    records = ledger.records | {probe.id: probe for probe in early}
    (quality,) = summarise(replace(ledger, records=records)).qualities
    assert quality.score == pytest.approx(0.95)
    assert quality.control_mean == pytest.approx(0.72)
    assert [d.mean for d in quality.differences] == pytest.approx([0.102, 0.204])


@pytest.mark.parametrize("metric", ["accuracy", "accuracy/de", "test/accuracy"])
def test_metrics_of_a_probe_are_no_languages_but_its_languages_are(metric: str) -> None:
    overall = metric.removesuffix("/de")
    key = overall if overall.startswith("test") else f"eval/{overall}"
    more = {f"{key}/de": 0.5, f"{key}/en": 0.7, key: 0.6, "eval/loss": 1.0}

    def with_languages(record: Record) -> Record:
        if record.kind != "probe":
            return record
        return replace(record, evaluations=tuple(e | more for e in record.evaluations))

    ledger = study_ledger(metric=f"probe/two/{metric}")
    languages = summarise(changed(ledger, with_languages)).languages
    assert (languages.metric, languages.names) == (f"probe/two/{overall}", ("de", "en"))
    assert [cell.mean for cell in languages.rows[0].cells if cell] == pytest.approx([0.5, 0.7])
    assert summarise(ledger).languages.names == ()


def test_what_was_tried_and_chosen_is_told_for_each_group(study: Summary) -> None:
    tuning = study.tuning
    assert tuning is not None
    assert (tuning.metric, tuning.mode) == ("eval/loss", "min")
    chosen = {group.label: group.choice.chosen for group in tuning.groups}
    assert chosen == {"control": {RATE: 0.1}, "weight=1": {RATE: 0.2}, "weight=2": {RATE: 0.1}}
    assert [group.choice.edges for group in tuning.groups] == [(RATE,), (), (RATE,)]
    means = [value.mean for value in tuning.groups[0].choice.tried]
    assert means == [2.4, 2.5, None]
    assert summarise(rich_ledger()).tuning is None


def test_arms_that_agree_in_some_coordinates_are_one_group() -> None:
    ledger = study_ledger()
    sweep = ledger.sweep | {"tune": ledger.sweep["tune"] | {"per": ["other"]}}
    tuning = summarise(replace(ledger, sweep=sweep)).tuning
    assert tuning is not None
    assert [(group.label, len(group.choice.tried)) for group in tuning.groups] == [
        ("control", 3),
        ("base", 3),
    ]
    assert tuning.groups[1].choice.tried[0].num_runs == 2


def test_each_kind_of_run_has_its_cost_and_all_of_them_make_the_total(study: Summary) -> None:
    assert [(cost.kind, cost.label, cost.num_runs) for cost in study.costs] == [
        ("stage", "stage encoder", 1),
        ("stage", "teacher small", 1),
        ("tuning", "tuning", 9),
        ("arm", "control", 3),
        ("arm", "weight=1", 3),
        ("arm", "weight=2", 3),
        ("probe", "probe two", 40),
        ("probe", "probe four", 22),
    ]
    assert sum(cost.num_runs for cost in study.costs) == study.total_cost.num_runs
    for field in ("tokens", "student_flops", "teacher_flops", "seconds"):
        parts = sum(getattr(cost, field) for cost in study.costs)
        assert parts == pytest.approx(getattr(study.total_cost, field))
    # 61 probes of 500 tokens, 8 tuning runs of 5,000.
    assert sum(cost.tokens for cost in study.costs[6:]) == 61 * 500
    assert study.costs[2].tokens == 8 * 5_000


def test_runs_of_all_kinds_that_failed_are_told(study: Summary) -> None:
    assert [(event.label, event.text) for event in study.events] == [
        ("tuning learning_rate=0.4 control seed=101", "DataError: no such task"),
        ("probe four seed=2 at 1 of weight=2 seed=3", "DataError: no such task"),
    ]


def test_a_probe_that_is_blocked_names_the_run_that_it_scores() -> None:
    ledger = study_ledger()
    trial = ledger.trials[-1]

    def blocked(record: Record) -> Record:
        if record.id == trial.id:
            return replace(record, state=State.FAILED)
        return replace(record, state=State.BLOCKED) if record.probed == trial.id else record

    events = [e for e in summarise(changed(ledger, blocked)).events if e.kind == "blocked"]
    assert len(events) == 6
    assert {event.text for event in events} == {"needs weight=2 seed=3"}


def test_a_log_has_what_was_chosen_the_probes_and_the_cost_of_each_kind(study: Summary) -> None:
    lines = shown(study)
    for line in (
        "control learning_rate=0.1 1 2.4000 chosen",
        "learning_rate=0.4 1 - 1 of 1 failed",
        "2 arms: learning_rate at the edge of the values: the best may lie beyond",
        "model two accuracy four accuracy mean two accuracy at 0.1",
        "stage encoder 0.6000 0.3000 0.2500 -",
        "weight=2 0.9240 ± 0.0120 0.4590 ± 0.0042 0.6475 ± 0.0106 0.6000 ± 0.0000",
        "tuning 9 0 40 k 30 M 20.0% 4 min - -",
        "probes 62 0 30.5 k 3.05 M 0.0% 2 min - -",
    ):
        assert line in lines
    status = " ".join(lines[:2])
    assert (
        "2 of 2 stages done, 8 of 9 tuning runs done, 1 failed of them, 61 of 62 probes" in status
    )
    without = " ".join(shown(summarise(rich_ledger())))
    assert "probe" not in without
    assert "chosen" not in without


def test_the_page_has_them_too_and_names_the_axis_in_words(study: Summary) -> None:
    text = page(study, refresh_seconds=None)
    for part in (
        'href="#probes"',
        'href="#tuning"',
        "accuracy of probe two</text>",
        "0.924 ± 0.012<small>+0.204</small>",
        "chosen<small>learning_rate at the edge of the values: the best may lie beyond</small>",
        "1 of 1 failed",
        "All probes",
        "<dt>Tuning runs</dt><dd>8 done, 1 failed</dd>",
    ):
        assert part in text
    without = page(summarise(rich_ledger()), refresh_seconds=None)
    assert 'id="probes"' not in without
    assert 'id="tuning"' not in without
    assert "<dt>Teachers trained</dt><dd>1 done, 1 failed</dd>" in without


def test_before_values_are_chosen_there_may_be_no_trials_yet() -> None:
    ledger = study_ledger()
    early: dict[str, Record] = {
        r.id: replace(r, state=State.RUNNING, evaluations=())
        for r in ledger.records.values()
        if r.kind in ("stage", "tuning")
    }
    summary = summarise(replace(ledger, records=early, lease=driver()))
    assert state_line(summary) == "In progress: no trials yet"
    assert "weight=1 learning_rate=0.1 1 - not over" in shown(summary)
    assert "not over" in page(summary, refresh_seconds=5)


def test_the_files_have_chosen_values_scores_of_probes_and_names_of_all_runs(
    study: Summary,
) -> None:
    def rows_of(table: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(parquet(table))).to_pylist()
        return rows

    pairing = pairing_of(study_ledger())
    trial = rows_of(trials_table(pairing))[3]
    assert (trial[f"coordinate/{WEIGHT}"], trial[f"tuned/{RATE}"]) == ("1", "0.2")
    assert trial[TWO] == pytest.approx(0.811)
    rows = rows_of(evaluations_table(pairing.ledger))
    assert {row["kind"] for row in rows} == {"stage", "tuning", "trial", "probe"}
    probe = next(row for row in rows if row["label"] == "probe two seed=2 at 1 of weight=1 seed=1")
    assert probe["probed"] == trial["id"]
    early = next(row for row in rows if row["id"] == trial["id"] and row["step"] == 10)
    assert (early["eval/loss"], early[TWO]) == (None, pytest.approx(0.6))
    written = json.loads(strict_json.file_content(study))
    assert written["tuning"]["groups"][1]["choice"]["chosen"] == {RATE: 0.2}
    assert written["probes"]["rows"][0]["cells"][3] is None


def test_metrics_are_told_in_words() -> None:
    assert metric_words("eval/loss") == "eval/loss"
    assert metric_words(TWO) == "accuracy of probe two"
    assert metric_words(MEAN) == "mean over the probes"
