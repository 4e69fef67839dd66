"""A sweep is planned whole before any of its stages exists, and the plan stays when they do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import as_yaml, checked_sweep, plain
from raykd.config.schema.sweep import NodeConfig, SweepConfig
from raykd.data.manifest import read_manifest
from raykd.errors import ConfigError
from raykd.planning.speed import Speed
from raykd.storage import uris
from raykd.sweep.ledger import Ledger
from raykd.sweep.plan.capacity import Machines
from raykd.sweep.plan.changes import continued, difference
from raykd.sweep.plan.cost import (
    START_SECONDS,
    SWEEP_START_SECONDS,
    WORKERS_START_SECONDS,
    cost_left,
    measured,
    planned_time,
    whole_cost,
)
from raykd.sweep.plan.kinds import kind_of
from raykd.sweep.plan.plan import SweepPlan, plan_sweep, require_runnable
from raykd.sweep.plan.planned_runs import PlannedRun
from raykd.sweep.record import State, Stop

from tests.prepared import write_prepared
from tests.small_runs import TINY_BERT, small_data, small_run
from tests.unit.train.test_run import stop_after, train

SMALL = {"run": "teacher.yaml"}
SPEED = Speed(flops_per_second=1e6, seconds_per_step=0.1, where="here")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Write a teacher, and a base whose student has a teacher that is not there."""
    small_data(tmp_path / "data")
    (tmp_path / "teacher.yaml").write_text(as_yaml(small_run(tmp_path, name="teacher")))
    base = small_run(
        tmp_path,
        name="student",
        teachers={"old": {"model": "not-there"}},
        losses={"cross_entropy": {}, "forward_kl": {}},
    )
    (tmp_path / "base.yaml").write_text(as_yaml(base))
    return tmp_path


def sweep_of(directory: Path, **changes: Any) -> SweepConfig:
    teachers = {
        name: {**teacher, **({"run": str(directory / teacher["run"])} if "run" in teacher else {})}
        for name, teacher in changes.pop("teachers", {"small": SMALL}).items()
    }
    given = {
        "name": "study",
        "base": str(directory / "base.yaml"),
        "output_uri": str(directory / "sweeps"),
        "nodes": {"big": {"cpus": 8}},
        "teachers": teachers,
        **changes,
    }
    return checked_sweep(given, origin="sweep")


def states(runs: Sequence[PlannedRun]) -> list[State]:
    return [run.record.state for run in runs]


