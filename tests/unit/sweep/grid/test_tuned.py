"""Tuned keys: each arm and its control are tried with every value, and go on with the best."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import plain
from raykd.errors import ConfigError
from raykd.sweep.ledger import SweepPaths, write_index, write_records
from raykd.sweep.plan.plan import SweepPlan, plan_sweep
from raykd.sweep.record import Record, State

from tests.sweep_files import WEIGHT, sweep_in, write_runs

RATE = "optimizer.learning_rate"
INIT = "student.init"
TUNE: dict[str, Any] = {"values": {RATE: [0.01, 0.1]}, "seeds": [101, 102], "per": [INIT]}
STARTS: dict[str, Any] = {INIT: {"grid": [None, {"remap": {}}]}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sweep")
    write_runs(directory)
    return directory


def plan_of(directory: Path, known: dict[str, Record] | None = None, **changes: Any) -> SweepPlan:
    given = {"search": STARTS, "seeds": [1, 2], "tune": TUNE} | changes
    return plan_sweep(sweep_in(directory, **given), known=known or {})


def ended(plan: SweepPlan, loss: Callable[[Record], float]) -> dict[str, Record]:
    """Return the runs of a plan as if all were done, each with a loss."""
    return {
        record.id: replace(
            record,
            state=State.DONE,
            evaluations=({"step": 6, "tokens": 90, "eval/loss": loss(record)},),
        )
        for record in plan.records
    }


def better_from_large_rates_for_copies(record: Record) -> float:
    is_copy = bool(record.coordinates.get(INIT))
    return 1.0 if (record.tuned.get(RATE) == 0.1) == is_copy else 2.0


def test_arms_and_controls_are_tried_with_each_value_before_any_trial(directory: Path) -> None:
    plan = plan_of(directory)
    # Two starts, with the teacher's loss and without, two values, two seeds.
    kinds = Counter(record.kind for record in plan.records)
    assert kinds == {"stage": 1, "tuning": 16}
    assert sum(record.is_control for record in plan.records) == 8
    assert {run.record.seed for run in plan.tuning} == {101, 102}
    assert (len(plan.trials), plan.is_open) == (8, True)


def test_each_start_goes_on_with_its_best_value(directory: Path) -> None:
    known = ended(plan_of(directory), better_from_large_rates_for_copies)
    plan = plan_of(directory, known)
    assert not plan.is_open
    trials = [record for record in plan.records if record.kind == "trial"]
    assert len(trials) == 8
    for trial in trials:
        rate = 0.1 if trial.coordinates[INIT] else 0.01
        assert trial.tuned == {RATE: rate}
        assert trial.config["optimizer"]["learning_rate"] == rate
        assert trial.seed in (1, 2)
        assert trial.control in {t.id for t in trials if t.is_control and t.seed == trial.seed}


def test_a_control_goes_on_with_a_value_of_its_own(directory: Path) -> None:
    def loss(record: Record) -> float:
        return 1.0 if (record.tuned.get(RATE) == 0.1) == record.is_control else 2.0

    plan = plan_of(directory, ended(plan_of(directory), loss))
    trials = {record.id: record for record in plan.records if record.kind == "trial"}
    rates = {t.is_control: t.tuned[RATE] for t in trials.values()}
    assert rates == {True: 0.1, False: 0.01}
    assert all(trials[t.control or ""].is_control for t in trials.values())


def test_nothing_is_chosen_while_a_run_is_on_its_way(directory: Path) -> None:
    known = ended(plan_of(directory), better_from_large_rates_for_copies)
    last = list(known)[-1]
    known[last] = replace(known[last], state=State.RUNNING)
    assert plan_of(directory, known).is_open


def test_a_value_that_is_added_is_tried_before_anything_goes_on(directory: Path) -> None:
    known = ended(plan_of(directory), better_from_large_rates_for_copies)
    wider = TUNE | {"values": {RATE: [0.01, 0.1, 0.2]}}
    plan = plan_of(directory, known, tune=wider)
    assert plan.is_open
    assert len(plan.tuning) == 24


def test_nothing_is_chosen_before_a_failed_run_is_tried_again(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path), search=STARTS, seeds=[1, 2], tune=TUNE)
    plan = plan_sweep(sweep)
    records = ended(plan, better_from_large_rates_for_copies)
    failed = plan.tuning[0].record
    records[failed.id] = replace(failed, state=State.FAILED)
    paths = SweepPaths(sweep=plan.uri)
    write_index(paths, sweep=plain(sweep), run_ids=list(records))
    write_records(paths, records.values())
    assert not plan_sweep(sweep).is_open
    again = plan_sweep(sweep, retries_failed=True)
    assert again.is_open
    assert {record.kind for record in again.records} == {"stage", "tuning"}


def test_an_arm_whose_values_all_failed_is_left_out(directory: Path) -> None:
    known = ended(plan_of(directory), better_from_large_rates_for_copies)
    copies = {i for i, r in known.items() if r.kind == "tuning" and r.coordinates[INIT]}
    failed = {i: replace(known[i], state=State.FAILED) for i in copies}
    plan = plan_of(directory, known | failed)
    assert not plan.is_open
    trials = [record for record in plan.records if record.kind == "trial"]
    assert [t.coordinates[INIT] for t in trials] == [None] * 4


def test_a_weight_is_tuned_for_arms_alone_as_controls_have_none(directory: Path) -> None:
    tune = {"values": {WEIGHT: [0.5, 1]}, "seeds": [101]}
    plan = plan_of(directory, tune=tune)
    assert [record.is_control for record in plan.records if record.kind == "tuning"] == [False] * 4
    known = ended(plan, lambda record: record.tuned.get(WEIGHT, 0))
    trials = [r for r in plan_of(directory, known, tune=tune).records if r.kind == "trial"]
    assert {t.tuned.get(WEIGHT) for t in trials if not t.is_control} == {0.5}
    assert sum(t.is_control for t in trials) == 4


WEIGHTS: dict[str, Any] = {**STARTS, WEIGHT: {"grid": [1, 2]}}


def test_what_is_tried_is_for_the_others_of_its_group_too(directory: Path) -> None:
    tune = TUNE | {"where": {WEIGHT: 1}}
    plan = plan_of(directory, search=WEIGHTS, tune=tune)
    # Two starts with the first weight and their controls, two values, two seeds.
    tuning = [record for record in plan.records if record.kind == "tuning"]
    assert len(tuning) == 16
    assert {record.coordinates.get(WEIGHT) for record in tuning} == {1, None}
    known = ended(plan, better_from_large_rates_for_copies)
    trials = [
        record
        for record in plan_of(directory, known, search=WEIGHTS, tune=tune).records
        if record.kind == "trial"
    ]
    assert Counter(t.coordinates.get(WEIGHT) for t in trials) == {1: 4, 2: 4, None: 4}
    assert all(t.tuned == {RATE: 0.1 if t.coordinates[INIT] else 0.01} for t in trials)


def test_one_value_may_be_for_all_arms(directory: Path) -> None:
    tune = TUNE | {"per": [], "where": {INIT: None}}
    plan = plan_of(directory, tune=tune)
    known = ended(plan, lambda record: 1.0 if record.tuned.get(RATE) == 0.1 else 2.0)
    trials = [r for r in plan_of(directory, known, tune=tune).records if r.kind == "trial"]
    assert [t.tuned for t in trials] == [{RATE: 0.1}] * 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tune": TUNE | {"where": {INIT: None}}},
            "tries no arm that teacher=small, quality=1.0, student.init={'remap': {}} could go on",
        ),
        (
            {"exclude": [{INIT: {"remap": {}}, WEIGHT: 1, "control": True}], "search": WEIGHTS}
            | {"tune": TUNE | {"where": {WEIGHT: 1}}},
            "tries no control that teacher=small, quality=1.0, student.init={'remap': {}}, ",
        ),
        ({"tune": TUNE | {"where": {"x": 1}}}, "tune.where names x, which is no coordinate"),
        (
            {"tune": {k: v for k, v in TUNE.items() if k != "per"} | {"where": {INIT: None}}},
            "tune.where needs tune.per",
        ),
        ({"search": {RATE: {"grid": [1]}}}, f"{RATE} is tuned and searched"),
        ({"pairs": {"p": {"a": {RATE: 1}}}}, f"{RATE} is tuned and searched"),
        (
            {"search": {"optimizer": {"grid": [{}]}}},
            f"{RATE} is tuned and optimizer searched",
        ),
        ({"seeds": [-1]}, "seeds must be in [0, 2^31), got [-1]"),
        ({"tune": TUNE | {"seeds": [-1]}}, "tune.seeds must be in [0, 2^31), got [-1]"),
        (
            {"tune": TUNE | {"values": {"cluster.num_workers": [0, 1]}}},
            "with {'cluster.num_workers': 0} and {'cluster.num_workers': 1} a run computes the",
        ),
        ({"seeds": [101]}, "tune.seeds and seeds both have 101"),
        (
            {"seeds": [], "tune": TUNE | {"seeds": [17]}},
            "tune.seeds has 17, the base's train.seed",
        ),
        ({"tune": TUNE | {"seeds": []}}, "tune.seeds must be different values, at least one"),
        ({"tune": TUNE | {"values": {}}}, "tune.values is empty"),
        ({"tune": TUNE | {"values": {RATE: [1, 1]}}}, f"tune.values.{RATE} must be different"),
        ({"tune": TUNE | {"per": ["start"]}}, "tune.per names start, which is no coordinate"),
        ({"tune": TUNE | {"metric": "eval/loss"}}, "tune.metric and tune.mode belong together"),
        (
            {"tune": TUNE | {"values": {WEIGHT: [0, 1]}}},
            "turns the teacher's losses off, which is the control",
        ),
    ],
)
def test_what_cannot_be_tuned_is_told(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(directory, **changes)
    assert message in str(refused.value)
