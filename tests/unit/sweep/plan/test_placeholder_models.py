"""What stands in for a model that a stage has yet to train is planned with as that will be."""

from pathlib import Path

from raykd.config.inputs import models_by_teacher
from raykd.distill.models import student_config
from raykd.distill.setup import read_setup
from raykd.models.load import load_config, save_model
from raykd.models.loadable import check_loadable
from raykd.runs.paths import run_paths
from raykd.sweep.plan.placeholder_models import placeholder_models

from tests.small_runs import small_data, small_run
from tests.tiny_models import tiny_model


def test_a_stage_that_starts_from_another_task_stands_in_with_the_head_that_it_trains(
    tmp_path: Path,
) -> None:
    small_data(tmp_path / "data")
    save_model(tiny_model("bert", "masked_lm"), tmp_path / "encoder")
    stage = small_run(
        tmp_path,
        task="sequence_classification",
        student={"pretrained": str(tmp_path / "encoder")},
    )
    trial = small_run(
        tmp_path,
        task="sequence_classification",
        teachers={"big": {"model": run_paths(stage).model}},
        losses={"forward_kl": {}},
    )
    with placeholder_models() as models:
        setup = read_setup(stage)
        models.add(setup, student_config(setup))
        teacher = models_by_teacher(models.applied(trial))["big"].source
        check_loadable(teacher, load_config(teacher), trial.task, new_head="refused")
