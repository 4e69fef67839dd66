"""Suggestions follow from the results of the samples before, in the order of the plan alone."""

import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from raykd.config.load import checked_sweep
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.grid.space import Draws, random_draws
from raykd.sweep.grid.suggest import IN_FLIGHT, suggested_draws
from raykd.sweep.record import Record, State, Stop

from tests.sweeps import evaluations_of, trial_of

X, Y, INIT = "optimizer.learning_rate", "optimizer.weight_decay", "student.init"
CHOICES: list[Any] = [None, {"remap": {}}, {"expand": {"width": "aki"}}]
NUM_SAMPLES = 14
"""So that the last follow from results: the first ten are random."""

Value = Callable[[Draws], float]


def sweep_of(**given: Any) -> SweepConfig:
    plane = {X: {"uniform": [0, 1]}, Y: {"uniform": [0, 1]}}
    whole = {
        "name": "study",
        "base": "base.yaml",
        "search": plane,
        "searcher": "optuna",
        "num_samples": NUM_SAMPLES,
    }
    return checked_sweep({**whole, **given}, origin="sweep")


def bowl(draws: Draws) -> float:
    return float((draws[X] - 0.3) ** 2 + (draws[Y] - 0.8) ** 2)


def trial_at(draws: Draws, value: float, **changes: Any) -> Record:
    trial = trial_of(draws, evaluations=evaluations_of([value + 1, value]))
    return replace(trial, **changes)


def searched(
    sweep: SweepConfig, value: Value, *, shuffled_by: int | None = None
) -> tuple[list[Draws], dict[str, Record]]:
    """Train every sample as soon as it is suggested; all end together, or some in some order."""
    draw = None if shuffled_by is None else random.Random(shuffled_by)
    records: dict[str, Record] = {}
    while True:
        draws = suggested_draws(sweep, records)
        for sample in draws:
            trial = trial_at(sample, value(sample), state=State.RUNNING)
            records.setdefault(trial.id, trial)
        running = [record for record in records.values() if record.state is State.RUNNING]
        if not running:
            return draws, records
        if draw is not None:
            running = draw.sample(running, draw.randint(1, len(running)))
        records |= {record.id: replace(record, state=State.DONE) for record in running}


def test_so_many_are_suggested_without_a_result() -> None:
    draws = suggested_draws(sweep_of(), {})
    assert len(draws) == IN_FLIGHT
    assert len({str(sample) for sample in draws}) == IN_FLIGHT


def test_no_more_are_suggested_than_asked_for() -> None:
    assert len(suggested_draws(sweep_of(num_samples=2), {})) == 2
    draws, records = searched(sweep_of(num_samples=7), bowl)
    assert len(draws) == len(records) == 7


def test_each_end_in_the_order_of_the_plan_makes_room_for_one() -> None:
    sweep = sweep_of()
    first = suggested_draws(sweep, {})
    trials = [trial_at(sample, bowl(sample), state=State.RUNNING) for sample in first]
    records = {trial.id: trial for trial in trials}
    ids = list(records)
    # The second is not waited for by the first, but tells nothing before it.
    records[ids[1]] = replace(records[ids[1]], state=State.DONE)
    assert suggested_draws(sweep, records) == first
    records[ids[0]] = replace(records[ids[0]], state=State.DONE)
    assert len(suggested_draws(sweep, records)) == IN_FLIGHT + 2


def test_suggestions_are_the_same_every_time() -> None:
    draws, records = searched(sweep_of(), bowl)
    assert len(draws) == NUM_SAMPLES
    assert searched(sweep_of(), bowl) == (draws, records)
    # A new start knows all results at once.
    assert suggested_draws(sweep_of(), records) == draws
    assert suggested_draws(sweep_of(), dict(reversed(records.items()))) == draws


@pytest.mark.parametrize("seed", range(2))
def test_the_order_in_which_trials_end_changes_nothing(seed: int) -> None:
    assert searched(sweep_of(), bowl, shuffled_by=seed)[0] == searched(sweep_of(), bowl)[0]


def test_suggestions_follow_from_the_seed_and_from_the_results() -> None:
    draws, _ = searched(sweep_of(num_samples=15), bowl)
    other_seed, _ = searched(sweep_of(num_samples=15, seed=18), bowl)
    assert draws[0] != other_seed[0]
    others, _ = searched(sweep_of(num_samples=15), lambda sample: -bowl(sample))
    assert draws[:IN_FLIGHT] == others[:IN_FLIGHT]
    assert draws != others