def names_under(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def only_problem(plan: SweepPlan) -> str:
    assert len(plan.problems) == 1, plan.problems
    return plan.problems[0]


def test_a_sweep_is_planned_before_its_teachers_are_trained_and_nothing_is_written(
    directory: Path,
) -> None:
    before = names_under(directory)
    plan = plan_sweep(sweep_of(directory, seeds=[1, 2]))
    assert not plan.problems
    assert names_under(directory) == before
    assert [record.kind for record in plan.records] == ["stage", *["trial"] * 4]
    assert set(states(plan.runs)) == {State.WAITING}
    (stage, control, trial, *_) = plan.records
    assert trial.needs == (stage.id,)
    assert not control.needs
    assert trial.control == control.id
    assert control.flops_per_token["teachers"] == 0
    # One forward pass beside a forward and a backward one of the same model.
    share = trial.flops_per_token["teachers"] / trial.flops_per_token["student"]
    assert share == pytest.approx(1 / 3)
    assert plan.uri == str(directory / "sweeps" / "study")


def test_planned_tokens_are_rows_times_their_mean_length(directory: Path) -> None:
    plan = plan_sweep(sweep_of(directory))
    shards = read_manifest(str(directory / "data")).shards("train")
    mean = sum(s.tokens for s in shards) / sum(s.rows for s in shards)
    assert {record.planned_tokens for record in plan.records} == {round(6 * 8 * mean)}


def test_a_student_starts_from_a_teacher_that_is_not_there_yet(directory: Path) -> None:
    wide = SMALL | {"overrides": {"student.architecture.num_layers": 4}}
    search: dict[str, Any] = {"student.init": {"grid": [None, {"remap": {}}]}}
    plan = plan_sweep(sweep_of(directory, teachers={"small": SMALL, "wide": wide}, search=search))
    # A teacher of as many layers is fine, one of more is not, as its control finds too.
    problem = only_problem(plan)
    assert problem.startswith("trial teacher=wide, quality=1, student.init=remap")
    assert " and 1 other(s): " in problem
    assert "a student of 2 layers cannot grow from a source of 4 layers" in problem


def test_an_architecture_is_taken_from_a_teacher_that_is_not_there_yet(directory: Path) -> None:
    small = SMALL | {"overrides": {"student.architecture.hidden_size": 32}}
    plan = plan_sweep(
        sweep_of(
            directory,
            teachers={"small": small},
            search={"student.architecture": {"grid": [{"num_layers": 1}]}},
        )
    )
    assert not plan.problems
    trial = plan.trials[-1]
    assert trial.student is not None
    assert (trial.student.config.num_hidden_layers, trial.student.config.hidden_size) == (1, 32)
    assert measured(plan) is not None


def test_a_teacher_of_shorter_rows_is_refused_before_it_is_trained(directory: Path) -> None:
    write_prepared(
        directory / "short", {"train": {"de": [9]}, "validation": {"de": [4]}}, max_length=8
    )
    overrides = {
        "data.uri": str(directory / "short"),
        "student.architecture.settings": {"max_position_embeddings": 8},
    }
    small = SMALL | {"overrides": overrides}
    plan = plan_sweep(sweep_of(directory, teachers={"small": small}))
    stage = plan.stages[0].record
    assert f"teachers.old.model: {stage.run_uri} reads at most 8 tokens" in only_problem(plan)


def test_two_qualities_are_one_stage_and_two_arms(directory: Path) -> None:
    small = SMALL | {"milestones": [0.5, 1]}
    plan = plan_sweep(sweep_of(directory, teachers={"small": small}))
    (stage,) = plan.stages
    assert stage.config.checkpoint.milestones == (0.5, 1.0)
    models = [r.record.config["teachers"]["old"]["model"] for r in plan.trials[1:]]
    steps = [f"{stage.record.run_uri}/checkpoints/step-0000000{step}" for step in (3, 6)]
    assert models == steps


def test_the_same_run_of_two_teachers_is_trained_and_counted_once(directory: Path) -> None:
    alone = plan_sweep(sweep_of(directory))
    plan = plan_sweep(sweep_of(directory, teachers={"small": SMALL, "same": SMALL}))
    assert len(plan.stages) == 1
    assert whole_cost(plan.stages) == whole_cost(alone.stages)


def test_a_stage_that_is_done_or_begun_changes_only_what_is_left(directory: Path) -> None:
    sweep = sweep_of(directory)
    before = plan_sweep(sweep)
    stage = before.stages[0].config
    whole = cost_left(before.stages).tokens
    train(stage, should_stop=stop_after(3))
    begun = plan_sweep(sweep)
    assert begun.stages[0].first_step == 3
    assert [e["step"] for e in begun.records[0].evaluations] == [3]
    assert cost_left(begun.stages).tokens == pytest.approx(whole / 2)
    train(stage)
    done = plan_sweep(sweep)
    assert states(done.stages) == [State.DONE]
    assert [e["step"] for e in done.records[0].evaluations] == [3, 6]
    assert cost_left(done.stages).num_runs == 0
    assert whole_cost(done.runs) == whole_cost(before.runs)
    assert [record.id for record in done.records] == [record.id for record in before.records]


def test_a_trial_that_is_done_is_reused(directory: Path) -> None:
    plan = plan_sweep(sweep_of(directory))
    train(plan.trials[0].config)
    again = plan_sweep(sweep_of(directory, name="another"))
    assert states(again.trials) == [State.DONE, State.WAITING]
    assert again.trials[0].record.is_reused
    assert cost_left(again.trials).num_runs == 1


def test_a_thousand_trials_of_a_few_kinds_have_a_few_plans(directory: Path) -> None:
    search: dict[str, Any] = {
        "optimizer.learning_rate": {"grid": [0.1, 0.01]},
        "losses.forward_kl.weight": {"grid": [1, 2, "4 -> 1", 0]},
        "losses.forward_kl.temperature": {"grid": [1, 2]},
    }
    plan = plan_sweep(sweep_of(directory, search=search, seeds=[1, 2]))
    kinds = {repr(replace(kind_of(run.config), output_uri="")) for run in plan.trials}
    assert len(plan.trials) == 2 * 2 * (1 + 3 * 2)
    assert len(kinds) == 2


@pytest.mark.slow
def test_a_thousand_trials_are_planned(directory: Path) -> None:
    sweep = sweep_of(
        directory,
        search={"losses.forward_kl.weight": {"grid": [i + 1 for i in range(20)]}},
        seeds=list(range(50)),
    )
    plan = plan_sweep(sweep)
    assert len(plan.trials) == 1_050
    assert not plan.problems


def test_bundles_that_fit_nowhere_are_a_problem_of_all_trials_told_once(directory: Path) -> None:
    overrides = {"cluster.num_workers": 3, "cluster.gpus_per_worker": 1}
    plan = plan_sweep(sweep_of(directory, overrides=overrides))
    problem = only_problem(plan)
    assert problem.startswith("teacher small and 2 other(s): 3 worker(s) of {CPU: 1, GPU: 1} each")
    assert plan.at_once == 0
    with pytest.raises(ConfigError, match=r"study: 1 problem\(s\)\n  - teacher small"):
        require_runnable(plan)


def test_memory_is_a_problem_where_one_run_has_too_little_and_a_limit_where_many_do(
    directory: Path,
) -> None:
    tiny = {"one": {"cpus": 8, "memory_gb": 0.1}}
    problem = only_problem(plan_sweep(sweep_of(directory, nodes=tiny)))
    assert "need about 0.45 GB each, but the largest machine has 0.10 GB" in problem
    plan = plan_sweep(sweep_of(directory, nodes={"one": {"cpus": 8, "memory_gb": 1}}))
    assert (plan.at_once, plan.at_once_by) == (2, "memory")


def test_trials_at_once_are_limited_by_machines_or_by_the_sweep(directory: Path) -> None:
    plan = plan_sweep(sweep_of(directory))
    assert (plan.at_once, plan.at_once_by) == (8, "CPUs")
    assert not plan.is_known
    nodes = (NodeConfig(count=2, cpus=3), NodeConfig(cpus=1, gpus=1))
    there = Machines(nodes=nodes, origin="a cluster")
    plan = plan_sweep(sweep_of(directory, nodes={}), machines=there)
    assert (plan.at_once, plan.cpus, plan.gpus) == (7, 7, 1)
    assert str(plan.machines) == "2 x 3 CPU, 0 GPU; 1 x 1 CPU, 1 GPU: a cluster"
    # What the sweep declares goes before what is there.
    assert plan_sweep(sweep_of(directory), machines=there).at_once == 8
    plan = plan_sweep(sweep_of(directory, max_concurrent_trials=3))
    assert (plan.at_once, plan.at_once_by) == (3, "max_concurrent_trials")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metric": "loss"}, "metric=loss is none that evaluations of masked_lm give: eval/loss"),
        ({"metric": "test/loss"}, "a test split by which trials are compared is none; compare"),
        ({"metric": "eval/macro_f1"}, "metric=eval/macro_f1 is none"),
        ({"metric": "eval/loss/fr"}, "trials are not evaluated in fr: de, en"),
        ({"metric": "eval/agreement"}, "needs a teacher; a control has none"),
        ({"overrides": {"data.eval_split": None}}, "data.eval_split is null, but trials are"),
        ({"scheduler": {"asha": {}}}, "comes before the first evaluation, 254 tokens"),
        (
            {
                "scheduler": {"asha": {"first_rung": 0.5, "reduction_factor": 1.3}},
                "overrides": {"train.eval_every_steps": 3},
            },
            "one evaluation would decide for two rungs",
        ),
        (
            {"exclude": [{"teacher": "small"}], "controls": False},
            "exclude leaves no trial",
        ),
    ],
)
def test_trials_that_cannot_be_compared_are_a_problem(
    directory: Path, changes: dict[str, Any], expected: str
) -> None:
    assert expected in only_problem(plan_sweep(sweep_of(directory, **changes)))


