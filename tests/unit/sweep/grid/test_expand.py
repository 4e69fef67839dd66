"""A sweep's runs: each distinct one once, known by what it computes and from what."""

from pathlib import Path
from typing import Any

import pytest
from raykd.models.load import save_model

from tests.prepared import write_prepared
from tests.sweep_files import BOTH_LOSSES, SMALL, WEIGHT, expanded, sweep_in, write_runs
from tests.tiny_models import tiny_model
from tests.unit.sweep.entries import (
    HALVES,
    INIT,
    LONGER,
    identities,
    ids_of,
    others_in,
    refusal,
    trials_of,
)

# Identities


def runs_in(directory: Path, model: str, **given: Any) -> list[tuple[Any, ...]]:
    """Return the runs of a sweep with a teacher that it trains and one that is there."""
    teachers = {"small": HALVES, "ready": {"model": model}}
    search: dict[str, Any] = {INIT: {"grid": [None, {"remap": {}}]}}
    stages, trials = expanded(sweep_in(directory, teachers=teachers, search=search, **given))
    return identities([*stages, *trials])


def test_runs_are_the_same_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
        write_runs(directory)
        save_model(tiny_model("bert", "masked_lm"), directory / "model")
    runs = runs_in(here, str(here / "model"))
    assert len(runs) == 1 + 3 * 2 + 4
    assert runs_in(there, str(there / "model"), runs_uri=str(there / "outputs")) == runs
    # Named from where the command runs.
    monkeypatch.chdir(there)
    assert runs_in(there, "model", overrides={"data.uri": "data"}) == runs


