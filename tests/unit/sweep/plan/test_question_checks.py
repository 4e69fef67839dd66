"""A plan says which of its questions its runs cannot answer, and why, before one is started."""

from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import plain
from raykd.errors import ConfigError
from raykd.sweep.plan.plan import SweepPlan, plan_sweep, require_runnable
from raykd.sweep.questions.contrast import contrasts_of

from tests.study_files import study_in

_TUNED, _RANDOM = {"start": "tuned"}, {"start": "random"}


def _pair(compare: Any, other: Any, metric: str = "eval/accuracy", **given: Any) -> dict[str, Any]:
    return {"compare": compare, "with": other, "metric": metric, **given}


_GOOD = {
    "by-control": _pair({**_TUNED, "weight": 1}, {**_RANDOM, "control": True}),
    "by-weight": _pair({**_TUNED, "weight": 1}, {**_RANDOM, "weight": 0}),
    "in-full": _pair({**_TUNED, "losses.logit_mse.weight": 1.0}, {**_RANDOM, "weight": 0}),
    "probed": _pair(_TUNED, _RANDOM, "probe/topics/accuracy", at=0.1),
    "worst": _pair(_TUNED, _RANDOM, "eval/worst/accuracy"),
    "late": _pair(_TUNED, _RANDOM, at=0.1),
}

_BAD = {
    "key": (
        _pair({"strat": "tuned"}, _RANDOM),
        ".compare: strat is no coordinate: they are quality, start, teacher, weight",
    ),
    "value": (
        _pair({"start": "tunned"}, _RANDOM),
        ".compare: no arm has start=tunned: start is random, base, tuned",
    ),
    "none": (
        _pair({**_TUNED, "quality": 0.5}, _RANDOM | {"quality": 0.5, "weight": 1}),
        ".compare averages over weight=0 and weight=1, but questions.none.with names weight: "
        "name one in it",
    ),
    "excluded": (
        _pair({"start": "base", "weight": 1}, {"start": "base", "weight": 0}),
        ".compare: no arm is at start=base, weight=1: raykd check lists the coordinates",
    ),
    "quality": (
        _pair({**_TUNED, "quality": 1, "weight": 1}, {**_TUNED, "control": True}),
        ".with averages over quality=0.5 and quality=1, but questions.quality.compare names "
        "quality: name one in it",
    ),
    "itself": (
        _pair({**_RANDOM, "weight": 0}, {**_RANDOM, "control": True}),
        " compares arms with themselves: what it names on both sides is the same",
    ),
    "control": (
        _pair(_TUNED, {"control": False}),
        ".with.control must be true or absent, got False",
    ),
    "trend": (
        {"trend": {"over": "start", "order": ["random", "base", "best"]}},
        ".trend.order: no arm has start=best: start is random, base, tuned",
    ),
    "metric": (
        _pair(_TUNED, _RANDOM, "eval/f1"),
        ".metric=eval/f1 is none that evaluations of sequence_classification give: eval/loss, ",
    ),
    "test": (
        _pair(_TUNED, _RANDOM, "test/accuracy"),
        ".metric=test/accuracy: data.test_split is null, so nothing is scored on it",
    ),
    "worse-than-worst": (
        _pair(_TUNED, _RANDOM, "eval/worst/f1"),
        ".metric=eval/worst/f1 is none that evaluations of sequence_classification give",
    ),
    "worst-of-one": (
        _pair(_TUNED, _RANDOM, "eval/worst/accuracy/de"),
        ".metric=eval/worst/accuracy/de: of the worst language, it must be such as eval/worst/acc",
    ),
    "worst-unseen": (
        _pair(_TUNED, _RANDOM, "eval/unseen/worst/accuracy"),
        ".metric=eval/unseen/worst/accuracy: of the worst language, it must be such as eval/worst",
    ),
    "probe": (
        _pair(_TUNED, _RANDOM, "probe/topic/accuracy"),
        ".metric=probe/topic/accuracy: it must be probe/mean, or probe/NAME/METRIC of top",
    ),
    "probe-metric": (
        _pair(_TUNED, _RANDOM, "probe/topics/f1"),
        ".metric=probe/topics/f1: of the probe, metric=eval/f1 is none that evaluations of",
    ),
    "probe-at": (
        _pair(_TUNED, _RANDOM, "probe/topics/accuracy", at=0.5),
        ".at=0.5: trials are not probed there for probe/topics/accuracy, but at 0.1, 1",
    ),
    "probe-once": (
        _pair(_TUNED, _RANDOM, "probe/tags/accuracy", area=True),
        ".metric=probe/tags/accuracy: trials are probed once, at 1: add to the probe's at",
    ),
}

