"""The value that goes on is the best over all of its runs, whoever came first."""

import math
import random
from typing import Any

import pytest
from raykd.config.schema.study import TuneConfig
from raykd.sweep.record import Record, State
from raykd.sweep.tuning import Choice, choices_of, group_of

from tests.study_ledger import tuning_of
from tests.sweeps import trial_of

RATE = "optimizer.learning_rate"
START = {"student.init": "copy"}


def tune_of(*rates: Any, per: tuple[str, ...] | None = None) -> TuneConfig:
    return TuneConfig(values={RATE: list(rates)}, seeds=(101, 102), per=per)


def runs_of(
    values: dict[Any, list[float | None]],
    coordinates: dict[str, Any] | None = None,
    *,
    is_control: bool = False,
) -> list[Record]:
    """Return a run for each value of each rate; None is one that has not ended."""
    return [
        tuning_of(
            START if coordinates is None else coordinates,
            {RATE: rate},
            seed=101 + index,
            value=value,
            state=State.RUNNING if value is None else State.DONE,
            is_control=is_control,
        )
        for rate, of_rate in values.items()
        for index, value in enumerate(of_rate)
    ]


def chosen(tune: TuneConfig, runs: list[Record], mode: Any = "min") -> Choice:
    (choice,) = choices_of(tune, runs, metric="eval/loss", mode=mode).values()
    return choice


def test_the_best_mean_over_the_seeds_is_chosen() -> None:
    runs = runs_of({0.1: [1.0, 4.0], 0.2: [2.0, 2.5], 0.3: [3.0, 3.5]})
    choice = chosen(tune_of(0.1, 0.2, 0.3), runs)
    assert choice.chosen == {RATE: 0.2}
    assert [value.mean for value in choice.tried] == [2.5, 2.25, 3.25]
    assert [value.num_runs for value in choice.tried] == [2, 2, 2]
    assert choice.tried[1].standard_deviation == pytest.approx(math.sqrt(0.125))
    assert choice.coordinates == START
    assert not choice.is_control
    assert not choice.edges
    assert chosen(tune_of(0.1, 0.2, 0.3), runs, "max").chosen == {RATE: 0.3}


def test_nothing_is_chosen_before_every_run_of_the_group_is_over() -> None:
    choice = chosen(tune_of(0.1, 0.2), runs_of({0.1: [1.0, 1.0], 0.2: [2.0, None]}))
    assert choice.is_open
    assert choice.chosen is None
    assert [value.mean for value in choice.tried] == [1.0, None]
    assert [value.num_failed for value in choice.tried] == [0, 0]


@pytest.mark.parametrize("bad", ["failed", "blocked", "nan"])
def test_a_value_of_which_one_run_failed_is_not_chosen(bad: str) -> None:
    runs = runs_of({0.1: [1.0], 0.2: [2.0]})
    runs.append(
        tuning_of(START, {RATE: 0.1}, seed=102, value=math.nan)
        if bad == "nan"
        else tuning_of(START, {RATE: 0.1}, seed=102, value=0.5, state=State(bad))
    )
    choice = chosen(tune_of(0.1, 0.2), runs)
    assert choice.chosen == {RATE: 0.2}
    assert choice.tried[0].mean is None
    assert choice.tried[0].num_failed == 1


def test_where_every_value_failed_nothing_is_chosen_and_nothing_is_open() -> None:
    choice = chosen(tune_of(0.1), [tuning_of(START, {RATE: 0.1}, state=State.FAILED)])
    assert (choice.chosen, choice.is_open, choice.edges) == (None, False, ())


def test_of_equal_values_the_first_candidate_is_chosen() -> None:
    runs = runs_of({0.1: [1.0, 2.0], 0.2: [2.0, 1.0]})
    assert chosen(tune_of(0.2, 0.1), runs).chosen == {RATE: 0.2}
    assert chosen(tune_of(0.1, 0.2), runs).chosen == {RATE: 0.1}


def test_the_choice_does_not_depend_on_the_order_of_the_records() -> None:
    rng = random.Random(5)
    # Sums of these differ in their last digits with the order, unless they are exact.
    runs = runs_of({rate: [rng.random() for _ in range(9)] for rate in (0.1, 0.2, 0.3)})
    runs += runs_of({0.1: [0.7], 0.2: [0.6], 0.3: [0.9]}, is_control=True)
    first = choices_of(tune_of(0.1, 0.2, 0.3), runs, metric="eval/loss", mode="min")
    for _ in range(5):
        rng.shuffle(runs)
        assert choices_of(tune_of(0.1, 0.2, 0.3), runs, metric="eval/loss", mode="min") == first


def test_arms_choose_apart_and_controls_apart_from_arms() -> None:
    tune = tune_of(0.1, 0.2)
    runs = [
        *runs_of({0.1: [1.0], 0.2: [2.0]}, {"a": 1, "b": 1}),
        *runs_of({0.1: [4.0], 0.2: [3.0]}, {"a": 1, "b": 2}),
        *runs_of({0.1: [5.0], 0.2: [6.0]}, {"a": 1}, is_control=True),
        trial_of({"a": 1, "b": 1}),
    ]
    choices = choices_of(tune, runs, metric="eval/loss", mode="min")
    rates = {group: choice.chosen for group, choice in choices.items()}
    assert rates == {
        group_of(tune, {"b": 1, "a": 1}, is_control=False): {RATE: 0.1},
        group_of(tune, {"a": 1, "b": 2}, is_control=False): {RATE: 0.2},
        group_of(tune, {"a": 1}, is_control=True): {RATE: 0.1},
    }
    shared = choices_of(tune_of(0.1, 0.2, per=("a",)), runs, metric="eval/loss", mode="min")
    assert [(c.coordinates, c.is_control, c.tried[0].mean) for c in shared.values()] == [
        ({"a": 1}, False, 2.5),
        ({"a": 1}, True, 5.0),
    ]


def test_arms_without_a_coordinate_share_a_choice_of_their_own() -> None:
    tune = tune_of(0.1, per=("start", "size"))
    assert group_of(tune, {"start": "x", "other": 1}, is_control=False) == group_of(
        tune, {"start": "x", "other": 2}, is_control=False
    )
    assert group_of(tune, {"start": "x"}, is_control=False) != group_of(
        tune, {"start": "x", "size": None}, is_control=False
    )


def test_a_choice_at_the_edge_of_the_numbers_that_were_tried_is_told() -> None:
    tune = TuneConfig(values={RATE: [0.1, 0.2, 0.3], "x": [True, False]}, seeds=(1,))
    runs = [
        tuning_of(START, {RATE: rate, "x": x}, value=abs(rate - 0.3) + x)
        for rate in (0.1, 0.2, 0.3)
        for x in (True, False)
    ]
    assert chosen(tune, runs).chosen == {RATE: 0.3, "x": False}
    assert chosen(tune, runs).edges == (RATE,)
    # What diverges beyond it is the edge.
    beyond = [*runs_of({0.1: [2.0], 0.2: [1.0]}), *runs_of({0.3: [math.nan]})]
    assert not chosen(tune_of(0.1, 0.2, 0.3), beyond).edges
    assert not chosen(tune_of(0.1), runs_of({0.1: [2.0]})).edges


def test_a_control_that_does_not_depend_on_the_key_is_one_run_of_one_candidate() -> None:
    choice = chosen(tune_of(0.1, 0.2), runs_of({0.1: [2.0]}, {}, is_control=True))
    assert choice.chosen == {RATE: 0.1}
    assert [value.tuned for value in choice.tried] == [{RATE: 0.1}]
    assert not choice.edges
