"""Probes: every model that is asked about is scored by runs that begin at it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from raykd.errors import ConfigError
from raykd.sweep.plan.plan import SweepPlan, plan_sweep

from tests.prepared import write_prepared
from tests.small_runs import TINY_BERT
from tests.study_files import STUDY, study_in
from tests.unit.train.test_run import train

TOPICS = STUDY["probes"]["topics"]
ONE_START = {"start": {"random": STUDY["pairs"]["start"]["random"]}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def plan(directory: Path) -> SweepPlan:
    return plan_of(directory)


def plan_of(directory: Path, **changes: Any) -> SweepPlan:
    return plan_sweep(study_in(directory, **changes))


def test_a_study_counts_each_distinct_run_once(plan: SweepPlan) -> None:
    assert plan.problems == ()
    # Two qualities of one teacher; each with four starts and its loss; on labels alone the start
    # from the teacher is two, the others are one each.
    arms = 2 * 4 + (2 + 3)
    assert Counter(record.kind for record in plan.records) == {
        "stage": 2,
        "trial": 2 * arms,
        "probe": 2 * arms * 2 * 2,
    }
    assert len({record.id for record in plan.records}) == len(plan.records)


def test_a_probe_follows_its_trial_and_begins_at_its_checkpoint(plan: SweepPlan) -> None:
    trial = plan.trials[0].record
    index = plan.records.index(trial)
    probes = plan.records[index + 1 : index + 5]
    assert [(p.probed, p.needs) for p in probes] == [(trial.id, (trial.id,))] * 4
    assert [p.coordinates for p in probes] == [
        {"probe": name, "at": at} for name in ("topics", "tags") for at in (0.1, 1.0)
    ]
    assert [p.probed_step for p in probes] == [1, 10, 1, 10]
    models = [p.config["student"]["pretrained"] for p in probes]
    assert models == [f"{trial.run_uri}/checkpoints/step-{step:08}" for step in (1, 10, 1, 10)]
    assert trial.config["checkpoint"]["milestones"] == [0.1, 1.0]


def test_to_be_probed_changes_no_run(directory: Path, plan: SweepPlan) -> None:
    probed = {run.record.id for run in plan.trials}
    alone = plan_of(directory, probes={}, metric="eval/loss", mode="min")
    assert {run.record.id for run in alone.trials} == probed


def test_teachers_and_stages_are_probed_where_asked(directory: Path) -> None:
    of = ["teachers", "stages"]
    plan = plan_of(directory, probes={"topics": TOPICS | {"of": of}}, metric="eval/loss")
    probed = [run.record.probed for run in plan.probes]
    assert probed == [stage.record.id for stage in plan.stages for _ in range(2)]
    assert all(stage.config.checkpoint.milestones == (0.1, 0.5, 1.0) for stage in plan.stages)


def test_a_probe_has_seeds_of_its_own(directory: Path) -> None:
    plan = plan_of(directory, probes={"topics": TOPICS | {"seeds": [5, 6]}})
    seeds = Counter(run.record.seed for run in plan.probes)
    assert set(seeds) == {5, 6}
    assert seeds[5] == seeds[6] == 2 * len(plan.trials)


def test_probes_are_part_of_the_cost(plan: SweepPlan) -> None:
    assert all(run.flops is not None for run in plan.probes)
    assert all(run.record.planned_tokens > 0 for run in plan.probes)


def test_a_probe_of_another_tokenizer_is_a_problem_of_the_plan(directory: Path) -> None:
    write_prepared(
        directory / "other",
        {"train": {"en": [9]}, "validation": {"en": [9]}},
        labels=("a", "b", "c"),
        vocab_size=80,
    )
    plan = plan_of(
        directory,
        probes={"topics": TOPICS | {"overrides": {"data.uri": str(directory / "other")}}},
    )
    assert any("tokenizer" in problem and "probe=topics" in problem for problem in plan.problems)


def test_a_probe_whose_data_are_not_there_is_a_problem_of_the_plan(directory: Path) -> None:
    gone = {"data.uri": str(directory / "gone")}
    plan = plan_of(directory, probes={"topics": TOPICS | {"overrides": gone}})
    assert any(str(directory / "gone") in problem for problem in plan.problems)


def test_a_probe_that_builds_a_model_of_its_own_is_refused(directory: Path) -> None:
    built = {"student.architecture": TINY_BERT}
    with pytest.raises(ConfigError, match=r"probes\.topics: .* has student\.architecture"):
        plan_of(directory, probes={"topics": TOPICS | {"overrides": built}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metric": "probe/absent/accuracy"},
            "metric=probe/absent/accuracy: no probe of that name",
        ),
        ({"probes": {"topics": TOPICS | {"at": [0.5]}}}, "is asked at the end of trials"),
        ({"probes": {"topics": TOPICS | {"at": [0.5, 0.5]}}}, "probes.topics.at has one twice"),
        ({"probes": {"topics": TOPICS | {"seeds": []}}}, "probes.topics.seeds must be different"),
        ({"probes": {"topics": TOPICS | {"floor": 1}}}, "probes.topics.floor must be below 1"),
        ({"probes": {"topics": TOPICS | {"seeds": [-1]}}}, "probes.topics.seeds must be in [0,"),
        (
            {"probes": {"topics": TOPICS | {"metric": "eval/loss/de"}}},
            "probes.topics.metric=eval/loss/de: more of it has to be better",
        ),
        ({"metric": "probe/topics"}, "must be as probe/mean or probe/topics/accuracy"),
        ({"metric": "probe/mean/accuracy"}, "must be as probe/mean or probe/topics/accuracy"),
        ({"mode": "min"}, "mode=min: more of metric=probe/mean is better: set it to max"),
        ({"scheduler": {"asha": {}}}, "scheduler.asha compares evaluations on the way"),
    ],
)
def test_probes_that_cannot_be_are_told(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(directory, **changes)
    assert message in str(refused.value)


def test_a_trial_that_has_not_kept_what_is_to_be_probed_is_told(tmp_path: Path) -> None:
    unprobed = plan_of(tmp_path, probes={}, metric="eval/loss", mode="min", pairs=ONE_START)
    control = next(run for run in unprobed.trials if run.record.is_control)
    train(control.config)
    (problem,) = plan_of(tmp_path, probes={"topics": TOPICS}, pairs=ONE_START).problems
    assert problem.endswith(
        f"probes.topics.at: {control.record.id} is past step 1 and has not kept its model there; "
        "give the runs another name, or leave the fraction out"
    )


def test_a_metric_that_a_probe_lacks_is_a_problem(directory: Path) -> None:
    plan = plan_of(directory, metric="probe/topics/spearman")
    assert any("metric=eval/spearman" in problem for problem in plan.problems)
