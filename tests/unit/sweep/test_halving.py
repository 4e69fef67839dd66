"""Which trials stop follows from their metrics in the order of the plan, whoever comes first."""

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from raykd.config.schema.search import AshaConfig
from raykd.sweep.halving import Halving, rung_tokens
from raykd.sweep.record import Metrics, Record, State, Stop

RUNGS = (100, 300)
NUM_TRIALS = 30


def record(trial_id: str, **changes: Any) -> Record:
    return replace(
        Record(
            id=trial_id,
            kind="trial",
            run_uri=f"runs/{trial_id}",
            coordinates={},
            arm=trial_id,
            seed=1,
            control=None,
            config={},
            num_steps=9,
            planned_tokens=900,
            state=State.RUNNING,
        ),
        **changes,
    )


def at(tokens: int, value: float) -> Metrics:
    return {"step": tokens // 100, "tokens": tokens, "eval/loss": value}


def halving(ids: list[str], rungs: tuple[int, ...] = RUNGS) -> Halving:
    made = Halving(rungs, reduction_factor=3, metric="eval/loss", mode="min")
    for trial_id in ids:
        made.add(record(trial_id))
    return made


def curves(seed: int) -> dict[str, list[Metrics]]:
    """Return nine evaluations of each trial; a trial that is good early is mostly good late."""
    draw = random.Random(seed)
    levels = {f"t{index}": draw.random() for index in range(NUM_TRIALS)}
    return {
        trial_id: [at(100 * step, level + 1 / step + draw.gauss(0, 0.05)) for step in range(1, 10)]
        for trial_id, level in levels.items()
    }


def decided(
    curves_by_id: dict[str, list[Metrics]], arrivals: list[str], made: Halving | None = None
) -> dict[str, Stop]:
    """Feed evaluations in an order of arrival, as long as their trials are not stopped."""
    made = made or halving(list(curves_by_id))
    records = {trial_id: record(trial_id) for trial_id in curves_by_id}
    position = dict.fromkeys(curves_by_id, 0)
    for trial_id in arrivals:
        known = records[trial_id]
        if known.stop is not None or position[trial_id] == len(curves_by_id[trial_id]):
            continue
        evaluation = curves_by_id[trial_id][position[trial_id]]
        position[trial_id] += 1
        is_last = position[trial_id] == len(curves_by_id[trial_id])
        records[trial_id] = replace(
            known,
            evaluations=(*known.evaluations, evaluation),
            state=State.DONE if is_last else State.RUNNING,
        )
        for stopped, stop in made.advance(records).items():
            records[stopped] = replace(records[stopped], stop=stop, state=State.STOPPED)
    return {trial_id: r.stop for trial_id, r in records.items() if r.stop is not None}


def in_plan_order(ids: list[str]) -> list[str]:
    return [trial_id for trial_id in ids for _ in range(9)]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    found = curves(seed)
    one_by_one = decided(found, in_plan_order(list(found)))
    arrivals = in_plan_order(list(found))
    random.Random(seed).shuffle(arrivals)
    assert decided(found, arrivals) == one_by_one
    assert len(one_by_one) > NUM_TRIALS / 3


@pytest.mark.parametrize("seed", range(10))
def test_one_by_one_it_decides_as_rays_scheduler(seed: int) -> None:
    # Imported here: Ray reads its environment then, which tests that start it have yet to set.
    from ray.tune.schedulers import AsyncHyperBandScheduler  # noqa: PLC0415

    found = curves(seed)
    theirs = AsyncHyperBandScheduler(
        time_attr="tokens",
        metric="eval/loss",
        mode="min",
        max_t=900,
        grace_period=100,
        reduction_factor=3,
    )
    stopped = {}
    for trial_id, evaluations in found.items():
        trial = type("Trial", (), {"trial_id": trial_id, "stub": False})()
        theirs.on_trial_add(None, trial)
        for evaluation in evaluations[:-1]:
            if theirs.on_trial_result(None, trial, evaluation) == "STOP":
                stopped[trial_id] = evaluation["step"]
                break
    ours = decided(found, in_plan_order(list(found)))
    # Its last rung is at 900 tokens, where every trial has ended.
    assert {trial_id: stop.step for trial_id, stop in ours.items()} == stopped


@pytest.mark.parametrize("interrupted_after", [0, 1, 17, 50, 120, 200])
def test_a_new_start_from_the_ledger_decides_the_same(interrupted_after: int) -> None:
    found = curves(5)
    arrivals = in_plan_order(list(found))
    random.Random(1).shuffle(arrivals)
    smooth = decided(found, arrivals)
    # A new Halving is told of everything that the ledger holds, all at once.
    records = {trial_id: record(trial_id) for trial_id in found}
    made = halving(list(found))
    for count, trial_id in enumerate(arrivals):
        if count == interrupted_after:
            made = halving(list(found))
        known = records[trial_id]
        if known.stop is None and len(known.evaluations) < 9:
            evaluations = (*known.evaluations, found[trial_id][len(known.evaluations)])
            state = State.DONE if len(evaluations) == 9 else State.RUNNING
            records[trial_id] = replace(known, evaluations=evaluations, state=state)
        for stopped, stop in made.advance(records).items():
            records[stopped] = replace(records[stopped], stop=stop, state=State.STOPPED)
    assert {i: r.stop for i, r in records.items() if r.stop is not None} == smooth


def test_a_trial_waits_for_those_before_it_and_is_then_judged_by_its_rung() -> None:
    made = halving(["a", "b", "c"])
    records = {
        "a": record("a"),
        "b": record("b", evaluations=(at(100, 1.0), at(200, 0.1))),
        "c": record("c", evaluations=(at(100, 9.0),)),
    }
    assert made.advance(records) == {}
    records["a"] = record("a", evaluations=(at(100, 2.0),))
    assert made.advance(records) == {"c": Stop(rung_tokens=100, step=1, value=9.0)}


def test_one_that_failed_before_the_rung_is_not_waited_for() -> None:
    made = halving(["a", "b", "c"])
    records = {
        "a": record("a", state=State.FAILED),
        "b": record("b", evaluations=(at(100, 1.0),)),
        "c": record("c", evaluations=(at(100, 2.0),)),
    }
    assert set(made.advance(records)) == {"c"}


def test_controls_are_left_alone() -> None:
    made = halving([])
    records = {
        "control": record("control", control="control", evaluations=(at(100, 1.0),)),
        "first": record("first", evaluations=(at(100, 2.0),)),
        "worse": record("worse", evaluations=(at(100, 3.0),)),
        "bad-control": record("bad-control", control="bad-control", evaluations=(at(100, 9.0),)),
    }
    for known in records.values():
        made.add(known)
    assert set(made.advance(records)) == {"worse"}


def test_a_decision_outlives_what_would_change_it() -> None:
    made = halving(["late", "stopped"])
    stop = Stop(rung_tokens=100, step=1, value=1.0)
    records = {
        "late": record("late", evaluations=(at(100, 5.0),)),
        "stopped": record("stopped", state=State.STOPPED, stop=stop, evaluations=(at(100, 1.0),)),
    }
    assert made.advance(records) == {"stopped": stop}


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_number_is_the_worst(broken: float) -> None:
    made = halving(["a", "b", "c"])
    values = {"a": 1.0, "b": 2.0, "c": broken}
    records = {i: record(i, evaluations=(at(100, v),)) for i, v in values.items()}
    assert "c" in made.advance(records)


def test_rungs_rise_by_the_factor_and_stay_below_the_end() -> None:
    assert rung_tokens(AshaConfig(first_rung=0.1, reduction_factor=3), 1000) == (100, 300, 900)
    assert rung_tokens(AshaConfig(first_rung=0.5, reduction_factor=2), 1000) == (500,)


def test_an_evaluation_just_before_the_rung_counts_as_the_rung() -> None:
    for first, second in itertools.permutations(["a", "b"]):
        made = halving([first, second])
        records = {
            first: record(first, evaluations=(at(96, 1.0),)),
            second: record(second, evaluations=(at(96, 2.0),)),
        }
        assert set(made.advance(records)) == {second}