def test_other_data_makes_every_run_another(tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        directory = tmp_path / str(seed)
        directory.mkdir()
        splits = {"train": {"de": [9]}, "validation": {"de": [4]}}
        write_prepared(directory / "data", splits, seed=seed)
        write_runs(directory)
        found.append(ids_of(sweep_in(directory)))
    assert len(found[0]) == 3
    assert not found[0] & found[1]


def test_other_weights_of_a_teacher_make_the_trials_another_but_not_the_control(
    directory: Path,
) -> None:
    found = []
    for seed in (0, 1):
        save_model(tiny_model("bert", "masked_lm", seed=seed), directory / "model")
        model = {"model": str(directory / "model")}
        found.append([entry.id for entry in trials_of(directory, teachers={"ready": model})])
    (first, second) = found
    assert first[0] == second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize(
    ("key", "value", "has_effect"),
    [
        ("train.num_steps", 7, True),
        ("train.micro_batch_size", 2, True),
        ("optimizer.learning_rate", 1e-3, True),
        ("data.languages", ["de"], True),
        ("checkpoint.every_steps", 3, False),
        ("checkpoint.milestones", [0.5], False),
        ("cluster.num_workers", 2, False),
        ("tracking.tensorboard", True, False),
        ("output_uri", "elsewhere", False),
    ],
)
def test_runs_are_others_where_a_key_has_an_effect(
    directory: Path, key: str, value: Any, has_effect: bool
) -> None:
    before = ids_of(sweep_in(directory))
    after = ids_of(sweep_in(directory, overrides={key: value}))
    assert len(before) == len(after) == 3
    assert (not before & after) if has_effect else before == after


def test_a_teacher_that_learns_otherwise_is_another_teacher(directory: Path) -> None:
    stages, trials = expanded(sweep_in(directory, teachers={"a": SMALL, "b": LONGER}))
    assert len({stage.id for stage in stages}) == 2
    assert [trial.needs for trial in others_in(trials)] == [(stage.id,) for stage in stages]


def test_arms_are_trials_that_differ_by_seed_alone(directory: Path) -> None:
    entries = trials_of(directory, seeds=[3, 1, 2], search={WEIGHT: {"grid": [1, 2]}})
    arms: dict[str, list[int]] = {}
    for entry in entries:
        arms.setdefault(entry.arm, []).append(entry.config.train.seed)
    assert list(arms.values()) == [[3, 1, 2]] * 3
    assert len({entry.id for entry in entries}) == 9
    by_id = {entry.id: entry for entry in entries}
    for entry in entries:
        assert entry.control is not None
        assert by_id[entry.control].config.train.seed == entry.config.train.seed
        assert set(entry.coordinates) <= {"teacher", "quality", WEIGHT}


def test_without_seeds_the_bases_own_is_used(directory: Path) -> None:
    trials = trials_of(directory, overrides={"train.seed": 5})
    assert {trial.config.train.seed for trial in trials} == {5}


# What is wrong


def test_a_key_that_is_not_there_is_told_once_for_all_trials(directory: Path) -> None:
    search = {"optimizer.learning_rat": {"grid": [1e-3]}, WEIGHT: {"grid": [1, 2, 3]}}
    message = refusal(directory, search=search)
    heading, where, *reasons = message.splitlines()
    assert heading == "study: some trials cannot run"
    assert where.startswith("teacher=small, quality=1.0")
    assert where.endswith(" and 2 other(s):")
    (reason,) = reasons
    assert "no such key; did you mean optimizer.learning_rate?" in reason


def test_every_kind_of_wrong_value_is_told_with_its_coordinates(directory: Path) -> None:
    search = {"train.num_steps": {"grid": [5, 0, "many"]}, WEIGHT: {"grid": [1, 2]}}
    message = refusal(directory, search=search)
    for value in ("0", "many"):
        assert f"train.num_steps={value}, {WEIGHT}=1 and 1 other(s):" in message
    assert "train.num_steps=5" not in message
    assert message.count("train.num_steps: expected int") == 1


def test_a_few_of_many_kinds_are_told_and_the_others_counted(directory: Path) -> None:
    message = refusal(directory, search={WEIGHT: {"grid": [-i for i in range(1, 9)]}})
    assert message.count("must be >= 0") == 5
    assert message.endswith("and 3 other kinds of problems")


def test_a_base_of_several_teachers_needs_to_be_told_which_is_replaced(tmp_path: Path) -> None:
    two = {"a": {"model": "x"}, "b": {"model": "y"}}
    message = refusal(write_runs(tmp_path, teachers=two))
    assert "the base names several" in message
    assert message.count("teacher=small, quality=1.0:") == 1


def test_a_key_that_leads_nowhere_is_told(directory: Path) -> None:
    message = refusal(directory, search={"train..seed": {"grid": [1]}})
    assert "'train..seed' is no key" in message


def test_a_wrong_run_of_a_teacher_is_named(directory: Path) -> None:
    wrong = SMALL | {"overrides": {"train.num_steps": -1}}
    message = refusal(directory, teachers={"bad": wrong})
    assert message.startswith(f"teachers.bad: {directory / 'teacher.yaml'}: 1 problem(s)")


def test_what_all_points_share_is_checked_with_each(directory: Path) -> None:
    search: dict[str, Any] = {INIT: {"grid": [{"remap": {}}, {"remap": {}, "expand": {}}]}}
    assert "needs exactly one method" in refusal(directory, search=search)


def test_every_trial_is_a_run_that_is_checked(tmp_path: Path) -> None:
    directory = write_runs(tmp_path, losses=BOTH_LOSSES)
    search = {
        WEIGHT: {"grid": [0, "4 -> 1"]},
        INIT: {"choice": [None, {"remap": {}}]},
        "optimizer.learning_rate": {"log_uniform": [1e-4, 1e-2]},
    }
    stages, trials = expanded(
        sweep_in(directory, search=search, num_samples=3, seeds=[1, 2], teachers={"a": HALVES})
    )
    for entry in [*stages, *trials]:
        assert entry.config.problems() == []
    rates = {trial.config.optimizer.learning_rate for trial in trials}
    assert len(rates) == 3
    ids = [trial.id for trial in trials]
    assert len(set(ids)) == len(ids)
    assert all(ids.index(t.control) <= ids.index(t.id) for t in trials if t.control is not None)