@pytest.mark.parametrize("metric", ["eval/accuracy", "eval/perplexity/de", "eval/loss/en"])
def test_metrics_of_evaluations_are_accepted(directory: Path, metric: str) -> None:
    assert not plan_sweep(sweep_of(directory, metric=metric)).problems


def test_a_stage_with_a_problem_hides_its_trials_not_itself(directory: Path) -> None:
    small = SMALL | {"overrides": {"student.architecture.num_heads": 3}}
    plan = plan_sweep(sweep_of(directory, teachers={"small": small}))
    assert only_problem(plan).startswith("teacher small: student.architecture")


def test_what_optuna_will_suggest_is_in_the_cost_but_not_in_the_records(directory: Path) -> None:
    search = {"optimizer.learning_rate": {"log_uniform": [1e-4, 1e-2]}}
    plan = plan_sweep(sweep_of(directory, search=search, searcher="optuna", num_samples=7))
    assert not plan.problems
    assert [record.kind for record in plan.records] == ["stage", *["trial"] * 4 * 2]
    assert len(plan.trials) == 7 * 2
    drawn = plan_sweep(sweep_of(directory, search=search, num_samples=7))
    assert whole_cost(plan.trials).tokens == pytest.approx(whole_cost(drawn.trials).tokens)


def test_time_is_what_is_left_over_the_places_and_a_start_for_each(directory: Path) -> None:
    plan = plan_sweep(sweep_of(directory, seeds=list(range(16))))
    assert plan.at_once == 8
    # Controls wait for no stage: with it, they are the first that go on side by side.
    of_starts = SWEEP_START_SECONDS + (17 / 8) * START_SECONDS + (16 / 8) * START_SECONDS
    found = planned_time(plan, SPEED)
    assert found.of_starts == pytest.approx(of_starts)
    flops = cost_left(plan.runs).flops
    assert found.seconds == pytest.approx(of_starts + flops / 8e6)
    assert found.num_starts == 1 + len(plan.trials)


