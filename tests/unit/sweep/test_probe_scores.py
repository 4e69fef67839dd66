"""A probed run has the mean scores of its probes at the step of the model, once all are there."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from raykd.sweep.probe_scores import with_probe_metrics
from raykd.sweep.record import Record, State

from tests.study_ledger import named_stage_of, probe_of
from tests.sweeps import evaluations_of, stage_of, trial_of

ACCURACY = "eval/accuracy"


def probe(**changes: Any) -> dict[str, Any]:
    return {"run": "probe.yaml", "seeds": [1], "at": [1.0], "of": ["trials"], **changes}


def scored(probes: dict[str, Any], records: Iterable[Record]) -> dict[str, Record]:
    return with_probe_metrics({"probes": probes}, {record.id: record for record in records})


def trial() -> Record:
    return trial_of({"weight": 1}, evaluations=evaluations_of([3.0, 2.0]))


def test_the_last_evaluation_of_all_seeds_is_averaged_at_the_step_of_the_model() -> None:
    run = trial()
    values = {ACCURACY: 0.8, "eval/accuracy/de": 0.5, "test/accuracy": 0.6, "eval/loss": 1.0}
    records = [
        run,
        probe_of(run, "sst2", values=values, seed=1),
        probe_of(run, "sst2", values=values | {ACCURACY: 0.9, "extra": 1.0}, seed=2),
    ]
    found = scored({"sst2": probe(seeds=[1, 2])}, records)
    first, last = found[run.id].evaluations
    assert first == run.evaluations[0]
    assert last == run.evaluations[1] | {
        "probe/sst2/accuracy": pytest.approx(0.85),
        "probe/sst2/accuracy/de": 0.5,
        "probe/sst2/test/accuracy": 0.6,
        "probe/sst2/loss": 1.0,
        "probe/mean": pytest.approx(0.85),
    }
    assert [found[r.id] for r in records[1:]] == records[1:]
    # Once more changes nothing.
    assert scored({"sst2": probe(seeds=[1, 2])}, found.values()) == found


@pytest.mark.parametrize(
    "state", [State.WAITING, State.RUNNING, State.FAILED, State.BLOCKED, None]
)
def test_a_probe_counts_only_when_it_is_done_with_all_its_seeds(state: State | None) -> None:
    run = trial()
    other = probe_of(run, "sst2", seed=2, values={ACCURACY: 0.2}, state=state or State.DONE)
    records = [run, probe_of(run, "sst2", values={ACCURACY: 0.8}), *([other] if state else [])]
    assert scored({"sst2": probe(seeds=[1, 2])}, records)[run.id] == run


def test_the_mean_scales_each_probe_from_its_floor_and_waits_for_all() -> None:
    run = trial()
    probes = {"two": probe(floor=0.5), "four": probe(floor=0.25, metric="eval/f1")}
    two = probe_of(run, "two", values={ACCURACY: 0.75})
    four = probe_of(run, "four", values={ACCURACY: 0.9, "eval/f1": 0.85})
    last = scored(probes, [run, two, four])[run.id].last_evaluation
    # (0.75 - 0.5) / 0.5 = 0.5, and (0.85 - 0.25) / 0.75 = 0.8.
    assert last["probe/mean"] == pytest.approx(0.65)
    # Also where nothing is known of the other one's run.
    for others in ([], [replace(four, state=State.RUNNING)]):
        last = scored(probes, [run, two, *others])[run.id].last_evaluation
        assert last["probe/two/accuracy"] == 0.75
        assert "probe/mean" not in last


def test_a_model_on_the_way_has_the_mean_of_the_probes_asked_there() -> None:
    run = trial()
    probes = {"often": probe(at=[0.1, 1.0]), "late": probe(), "teacher": probe(of=["teachers"])}
    early = probe_of(run, "often", at=0.1, values={ACCURACY: 0.4})
    first, *others = scored(probes, [run, early])[run.id].evaluations
    # 100 steps of 50 tokens; there was no evaluation.
    assert first == {"step": 10, "tokens": 500, "probe/often/accuracy": 0.4, "probe/mean": 0.4}
    assert tuple(others) == run.evaluations


def test_a_run_without_evaluations_has_those_of_its_probes_in_order_of_steps() -> None:
    run = trial_of({}, evaluations=())
    probes = {"x": probe(at=[0.5, 0.25, 1.0])}
    records = [
        run,
        *(probe_of(run, "x", at=at, values={ACCURACY: at}) for at in (0.5, 0.25, 1.0)),
    ]
    evaluations = scored(probes, records)[run.id].evaluations
    assert [(e["step"], e["tokens"], e["probe/x/accuracy"]) for e in evaluations] == [
        (25, 1_250, 0.25),
        (50, 2_500, 0.5),
        (100, 5_000, 1.0),
    ]


def test_teachers_and_stages_have_the_mean_of_their_own_probes() -> None:
    teacher, stage = stage_of("small", values=[3.0]), named_stage_of("encoder")
    probes = {"a": probe(of=["teachers", "stages"]), "b": probe(of=["stages"])}
    records = [
        *(teacher, stage),
        probe_of(teacher, "a", values={ACCURACY: 0.4}),
        probe_of(stage, "a", values={ACCURACY: 0.6}),
    ]
    found = scored(probes, records)
    assert found[teacher.id].last_evaluation["probe/mean"] == 0.4
    assert "probe/mean" not in found[stage.id].last_evaluation


def test_a_teacher_that_is_a_stage_too_waits_for_the_probes_of_both() -> None:
    teacher = stage_of("small", values=[3.0])
    waiting = probe_of(teacher, "b", state=State.WAITING)
    records = [teacher, probe_of(teacher, "a", values={ACCURACY: 0.4}), waiting]
    found = scored({"a": probe(of=["teachers"]), "b": probe(of=["stages"])}, records)
    assert found[teacher.id].last_evaluation["probe/a/accuracy"] == 0.4
    assert "probe/mean" not in found[teacher.id].last_evaluation


def test_a_score_that_is_no_number_makes_means_that_are_none() -> None:
    run = trial()
    values = {1: math.inf, 2: -math.inf}
    probes = [
        probe_of(run, "x", seed=seed, values={ACCURACY: value}) for seed, value in values.items()
    ]
    last = scored({"x": probe(seeds=[1, 2])}, [run, *probes])[run.id].last_evaluation
    assert math.isnan(last["probe/x/accuracy"])
    assert math.isnan(last["probe/mean"])


def test_ledgers_of_before_and_probes_that_are_no_longer_asked_change_nothing() -> None:
    run = trial()
    records = {r.id: r for r in (run, probe_of(run, "x", values={ACCURACY: 0.5}))}
    assert with_probe_metrics({"name": "study"}, records) == records
    assert with_probe_metrics({"probes": {}}, records) == records
    lonely = {id_: r for id_, r in records.items() if id_ != run.id}
    assert with_probe_metrics({"probes": {"x": probe()}}, lonely) == lonely
