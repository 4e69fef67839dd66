"""Some arms of a sweep get further seeds: all else is as with the first ones."""

import functools
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.runs.inputs import find_input
from raykd.sweep.grid.entry import Entry
from raykd.sweep.grid.expand import Expansion
from raykd.sweep.grid.space import random_draws

from tests.sweep_files import WEIGHT, sweep_in

GIVEN: dict[str, Any] = {
    "search": {WEIGHT: {"grid": [0, 1, 2]}, "student.init": {"grid": [None, {"remap": {}}]}},
    "seeds": [1, 2],
}


def trials_with_further(
    directory: Path, seeds: list[int], arms: Collection[str] | None = None
) -> tuple[list[Entry], list[Entry]]:
    """Return the trials with the first seeds, and those of arms with further ones."""
    sweep = sweep_in(directory, **GIVEN)
    expansion = Expansion(sweep, functools.cache(find_input))
    runs = expansion.runs([random_draws(sweep, 0)])
    arms = {trial.arm for trial in runs.trials} if arms is None else arms
    return list(runs.trials), list(expansion.further(runs, seeds=seeds, arms=arms))


def test_further_trials_are_those_that_the_same_seeds_would_be_from_the_start(
    directory: Path,
) -> None:
    first, further = trials_with_further(directory, [3, 4])
    every = Expansion(sweep := sweep_in(directory, **GIVEN | {"seeds": [1, 2, 3, 4]}), find_input)
    assert [*first, *further] == list(every.runs([random_draws(sweep, 0)]).trials)


def test_only_arms_that_are_asked_for_get_further_seeds(directory: Path) -> None:
    first, _ = trials_with_further(directory, [3])
    arm = next(t.arm for t in first if t.coordinates.get(WEIGHT) == 2)
    _, further = trials_with_further(directory, [4, 3], {arm})
    assert [(t.arm, t.config.train.seed) for t in further] == [(arm, 4), (arm, 3)]
    # A control that is not trained is none.
    assert [t.control for t in further] == [None, None]


def test_a_control_that_gets_further_seeds_is_one_with_and_without_what_it_controls(
    directory: Path,
) -> None:
    first, every = trials_with_further(directory, [3])
    control = next(t for t in first if t.control == t.id)
    _, alone = trials_with_further(directory, [3], {control.arm})
    assert [t.control for t in alone] == [t.id for t in alone]
    assert alone == [t for t in every if t.arm == control.arm]
    compared = next(t for t in first if t.control == control.id and t.id != control.id)
    _, both = trials_with_further(directory, [3], {control.arm, compared.arm})
    assert [t.control for t in both] == [alone[0].id] * 2


def test_but_for_the_seed_a_further_trial_is_as_the_first_of_its_arm(directory: Path) -> None:
    first, further = trials_with_further(directory, [3])
    of_arm = {trial.arm: trial for trial in reversed(first)}
    for trial in further:
        same = of_arm[trial.arm]
        seed = replace(same.config.train, seed=3)
        assert trial.config == replace(same.config, train=seed)
        assert (trial.coordinates, trial.needs) == (same.coordinates, same.needs)
        assert (trial.control == trial.id) == (same.control == same.id)
