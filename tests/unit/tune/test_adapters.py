"""What a study is told of the reports of its trials."""

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict
from raykd.train.on_ray.stop_request import StopRequests
from raykd.tune.adapters import StudyScheduler
from raykd.tune.arguments import RUN, SHARED_RUNS

from tests.unit.sweep.study.studies import handed_out, run_of, study_of


def test_a_running_trial_has_its_metrics_and_nothing_of_what_tune_adds(tmp_path: Path) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "a")])
    assert handed_out(study) == ["a"]
    study.started("a")
    given = {RUN: "a", SHARED_RUNS: "[]"}
    told: dict[str, Any] = {"step": 2, "tokens": 32, "eval/loss": 1.5, "eval/loss/de": 2.0}
    # As Tune passes a report on: with what the trial was given, sections as keys with slashes.
    report = flatten_dict({**told, "training_iteration": 1, "config": given})
    assert report.keys() > {f"config/{RUN}"}
    trial = Trial("train", config=given, stub=True)
    StudyScheduler(study, StopRequests()).on_trial_result(None, trial, report)
    assert study.records["a"].evaluations == (told,)