def test_they_find_the_best_better_than_random_draws() -> None:
    learned, drawn = [], []
    for seed in range(4):
        sweep = sweep_of(seed=100 * seed, num_samples=25)
        draws, _ = searched(sweep, bowl)
        learned.append(statistics.fmean(bowl(sample) for sample in draws[-10:]))
        every = [bowl(random_draws(sweep, index)) for index in range(25)]
        drawn.append(statistics.fmean(every[-10:]))
    assert statistics.fmean(learned) < statistics.fmean(drawn) / 2


def test_more_is_better_where_that_is_asked_for() -> None:
    def hill(sample: Draws) -> float:
        return -bowl(sample)

    low, _ = searched(sweep_of(), bowl)
    high, _ = searched(sweep_of(mode="max"), hill)
    assert high == low


def test_sections_are_chosen_and_kinds_of_values_mix() -> None:
    search = {
        INIT: {"choice": CHOICES},
        X: {"log_uniform": [1e-5, 1e-1]},
        Y: {"uniform": [0, 1]},
    }

    def best_when_expanded(sample: Draws) -> float:
        return CHOICES.index(sample[INIT]) * -1.0 + abs(math.log10(sample[X]) + 3)

    draws, _ = searched(sweep_of(search=search, num_samples=20), best_when_expanded)
    assert all(set(sample) == {INIT, X, Y} for sample in draws)
    assert all(1e-5 <= sample[X] <= 1e-1 and 0 <= sample[Y] <= 1 for sample in draws)
    late = [sample[INIT] for sample in draws[10:]]
    assert late.count(CHOICES[2]) > len(late) / 2


def test_samples_that_failed_are_no_results() -> None:
    def is_broken(sample: Draws) -> bool:
        return bool(sample[X] > 0.5)

    for broken in (
        {"state": State.FAILED},
        {"state": State.BLOCKED},
        {"state": State.DONE, "evaluations": evaluations_of([math.nan])},
        {"state": State.DONE, "evaluations": evaluations_of([math.inf])},
        {"state": State.DONE, "evaluations": ()},
    ):
        sweep = sweep_of(num_samples=12)
        records: dict[str, Record] = {}
        while len(records) < 12:
            for sample in suggested_draws(sweep, records):
                trial = trial_at(sample, bowl(sample), **(broken if is_broken(sample) else {}))
                records[trial.id] = trial
        assert any(map(is_broken, (record.coordinates for record in records.values())))


def test_one_that_was_stopped_counts_with_its_value_at_the_rung() -> None:
    sweep = sweep_of(num_samples=12)
    plain, records = searched(sweep, bowl)

    def stopped(record: Record) -> Record:
        value = record.last_evaluation["eval/loss"]
        stop = Stop(rung_tokens=1, step=1, value=value)
        beyond = evaluations_of([value, value - 5])
        return replace(record, state=State.STOPPED, stop=stop, evaluations=beyond)

    at_rung = {run_id: stopped(record) for run_id, record in records.items()}
    assert suggested_draws(sweep, at_rung) == plain


def test_a_sample_counts_with_the_mean_of_its_trials_and_without_its_control() -> None:
    sweep = sweep_of(num_samples=12)
    plain, records = searched(sweep, bowl)
    several: dict[str, Record] = {}
    for record in records.values():
        value = record.last_evaluation["eval/loss"]
        for seed, shift in ((1, 0.25), (2, -0.25)):
            coordinates = {**record.coordinates, "losses.forward_kl.weight": seed}
            trial = trial_at(coordinates, value + shift)
            several[trial.id] = trial
        control = trial_of(record.coordinates, is_control=True, evaluations=evaluations_of([9.0]))
        several[control.id] = control
    assert [rounded(s) for s in suggested_draws(sweep, several)] == [rounded(s) for s in plain]


def rounded(sample: Mapping[str, Any]) -> dict[str, float]:
    return {key: round(value, 6) for key, value in sample.items()}


def test_a_sample_whose_every_point_is_left_out_is_passed_over() -> None:
    search = {INIT: {"choice": CHOICES}, X: {"uniform": [0, 1]}}
    first = suggested_draws(sweep_of(search=search), {})[0]
    left_out = {INIT: first[INIT]}
    sweep = sweep_of(search=search, exclude=[left_out], num_samples=12)
    records: dict[str, Record] = {}
    draws: list[Draws] = []
    for _ in range(12):
        draws = suggested_draws(sweep, records)
        trials = [trial_at(s, s[X]) for s in draws if s[INIT] != first[INIT]]
        records |= {trial.id: trial for trial in trials}
    assert len(draws) == 12