def test_workers_of_a_run_start_anew_for_each(directory: Path) -> None:
    alone = planned_time(plan_sweep(sweep_of(directory)), SPEED)
    overrides = {"cluster.num_workers": 2}
    several = planned_time(plan_sweep(sweep_of(directory, overrides=overrides)), SPEED)
    assert several.of_starts >= alone.of_starts + 2 * WORKERS_START_SECONDS


def test_gpus_that_no_trial_uses_are_told(directory: Path) -> None:
    nodes = {"gpu": {"count": 2, "cpus": 8, "gpus": 4, "gpu_memory_gb": 80}}
    idle = plan_sweep(sweep_of(directory, nodes=nodes)).idle_gpus
    assert idle is not None
    assert idle.startswith("8 GPU(s) stay idle: cluster.gpus_per_worker is 0; set cluster.gpus")
    whole = plan_sweep(sweep_of(directory, nodes=nodes, overrides={"cluster.gpus_per_worker": 1}))
    assert whole.idle_gpus is None
    few_cpus = {"gpu": {"cpus": 2, "gpus": 4, "gpu_memory_gb": 80}}
    some = plan_sweep(
        sweep_of(directory, nodes=few_cpus, overrides={"cluster.gpus_per_worker": 1})
    )
    assert some.idle_gpus == "2 of 4 GPUs stay idle: 2 trial(s) at once take 1 each"
    assert plan_sweep(sweep_of(directory)).idle_gpus is None


def test_what_a_teacher_says_of_a_fraction_is_kept_apart(directory: Path) -> None:
    plan = plan_sweep(
        sweep_of(
            directory,
            teachers={"small": SMALL | {"cache": {}}},
            search={"data.fraction": {"grid": [0.5, 1]}},
        )
    )
    assert not plan.problems
    assert whole_cost(plan.trials).num_caches == 2


def test_a_ledger_and_a_plan_differ_in_runs_and_keys(directory: Path) -> None:
    first = plan_sweep(sweep_of(directory, seeds=[1, 2]))
    ledger = Ledger(
        uri=first.uri, sweep=plain(first.sweep), records={r.id: r for r in first.records}
    )
    assert not difference(ledger, first).lines()
    second = plan_sweep(sweep_of(directory, seeds=[2, 3], max_failures=1))
    assert difference(ledger, second).lines() == [
        "seeds: [1, 2] -> [2, 3]",
        "max_failures: 2 -> 1",
        "2 trials new",
        "2 trials dropped",
    ]


def test_trials_that_the_ledger_says_stopped_are_over(directory: Path) -> None:
    plan = plan_sweep(sweep_of(directory))
    trial = plan.records[-1]
    stopped = replace(trial, state=State.STOPPED, stop=Stop(rung_tokens=100, step=3, value=4.0))
    ledger = Ledger(uri=plan.uri, sweep={}, records={stopped.id: stopped})
    assert cost_left(continued(plan, ledger).trials).num_runs == 1


def test_fractions_of_gpus_let_trials_share_one(directory: Path) -> None:
    nodes = {"gpu": {"cpus": 32, "gpus": 2, "gpu_memory_gb": 80}}
    overrides = {"cluster.gpus_per_worker": 0.25}
    plan = plan_sweep(sweep_of(directory, nodes=nodes, overrides=overrides))
    assert (plan.at_once, plan.at_once_by) == (8, "GPUs")


def test_a_student_pretrained_by_a_stage_is_planned(directory: Path) -> None:
    stage = plan_sweep(sweep_of(directory)).stages[0].record
    uri = uris.join(stage.run_uri, "checkpoints", "step-00000006")
    student = {"pretrained": uri, "architecture": None}
    plan = plan_sweep(sweep_of(directory, search={"student": {"grid": [student]}}))
    assert not plan.problems
    control = plan.trials[0]
    assert control.record.needs == (stage.id,)
    assert control.student is not None
    assert control.student.config.hidden_size == TINY_BERT["hidden_size"]
