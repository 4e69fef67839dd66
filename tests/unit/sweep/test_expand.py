"""A sweep's runs: each distinct one once, known by what it computes and from what."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from raykd import storage
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError, RaykdError
from raykd.models.load import save_model
from raykd.published.directory import COMMITTED
from raykd.sweep.expand import Entry
from raykd.train.checkpoint import checkpoint_name
from raykd.train.paths import run_paths

from tests.prepared import write_prepared
from tests.sweep_files import BOTH_LOSSES, SMALL, WEIGHT, expanded, sweep_in, write_runs
from tests.tiny_models import tiny_model

INIT = "student.init"
HALVES = SMALL | {"milestones": [0.5, 1]}
LONGER = SMALL | {"overrides": {"train.num_steps": 8}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of run files, where nothing is trained."""
    return write_runs(tmp_path_factory.mktemp("sweep"))


def trials_of(directory: Path, **given: Any) -> list[Entry]:
    return expanded(sweep_in(directory, **given))[1]


def ids_of(sweep: SweepConfig) -> set[str]:
    """Return the ids of all runs, stages and trials."""
    stages, trials = expanded(sweep)
    return {entry.id for entry in [*stages, *trials]}


def identities(entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
    return [(e.id, e.arm, e.control, e.needs) for e in entries]


def is_control(entry: Entry) -> bool:
    return entry.control == entry.id


def controls_in(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if is_control(entry)]


def others_in(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if not is_control(entry)]


def refusal(directory: Path, **given: Any) -> str:
    with pytest.raises(ConfigError) as error:
        expanded(sweep_in(directory, **given))
    return str(error.value)


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


# Controls


def test_from_a_random_start_all_teachers_and_weights_share_one_control(directory: Path) -> None:
    weights = {WEIGHT: {"grid": [0.5, 1, "4 -> 1"]}}
    stages, trials = expanded(
        sweep_in(directory, teachers={"a": HALVES, "b": LONGER}, search=weights)
    )
    assert len(stages) == 2
    (control,) = controls_in(trials)
    assert trials[0] is control
    assert (control.coordinates, control.needs) == ({}, ())
    assert control.config.teachers == {}
    assert control.config.losses.present == ["cross_entropy"]
    assert len(others_in(trials)) == 3 * 3
    assert {trial.control for trial in trials} == {control.id}


def test_from_a_teachers_weights_every_quality_has_its_control(directory: Path) -> None:
    search = {WEIGHT: {"grid": [1, 2]}, INIT: {"grid": [{"remap": {}}]}}
    stages, trials = expanded(
        sweep_in(directory, teachers={"a": HALVES, "b": LONGER}, search=search)
    )
    controls = controls_in(trials)
    assert [(c.coordinates["teacher"], c.coordinates["quality"]) for c in controls] == [
        ("a", 0.5),
        ("a", 1.0),
        ("b", 1.0),
    ]
    assert [c.needs for c in controls] == [(stages[i].id,) for i in (0, 0, 1)]
    for trial in others_in(trials):
        control = next(c for c in controls if c.id == trial.control)
        assert control.coordinates.items() <= trial.coordinates.items()
        assert WEIGHT not in control.coordinates
        assert control.config.teachers == {}
        source = next(iter(trial.config.teachers.values())).model
        assert control.config.student.init is not None
        assert control.config.student.init.method.source == source


def test_both_starts_have_one_control_and_one_per_quality(directory: Path) -> None:
    search = {WEIGHT: {"grid": [0, 1]}, INIT: {"grid": [None, {"remap": {}}]}}
    trials = trials_of(directory, teachers={"a": HALVES, "b": LONGER}, search=search)
    assert len(controls_in(trials)) == 1 + 3
    assert len(others_in(trials)) == 3 * 2
    assert controls_in(trials)[0].coordinates == {INIT: None}


@pytest.mark.parametrize("nothing", [0, 0.0, "0", "0 -> 0", "0 @ 0.5 -> 0"])
def test_weight_zero_in_the_grid_is_the_control(directory: Path, nothing: Any) -> None:
    trials = trials_of(directory, search={WEIGHT: {"grid": [nothing, 1]}})
    alone = trials_of(directory, search={WEIGHT: {"grid": [1]}})
    assert identities(trials) == identities(alone)


@pytest.mark.parametrize("late", ["0 -> 1", "1 -> 0"])
def test_a_weight_that_is_zero_for_a_while_is_no_control(directory: Path, late: str) -> None:
    trials = trials_of(directory, search={WEIGHT: {"grid": [late]}})
    assert len(others_in(trials)) == 1


def test_a_control_of_losses_that_differ_is_at_what_they_share(directory: Path) -> None:
    pairs = {
        "balance": {
            "soft": {"losses.cross_entropy.weight": 1, WEIGHT: 1},
            "hard": {"losses.cross_entropy.weight": 1, WEIGHT: 3},
        }
    }
    (control,) = controls_in(trials_of(directory, pairs=pairs))
    assert control.coordinates == {}


def test_the_weight_of_the_labels_belongs_to_the_control_too(directory: Path) -> None:
    key = "losses.cross_entropy.weight"
    trials = trials_of(directory, search={key: {"grid": [1, 0.5]}, WEIGHT: {"grid": [1, 2]}})
    assert [c.coordinates for c in controls_in(trials)] == [{key: 1}, {key: 0.5}]


def test_without_controls_only_a_trial_that_is_one_is_there(directory: Path) -> None:
    trials = trials_of(directory, controls=False, search={WEIGHT: {"grid": [1, 2]}})
    assert [trial.control for trial in trials] == [None, None]


@pytest.mark.parametrize("weights", list(itertools.permutations([0, 1, 2])))
def test_without_controls_weight_zero_is_the_control_wherever_it_stands(
    directory: Path, weights: tuple[int, ...]
) -> None:
    trials = trials_of(directory, controls=False, search={WEIGHT: {"grid": list(weights)}})
    (control,) = controls_in(trials)
    assert len(trials) == 3
    assert {trial.control for trial in trials} == {control.id}


def test_the_control_of_pure_distillation_learns_from_labels(tmp_path: Path) -> None:
    directory = write_runs(tmp_path, losses={"forward_kl": {}})
    trials = trials_of(directory)
    (control,) = controls_in(trials)
    assert control.config.losses.present == ["cross_entropy"]
    assert [t.config.losses.present for t in others_in(trials)] == [["forward_kl"]]
    # It is the control of the run with labels as well.
    both = trials_of(write_runs(tmp_path))
    assert control.id in {entry.id for entry in both}


@pytest.mark.parametrize("controls", [True, False])
def test_without_any_teacher_there_are_no_controls(tmp_path: Path, controls: bool) -> None:
    directory = write_runs(tmp_path, teachers={}, losses={"cross_entropy": {}})
    search = {"optimizer.learning_rate": {"grid": [1e-3, 1e-2]}}
    trials = trials_of(directory, teachers={}, search=search, controls=controls)
    assert [trial.control for trial in trials] == [None, None]
    assert [trial.coordinates for trial in trials] == [
        {"optimizer.learning_rate": 1e-3},
        {"optimizer.learning_rate": 1e-2},
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"uri": "DATA", "mixing": {"adaptive": {}}}},
        {"student": {"architecture": {"num_layers": 1}}},
    ],
    ids=["mixture", "architecture"],
)
def test_a_control_keeps_the_teacher_that_it_depends_on(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    directory = write_runs(tmp_path, **changes)
    data = {"data.uri": str(directory / "data")}
    stages, trials = expanded(sweep_in(directory, teachers={"a": HALVES}, overrides=data))
    controls = controls_in(trials)
    assert [c.coordinates for c in controls] == [
        {"teacher": "a", "quality": 0.5},
        {"teacher": "a", "quality": 1.0},
    ]
    assert {c.needs for c in controls} == {(stages[0].id,)}


# Teachers


def test_teachers_together_keep_their_settings_and_share_one_control(tmp_path: Path) -> None:
    teachers = {"de": {"model": "none", "languages": ["de"]}, "en": {"model": "none"}}
    directory = write_runs(tmp_path, teachers=teachers)
    ways: list[Any] = [None, {"importance": {}}, {"fixed": {"weights": {"de": 1, "en": 2}}}]
    stages, trials = expanded(
        sweep_in(
            directory,
            teachers={"de": SMALL, "en": LONGER},
            teachers_are="together",
            search={"teacher_weights": {"grid": ways}},
        )
    )
    (control,) = controls_in(trials)
    assert control.coordinates == {}
    assert control.config.teacher_weights is None
    assert [t.coordinates["teacher_weights"] for t in others_in(trials)] == ways
    models = [
        storage.join(run_paths(stage.config).checkpoints, checkpoint_name(steps))
        for stage, steps in zip(stages, (6, 8), strict=True)
    ]
    for trial in others_in(trials):
        assert [t.model for t in trial.config.teachers.values()] == models
        assert trial.config.teachers["de"].languages == ("de",)
        assert set(trial.needs) == {stage.id for stage in stages}


def test_a_teacher_takes_the_place_of_the_bases_and_keeps_its_settings(tmp_path: Path) -> None:
    directory = write_runs(tmp_path, teachers={"old": {"model": "none", "dtype": "bfloat16"}})
    (trial,) = others_in(trials_of(directory))
    assert trial.config.teachers["old"].dtype == "bfloat16"
    assert trial.config.teachers["old"].model.endswith("/checkpoints/step-00000006")


def test_a_model_of_the_hub_is_known_by_its_revision(directory: Path) -> None:
    found = []
    for revision in ("a1", "b2"):
        hub = {"model": "org/model", "revision": revision}
        stages, trials = expanded(sweep_in(directory, teachers={"hub": hub}))
        (trial,) = others_in(trials)
        assert (stages, trial.needs) == ([], ())
        assert set(trial.config.inputs) == {"data.uri"}
        found.append(trial.id)
    assert found[0] != found[1]


def test_a_teacher_that_is_not_there_is_told(directory: Path) -> None:
    missing = {"model": str(directory / "missing")}
    with pytest.raises(RaykdError, match="missing"):
        expanded(sweep_in(directory, teachers={"gone": missing}))


def test_one_run_under_two_names_is_one_stage_that_keeps_what_both_need(directory: Path) -> None:
    early, late = SMALL | {"milestones": [0.5]}, SMALL | {"milestones": [1]}
    for teachers in ({"a": early, "b": late}, {"b": late, "a": early}):
        stages, trials = expanded(sweep_in(directory, teachers=teachers))
        (stage,) = stages
        assert stage.config.checkpoint.milestones == (0.5, 1.0)
        assert stage.coordinates == {"teacher": next(iter(teachers))}
        assert {trial.needs for trial in others_in(trials)} == {(stage.id,)}


def committed(stage: Entry, *steps: int) -> None:
    """Leave checkpoints where a run has been."""
    for step in steps:
        path = Path(run_paths(stage.config).checkpoints, checkpoint_name(step))
        path.mkdir(parents=True)
        (path / COMMITTED).touch()


def test_a_run_that_is_past_a_milestone_is_trained_again(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path), teachers={"a": HALVES})
    ((before,), _) = expanded(sweep)
    committed(before, 4, 6)
    stages, trials = expanded(sweep)
    half, whole = others_in(trials)
    by_id = {stage.id: stage for stage in stages}
    assert len(by_id) == 2
    assert whole.needs == (before.id,)
    (again,) = half.needs
    assert by_id[again].config.name == "teacher-again"
    model = half.config.teachers["old"].model
    assert model == f"{run_paths(by_id[again].config).checkpoints}/step-00000003"
    # What is trained again keeps its own, and is found the next time.
    committed(by_id[again], 3, 6)
    assert identities(expanded(sweep)[1]) == identities(trials)


def test_a_run_that_has_or_will_have_its_milestones_is_used_as_it_is(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path), teachers={"a": HALVES})
    ((before,), trials) = expanded(sweep)
    for steps in ((2,), (3,), (6,)):
        committed(before, *steps)
        assert identities(expanded(sweep)[1]) == identities(trials)


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