_STUDY: dict[str, Any] = {
    "search": {"losses.logit_mse.weight": {"grid": [0, 1]}},
    "exclude": [{"start": "base", "losses.logit_mse.weight": 1}, {"start": "embeddings"}],
    "probes": {
        "topics": {"run": "classifier.yaml", "overrides": {"name": "topics"}, "at": [0.1, 1]},
        "tags": {"run": "tagger.yaml", "metric": "eval/macro_f1"},
    },
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> SweepPlan:
    """Return the plan of a study with good and bad questions."""
    bad = {name: question for name, (question, _) in _BAD.items()}
    study = study_in(tmp_path_factory.mktemp("study"), **_STUDY, questions=_GOOD | bad)
    return plan_sweep(study)


@pytest.mark.parametrize("name", _BAD)
def test_a_question_that_no_run_answers_is_a_problem_with_its_key(
    plan: SweepPlan, name: str
) -> None:
    (found,) = [
        p for p in plan.problems if p.startswith((f"questions.{name}.", f"questions.{name} "))
    ]
    assert found.startswith(f"questions.{name}{_BAD[name][1]}")


def test_questions_that_can_be_asked_are_no_problem(plan: SweepPlan) -> None:
    assert len(plan.problems) == len(_BAD)
    with pytest.raises(ConfigError, match=r"questions[.]key[.]compare"):
        require_runnable(plan)


def test_the_control_of_all_teachers_is_each_of_their_points(plan: SweepPlan) -> None:
    contrasts, _ = contrasts_of(plain(plan.sweep), plan.records)
    assert contrasts["by-control"] == contrasts["by-weight"] == contrasts["in-full"]
    arms = {record.arm: record for record in plan.records}
    weights = [
        (arms[w.arm].coordinates.get("quality"), w.weight) for w in contrasts["by-control"].weights
    ]
    # One control of both qualities of the teacher from a random start.
    assert weights == [(0.5, 0.5), (1, 0.5), (None, -1)]


def test_an_evaluation_that_is_later_than_asked_for_is_noted(plan: SweepPlan) -> None:
    note = "questions.late.at=0.1 is read at step 5 of 10, the first evaluation past it"
    assert plan.remarks == (note,)


def test_what_is_evaluated_once_has_nothing_on_the_way(tmp_path: Path) -> None:
    questions = {
        "early": _pair(_TUNED, _RANDOM, at=0.1),
        "area": _pair(_TUNED, _RANDOM, area=True),
        "steps": _pair(_TUNED, _RANDOM, steps_to=0.5),
    }
    overrides = {"train.eval_every_steps": 10}
    study = study_in(tmp_path, seeds=[1, 2], overrides=overrides, questions=questions)
    once = (
        "trials are evaluated once, after step 10 (train.eval_every_steps=10): evaluate more often"
    )
    assert plan_sweep(study).problems == (
        "questions.early.at=0.1: no evaluation is there or past it but the one after the last "
        "step, 10 (train.eval_every_steps=10): add to train.eval_at",
        f"questions.area.area: {once}",
        f"questions.steps.steps_to: {once}",
    )


def test_arms_whose_values_are_still_to_be_chosen_are_known(tmp_path: Path) -> None:
    questions = {
        "good": _pair(_TUNED | {"quality": 1}, _RANDOM | {"quality": 1}),
        "bad": _pair({"start": "tunned"}, _RANDOM),
    }
    study = study_in(
        tmp_path,
        questions=questions,
        probes={},
        metric="eval/loss",
        mode="min",
        tune={"values": {"optimizer.learning_rate": [0.001, 0.01]}, "seeds": [11]},
        scheduler={"asha": {"first_rung": 0.5, "reduction_factor": 2}},
    )
    plan = plan_sweep(study)
    assert not [record for record in plan.records if record.kind == "trial"]
    assert [p for p in plan.problems if p.startswith("questions.")] == [
        "questions.bad.compare: no arm has start=tunned: start is random, embeddings, base, tuned"
    ]
    (note,) = plan.question_notes
    assert note.startswith("scheduler.asha may stop trials that questions are about")
